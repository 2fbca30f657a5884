"""What a neuron's column is worth to a word, behind whatever follows the FFN's projection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..models import plain_torch, site_bias

if TYPE_CHECKING:
    from ..models import MultimodalModel, Site

__all__ = ["through", "unaccounted"]

#: How a step begins that multiplies the whole residual stream.
_STREAM = "stream scale "
#: How far a norm may be from "a scale per token times a gain per dimension", by its largest value.
_LINEAR = {torch.float64: 1e-6, torch.float32: 1e-4}


@plain_torch(False)
def unaccounted(model: MultimodalModel) -> dict[str, list[str]]:
    """Return what contribution scores leave out, by layer; empty where they are whole.

    Parameters
    ----------
    model : MultimodalModel
        Its `checks` say what lies between each projection and the residual stream.

    Returns
    -------
    dict of str to list of str
        Layer to steps that are no linear map at one token, or vary from token to token: a router,
        a gate, a norm over the whole residual stream, one whose form is not known.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> unaccounted(mmkn.load_model("pocket"))
    {}
    """
    found: dict[str, list[str]] = {}
    if not model.checks:
        return {str(site.layer): ["not checked"] for site in model.sites}
    for site in model.sites:
        _, left = _maps(model, site)
        if left:
            found[str(site.layer)] = left
    return found


@plain_torch(False)
def through(
    model: MultimodalModel, site: Site, activation: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Return directions of the residual stream as directions of the projection's output.

    Where nothing follows the projection they are the same. A norm behind it (Gemma's
    ``post_feedforward_layernorm``) divides each token's output by its size and multiplies each
    dimension with a gain: with that size held as it is at this token, the norm is linear, and what
    the neurons write along the returned directions sums (with the projection's bias) to what the
    FFN adds to the residual stream along the given ones. A constant scale is a factor; so is what
    this layer and those above it multiply the whole stream with (Gemma 4).

    Parameters
    ----------
    model : MultimodalModel
    site : Site
    activation : torch.Tensor, shape (..., neuron)
        Of the site, at the tokens that predict.
    directions : torch.Tensor, shape (..., hidden)
        One for each of these tokens, such as rows of the unembedding.

    Returns
    -------
    torch.Tensor, shape (..., hidden)

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")  # nothing follows its projections
    >>> words = model.unembedding[:2]
    >>> through(model, model.sites[0], torch.ones(2, model.n_neurons), words).equal(words)
    True
    """
    maps, _ = _maps(model, site)
    if not maps:
        return directions
    weight = model.w_out(site.layer, site.expert)
    value = activation.to(weight.device).float() @ weight.float().T
    bias = site_bias(site)
    if bias is not None:
        value = value + bias.float().to(value.device)
    factors: list[tuple[torch.Tensor | float, bool]] = []
    for step in maps:
        if isinstance(step, float):
            factors.append((step, False))
            value = value * step
        else:
            value, gain, centred = _norm(step, value)
            factors.append((gain, centred))
    found = directions.to(value.device).float()
    for factor, centred in reversed(factors):
        found = found * factor
        if centred:
            found = found - found.mean(-1, keepdim=True)
    return found


def _maps(model: MultimodalModel, site: Site) -> tuple[list[nn.Module | float], list[str]]:
    """Return the steps behind a site that are linear at one token, or what is in the way."""
    steps = model.checks[site.row].behind if model.checks else ()
    maps: list[nn.Module | float] = []
    left = []
    for step in steps:
        kind, _, name = step.partition(" ")
        if step.startswith(_STREAM):
            continue
        if kind == "scale" and float(name):
            maps.append(float(name))
        elif kind == "norm" and not name.endswith("over the sum"):
            norm = model.blocks[site.layer].get_submodule(name)
            if _known(norm, model.hidden_size):
                maps.append(norm)
            else:
                left.append(f"{step} ({type(norm).__name__})")
        else:
            left.append(step)
    if left:
        return [], left
    later = _stream_scale(model, site.layer)
    return ([*maps, later] if later != 1 else maps), []


def _stream_scale(model: MultimodalModel, layer: int) -> float:
    """Return what a layer and those above it multiply the whole residual stream with."""
    scales = {}
    for site in model.sites if model.checks else ():
        for step in model.checks[site.row].behind:
            if site.layer >= layer and step.startswith(_STREAM):
                scales[site.layer] = float(step.removeprefix(_STREAM))
    return math.prod(scales.values())


def _known(norm: nn.Module, width: int) -> bool:
    """Return whether a norm is what `_norm` takes it for, asked of two tokens of known values."""
    weight = next(norm.parameters(), torch.zeros(1))
    if isinstance(norm, nn.LayerNorm):
        return True
    steps = torch.linspace(0.3, 2.0, width, device=weight.device)
    value = torch.stack([steps, -steps.flip(0) + 0.7])
    made, gain, _ = _norm(norm, value)
    wanted = value * gain
    tolerance = _LINEAR.get(weight.dtype, 2e-2)
    return bool((made - wanted).abs().max() <= tolerance * made.abs().max())


def _norm(norm: nn.Module, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Return a norm's output, what it multiplies each dimension with, whether it centres first."""
    weight = next(norm.parameters(), None)
    if isinstance(norm, nn.LayerNorm):
        variance = value.var(-1, unbiased=False, keepdim=True)
        gain = torch.rsqrt(variance + norm.eps)
        centred = (value - value.mean(-1, keepdim=True)) * gain
        if weight is None:
            return centred, gain.expand_as(value), True
        gain = gain * norm.weight.float()
        made = centred * norm.weight.float()
        bias: torch.Tensor | None = norm.bias  # torch declares it as always there
        return made if bias is None else made + bias.float(), gain, True
    dtype = torch.float32 if weight is None else weight.dtype
    made = norm(value.to(dtype)).float()
    # of equal values a norm by the root mean square leaves its gains
    shape = norm(torch.ones_like(value[..., :1, :], dtype=dtype)).float()
    along = value * shape
    size = (made * along).sum(-1, keepdim=True) / (along * along).sum(-1, keepdim=True)
    return made, shape * size.nan_to_num(0.0), False

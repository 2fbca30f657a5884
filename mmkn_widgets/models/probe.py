"""Prove a model's sites with one small forward, instead of assuming them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .._errors import MmknError, NotSupported
from .behind import Residual, what_follows
from .experts import routed_places
from .site import Site
from .weights import is_quantised, site_bias, site_weight

if TYPE_CHECKING:
    from .model import MultimodalModel

__all__ = ["TOLERANCE", "SiteCheck", "verify"]

#: Largest accepted ``max|written - output| / max|output|`` of a down projection, per type. 8-bit
#: and 4-bit projections round their input too, and have a tolerance of their own.
TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-10,
    torch.float32: 1e-4,
    torch.float16: 5e-3,
    torch.bfloat16: 3e-2,
}
QUANTISED_TOLERANCE = 0.1


@dataclass(frozen=True)
class SiteCheck:
    """What the probe measured at one site.

    Attributes
    ----------
    row : int
        The site's row.
    rank : int
        Dimensions of the activation the hook saw: 3, or 2 where the model flattens its tokens.
    error : float
        ``max|sum_i O_i W_out[:, i] + bias - output| / max|output|`` of the projection.
    tolerance : float
        What was accepted.
    behind : tuple of str
        What the architecture puts between the projection's output and the residual stream, such as
        ``"norm post_feedforward_layernorm"``, ``"scale 0.22"``, ``"router"``; empty when the output
        is added as it is.
    """

    row: int
    rank: int
    error: float
    tolerance: float
    behind: tuple[str, ...]


class _Recorder:
    """Everything one probe forward shows at the sites and around them."""

    def __init__(self, model: MultimodalModel) -> None:
        self.fired: dict[int, int] = defaultdict(int)
        self.inputs: dict[int, torch.Tensor] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        self.routing: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.places: dict[str, torch.Tensor | None] = {}
        self.residual: dict[int, Residual] = {}
        self._model = model

    def attach(self, stack: ExitStack) -> None:
        modules: dict[str, Site] = {}
        for site in self._model.sites:
            stack.callback(site.hook(self._on_site(site)).remove)
            modules.setdefault(site.module_name, site)
        for name, site in modules.items():
            hook = self._on_module(name, site.kind == "routed")
            stack.callback(site.module.register_forward_hook(hook, with_kwargs=True).remove)
        for layer in {site.layer for site in self._model.sites}:
            watcher = Residual(self._model.blocks[layer])
            self.residual[layer] = watcher
            watcher.attach(stack)

    def _on_site(self, site: Site) -> Any:
        def record(value: torch.Tensor) -> None:
            self.fired[site.row] += 1
            self.inputs[site.row] = value.detach().clone()

        return record

    def _on_module(self, name: str, routed: bool) -> Any:
        def record(_module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            self.outputs[name] = output.detach().clone()  # some models add to it in place
            if routed:
                index = args[1] if len(args) > 1 else kwargs["top_k_index"]
                weight = args[2] if len(args) > 2 else kwargs["top_k_weights"]
                self.places[name] = routed_places(_module)
                self.routing[name] = (index.detach(), weight.detach())

        return record


def probe_inputs(model: MultimodalModel) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Yield (what it is, inputs) from the cheapest on: text alone, then a grey picture."""
    vocabulary = int(getattr(model.hf.config.get_text_config(), "vocab_size", 0) or 0)
    if vocabulary > 8:
        special = set(_special_ids(model))
        ids = [i for i in range(3, vocabulary) if i not in special][:5]
        tokens = torch.tensor([ids])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        yield "text alone", model.prepare(inputs).inputs
    if model.processor is not None:
        from PIL import Image

        yield "a grey picture", model.prepare(Image.new("RGB", (64, 64), (127, 127, 127))).inputs


def _special_ids(model: MultimodalModel) -> Iterator[int]:
    for holder in (model.hf.config, model.hf.config.get_text_config()):
        for name, value in vars(holder).items():
            if name.endswith(("token_id", "token_index")) and isinstance(value, int):
                yield value
    yield from getattr(model.tokenizer, "all_special_ids", None) or ()


def verify(
    model: MultimodalModel, inputs: Mapping[str, torch.Tensor] | None = None
) -> tuple[SiteCheck, ...]:
    """Run one small forward and check every site.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    inputs : mapping, optional
        What to run; by default a few words, then (if the model needs one) a grey picture.

    Returns
    -------
    tuple of SiteCheck
        One per site; empty where no input could be made without a processor (the first real
        forward is then checked instead).

    Raises
    ------
    NotSupported
        If a hook does not fire exactly once, a width is wrong, or what the activations write is
        not the projection's output; the message names layer and module.
    """
    tries = [("the inputs", inputs)] if inputs is not None else list(_lazily(model))
    problem: NotSupported | None = None
    for what, given in tries:
        if isinstance(given, Exception):
            problem = NotSupported(f"model: {what} cannot be prepared: {given}")
            continue
        try:
            recorder = _run(model, given)
        except MmknError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            problem = NotSupported(
                f"model: {type(model.hf).__name__} fails on {what}: {type(error).__name__}: {text}"
            )
            continue
        missing = [s for s in model.sites if recorder.fired[s.row] != 1]
        if not missing:
            return _check_all(model, recorder)
        first = missing[0]
        problem = NotSupported(
            f"model: layer {first.layer}, {first.module_name}: the hook fired "
            f"{recorder.fired[first.row]} times on {what}, expected once ({len(missing)} of "
            f"{len(model.sites)} sites): the model does not run its FFN through this module"
        )
    if problem is not None and (model.processor is not None or inputs is not None):
        raise problem
    return ()


def _lazily(model: MultimodalModel) -> Iterator[tuple[str, Any]]:
    try:
        yield from probe_inputs(model)
    except Exception as error:
        yield "a grey picture", error


def _run(model: MultimodalModel, inputs: Mapping[str, torch.Tensor]) -> _Recorder:
    recorder = _Recorder(model)
    with model.lock, ExitStack() as stack:
        recorder.attach(stack)
        before = _random_state(model.device)
        model.run(inputs)
        model.draws |= not torch.equal(before, _random_state(model.device))
    return recorder


def _random_state(device: torch.device) -> torch.Tensor:
    """Return the state of the generator that a forward on this device would draw from."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def _check_all(model: MultimodalModel, recorder: _Recorder) -> tuple[SiteCheck, ...]:
    """Check a module once, for all its sites: one, or those of its routed experts."""
    by_module: dict[str, list[Site]] = defaultdict(list)
    for site in model.sites:
        by_module[site.module_name].append(site)
    mixed = {s.layer for s in model.sites if s.expert >= 0} | {r.layer for r in model.refused}
    found: list[SiteCheck] = []
    for name, sites in by_module.items():
        error, tolerance = _check_module(name, sites, recorder)
        layer = sites[0].layer
        if recorder.places.get(name) is not None:  # it saw a part of the tokens only
            behind: tuple[str, ...] = ("router",)
        else:
            output = recorder.outputs[name]
            around = recorder.residual[layer]
            behind = what_follows(around, output, tolerance, routed=layer in mixed)
        rank = recorder.inputs[sites[0].row].dim()
        found += [SiteCheck(site.row, rank, error, tolerance, behind) for site in sites]
    return tuple(sorted(found, key=lambda check: check.row))


def _check_module(name: str, sites: list[Site], recorder: _Recorder) -> tuple[float, float]:
    """Return (error, tolerance) of a module's output, or refuse it."""
    for site in sites:
        seen = recorder.inputs[site.row]
        if seen.shape[-1] != site.width:
            raise NotSupported(
                f"model: layer {site.layer}, {name}: the activation has {seen.shape[-1]} neurons, "
                f"expected {site.width}"
            )
    site, seen = sites[0], recorder.inputs[sites[0].row]
    quantised = site.kind != "routed" and is_quantised(site.module)
    tolerance = QUANTISED_TOLERANCE if quantised else TOLERANCE.get(seen.dtype, 5e-2)
    written = _routed(sites, recorder) if site.kind == "routed" else write(site, seen)
    error = relative_error(written, recorder.outputs[name])
    if not error <= tolerance:
        raise NotSupported(
            f"model: layer {site.layer}, {name}: what the neurons write differs from the "
            f"projection's output by {error:.2g} of its maximum, more than the {tolerance:g} that "
            f"{str(seen.dtype).removeprefix('torch.')} explains"
        )
    return error, tolerance


def write(site: Site, activation: torch.Tensor) -> torch.Tensor:
    """Return ``sum_i O_i W_out[:, i]`` plus the bias."""
    weight = site_weight(site).to(activation.device, activation.dtype)
    bias = site_bias(site)
    bias = None if bias is None else bias.to(activation.device, activation.dtype)
    return nn.functional.linear(activation, weight, bias)


def relative_error(value: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return ``max|value - wanted| / max|wanted|``, in float32 at least."""
    a, b = value.reshape(-1).double(), wanted.reshape(-1).double().to(value.device)
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def _routed(sites: list[Site], recorder: _Recorder) -> torch.Tensor:
    """Return what all experts of one module write together, weighted by the router."""
    module, name = sites[0].module, sites[0].module_name
    output = recorder.outputs[name]
    index, weight = recorder.routing[name]
    places = recorder.places[name]
    total = torch.zeros_like(output)
    for site in sites:
        seen = recorder.inputs[site.row]
        written = write(site, seen if places is None else seen[places])
        if getattr(module, "has_post_expert_norm", False):
            written = module.post_expert_norm(written)  # type: ignore[operator]
        chosen = index == site.expert - site.first_expert
        share = (weight * chosen).sum(dim=-1, keepdim=True)
        total += (written * share.to(written.dtype)).reshape(output.shape)
    return total

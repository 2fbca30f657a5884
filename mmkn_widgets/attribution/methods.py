"""All attribution methods behind one signature: a score for every neuron, larger is more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._errors import bad_argument
from .._provenance import provenance
from .concept import Concept, as_concept
from .evidence import collect
from .neurons import NeuronSet
from .predicting import predictions

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["METHODS", "integrated_gradients", "random_like", "random_uniform", "score"]

METHODS = (
    "activation_difference",
    "gradcam",
    "contribution",
    "gradient",
    "integrated_gradients",
    "activation",
    "random",
)


def score(
    method: str,
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    evidence: xr.Dataset | None = None,
    seed: int = 0,
    **options: Any,
) -> xr.DataArray:
    """Score every neuron by one method.

    Parameters
    ----------
    method : str
        ``activation_difference`` (stage 1 alone), ``gradcam`` (stage 2 alone), ``contribution``
        (Pan et al.), ``gradient`` (Schwettmann et al. 2023: stage 2 at image tokens),
        ``integrated_gradients`` (knowledge neurons, 20 steps), ``activation`` (magnitude at the
        predicting position), ``random``.
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
    evidence : xarray.Dataset, optional
        From `collect` on the same scenes, so that it is not computed again.
    seed : int
        Of ``random``.
    **options
        Of `collect` (and ``steps`` of `integrated_gradients`).

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron); named by the method, provenance in its attributes.

    Raises
    ------
    BadArgument
        If the method is unknown.
    """
    if method not in METHODS:
        raise bad_argument("method", method, "one of " + ", ".join(METHODS))
    if method == "integrated_gradients":
        return integrated_gradients(model, concept, scenes, **options)
    if method == "gradient":
        made = collect(model, concept, scenes, **{**options, "positions": "image"})
        return made["gradcam"].rename("gradient").assign_attrs(provenance=made.attrs["provenance"])
    if method == "random":
        return _random(model, seed)
    made = collect(model, concept, scenes, **options) if evidence is None else evidence
    name = "difference" if method == "activation_difference" else method
    values = made[name]
    if method == "activation":
        values = abs(values)
    return values.rename(method).assign_attrs(provenance=made.attrs.get("provenance", ""))


def _labels(model: MultimodalModel) -> dict[str, Any]:
    return {
        "layer": [site.layer for site in model.sites],
        "expert": ("layer", [site.expert for site in model.sites]),
        "neuron": np.arange(model.n_neurons),
    }


def _width(model: MultimodalModel) -> np.ndarray:
    width = np.asarray([site.width for site in model.sites])
    return np.arange(model.n_neurons)[None] < width[:, None]


def _random(model: MultimodalModel, seed: int) -> xr.DataArray:
    import xarray as xr

    values = np.random.default_rng(seed).random((len(model.sites), model.n_neurons), np.float32)
    values[~_width(model)] = np.nan
    made = json.dumps(provenance("random", seed=seed))
    return xr.DataArray(
        values, _labels(model), ("layer", "neuron"), name="random", attrs={"provenance": made}
    )


def random_uniform(n: int, model: MultimodalModel, seed: int = 0) -> NeuronSet:
    """Draw `n` distinct neurons, all equally likely.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> len(random_uniform(5, mmkn.load_model("pocket"), seed=1))
    5
    """
    rows, index = np.nonzero(_width(model))
    if not 0 <= n <= len(rows):
        raise bad_argument("n", n, f"a number from 0 to {len(rows)}")
    chosen = np.random.default_rng(seed).choice(len(rows), n, replace=False)
    return _from_rows(
        model, rows[chosen], index[chosen], provenance("random_uniform", n=n, seed=seed)
    )


def random_like(neurons: NeuronSet, model: MultimodalModel, seed: int = 0) -> NeuronSet:
    """Draw as many other neurons from the same layers.

    Parameters
    ----------
    neurons : NeuronSet
        Gives the layer histogram; its own neurons are not drawn where enough others are there.
    model : MultimodalModel
    seed : int
    """
    rng = np.random.default_rng(seed)
    inside = neurons.mask(model)
    rows: list[int] = []
    index: list[int] = []
    for site in model.sites:
        wanted = int(inside[site.row].sum())
        others = np.flatnonzero(~inside[site.row][: site.width])
        pool = others if len(others) >= wanted else np.arange(site.width)
        drawn = rng.choice(pool, wanted, replace=False)
        rows += [site.row] * wanted
        index += drawn.tolist()
    made = provenance("random_like", n=len(neurons), seed=seed)
    return _from_rows(model, np.asarray(rows, int), np.asarray(index, int), made)


def _from_rows(
    model: MultimodalModel, rows: np.ndarray, index: np.ndarray, made: dict[str, Any]
) -> NeuronSet:
    sites = [model.sites[int(row)] for row in rows]
    return NeuronSet(
        [site.layer for site in sites], index, [site.expert for site in sites], provenance=made
    )


def integrated_gradients(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    steps: int = 20,
    caption: str = "greedy",
    prompt: str | None = None,
    **_: Any,
) -> xr.DataArray:
    """Integrate the gradient of the concept's log-probability from zero to the activation.

    Layer by layer, at the predicting position, as for knowledge neurons: the activations of one
    layer are scaled from 0 to their value while everything below stays.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
    steps : int
        Of the right Riemann sum.
    caption, prompt
        As in `collect`.

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron), mean over scenes, in nats.

    References
    ----------
    .. [1] Dai et al. 2022, "Knowledge neurons in pretrained transformers", equation 5.
    """
    import xarray as xr

    if steps < 1:
        raise bad_argument("steps", steps, "a whole number from 1")
    wanted = as_concept(concept)
    total = np.zeros((len(model.sites), model.n_neurons), np.float64)
    with model.interventions.suspended():
        found, _skipped = predictions(model, wanted, scenes, caption=caption, prompt=prompt)
        for item in found:
            picture = scenes[item.scene].image
            prepared = model.prepare(
                [picture] * steps, prompt, continuation=[list(item.prefix)] * steps
            )
            for site in model.sites:
                total[site.row, : site.width] += _integrate(
                    model, prepared, site, item.token, steps
                )
    values = (total / len(found)).astype(np.float32)
    values[~_width(model)] = np.nan
    made = json.dumps(
        provenance(
            "integrated_gradients",
            model=model.name,
            concept=wanted.word,
            steps=steps,
            caption=caption,
            scenes=[str(scene.id) for scene in scenes],
        )
    )
    return xr.DataArray(
        values,
        _labels(model),
        ("layer", "neuron"),
        name="integrated_gradients",
        attrs={"provenance": made, "units": "nats"},
    )


def _integrate(
    model: MultimodalModel, prepared: Any, site: Any, token: int, steps: int
) -> np.ndarray:
    """Return one layer's integrated gradients in one picture, (neuron,); a batch row is a step."""
    kept: dict[str, torch.Tensor] = {}

    def scale(activation: torch.Tensor) -> torch.Tensor:
        folded = activation.detach().view(steps, -1, activation.shape[-1]).clone()
        kept["value"] = folded[0, -1].clone()
        share = torch.arange(1, steps + 1, device=folded.device, dtype=folded.dtype) / steps
        kept["scaled"] = (share[:, None] * kept["value"]).requires_grad_(True)
        return torch.cat([folded[:, :-1], kept["scaled"][:, None]], 1).reshape(activation.shape)

    handle = site.hook(scale)
    try:
        logits = model.forward(prepared, logits_to_keep=1, grad=True).logits
        with torch.enable_grad():
            y = torch.log_softmax(logits[:, -1].float(), -1)[:, token].sum()
    finally:
        handle.remove()
    (grad,) = torch.autograd.grad(y, [kept["scaled"]], allow_unused=True)
    if grad is None:
        return np.zeros(site.width)
    return (kept["value"].float() * grad.float().mean(0)).cpu().numpy()

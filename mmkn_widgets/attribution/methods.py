"""All attribution methods behind one signature: a score for every neuron, larger is more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import (
    BadArgument,
    Concept,
    NeuronIndex,
    NeuronSet,
    bad_argument,
    neuron_coords,
    over_neurons,
    provenance,
    whole_number,
)
from .controls import exists, random_like
from .evidence import collect
from .integrated import integrated_gradients
from .star import attribution_patching_star
from .two_stage import CANDIDATES, TOP, two_stage

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["METHODS", "score"]

#: Everything that `score` knows.
METHODS = (
    "two_stage",
    "activation_difference",
    "gradcam",
    "contribution",
    "attribution_patching",
    "attribution_patching_star",
    "gradient",
    "integrated_gradients",
    "activation",
    "random",
    "random_like",
)

#: Options that belong to one method or to the filter; all others go to `collect`.
_FILTER = ("threshold_d", "quantile_d", "candidates")
_SHARED = ("target", "caption", "prompt", "progress", "cancel")
#: methods with a pass of their own, and what they take
_OWN: dict[str, tuple[Callable[..., xr.DataArray], tuple[str, ...]]] = {
    "integrated_gradients": (integrated_gradients, ("steps", *_SHARED)),
    "attribution_patching_star": (
        attribution_patching_star,
        ("inpainter", "batch_size", *_SHARED),
    ),
}


def score(
    model: MultimodalModel | xr.Dataset,
    method: str,
    concept: str | Concept | None = None,
    scenes: Sequence[Scene] | None = None,
    *,
    evidence: xr.Dataset | None = None,
    seed: int = 0,
    top: int = TOP,
    **options: Any,
) -> xr.DataArray:
    """Score every neuron by one method.

    Parameters
    ----------
    model : MultimodalModel, or xarray.Dataset
        The model; or evidence alone, for the methods that need no more.
    method : str
        ``two_stage`` (stage 2 of the neurons that pass stage 1, NaN elsewhere),
        ``activation_difference`` (stage 1 alone), ``gradcam`` (stage 2 alone), ``contribution``
        (Pan et al.), ``attribution_patching`` (AtP: to first order the drop of y when the neuron
        takes the inpainted picture's activation), ``attribution_patching_star`` (AtP* with a
        backward for every layer, never negative), ``gradient`` (Schwettmann et al. 2023: stage 2
        at image tokens),
        ``integrated_gradients`` (knowledge neurons, 20 steps), ``activation`` (magnitude at the
        predicting position), ``random``, ``random_like`` (random, with the layer histogram of
        two_stage's `top`; NaN elsewhere).
    concept : str or Concept
    scenes : sequence of Scene
    evidence : xarray.Dataset, optional
        From `collect` on the same scenes, so that it is not computed again.
    seed : int
        Of the random methods.
    top : int
        Neurons of ``random_like``.
    **options
        Of `collect`; ``steps`` of `integrated_gradients`; ``threshold_d``, ``quantile_d`` or
        ``candidates`` (0.05) of ``two_stage``.

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron); named by the method, provenance in its attributes.

    Raises
    ------
    BadArgument
        If the method is unknown, or needs the model and only evidence was given.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> score(model, "random", seed=3).dims
    ('layer', 'neuron')
    """
    if method not in METHODS:
        raise bad_argument("method", method, "one of " + ", ".join(METHODS))
    found: Any = model
    if hasattr(model, "data_vars"):
        evidence, found = found, None
    seed = whole_number("seed", seed, lowest=0)
    top = whole_number("top", top, lowest=1)
    filtering = {name: options.pop(name) for name in _FILTER if name in options}
    if method in (*_OWN, "gradient", "random", "random_like") and found is None:
        raise bad_argument("model", "evidence alone", f"the model too, for method {method!r}")
    if method == "random":
        return _random(found, seed)
    if evidence is not None and method not in (*_OWN, "gradient"):
        made = evidence
    elif concept is None or scenes is None:
        raise BadArgument(f"concept, scenes: got None, which method {method!r} needs")
    elif method not in _OWN:
        where = {"positions": "image"} if method == "gradient" else {}
        made = collect(found, concept, scenes, **{**options, **where})
    else:
        run, known = _OWN[method]
        chosen = {name: value for name, value in options.items() if name in known}
        return run(found, concept, scenes, **chosen)
    if method == "random_like":
        return _random_like(found, made, seed, top, filtering)
    if method == "two_stage":
        return _two_stage(made, filtering)
    name = {"activation_difference": "difference", "gradient": "gradcam"}.get(method, method)
    if name not in made:  # saved before this method was there
        raise bad_argument(
            "evidence", "a study without " + name, "one made anew, or another method"
        )
    values = abs(made[name]) if method == "activation" else made[name]
    return _named(values, method, str(made.attrs.get("provenance", "")))


def _named(values: xr.DataArray, method: str, made: str) -> xr.DataArray:
    return values.astype(np.float32).rename(method).assign_attrs(provenance=made)


def _two_stage(evidence: xr.Dataset, filtering: dict[str, Any]) -> xr.DataArray:
    passed = two_stage(evidence, **(filtering or {"candidates": CANDIDATES}))
    return _only(evidence, passed, passed.score, "two_stage")


def _only(
    evidence: xr.Dataset, neurons: NeuronSet, values: np.ndarray, method: str
) -> xr.DataArray:
    """Return scores of some neurons, by their labels, and NaN elsewhere."""
    labelled = over_neurons(evidence["gradcam"], "evidence")
    scores = np.full(labelled.size, np.nan, np.float32)
    scores[NeuronIndex.of_labelled(labelled).ids(neurons)] = values
    made = json.dumps(neurons.provenance)
    return _named(labelled.copy(data=scores.reshape(labelled.shape)), method, made)


def _random(model: MultimodalModel, seed: int) -> xr.DataArray:
    import xarray as xr

    values = np.random.default_rng(seed).random((len(model.sites), model.n_neurons), np.float32)
    values[~exists(model)] = np.nan
    made = json.dumps(provenance("random", seed=seed))
    return _named(xr.DataArray(values, neuron_coords(model), ("layer", "neuron")), "random", made)


def _random_like(
    model: MultimodalModel, evidence: xr.Dataset, seed: int, top: int, filtering: dict[str, Any]
) -> xr.DataArray:
    chosen = two_stage(evidence, **{"top": top, **(filtering or {"candidates": CANDIDATES})})
    drawn = random_like(model, chosen, seed)
    order = np.random.default_rng(seed).random(len(drawn), np.float32)
    return _only(evidence, drawn, order, "random_like")

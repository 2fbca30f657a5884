"""Which neurons each method of a study chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._errors import BadArgument
from .study import Study, study

if TYPE_CHECKING:
    import xarray as xr

    from ..attribution import NeuronSet
    from ..datasets import Scene

__all__ = ["METHODS", "method_scores", "select_neurons"]

#: what ``--methods`` accepts: the nine of `attribution.score`; ``two_stage_auto``, two_stage at
#: the thresholds that the search proposes; and ``two_stage_image_signed``, stage 1 as the first
#: paper writes it (signed, at image tokens)
METHODS = (
    "two_stage",
    "two_stage_auto",
    "two_stage_image_signed",
    "activation_difference",
    "gradcam",
    "contribution",
    "gradient",
    "integrated_gradients",
    "activation",
    "random_like",
    "random",
)


def select_neurons(
    method: str,
    made: Study,
    n_neurons: int = 60,
    *,
    without_concept: Sequence[Scene] = (),
    seed: int = 0,
) -> NeuronSet:
    """Return the neurons that a method chooses from one study's scenes.

    Parameters
    ----------
    method : str
        From `METHODS`.
    made : Study
    n_neurons : int
        How many (``two_stage_auto`` chooses its own number).
    without_concept : sequence of Scene
        For ``two_stage_auto``: scenes on which nothing should change; not those of a measurement.
    seed : int
        Of the random methods.

    Returns
    -------
    NeuronSet
        Empty if ``two_stage_auto`` finds no thresholds that keep any.
    """
    from ..attribution import NeuronSet, random_like, random_uniform, top_neurons

    if method == "two_stage":
        return made.neurons(quantile_d=0.95, top=n_neurons)
    if method == "two_stage_image_signed":
        other = study(
            made.model,
            made.concept,
            made.scored,
            inpainter=made._pairs,
            **{**made.options, "positions": "image", "difference": "signed"},
        )
        # Stage 1 where the paper looks, stage 2 where the word is predicted.
        mixed = made.evidence.assign(difference=other.evidence["difference"])
        return Study(
            made.model, made.concept, made.scored, mixed, pairs=made._pairs, options=made.options
        ).neurons(quantile_d=0.95, top=n_neurons)
    if method == "two_stage_auto":
        try:
            found = made.propose_thresholds(without_concept=without_concept, n_random=0)
        except BadArgument:  # no pair of thresholds keeps a neuron
            return NeuronSet([], [])
        return made.neurons(found.threshold_d, found.threshold_g)
    if method == "random":
        return random_uniform(n_neurons, made.model, seed)
    if method == "random_like":
        return random_like(made.neurons(quantile_d=0.95, top=n_neurons), made.model, seed)
    return top_neurons(method_scores(method, made, seed=seed), n_neurons)


def method_scores(method: str, made: Study, *, seed: int = 0) -> xr.DataArray:
    """Return a method's score of every neuron, on one study's scenes.

    Parameters
    ----------
    method : str
        One of the nine of `attribution.score`.
    made : Study
    seed : int
        Of the random methods.
    """
    from ..attribution import score

    return score(
        method,
        made.model,
        made.concept,
        made.scored,
        evidence=made.evidence,
        seed=seed,
        inpainter=made._pairs,
        **made.options,
    )

"""Methods against the truth: whom they choose, beside the neurons whose effect was measured.

Two truths (see `atlas`): the neurons that matter one at a time, and those that matter together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core import NeuronIndex
from ..evaluation import overlap_at_k, rank_correlation

if TYPE_CHECKING:
    import xarray as xr

    from ..attribution import NeuronSet

__all__ = ["JUDGEMENTS", "judge", "mean_judgement", "truths"]

#: What `judge` says of a method, in the order of its table.
JUDGEMENTS = (
    "precision_single",
    "recall_single",
    "overlap_single",
    "rank_correlation",
    "precision_joint",
    "recall_joint",
    "overlap_joint",
)

Place = tuple[int, int]


def truths(atlas: xr.Dataset, concept: str, share: float = 0.05) -> dict[str, list[Place]]:
    """Return the neurons that carry a concept, by both truths.

    Parameters
    ----------
    atlas : xarray.Dataset
        From `open_atlas`.
    concept : str
    share : float
        A neuron counts by itself if zeroing it costs at least this share of what the strongest
        neuron's costs, and the 95% interval of what it costs (1.96 standard errors over scenes)
        is above 0; in an atlas of single scenes, which has none, by the share alone.

    Returns
    -------
    dict of str to list of (int, int)
        (layer, neuron), best first. ``single``: those that count by themselves; ``joint``: the
        first of the greedy order, up to where no scene says the word any more; ``order``: that
        order, whole.

    Examples
    --------
    >>> from mmkn_widgets.studies import open_atlas, truths
    >>> len(truths(open_atlas(), "car")["joint"]) < 10
    True
    """
    one = atlas.sel(concept=concept)
    effect = one["single"].values
    ranked = np.argsort(-effect, axis=None, kind="stable")
    unsure = effect <= 1.96 * one["error"].values  # of a single scene there is no interval
    enough = ranked[(effect.ravel()[ranked] >= share * effect.max()) & ~unsure.ravel()[ranked]]
    index = NeuronIndex.of_labelled(one["single"])
    order = [(int(layer), int(number)) for layer, number in one["joint"].values]
    said = one["course"].sel(figure="said").values
    # a round of the selection shares one measurement: its last neuron is the length
    rounds = np.flatnonzero(np.any(np.diff(one["course"].values, axis=0) != 0, axis=1)) + 1
    ends = [*rounds.tolist(), len(order)]
    length = next((end for end in ends if said[end - 1] == 0), len(order))
    return {
        "single": _places(index, enough),
        "joint": order[:length],
        "order": order,
    }


def judge(
    atlas: xr.Dataset,
    concept: str,
    chosen: NeuronSet,
    scores: xr.DataArray | None = None,
    *,
    share: float = 0.05,
    k: int = 20,
) -> dict[str, float | None]:
    """Hold what a method chose against both truths.

    Parameters
    ----------
    atlas : xarray.Dataset
    concept : str
    chosen : NeuronSet
        Best first.
    scores : xarray.DataArray over (layer, neuron), optional
        The method's score of every neuron, for the rank correlation.
    share : float
        See `truths`.
    k : int
        Of overlap@k with the best by single effect, and with the greedy order.

    Returns
    -------
    dict
        `JUDGEMENTS`; None where there is nothing to count. Precision and recall are those of the
        whole choice; a choice of 60 neurons cannot be precise about 5.

    Examples
    --------
    >>> from mmkn_widgets.studies import judge, open_atlas, truths
    >>> known = truths(open_atlas(), "car")["single"]
    >>> chosen = mmkn.NeuronSet([place[0] for place in known], [place[1] for place in known])
    >>> judge(open_atlas(), "car", chosen)["recall_single"]
    1.0
    """
    known = truths(atlas, concept, share)
    places = [(int(neuron.layer), int(neuron.index)) for neuron in chosen]
    effect = atlas["single"].sel(concept=concept).values
    index = NeuronIndex.of_labelled(atlas["single"])
    best = _places(index, np.argsort(-effect, axis=None)[:k])
    found: dict[str, float | None] = {}
    for name in ("single", "joint"):
        hits = len(set(places) & set(known[name]))
        found[f"precision_{name}"] = hits / len(places) if places else None
        found[f"recall_{name}"] = hits / len(known[name]) if known[name] else None
    found["overlap_single"] = overlap_at_k(places, best, k)
    found["overlap_joint"] = overlap_at_k(places, known["order"], k)
    if scores is not None:
        found["rank_correlation"] = rank_correlation(scores.values, effect)
    return {name: found.get(name) for name in JUDGEMENTS}


def mean_judgement(
    judged: Mapping[str, Mapping[str, float | None]], words: Sequence[str], seed: int = 0
) -> dict[str, dict[str, float] | None]:
    """Average one method's judgements over concepts, with 95 % bootstrap intervals."""
    from .summary import mean_interval

    return {
        name: mean_interval([judged[word][name] for word in words], seed) for name in JUDGEMENTS
    }


def _places(index: NeuronIndex, ids: np.ndarray) -> list[Place]:
    """Return (layer, index) of flat ids; the atlas is of a dense model."""
    return [(layer, number) for layer, _, number in index.neurons(ids).places]

"""The two-stage filter: neurons that notice the object, and of these the ones that say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core import (
    NeuronSet,
    bad_argument,
    neuron_set,
    over_neurons,
    provenance,
    real_number,
    whole_number,
)
from .thresholds import quantile_threshold

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CANDIDATES",
    "TOP",
    "best_by_both",
    "default_thresholds",
    "nothing_to_find",
    "passes",
    "two_stage",
]

#: Which neurons, where nobody says: this share of all by stage 1, of these so many by stage 2.
CANDIDATES, TOP = 0.05, 60


def passes(
    difference: np.ndarray, cam: np.ndarray, threshold_d: float, threshold_g: float
) -> np.ndarray:
    """Return where both scores exceed their thresholds, compared in float32.

    Parameters
    ----------
    difference, cam : numpy.ndarray of float32
    threshold_d, threshold_g : float
        Minus infinity keeps every neuron that has a score, infinity none.

    Returns
    -------
    numpy.ndarray of bool
        False where a score is NaN.

    Raises
    ------
    BadArgument
        If a threshold is NaN: neither "all" nor "none" is meant by it.

    Examples
    --------
    >>> passes(np.float32([0.1, 0.3]), np.float32([1, 1]), 0.1, 0.5).tolist()
    [False, True]
    """
    limit_d = _as_float32(real_number("threshold_d", threshold_d, finite=False))
    limit_g = _as_float32(real_number("threshold_g", threshold_g, finite=False))
    return (np.asarray(difference, np.float32) > limit_d) & (np.asarray(cam, np.float32) > limit_g)


def _as_float32(value: float) -> np.float32:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinity
        return np.float32(value)


#: In nats (or logits): a word that changes by less when its object goes was not read there.
_LEAST_DROP = 0.01


def nothing_to_find(evidence: xr.Dataset) -> str:
    """Return a sentence that says why no neuron can hold the concept here; empty where one may.

    Two things are asked: whether any activation differs between the pictures and their inpainted
    twins, and whether the word is less likely on the twins: by `_LEAST_DROP` on average over the
    scenes, and from five scenes on by twice the standard error of that average. On a single
    picture an absent concept passes the second by chance.

    Parameters
    ----------
    evidence : xarray.Dataset
        From `collect`; without its ``log_prob`` only the activations are asked.

    Examples
    --------
    >>> import xarray as xr
    >>> same = xr.Dataset({"difference": (("layer", "neuron"), np.zeros((1, 3)))})
    >>> nothing_to_find(same)
    'pictures and inpainted twins are the same to the model: no activation differs'
    """
    difference = np.asarray(evidence["difference"].values)
    if np.isfinite(difference).any() and not np.nanmax(np.abs(difference)) > 0:
        return "pictures and inpainted twins are the same to the model: no activation differs"
    if "log_prob" not in evidence or "log_prob_inpainted" not in evidence:
        return ""
    drop = np.ravel(evidence["log_prob"].values - evidence["log_prob_inpainted"].values)
    drop = drop[np.isfinite(drop)].astype(float)
    least = _LEAST_DROP
    if len(drop) >= 5:
        least = max(least, 2 * float(drop.std(ddof=1)) / len(drop) ** 0.5)
    if not len(drop) or drop.mean() > least:
        return ""
    return (
        "the word is not less likely where the object is painted away (by "
        f"{drop.mean():.3g} nats on average over {len(drop)} scenes): the model does not read it "
        "there"
    )


def default_thresholds(
    difference: np.ndarray, cam: np.ndarray, top: int = TOP, *, nothing: bool = False
) -> tuple[float, float]:
    """Return the pair of thresholds that keeps the default set.

    Parameters
    ----------
    difference, cam : numpy.ndarray of float32, shape (layer, neuron)
        Stage 1 and stage 2; NaN where there is no neuron.
    top : int
    nothing : bool
        Whether there is `nothing_to_find`: the pair then keeps no neuron.

    Returns
    -------
    threshold_d, threshold_g : float
        What passes both is the share `CANDIDATES` of all neurons by stage 1, of these the `top`
        best by stage 2 whose score is above 0; fewer where values are equal. Without any number:
        0 and 0.

    Examples
    --------
    >>> d, g = np.float32([range(100)]), np.float32([range(100)])
    >>> pair = default_thresholds(d, g, top=3)
    >>> int(passes(d, g, *pair).sum())
    3
    """
    if not np.isfinite(difference).any():
        return 0.0, 0.0
    threshold_d = quantile_threshold(difference, 1 - CANDIDATES)
    if nothing:
        return threshold_d, float(max(cam[np.isfinite(cam)].max(initial=0), 0))
    inside = np.sort(cam[np.isfinite(cam) & (difference > np.float32(threshold_d))])[::-1]
    if not inside.size:
        return threshold_d, 0.0
    if inside.size <= top:
        least = float(np.nextafter(inside[-1], np.float32(-np.inf), dtype=np.float32))
        return threshold_d, max(least, 0.0)
    middle = np.float32((float(inside[top - 1]) + float(inside[top])) / 2)
    return threshold_d, float(max(middle, inside[top], np.float32(0)))


def best_by_both(difference: np.ndarray, cam: np.ndarray, n: int) -> np.ndarray:
    """Return the flat ids of the neurons that the tightest pairs of thresholds keep, best first.

    A neuron's rank is the worse of its two ranks, so that every corner of the plane that keeps
    few neurons is covered.

    Parameters
    ----------
    difference, cam : numpy.ndarray of float32, shape (layer, neuron)
    n : int
        How many at most.

    Returns
    -------
    numpy.ndarray of int64
        Of neurons that have both scores; see `mmkn_widgets.core.NeuronIndex`.

    Examples
    --------
    >>> best_by_both(np.float32([[3, 1, 2]]), np.float32([[2, 3, 1]]), 2).tolist()
    [0, 1]
    """
    d, g = difference.ravel(), cam.ravel()
    valid = np.flatnonzero(np.isfinite(d) & np.isfinite(g))
    rank = np.empty((2, len(valid)), np.int64)
    for place, values in enumerate((d, g)):
        rank[place, np.argsort(-values[valid], kind="stable")] = np.arange(len(valid))
    order = np.lexsort((-g[valid], rank.max(0)))
    return valid[order[:n]]


def two_stage(
    evidence: xr.Dataset,
    *,
    threshold_d: float | None = None,
    threshold_g: float | None = None,
    quantile_d: float | None = None,
    quantile_g: float | None = None,
    candidates: float | None = None,
    top: int | None = None,
    among: xr.DataArray | None = None,
) -> NeuronSet:
    """Keep neurons whose activation changes with the object and whose GradCAM score is high.

    Parameters
    ----------
    evidence : xarray.Dataset
        From `collect`.
    threshold_d, threshold_g : float, optional
        Absolute thresholds of stage 1 and stage 2; a stage without a threshold keeps all, as minus
        infinity does; infinity keeps none.
    quantile_d, quantile_g : float, optional
        Thresholds as quantiles over all neurons (those that have both scores), between 0 and 1.
    candidates : float, optional
        Instead of a threshold of stage 1: the share of all neurons that it keeps.
    top : int, optional
        Of those that pass, the best by stage 2; where stage 2 has no threshold, only such as add to
        the concept (a score above 0), and none where there is `nothing_to_find`.
    among : xarray.DataArray of bool, dims (layer, neuron), optional
        Only these neurons, labelled as the evidence is: what `automatic_thresholds` found.

    Returns
    -------
    NeuronSet
        Best GradCAM score first; may be empty, and then ``provenance["why"]`` says why. The
        provenance holds the absolute thresholds.

    Raises
    ------
    BadArgument
        If a threshold is NaN or given in two ways, a quantile or share is outside 0 to 1, or there
        is no score to take a quantile of.

    Notes
    -----
    Both stages compare maxima: "there is a position p with x[p] > t" is "max over p of x > t".
    With no argument at all: `CANDIDATES` and `TOP`, 5 % of all and of these 60, less what has no
    positive score.

    References
    ----------
    .. [1] Sato and Takagi 2025, arXiv 2503.22941, equations 3 to 5.

    Examples
    --------
    >>> import xarray as xr
    >>> d, g = np.float32([[0.9, 0.1, 0.8]]), np.float32([[0.2, 0.9, 0.5]])
    >>> dims = ("layer", "neuron")
    >>> evidence = xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": [0]})
    >>> [neuron.index for neuron in two_stage(evidence, threshold_d=0.5, threshold_g=0.1)]
    [2, 0]
    """
    given = (threshold_d, threshold_g, quantile_d, quantile_g, candidates, top)
    if all(value is None for value in given):
        candidates, top = CANDIDATES, TOP
    if candidates is not None:
        if threshold_d is not None or quantile_d is not None:
            raise bad_argument("candidates", candidates, "None beside a threshold of stage 1")
        if not 0 < real_number("candidates", candidates) <= 1:
            raise bad_argument("candidates", candidates, "a share above 0, at most 1")
        quantile_d = 1 - candidates if candidates < 1 else None
    best_only = top is not None and threshold_g is None and quantile_g is None
    why = nothing_to_find(evidence) if best_only else ""
    if best_only:
        threshold_g = np.inf if why else 0.0
    labelled = over_neurons(evidence["gradcam"], "evidence")
    difference = over_neurons(evidence["difference"], "evidence").values
    cam = labelled.values
    known = np.isfinite(difference) & np.isfinite(cam)
    limit_d = _limit("d", difference[known], threshold_d, quantile_d)
    limit_g = _limit("g", cam[known], threshold_g, quantile_g)
    if top is not None:
        top = whole_number("top", top, lowest=1)
    inside = passes(difference, cam, limit_d, limit_g)
    if among is not None:
        inside &= _named(among, labelled)
    made = provenance(
        "two_stage",
        evidence=evidence.attrs.get("provenance", ""),
        threshold_d=_recorded(limit_d),
        threshold_g=_recorded(limit_g),
        quantile_d=quantile_d,
        quantile_g=quantile_g,
        candidates=candidates,
        top=top,
        among=None if among is None else among.attrs.get("provenance", int(among.sum())),
    )
    if not inside.any():
        made["why"] = why or "no neuron that has both scores exceeds both thresholds"
    labels = labelled.to_dataset(name="gradcam")
    if "activation" in evidence:
        labels["activation"] = over_neurons(evidence["activation"], "evidence")
    return neuron_set(labels, np.where(inside, cam, np.nan), top, made)


def _named(among: xr.DataArray, labelled: xr.DataArray) -> np.ndarray:
    """Return which neurons of the evidence are named, bool (layer, neuron)."""
    chosen = over_neurons(among, "among")
    if chosen.dtype != np.bool_ or chosen.shape != labelled.shape:
        raise bad_argument(
            "among", f"{chosen.dtype} of shape {chosen.shape}", f"bool of shape {labelled.shape}"
        )
    for name in labelled.coords:
        if name in chosen.coords and not chosen[name].equals(labelled[name]):
            raise bad_argument("among", f"other labels of {name}", "those of the evidence")
    return np.asarray(chosen.values)


def _limit(name: str, scores: np.ndarray, absolute: float | None, quantile: float | None) -> float:
    if absolute is not None and quantile is not None:
        raise bad_argument(
            f"threshold_{name}, quantile_{name}", (absolute, quantile), "one of the two"
        )
    if quantile is not None:
        share = real_number(f"quantile_{name}", quantile, lowest=0, highest=1)
        if not scores.size:
            raise bad_argument(f"quantile_{name}", quantile, "a threshold: no neuron has a score")
        return quantile_threshold(scores, share)
    if absolute is None:
        return -np.inf
    return real_number(f"threshold_{name}", absolute, finite=False)


def _recorded(value: float) -> float | str | None:
    """Return a threshold as JSON can hold it; None where it is none."""
    if value == np.inf:
        return "inf"
    return float(value) if np.isfinite(value) else None

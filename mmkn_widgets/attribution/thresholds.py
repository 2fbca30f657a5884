"""Thresholds from the scores alone: quantile, Otsu, permutation with false-discovery control."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument, provenance, real_number, whole_number

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "automatic_thresholds",
    "benjamini_hochberg",
    "otsu",
    "permutation_threshold",
    "quantile_threshold",
    "share_below",
]


def quantile_threshold(scores: np.ndarray, quantile: float) -> float:
    """Return the score that a share `quantile` of all neurons does not exceed.

    Interpolated in float64 and then rounded to float32, in which thresholds are compared: the page
    computes the same.

    Parameters
    ----------
    scores : numpy.ndarray
        What is no finite number is left out.
    quantile : float
        From 0 to 1.

    Raises
    ------
    BadArgument
        If no score is a number, or the quantile is none from 0 to 1.

    Examples
    --------
    >>> quantile_threshold(np.arange(11.0), 0.9)
    9.0
    """
    share = real_number("quantile", quantile, lowest=0, highest=1)
    return float(np.float32(np.quantile(_known(scores), share)))


def _known(scores: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.asarray(scores, float)
    values = values[np.isfinite(values)]
    if not values.size:
        raise bad_argument("scores", "no number", "at least one finite score")
    return values


def share_below(scores: np.ndarray, threshold: float) -> float:
    """Return the share of all neurons that a threshold keeps out; 0 where no score is a number.

    Examples
    --------
    >>> share_below(np.float32([1, 2, 3, 4]), 3)
    0.75
    """
    finite = scores[np.isfinite(scores)]
    return float((finite <= np.float32(threshold)).mean()) if finite.size else 0.0


def otsu(scores: np.ndarray, bins: int = 512) -> float:
    """Return the threshold that splits scores into two classes of least variance.

    Parameters
    ----------
    scores : numpy.ndarray
        NaN is left out.
    bins : int
        From 2.

    Returns
    -------
    float

    References
    ----------
    .. [1] Otsu 1979, "A threshold selection method from gray-level histograms".

    Examples
    --------
    >>> 1.0 < otsu(np.r_[np.zeros(50), np.full(50, 10.0), np.ones(50)]) < 10
    True
    """
    bins = whole_number("bins", bins, lowest=2)
    values = _known(scores)
    counts, edges = np.histogram(values, bins=bins)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    weighted = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = weighted / below - (weighted[-1] - weighted) / above
        between = np.nan_to_num(below * above * gap**2)[:-1]
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean())


def permutation_threshold(
    evidence: xr.Dataset,
    *,
    stage: str = "difference",
    alternative: str = "greater",
    rate: float = 0.05,
    n: int = 1000,
    seed: int = 0,
) -> tuple[float, np.ndarray]:
    """Test every neuron by sign flips, and return the smallest score among the discoveries.

    Under the null hypothesis a pair's value is as likely to be negative as positive (original and
    inpainted picture are exchangeable), so its sign is a coin, and a neuron's p-value is the share
    of all 2^pairs ways to flip its signs whose mean reaches the observed one. Which neurons are
    discoveries is said by their own p-values, by Benjamini and Hochberg's step-up
    (`benjamini_hochberg`), and not by the threshold: a neuron whose values spread widely has a
    large mean by chance, and passes a cut on the mean. `automatic_thresholds` gives the set.

    Parameters
    ----------
    evidence : xarray.Dataset
        From ``collect(..., keep_pairs=True)``, for stage 1 with ``difference="signed"``.
    stage : {"difference", "gradcam"}
        Stage 1 or stage 2.
    alternative : {"greater", "two-sided"}
        What is looked for: means larger than 0, as `two_stage` keeps, or other than 0.
    rate : float
        False-discovery rate, between 0 and 1.
    n : int
        Up to so many flips are counted one by one; of more, the share is approximated.
    seed : int
        Changes nothing: no flip is drawn at random.

    Returns
    -------
    float
        The smallest score among the discoveries (absolute where two-sided); infinity when there is
        none.
    numpy.ndarray of float64, shape (layer, neuron)
        p-values; NaN where there is no neuron, or a pair has no finite number.

    Raises
    ------
    BadArgument
        If the pairs were not kept, or stage 1's have no sign.

    Notes
    -----
    Drawn flips end at 1 / (draws + 1), which among 350,000 neurons never is a discovery. The share
    of flips is therefore approximated by a saddlepoint [2]_ [3]_: K(t) = sum log cosh(t x) of the
    pairs' values x, K'(t) = sum x, w^2 / 2 = t K' - K, u^2 = t^2 K'', and p is the normal tail of
    w + log(u / w) / w. It is exact where at most `n` flips of the pairs that are not 0 exist, and
    where fewer flips reach the observed sum than two of the smallest values can make; and never
    below the share of the flips of up to two pairs. Beside the count of all flips of 16 pairs
    (normal, Laplace and Student's values) it is right to 6 % on average at every size of p, and to
    60 % for single neurons. 2^-pairs is the smallest p-value there is: with few pairs nothing can
    be found among many neurons (12 pairs: 2.4e-4). Where values are tied the
    approximation lies between the shares that exceed and that reach the sum.

    References
    ----------
    .. [1] Benjamini and Hochberg 1995, "Controlling the false discovery rate".
    .. [2] Robinson 1982, "Saddlepoint approximations for permutation tests and confidence
       intervals".
    .. [3] Barndorff-Nielsen 1986, "Inference on full or partial parameters based on the
       standardized signed log likelihood ratio".

    Examples
    --------
    >>> import xarray as xr
    >>> pairs = np.random.default_rng(0).normal(size=(12, 1, 20)).astype(np.float32)
    >>> pairs[:, 0, 7] += 5  # one neuron that answers to the concept
    >>> evidence = xr.Dataset({"pair_difference": (("scene", "layer", "neuron"), pairs)})
    >>> threshold, p = permutation_threshold(evidence)
    >>> int(p[0].argmin()), bool(p[0, 7] < 0.01), 4 < threshold < 6
    (7, True, True)
    """
    if stage not in ("difference", "gradcam"):
        raise bad_argument("stage", stage, "'difference' or 'gradcam'")
    if alternative not in ("greater", "two-sided"):
        raise bad_argument("alternative", alternative, "'greater' or 'two-sided'")
    if not 0 < real_number("rate", rate) < 1:
        raise bad_argument("rate", rate, "between 0 and 1")
    n, _ = whole_number("n", n, lowest=1), whole_number("seed", seed, lowest=0)
    if f"pair_{stage}" not in evidence:
        raise bad_argument("evidence", list(evidence), "collect(..., keep_pairs=True)")
    pairs = evidence[f"pair_{stage}"].values
    flat = pairs.reshape(len(pairs), -1)
    p, mean = np.full(flat.shape[1], np.nan), np.full(flat.shape[1], np.nan)
    signed = False
    for start in range(0, flat.shape[1], _CHUNK):
        block = flat[:, start : start + _CHUNK].astype(np.float64)
        known = np.isfinite(block).all(0)
        if not known.any():
            continue
        block = block[:, known]
        signed = signed or bool((block < 0).any())
        if alternative == "two-sided":
            block = block * np.sign(block.mean(0))
        at = start + np.flatnonzero(known)
        p[at], mean[at] = _flip_tail(block, n), block.mean(0)
    if stage == "difference" and np.isfinite(p).any() and not signed:
        raise bad_argument(
            "evidence",
            "absolute differences",
            "collect(..., difference='signed'), which have signs",
        )
    if alternative == "two-sided":
        p = np.minimum(1, 2 * p)
    found = benjamini_hochberg(p, rate)
    threshold = float(mean[found].min()) if found.any() else float("inf")
    return threshold, p.reshape(pairs.shape[1:])


def benjamini_hochberg(p: np.ndarray, rate: float) -> np.ndarray:
    """Return which p-values are discoveries at a false-discovery rate.

    Parameters
    ----------
    p : numpy.ndarray
        NaN is no test.
    rate : float

    Returns
    -------
    numpy.ndarray of bool, of the same shape

    References
    ----------
    .. [1] Benjamini and Hochberg 1995, "Controlling the false discovery rate".

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan]), 0.05).tolist()
    [True, True, True, False]
    """
    values = np.sort(p[np.isfinite(p)])
    passed = np.flatnonzero(values <= rate * np.arange(1, len(values) + 1) / max(len(values), 1))
    return p <= values[passed[-1]] if len(passed) else np.zeros(p.shape, bool)


#: Neurons that are tested at a time: 48 pairs of them are 6 MiB in float64.
_CHUNK = 16384


def _flip_tail(values: np.ndarray, n: int) -> np.ndarray:
    """Return the share of sign flips whose sum reaches the observed one, of each neuron.

    Parameters
    ----------
    values : numpy.ndarray of float64, shape (pair, neuron)
    n : int
        So many flips are counted one by one.
    """
    scale = np.abs(values).max(0, initial=0.0)
    scaled = values / np.where(scale > 0, scale, 1)
    size = -np.sort(-np.abs(scaled), axis=0)  # largest first
    filled = (size > 0).sum(0)
    total, most = scaled.sum(0), size.sum(0)
    share = np.ones(values.shape[1])
    few = 2.0**filled <= n
    for m in np.unique(filled[few]):
        every = np.arange(2 ** int(m))[:, None] >> np.arange(m)[None] & 1
        here = few & (filled == m)
        sums = (1.0 - 2 * every) @ size[:m, here]
        share[here] = (sums >= total[here] - _TIE * (most[here] + np.abs(total[here]))).mean(0)
    if not few.all():
        rest = ~few
        upper = _flips_beyond(size[:, rest], filled[rest], np.abs(total[rest]))
        share[rest] = np.where(total[rest] >= 0, upper, 1 - upper)
    return share


#: Sums that differ by less than this share of the largest are equal: rounding of float32.
_TIE = 1e-7


def _flips_beyond(size: np.ndarray, filled: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the share of flips whose sum is at least `total`, from 0 on: a saddlepoint.

    Parameters
    ----------
    size : numpy.ndarray of float64, shape (pair, neuron)
        Absolute values, largest first; the largest is 1.
    filled : numpy.ndarray of int
        How many of them are not 0.
    total : numpy.ndarray of float64
    """
    spare = (size.sum(0) - total) / 2 + _TIE * size.sum(0)  # what flipped pairs may hold together
    unit = 0.5**filled
    single = 1.0 + ((size > 0) & (size <= spare)).sum(0)
    column = np.arange(len(total))
    exact = spare < size[filled - 1, column] + size[filled - 2, column]  # none flips two
    share = unit * single
    at = np.flatnonzero(~exact)
    share[at] = np.maximum(share[at], _saddlepoint(size[:, at], total[at]))
    at = at[share[at] < unit[at] * (1 + filled[at] * (filled[at] + 1) / 2)]
    flips = single[at]
    for pair in range(1, len(size)):
        both = size[:pair, at] + size[pair, at]
        flips += ((both <= spare[at]) & (size[pair, at] > 0)).sum(0)
    share[at] = np.maximum(share[at], unit[at] * flips)
    return np.asarray(np.minimum(share, 1))


def _saddlepoint(size: np.ndarray, total: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    t = np.zeros_like(total)
    active = np.arange(len(total))
    for _ in range(60):  # K' is concave from 0 on: Newton's steps climb to the root and stop there
        x = size[:, active]
        slope = np.tanh(t[active] * x)
        step = (total[active] - (x * slope).sum(0)) / (x * x * (1 - slope * slope)).sum(0)
        t[active] += step
        active = active[np.abs(step) > 1e-9 * np.maximum(t[active], 1)]
        if not len(active):
            break
    tx = t * size
    k = (tx + np.log1p(np.exp(-2 * tx)) - np.log(2)).sum(0)
    w = np.sqrt(np.maximum(2 * (t * total - k), 0))
    u = t * np.sqrt((size * size / np.cosh(np.minimum(tx, 300)) ** 2).sum(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(w > 1e-4, w + np.log(u / w) / w, w)  # u / w is 1 at 0, to third order
    return np.asarray(ndtr(-root))


def automatic_thresholds(
    evidence: xr.Dataset,
    method: str = "quantile",
    *,
    quantile_d: float = 0.95,
    quantile_g: float = 0.95,
    rate: float = 0.05,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Set both thresholds from the scores alone.

    Parameters
    ----------
    evidence : xarray.Dataset
        From `collect`.
    method : {"quantile", "otsu", "permutation"}
        Shares of all neurons; the split of least variance within classes; false-discovery control
        of what is kept, which needs ``difference="signed", keep_pairs=True``.
    quantile_d, quantile_g : float
        Of ``quantile``.
    rate, n, seed
        Of ``permutation``.

    Returns
    -------
    dict
        ``threshold_d`` and ``threshold_g``, for `two_stage`; of ``permutation`` also ``among``, the
        neurons that are kept, to which two thresholds alone would add false ones.

    Notes
    -----
    With ``permutation`` a neuron is kept when both stages are larger than 0: its p-value is the
    larger of those of `permutation_threshold`, and Benjamini and Hochberg's step-up of these holds
    the share of false ones (in one of the stages, or in both) among the kept at `rate`.

    References
    ----------
    .. [1] Berger 1982, "Multiparameter hypothesis testing and acceptance sampling": the larger of
       two p-values tests that both effects are there.

    Examples
    --------
    >>> import xarray as xr
    >>> scores = np.linspace(0, 1, 101, dtype=np.float32)[None]
    >>> dims = ("layer", "neuron")
    >>> evidence = xr.Dataset({"difference": (dims, scores), "gradcam": (dims, scores)})
    >>> automatic_thresholds(evidence, quantile_d=0.9, quantile_g=0.5)
    {'threshold_d': 0.90, 'threshold_g': 0.50}
    """
    d, g = evidence["difference"].values, evidence["gradcam"].values
    if method == "quantile":
        found = quantile_threshold(d, quantile_d), quantile_threshold(g, quantile_g)
    elif method == "otsu":
        found = otsu(d), otsu(g)
    elif method == "permutation":
        return _permutation(evidence, rate=rate, n=n, seed=seed)
    else:
        raise bad_argument("method", method, "'quantile', 'otsu' or 'permutation'")
    return {"threshold_d": float(found[0]), "threshold_g": float(found[1])}


def _permutation(evidence: xr.Dataset, **options: Any) -> dict[str, Any]:
    p = np.maximum(
        *(permutation_threshold(evidence, stage=s, **options)[1] for s in ("difference", "gradcam"))
    )
    found = benjamini_hochberg(p, options["rate"])
    labelled = evidence["gradcam"].copy(data=found)
    labelled.attrs = {"provenance": json.dumps(provenance("automatic_thresholds", **options))}
    limits = {
        f"threshold_{name[0]}": _just_below(evidence[name].values[found])
        for name in ("difference", "gradcam")
    }
    return {**limits, "among": labelled.rename("among")}


def _just_below(values: np.ndarray) -> float:
    """Return the float32 below the smallest, so that "greater than" keeps it; infinity for none."""
    if not values.size:
        return float("inf")
    return float(np.nextafter(np.float32(values.min()), np.float32(-np.inf)))

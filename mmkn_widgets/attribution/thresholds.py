"""Thresholds from the scores alone: quantile, Otsu, permutation with false-discovery control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument, real_number, whole_number

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "automatic_thresholds",
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
    rate: float = 0.05,
    n: int = 1000,
    seed: int = 0,
) -> tuple[float, np.ndarray]:
    """Return a threshold with the false-discovery rate held at `rate`.

    Under the null hypothesis a pair's value is as likely to be negative as positive (original and
    inpainted picture are exchangeable), so its sign is a coin. Signs are flipped `n` times, all
    ways where these are fewer, p-values counted per neuron, and Benjamini and Hochberg's step-up
    applied. Stage 1 is tested two-sided, stage 2 for being larger than 0.

    Parameters
    ----------
    evidence : xarray.Dataset
        From ``collect(..., keep_pairs=True)``, for stage 1 with ``difference="signed"``.
    stage : {"difference", "gradcam"}
        Stage 1 or stage 2.
    rate : float
        False-discovery rate, between 0 and 1.
    n : int
        Permutations.
    seed : int

    Returns
    -------
    float
        The smallest score among the discoveries (absolute for stage 1); infinity when there is
        none.
    numpy.ndarray of float64, shape (layer, neuron)
        p-values; NaN where there is no neuron, or a pair has no number.

    Raises
    ------
    BadArgument
        If the pairs were not kept, or stage 1's have no sign.

    References
    ----------
    .. [1] Benjamini and Hochberg 1995, "Controlling the false discovery rate".

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
    if not 0 < real_number("rate", rate) < 1:
        raise bad_argument("rate", rate, "between 0 and 1")
    n, seed = whole_number("n", n, lowest=1), whole_number("seed", seed, lowest=0)
    if f"pair_{stage}" not in evidence:
        raise bad_argument("evidence", list(evidence), "collect(..., keep_pairs=True)")
    pairs = evidence[f"pair_{stage}"].values.astype(np.float32)
    shape = pairs.shape[1:]
    flat = pairs.reshape(len(pairs), -1)
    valid = np.isfinite(flat).all(0)
    flat = flat[:, valid]
    if stage == "difference" and flat.size and (flat >= 0).all():
        raise bad_argument(
            "evidence",
            "absolute differences",
            "collect(..., difference='signed'), which have signs",
        )
    two_sided = stage == "difference"
    observed = flat.mean(0, dtype=np.float64)
    observed = np.abs(observed) if two_sided else observed
    larger, drawn = np.zeros(flat.shape[1], np.int64), 0
    for signs in _signs(len(flat), n, seed):
        flipped = (signs @ flat) / len(flat)
        flipped = np.abs(flipped) if two_sided else flipped
        larger += (flipped >= observed - np.abs(observed) * 1e-6).sum(0)
        drawn += len(signs)
    exact = drawn == 2 ** min(len(flat), 60)
    p = larger / drawn if exact else (larger + 1) / (drawn + 1)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = order[: passed[-1] + 1] if len(passed) else order[:0]
    everywhere = np.full(valid.shape, np.nan)
    everywhere[valid] = p
    threshold = float(observed[found].min()) if len(found) else float("inf")
    return threshold, everywhere.reshape(shape)


def _signs(pairs: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of sign flips (flip, pair): all of them where these are at most `n`."""
    if 2 ** min(pairs, 60) <= n:
        every = np.arange(2**pairs)[:, None] >> np.arange(pairs)[None] & 1
        yield (1 - 2 * every).astype(np.float32)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, n, 100):
        yield rng.choice(np.array([-1, 1], np.float32), (min(100, n - start), pairs))


def automatic_thresholds(
    evidence: xr.Dataset,
    method: str = "quantile",
    *,
    quantile_d: float = 0.95,
    quantile_g: float = 0.95,
    rate: float = 0.05,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Set both thresholds from the scores alone.

    Parameters
    ----------
    evidence : xarray.Dataset
        From `collect`.
    method : {"quantile", "otsu", "permutation"}
        Shares of all neurons; the split of least variance within classes;
        false-discovery control, which needs ``difference="signed", keep_pairs=True``.
    quantile_d, quantile_g : float
        Of ``quantile``.
    rate, n, seed
        Of ``permutation``.

    Returns
    -------
    dict
        ``threshold_d`` and ``threshold_g``, for `two_stage`.

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
        options: dict[str, Any] = {"rate": rate, "n": n, "seed": seed}
        found = (
            _just_below(permutation_threshold(evidence, stage="difference", **options)[0]),
            _just_below(permutation_threshold(evidence, stage="gradcam", **options)[0]),
        )
    else:
        raise bad_argument("method", method, "'quantile', 'otsu' or 'permutation'")
    return {"threshold_d": float(found[0]), "threshold_g": float(found[1])}


def _just_below(value: float) -> float:
    """Return the next smaller float32, so that "greater than" keeps the discovery itself."""
    if np.isinf(value):  # nothing was discovered
        return value
    return float(np.nextafter(np.float32(value), np.float32(-np.inf)))

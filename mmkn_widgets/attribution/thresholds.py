"""Thresholds from the scores alone: quantile, Otsu, permutation with false-discovery control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._errors import bad_argument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["otsu", "permutation_threshold", "quantile_threshold"]


def quantile_threshold(scores: np.ndarray, quantile: float) -> float:
    """Return the score that a share `quantile` of all neurons does not exceed.

    Examples
    --------
    >>> quantile_threshold(np.arange(11.0), 0.9)
    9.0
    """
    if not 0 <= quantile <= 1:
        raise bad_argument("quantile", quantile, "a number from 0 to 1")
    return float(np.quantile(scores[np.isfinite(scores)], quantile))


def otsu(scores: np.ndarray, bins: int = 512) -> float:
    """Return the threshold that splits scores into two classes of least variance.

    Parameters
    ----------
    scores : numpy.ndarray
        NaN is left out.
    bins : int

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
    values = np.asarray(scores, float)
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise bad_argument("scores", "no number", "at least one finite score")
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
    evidence: xr.Dataset, *, rate: float = 0.05, n: int = 1000, seed: int = 0
) -> tuple[float, np.ndarray]:
    """Return a stage-1 threshold with the false-discovery rate held at `rate`.

    Under the null hypothesis original and inpainted picture are exchangeable, so the sign of each
    pair's difference is a coin. Signs are flipped `n` times, p-values counted per neuron, and
    Benjamini and Hochberg's step-up applied.

    Parameters
    ----------
    evidence : xarray.Dataset
        From ``collect(..., difference="signed", keep_pairs=True)``.
    rate : float
        False-discovery rate.
    n : int
        Permutations.
    seed : int

    Returns
    -------
    float
        The smallest ``abs(difference)`` among the discoveries; infinity when there is none.
    numpy.ndarray of float64, shape (layer, neuron)
        Two-sided p-values; NaN where there is no neuron.

    Raises
    ------
    BadArgument
        If the pairs were not kept.

    References
    ----------
    .. [1] Benjamini and Hochberg 1995, "Controlling the false discovery rate".
    """
    if "pair_difference" not in evidence:
        raise bad_argument("evidence", list(evidence), "collect(..., keep_pairs=True)")
    pairs = evidence["pair_difference"].values.astype(np.float32)
    shape = pairs.shape[1:]
    flat = pairs.reshape(len(pairs), -1)
    valid = np.isfinite(flat).all(0)
    flat = flat[:, valid]
    observed = np.abs(flat.mean(0))
    rng = np.random.default_rng(seed)
    larger = np.zeros(flat.shape[1], np.int64)
    for start in range(0, n, 100):
        signs = rng.choice(np.array([-1, 1], np.float32), (min(100, n - start), len(flat)))
        larger += (np.abs(signs @ flat) / len(flat) >= observed * (1 - 1e-6)).sum(0)
    p = (larger + 1) / (n + 1)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = order[: passed[-1] + 1] if len(passed) else order[:0]
    everywhere = np.full(valid.shape, np.nan)
    everywhere[valid] = p
    threshold = float(observed[found].min()) if len(found) else float("inf")
    return threshold, everywhere.reshape(shape)

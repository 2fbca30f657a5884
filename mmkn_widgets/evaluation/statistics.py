"""Confidence intervals, random controls and agreement between rankings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..core import Neuron, bad_argument, real_number, whole_number

__all__ = ["bootstrap_ci", "overlap_at_k", "random_control", "rank_correlation"]

#: numbers drawn at once: 2 MB however many rows there are
_AT_ONCE = 250_000


def bootstrap_ci(
    values: Sequence[float | None] | np.ndarray,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    n_resamples: int = 5000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | tuple[None, None]:
    """Return the percentile bootstrap interval (Efron 1979) of a statistic.

    Parameters
    ----------
    values : array, shape (n,) or (n, 2)
        One value for each independent unit (scene, concept); or a numerator and a denominator
        for each, for the ratio of their sums. Rows with None or NaN are left out.
    statistic : callable, optional
        From an array of resampled rows to a number; by default the mean, or the ratio of sums.
    n_resamples : int
    level : float
        Such as 0.95.
    seed : int

    Returns
    -------
    (float, float) or (None, None)
        Low and high; None when there are no values.

    Examples
    --------
    >>> bootstrap_ci([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    if not 0 < real_number("level", level) < 1:
        raise bad_argument("level", level, "between 0 and 1, such as 0.95")
    n_resamples = whole_number("n_resamples", n_resamples, lowest=1)
    seed = whole_number("seed", seed, lowest=0)
    rows = np.asarray(values, dtype=float)
    if rows.size == 0:
        return None, None
    if rows.ndim > 2 or (rows.ndim == 2 and rows.shape[1] != 2 and statistic is None):
        raise bad_argument("values", f"shape {rows.shape}", "(n,) or (n, 2)")
    rows = rows[np.isfinite(rows).reshape(len(rows), -1).all(axis=1)]
    if not len(rows):
        return None, None
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    chunk = max(1, _AT_ONCE // len(rows))
    for start in range(0, n_resamples, chunk):
        count = min(chunk, n_resamples - start)
        drawn = rows[generator.integers(0, len(rows), (count, len(rows)))]
        if statistic is not None:
            found.append(np.asarray([statistic(sample) for sample in drawn], dtype=float))
        elif rows.ndim == 1:
            found.append(drawn.mean(axis=1))
        else:
            sums = drawn.sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append(np.where(sums[:, 1] != 0, sums[:, 0] / sums[:, 1], np.nan))
    statistics = np.concatenate(found)
    statistics = statistics[np.isfinite(statistics)]
    if not len(statistics):
        return None, None
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def random_control(draws: Iterable[float | None]) -> dict[str, Any]:
    """Return mean, maximum and number of a figure over random draws; None when there are none.

    Examples
    --------
    >>> random_control([0.0, 0.1, 0.02])
    {'mean': 0.04, 'max': 0.1, 'n': 3}
    """
    known = [float(v) for v in draws if v is not None and not math.isnan(v)]
    if not known:
        return {"mean": None, "max": None, "n": 0}
    return {"mean": sum(known) / len(known), "max": max(known), "n": len(known)}


def _key(neuron: Any) -> Any:
    """Return what makes a neuron the same neuron, whatever its score."""
    if isinstance(neuron, Neuron):
        return neuron.place
    if hasattr(neuron, "layer") and hasattr(neuron, "index"):  # whoever's neuron
        return (neuron.layer, neuron.expert if hasattr(neuron, "expert") else -1, neuron.index)
    return neuron


def _is_scores(thing: Any) -> bool:
    return hasattr(thing, "__array__") and getattr(thing, "dtype", None) is not None


def _ranking(thing: Any, k: int) -> list[Any]:
    if _is_scores(thing):
        scores = np.asarray(thing, dtype=float).ravel()
        order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
        return [int(at) for at in order[: min(k, int(np.isfinite(scores).sum()))]]
    return [_key(neuron) for neuron in thing][:k]


def overlap_at_k(first: Any, second: Any, k: int | None = None) -> float | None:
    """Return the share of the best `k` neurons that two rankings have in common.

    Parameters
    ----------
    first, second : NeuronSet, sequence or array
        Ordered neurons (or any hashable ids), best first; or two arrays of scores of one shape.
    k : int, optional
        By default the length of the shorter one. If both are shorter than `k`, the longer one's
        length counts.

    Returns
    -------
    float or None
        Between 0 and 1; None when both are empty.

    Examples
    --------
    >>> overlap_at_k(["a", "b", "c"], ["b", "a", "x"], k=2)
    1.0
    """
    if k is not None:
        k = whole_number("k", k, lowest=1)
    if _is_scores(first) and _is_scores(second) and np.shape(first) != np.shape(second):
        raise bad_argument("second", f"shape {np.shape(second)}", f"first's, {np.shape(first)}")
    if k is None:
        sizes = [np.size(x) if _is_scores(x) else len(x) for x in (first, second)]
        k = max(1, min(sizes))
    one, two = _ranking(first, k), _ranking(second, k)
    size = min(k, max(len(one), len(two)))
    return len(set(one) & set(two)) / size if size else None


def rank_correlation(first: Any, second: Any) -> float | None:
    """Return Spearman's rank correlation of two arrays of scores.

    Parameters
    ----------
    first, second : array
        Of one shape; neurons without a finite score in both are left out. Ties share their rank.

    Returns
    -------
    float or None
        None when fewer than two neurons are left, or one side is constant.

    Examples
    --------
    >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 15.0])
    0.5
    """
    one, two = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    if one.shape != two.shape:
        raise bad_argument("second", f"{two.size} scores", f"as many as first: {one.size}")
    known = np.isfinite(one) & np.isfinite(two)
    if known.sum() < 2:
        return None
    ranks = [_average_ranks(scores[known]) for scores in (one, two)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / scale if scale else None


def _average_ranks(scores: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]

"""The rule "which neurons" stands once: as a set, as a pair of thresholds, as an order."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mmkn_widgets.attribution import (
    CANDIDATES,
    TOP,
    best_by_both,
    default_thresholds,
    passes,
    quantile_threshold,
    share_below,
    two_stage,
)
from mmkn_widgets.core import BadArgument


def evidence(seed: int, shape: tuple[int, int] = (3, 700)) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    d, g = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    d[-1, shape[1] // 2 :] = g[-1, shape[1] // 2 :] = np.nan  # a narrower layer
    dims = ("layer", "neuron")
    return xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": range(shape[0])})


@given(seed=st.integers(0, 1000), top=st.integers(1, 200))
def test_the_thresholds_keep_the_default_set(seed: int, top: int) -> None:
    scores = evidence(seed)
    d, g = scores["difference"].values, scores["gradcam"].values
    pair = default_thresholds(d, g, top)
    by_pair = two_stage(scores, threshold_d=pair[0], threshold_g=pair[1])
    assert by_pair.places == two_stage(scores, candidates=CANDIDATES, top=top).places
    assert [float(np.float32(cut)) for cut in pair] == list(pair)


def test_without_arguments_it_is_the_default_set() -> None:
    scores = evidence(3)
    assert two_stage(scores) == two_stage(scores, candidates=CANDIDATES, top=TOP)
    assert len(two_stage(scores)) == TOP


def test_equal_scores_and_none_are_survived() -> None:
    same = np.ones((2, 40), np.float32)
    assert int(passes(same, same, *default_thresholds(same, same)).sum()) == 0
    nothing = np.full((2, 3), np.nan, np.float32)
    assert default_thresholds(nothing, nothing) == (0.0, 0.0)
    assert share_below(nothing, 1.0) == 0.0
    with pytest.raises(BadArgument, match="no number"):
        quantile_threshold(nothing, 0.5)


@given(seed=st.integers(0, 1000), q=st.floats(0, 1))
def test_the_share_below_a_quantile_is_the_quantile(seed: int, q: float) -> None:
    values = evidence(seed)["gradcam"].values
    n = int(np.isfinite(values).sum())
    assert share_below(values, quantile_threshold(values, q)) == pytest.approx(q, abs=1.5 / n)


def test_the_best_by_both_are_kept_by_the_tightest_pairs() -> None:
    scores = evidence(5)
    d, g = (scores[name].values for name in ("difference", "gradcam"))
    ids = best_by_both(d, g, 50)
    ranks = [
        np.argsort(np.argsort(-values.ravel()[np.isfinite(values.ravel())])) for values in (d, g)
    ]
    known = np.flatnonzero(np.isfinite(d.ravel()))
    worse = dict(zip(known.tolist(), np.maximum(*ranks).tolist(), strict=True))
    assert [worse[int(i)] for i in ids] == sorted(worse.values())[:50]
    for number in (10, 50):  # every corner that keeps so few keeps only these
        corner = max(worse[int(i)] for i in ids[:number])
        assert {i for i, rank in worse.items() if rank < corner} <= set(ids[:number].tolist())

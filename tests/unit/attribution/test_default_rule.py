"""The rule "which neurons" stands once: as a set, as a pair of thresholds, as an order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.attribution import (
    CANDIDATES,
    TOP,
    best_by_both,
    collect,
    default_thresholds,
    nothing_to_find,
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
    scores = evidence(3, (3, 1400))
    assert two_stage(scores) == two_stage(scores, candidates=CANDIDATES, top=TOP)
    assert len(two_stage(scores)) == TOP


@settings(deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(0, 3))
def test_no_neuron_of_the_default_set_takes_from_the_concept(seed: int, shift: float) -> None:
    scores = evidence(seed)
    scores["gradcam"] = (scores["gradcam"] - np.float32(shift)).astype(np.float32)
    d, g = scores["difference"].values, scores["gradcam"].values
    found = two_stage(scores)
    inside = np.isfinite(g) & (d > np.float32(quantile_threshold(d, 1 - CANDIDATES)))
    assert len(found) == min(TOP, int((inside & (g > 0)).sum()))
    assert (found.score > 0).all()
    pair = default_thresholds(d, g)
    assert two_stage(scores, threshold_d=pair[0], threshold_g=pair[1]).places == found.places
    assert (two_stage(scores, candidates=CANDIDATES, threshold_g=-np.inf).score <= 0).any()


@pytest.mark.parametrize(
    ("drop", "found", "why"),
    [
        (np.full(8, 2.0), True, ""),
        ([0.5], True, ""),
        ([-0.5], False, "by -0.5 nats on average over 1 scenes"),
        ([1.0, -1.2, 0.9, -1.1, 0.8, -0.2], False, "not less likely where the object is painted"),
        (np.zeros(3), False, "by 0 nats"),
    ],
)
def test_a_word_that_the_object_does_not_bear_has_no_neurons(drop, found, why) -> None:
    scores = evidence(2)
    scores["log_prob"] = "scene", np.asarray(drop) - 3.0
    scores["log_prob_inpainted"] = "scene", np.full(len(drop), -3.0)
    kept = two_stage(scores)
    assert bool(len(kept)) == found
    assert why in kept.provenance.get("why", "")
    d, g = scores["difference"].values, scores["gradcam"].values
    pair = default_thresholds(d, g, nothing=bool(nothing_to_find(scores)))
    assert np.isfinite(pair).all()
    assert two_stage(scores, threshold_d=pair[0], threshold_g=pair[1]).places == kept.places
    assert len(two_stage(scores, threshold_d=0.0, threshold_g=0.0))  # who asks for it has it


def test_identical_pictures_give_a_sentence(pocket: Any, cars: list[Any]) -> None:
    same = collect(pocket, "car", cars[:2], inpainter=lambda image, mask: image)
    kept = two_stage(same)
    assert len(kept) == 0
    assert "the same to the model" in kept.provenance["why"]
    assert two_stage(collect(pocket, "car", cars[:2])).provenance.keys().isdisjoint({"why"})


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

"""Precision and recall against a truth written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from mmkn_widgets.attribution import NeuronSet
from mmkn_widgets.studies.judged import JUDGEMENTS, judge, mean_judgement, truths


@pytest.fixture
def atlas() -> xr.Dataset:
    single = np.zeros((1, 2, 4), np.float32)
    single[0, 1] = [1.0, 0.5, 0.04, 0.06]
    single[0, 0, 0] = -3.0
    joint = np.array([[[1, 0], [0, 2], [1, 1], [0, 3]]])
    course = np.array([[[-1, 0.5], [-1, 0.5], [-4, 0.0], [-4, 0.0]]], np.float32)
    return xr.Dataset(
        {
            "single": (("concept", "layer", "neuron"), single),
            "error": (("concept", "layer", "neuron"), np.full_like(single, 0.01)),
            "joint": (("concept", "rank", "place"), joint),
            "course": (("concept", "rank", "figure"), course),
        },
        coords={"concept": ["car"], "place": ["layer", "neuron"], "figure": ["log_prob", "said"]},
    )


def test_truths(atlas) -> None:
    known = truths(atlas, "car")
    assert known["single"] == [(1, 0), (1, 1), (1, 3)]
    assert known["joint"] == known["order"] == [(1, 0), (0, 2), (1, 1), (0, 3)]
    assert truths(atlas, "car", share=0.5)["single"] == [(1, 0), (1, 1)]
    atlas["error"][0, 1, 3] = 0.031  # 1.96 of these are more than its effect of .06
    assert truths(atlas, "car")["single"] == [(1, 0), (1, 1)]
    atlas["error"][:] = np.nan  # of single scenes
    assert truths(atlas, "car")["single"] == [(1, 0), (1, 1), (1, 3)]
    atlas["course"][0, :2, 1] = 0
    assert truths(atlas, "car")["joint"] == [(1, 0), (0, 2)]  # the first round was enough


def test_judgement_by_hand(atlas) -> None:
    chosen = NeuronSet([1, 0], [0, 0])
    found = judge(atlas, "car", chosen, k=2)
    assert found["precision_single"] == 0.5
    assert found["recall_single"] == pytest.approx(1 / 3)
    assert found["precision_joint"] == 0.5
    assert found["recall_joint"] == 0.25
    assert found["overlap_single"] == 0.5
    assert found["overlap_joint"] == 0.5
    assert found["rank_correlation"] is None
    scores = atlas["single"].sel(concept="car") * 2
    assert judge(atlas, "car", chosen, scores)["rank_correlation"] == pytest.approx(1)
    nothing = judge(atlas, "car", NeuronSet([], []))
    assert nothing["precision_single"] is None
    assert nothing["recall_single"] == 0
    assert tuple(found) == JUDGEMENTS


def test_means_leave_out_what_is_not_known(atlas) -> None:
    one = {name: 1.0 for name in JUDGEMENTS}
    two = {**one, "recall_joint": 0.0, "rank_correlation": None}
    found = mean_judgement({"a": one, "b": two}, ["a", "b"])
    assert found["recall_joint"]["mean"] == 0.5
    assert found["rank_correlation"] == {"mean": 1.0, "low": 1.0, "high": 1.0}

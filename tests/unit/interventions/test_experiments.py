"""The experiments as a whole, small: pairs of words, and the trade-off of a cure."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.evaluation import (
    EditStudy,
    edit_study,
    hallucination_cures,
    hallucination_study,
    pairs_to_edit,
)
from mmkn_widgets.interventions import EditReport, Goal
from tests.unit.interventions.helpers import n_hooks, same_bits, snapshot


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


def test_swaps_of_seeded_pairs(pocket: Any) -> None:
    val, test = mmkn.datasets.pocket_world("val"), mmkn.datasets.pocket_world("test")
    pairs = pairs_to_edit(list(test.categories), 16)[:3]
    before, told = snapshot(pocket), []
    study = edit_study(pocket, pairs, val, test, n_choose=24, n_with=12, n_without=16,
                       progress=lambda *step: told.append(step))  # fmt: skip
    assert [(one.source, one.target) for one in study.reports] == pairs
    assert told[-1] == (f"{pairs[-1][0]} > {pairs[-1][1]}", 3, 3)
    described = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    summary = described["summary"]
    assert summary["success"]["mean"] >= 0.8
    assert summary["locality"]["mean"] >= 0.9
    assert len(study.alphas) == 3
    assert same_bits(pocket, before)
    drawn = edit_study(pocket, pairs[:1], val, test, n_choose=24, n_with=12, n_without=16,
                       control=3)  # fmt: skip
    assert drawn.reports[0].n_neurons == study.reports[0].n_neurons
    assert drawn.reports[0].success < 0.5 < study.reports[0].success


def test_the_summary_is_over_pairs() -> None:
    def report(success: float, leaked: float | None) -> EditReport:
        return EditReport("a", "b", success, 1.0, 1.0, 1.0, 1.0, leaked, 0.0, 0.0, 5, 5, 10)

    study = EditStudy((report(0.5, 0.1), report(1.0, 0.3), report(0.9, None)))
    summary = study.summary()
    assert summary["success"]["mean"] == pytest.approx(0.8)
    assert summary["success"]["worst"] == 0.5
    assert summary["leaked"]["mean"] == pytest.approx(0.2)
    assert summary["leaked"]["worst"] == pytest.approx(0.3)
    assert summary["success"]["low"] >= 0.5
    assert summary["success"]["high"] <= 1.0
    assert EditStudy(()).summary() == {}


def test_a_cancelled_study_leaves_nothing(pocket: Any) -> None:
    val, before, token = mmkn.datasets.pocket_world("val"), snapshot(pocket), CancelToken()
    with pytest.raises(Cancelled):
        edit_study(pocket, [("car", "bus"), ("bus", "car")], val, val, n_choose=8, n_with=4,
                   n_without=4, cancel=token, progress=lambda *_: token.cancel())  # fmt: skip
    assert same_bits(pocket, before)
    assert n_hooks(pocket) == 0


def test_the_curve_of_a_cure(pocket: Any) -> None:
    def by_the_sea(scene: Any) -> bool:
        return "boat" in scene.categories and "sea" in scene.captions[0]

    val, test = mmkn.datasets.pocket_world("val"), mmkn.datasets.pocket_world("test")
    noisy = [s for s in mmkn.datasets.pocket_world("val", 100, subset="hallucination")
             if by_the_sea(s)]  # fmt: skip
    learn = [*noisy[:30], *val.with_concept("bird", 16), *val.without_concept("bird", 16)]
    absent = [
        scene
        for scene in mmkn.datasets.pocket_world("test", 60, subset="hallucination")
        if by_the_sea(scene) and "bird" not in scene.categories
    ]
    points = hallucination_study(
        pocket,
        "bird",
        learn,
        list(test.with_concept("bird", 16)),
        absent,
        top=(2, 20),
        goal=Goal(steps=20),
    )
    assert [point.name for point in points] == ["none", "zero 2", "edit 2", "zero 20", "edit 20"]
    assert [point.n_neurons for point in points] == [0, 2, 2, 20, 20]
    assert min(p.hallucinated for p in points[1:]) <= points[0].hallucinated / 2
    assert np.isfinite([p.kept for p in points]).all()
    with pytest.raises(BadArgument, match="top"):
        hallucination_study(pocket, "bird", learn, [], absent, top=())
    with pytest.raises(BadArgument, match="whose caption names it"):
        hallucination_study(pocket, "cup", absent[:2], [], [])
    cures = hallucination_cures(pocket, "bird", learn, top=(5,), control=True, goal=Goal(steps=2))
    names = ["zero 5", "edit 5", "random zero 5", "random edit 5"]
    assert [one.name for one in cures] == names
    found, drawn = cures[0], cures[2]
    assert {row: len(index) for row, index in found.rows.items()} == {
        row: len(index) for row, index in drawn.rows.items()
    }
    assert not any(set(found.rows[row]) & set(drawn.rows[row]) for row in found.rows)

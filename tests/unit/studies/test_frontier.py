"""The frontier of every method: its figures are those of the effect, its picture shows them."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.studies import FIGURES, Frontier, measure_frontier
from mmkn_widgets.studies.frontier import outline

WORD = "bus"


@pytest.fixture(scope="module")
def study() -> Any:
    val = mmkn.datasets.pocket_world("val")
    return mmkn.study(mmkn.load_model("pocket"), WORD, val.with_concept(WORD, 6))


@pytest.fixture(scope="module")
def scenes() -> tuple[Any, Any]:
    test = mmkn.datasets.pocket_world("test", 120)
    return test.with_concept(WORD, 6), test.without_concept(WORD, 5)


@pytest.fixture(scope="module")
def found(study: Any, scenes: Any) -> Frontier:
    methods = ["two_stage", "contrastive_mean", "random"]
    return measure_frontier(study, *scenes, methods=methods, counts=[20, 6], n_random=3)


def test_its_figures_are_those_of_the_effect(study: Any, scenes: Any, found: Frontier) -> None:
    assert found.methods == ("two_stage", "contrastive_mean", "random")
    assert found.points["neurons"].values.tolist() == [6, 20] * 3
    for at in (1, 2):
        effect = study.evaluate(found.sets[at], *scenes, n_random=3, metrics=())
        point = found.points.isel(point=at)
        assert len(found.sets[at]) == int(point["neurons"])
        wanted = {
            "suppression": effect.suppression,
            "retention": effect.retention["headline"],
            "retention_scene": effect.retention["scene"],
            "retention_other": effect.retention["other"],
            "identical": effect.identical,
            "substitution": effect.substitution,
            "random": effect.random_control["mean"],
            "random_max": effect.random_control["max"],
            "suppression_low": effect.ci["suppression"][0],
            "suppression_high": effect.ci["suppression"][1],
        }
        assert set(wanted) == set(FIGURES)
        for name, value in wanted.items():
            assert float(point[name]) == pytest.approx(value), name


def test_contrast_is_held_against_the_words_of_the_scenes(study: Any, found: Frontier) -> None:
    shares = study.word_shares(study.scenes_without(6))
    score = shares["contribution"].sel(word=WORD) - shares["contribution"].drop_sel(word=WORD).mean(
        "word"
    )
    best = np.argsort(-score.values.ravel())[:6]
    places = {(int(k) // 512, int(k) % 512) for k in best}
    assert {(n.layer, n.index) for n in found.sets[2]} == places


def test_the_frontier_is_what_none_beats() -> None:
    gone = np.asarray([0.2, 0.9, 0.9, 1.0, np.nan, 0.95])
    kept = np.asarray([1.0, 0.8, 0.9, 0.4, 0.9, np.nan])
    assert outline(gone, kept).tolist() == [0, 2, 3]


def test_the_picture_has_a_mark_for_every_set(found: Frontier) -> None:
    axes = found.plot()
    marks = {str(one.get_label()): one for one in axes.collections}
    for at in range(len(found.sets)):
        name, n = str(found.points["method"].values[at]), int(found.points["neurons"][at])
        mark = marks[f"{name}, {n}"]
        (place,) = np.asarray(mark.get_offsets()).tolist()
        assert place == pytest.approx(
            [float(found.points["retention"][at]), float(found.points["suppression"][at])]
        )
        fill = float(mark.get_facecolor()[0, 3])
        assert fill == pytest.approx(0.05 + 0.95 * float(found.points["substitution"][at]))
    small, large = (marks[f"two_stage, {n}"].get_sizes()[0] for n in (6, 20))
    assert small < large
    legend = axes.get_legend()
    assert legend is not None
    told = {text.get_text() for text in legend.get_texts()}
    assert {"two_stage", "random neurons instead", "substitution 1", "20 neurons"} <= told
    plt.close("all")


def test_marks_on_one_spot_do_not_cover_each_other(found: Frontier) -> None:
    from mmkn_widgets.studies.frontier import _apart

    moved = _apart(np.ones(9), np.ones(9), np.arange(9.0))
    apart = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
    assert apart[~np.eye(9, dtype=bool)].min() > 7
    assert not _apart(np.asarray([1.0, 0.2]), np.asarray([1.0, 0.4]), np.ones(2)).any()


def test_sets_of_ones_own_and_a_page(study: Any, scenes: Any) -> None:
    mine = {"best": [study.neurons().top(4), study.neurons().top(12)], "none": study.neurons()[:0]}
    made = measure_frontier(study, *scenes, methods=mine, n_random=0)
    assert made.methods == ("best",) and np.isnan(made.points["random"]).all()
    page = made._repr_html_()
    assert page.count(">best<") == 2 and "substitution" in page
    table = made.to_dataframe()
    assert table["neurons"].tolist() == [4, 12] and set(FIGURES) <= set(table)


def test_what_cannot_be_compared_is_said(study: Any, scenes: Any) -> None:
    with pytest.raises(mmkn.BadArgument, match="methods"):
        measure_frontier(study, *scenes, methods=["guess"])
    with pytest.raises(mmkn.BadArgument, match="with_concept"):
        measure_frontier(study, [], methods=["two_stage"])


def test_whom_the_kept_serve(study: Any) -> None:
    table = study.serves(study.neurons().top(10))
    assert len(table) == 10 and (table["others"] > 0).any()
    assert not any(WORD in line.split(", ") for line in table["serves"])
    assert (table["others"] == [len(s.split(", ")) if s else 0 for s in table["serves"]]).all()

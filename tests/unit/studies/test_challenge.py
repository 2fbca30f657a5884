"""The challenge: a task by its seed, a judge that nobody looked at, answers at the end only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets import BadArgument, NotSupported
from mmkn_widgets.studies import Challenge, Try, challenge_score


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


def small(pocket: Any, **given: Any) -> Challenge:
    given = {"n_looked": 4, "n_judged": 6, "n_random": 2, "progress": False} | given
    return Challenge(pocket, **given)


def ids(scenes: Any) -> list[tuple[str, Any]]:
    return [(scene.source, scene.id) for scene in scenes]


def everything(task: Challenge) -> tuple[Any, ...]:
    looked, judged = ids(task.study.scenes), [ids(part) for part in task._judging]
    return task.concept.word, task.budget, looked, ids(task.without_concept), judged


def test_the_same_seed_is_the_same_task_and_another_another(pocket: Any) -> None:
    first, again, other = (everything(small(pocket, seed=seed)) for seed in (2, 2, 5))
    assert first == again
    assert first[:2] != other[:2]
    assert all(a != b for a, b in zip(first[2:], other[2:], strict=True))


def test_what_is_given_is_not_drawn(pocket: Any) -> None:
    task = small(pocket, concept="car", budget=3, seed=2)
    assert (task.concept.word, task.budget) == ("car", 3)


def test_again_draws_anew_what_was_drawn_and_keeps_what_was_given(pocket: Any) -> None:
    first, given = small(pocket, seed=2), small(pocket, concept="car", budget=3, seed=2)
    assert everything(first.again(5)) == everything(small(pocket, seed=5))
    other = given.again()
    assert (other.seed, other.concept.word, other.budget) == (3, "car", 3)
    assert everything(other)[2:] != everything(given)[2:]
    assert other.n_judged == (6, 6)


@pytest.mark.parametrize("test", ["pocket:test", "pocket:val"])
def test_the_judge_s_scenes_were_not_looked_at(pocket: Any, test: str) -> None:
    scenes = mmkn.datasets.pocket_world("val", 200)
    held = scenes if test == "pocket:val" else test
    task = small(pocket, concept="car", scenes=scenes, test=held)
    looked = {*ids(task.study.scenes), *ids(task.without_concept)}
    judged = [one for part in task._judging for one in ids(part)]
    assert len(judged) == len(set(judged)) == 12
    assert looked.isdisjoint(judged)
    shows = [all("car" in scene.categories for scene in part) for part in task._judging]
    assert shows == [True, False]


def test_no_scene_left_for_the_judge_is_said(pocket: Any) -> None:
    few = mmkn.datasets.pocket_world("val", 12)
    with pytest.raises(BadArgument, match="test: got 'pocket:val.*that are left"):
        small(pocket, concept="car", scenes=few, test=few, n_looked=12)
    with pytest.raises(BadArgument, match="scenes: got"):
        small(pocket, scenes=[few[0]])


@pytest.mark.parametrize(
    ("suppression", "retention", "size", "points"),
    [
        (1.0, 1.0, 5, 1.0),
        (0.4, 1.0, 5, 0.4),
        (1.0, 0.4, 1, 0.4),
        (0.7, None, 5, 0.7),
        (1.0, 1.0, 6, 0.8),
        (0.5, 0.9, 7, 0.1),
        (1.0, 1.0, 10, 0.0),
        (1.0, 1.0, 60, 0.0),
    ],
)
def test_score(suppression: float, retention: float | None, size: int, points: float) -> None:
    assert challenge_score(suppression, retention, size, 5) == pytest.approx(points)
    chosen = mmkn.NeuronSet(np.zeros(size, int), np.arange(size))
    assert Try(chosen, suppression, retention, None, 0.0, 5).score == pytest.approx(points)


def test_score_of_no_share_is_refused() -> None:
    with pytest.raises(BadArgument, match="suppression"):
        challenge_score(1.2, 1.0, 5, 5)
    with pytest.raises(BadArgument, match="budget"):
        challenge_score(1.0, 1.0, 5, 0)


def test_neurons_and_their_thresholds_are_judged_alike(pocket: Any) -> None:
    task = small(pocket, concept="bird", budget=7)
    cut = float(np.sort(task.study.evidence.gradcam.values.ravel())[-8])
    chosen = task.study.neurons(0.0, cut)
    pairs = [(n.layer, n.index) for n in chosen]
    tries = [
        task.submit(threshold_d=0.0, threshold_g=cut),
        task.submit(chosen),
        task.submit(pairs),
    ]
    assert {one.size for one in tries} == {7}
    assert len({tuple(one.figures().values()) for one in tries}) == 1
    assert tries[0].score > 0.5 > tries[0].random
    assert task.tries.index.tolist() == [1, 2, 3]
    assert task.tries["score"].tolist() == [one.score for one in tries]


def test_the_judge_is_the_evaluation_on_its_scenes(pocket: Any) -> None:
    task = small(pocket, concept="fish")
    chosen = task.study.neurons(top=6)
    one, effect = task.submit(chosen), task.study.evaluate(chosen, *task._judging, n_random=2)
    assert one.suppression == effect.suppression
    assert one.retention == effect.retention["headline"]
    assert one.substitution == effect.substitution
    assert one.random == effect.random_control["mean"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"neurons": [(4, 1)], "threshold_g": 0.1},
        {"threshold_g": 1e9},
        {"threshold_d": "much"},
        {"neurons": []},
        {"neurons": [(4, 1, 2)]},
        {"neurons": [(99, 1)]},
    ],
)
def test_what_cannot_be_judged_is_no_try(pocket: Any, given: dict[str, Any]) -> None:
    task = small(pocket, concept="car")
    with pytest.raises(BadArgument):
        task.submit(**given)
    assert len(task.tries) == 0
    assert task.best is None


def test_answers_come_at_the_end_and_chance_is_below(pocket: Any) -> None:
    task = small(pocket, concept="car", budget=6)
    mine = task.submit(task.study.neurons(top=6))
    task.submit(task.study.neurons(top=30))
    assert task.best is mine
    assert not task.revealed
    assert "brute force" not in task._repr_html_()
    assert task.study.search is None  # nothing was searched yet
    with pytest.raises(BadArgument, match=r"answers.*reveal"):
        _ = task.answers
    table = task.reveal(progress=False)
    assert set(table.index) == {
        "random", "proposed thresholds", "default set", "learned mask", "brute force",
        "yours, the best",
    }  # fmt: skip
    assert table["score"].is_monotonic_decreasing
    for name in ("proposed thresholds", "learned mask", "yours, the best"):
        assert table.loc[name, "score"] > table.loc["random", "score"]
    assert table.loc["brute force", "score"] > 0.5 > table.loc["random", "score"]
    assert table.loc["yours, the best", "score"] == mine.score
    assert table.loc["default set", "score"] == 0  # ten times the budget
    within = [name for name in table.index if name != "default set"]
    assert (table.loc[within, "size"] <= 6).all()
    assert "brute force" in task._repr_html_()
    assert task.reveal().equals(table)
    with pytest.raises(NotSupported, match="another seed"):
        task.submit(task.study.neurons(top=6))

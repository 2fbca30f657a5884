"""The challenge's box: what it submits, what it says, and that no answer is in its state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.studies import Challenge
from mmkn_widgets.widgets import ChallengeBox


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture
def box(pocket: Any) -> Iterator[ChallengeBox]:
    task = Challenge(pocket, "car", 6, n_looked=4, n_judged=6, n_random=1, progress=False)
    made = ChallengeBox(task)
    yield made
    made.close()


def states(box: ChallengeBox) -> str:
    """Return what the page and a saved notebook hold, as text; pictures and scores left out."""
    widgets = [box, box.explorer, box.submit, box.reveal, box.said, box.table]
    held = [widget.get_state() for widget in [*widgets, box.task, box.following]]
    texts = [{k: v for k, v in one.items() if not isinstance(v, bytes)} for one in held]
    return json.dumps(texts, default=str)


def test_thresholds_and_neurons_are_the_explorer_s(box: ChallengeBox) -> None:
    cut = float(np.sort(box.challenge.study.evidence.gradcam.values.ravel())[-5])
    box.threshold_d, box.threshold_g = 0.0, cut
    assert (box.explorer.threshold_d, box.explorer.threshold_g) == (0.0, cut)
    assert box.neurons == box.explorer.neurons
    assert len(box.neurons) == 4
    assert box.said.value == "4 neurons kept, 6 allowed"


def test_another_word_s_neurons_are_said_to_be_another_s(box: ChallengeBox) -> None:
    scenes = mmkn.datasets.pocket_world("val").with_concept("dog", 3)
    box.explorer.show_study(mmkn.study(box.challenge.model, "dog", scenes, progress=False))
    assert box.said.value.endswith("They are of “dog”, the task is “car”")
    box.explorer.show_study(box.challenge.study)
    assert "the task is" not in box.said.value


def test_submit_judges_what_is_kept(box: ChallengeBox) -> None:
    cut = float(np.sort(box.challenge.study.evidence.gradcam.values.ravel())[-7])
    box.explorer.threshold_d, box.explorer.threshold_g = 0.0, cut
    box.submit.click()
    box.wait()
    assert len(box.challenge.tries) == 1
    assert box.challenge.best is not None
    assert box.challenge.best.neurons == box.neurons
    assert f"{box.challenge.best.score:.3f}" in box.table.value
    assert not box.submit.disabled


def test_nothing_kept_is_said_and_is_no_try(box: ChallengeBox) -> None:
    box.threshold_g = 1e9
    box.submit.click()
    box.wait()
    assert "lower a threshold" in box.said.value
    assert len(box.challenge.tries) == 0
    assert not box.submit.disabled


def test_the_answers_are_in_no_state_before_they_are_revealed(box: ChallengeBox) -> None:
    box.submit.click()
    box.wait()
    judging = [scene for part in box.challenge._judging for scene in part]
    before = states(box)
    assert "brute force" not in before
    assert "learned mask" not in before
    looked = {str(scene.id) for scene in box.challenge.study.scenes}
    assert looked <= {str(line["name"]) for line in box.explorer.scenes}
    assert not [scene.id for scene in judging if json.dumps(str(scene.id)) in before]
    assert box.challenge._answers is None
    box.reveal.click()
    box.wait()
    assert "brute force" in states(box)
    assert box.submit.disabled
    assert box.reveal.disabled
    assert "this task is over" in box.said.value


def test_next_is_a_fresh_task_of_the_next_seed(box: ChallengeBox) -> None:
    first = box.challenge
    box.submit.click()
    box.wait()
    box.following.click()
    box.wait()
    assert box.challenge is not first
    assert (box.challenge.seed, box.challenge.concept.word, box.challenge.budget) == (1, "car", 6)
    assert box.explorer.study is box.challenge.study
    looked = [{scene.id for scene in task.study.scenes} for task in (first, box.challenge)]
    assert looked[0] != looked[1]
    assert (len(first.tries), len(box.challenge.tries)) == (1, 0)
    assert "seed 1" in box.task.value
    assert box.table.value == ""
    assert not box.submit.disabled


def test_what_too_many_cost_is_said_before_they_are_submitted(box: ChallengeBox) -> None:
    ranked = np.sort(box.challenge.study.evidence.gradcam.values.ravel())
    box.threshold_d, box.threshold_g = 0.0, float(ranked[-10])
    assert box.said.value == "9 neurons kept, 6 allowed: takes 0.500 off the score"
    box.threshold_g = float(ranked[-13])
    assert box.said.value == "12 neurons kept, 6 allowed: nothing is left of the score"
    box.threshold_g = float(ranked[-2])
    assert box.said.value == "1 neuron kept, 6 allowed"


def test_a_failure_is_said_in_words_and_the_buttons_come_back(
    box: ChallengeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise mmkn.BadArgument("concept: got '<b>', expected another")

    monkeypatch.setattr(box.challenge, "submit", fails)
    box.submit.click()
    box.wait()
    assert box.said.value == "concept: got '&lt;b&gt;', expected another"
    assert not box.submit.disabled

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
    held = [widget.get_state() for widget in widgets]
    texts = [{k: v for k, v in one.items() if not isinstance(v, bytes)} for one in held]
    return json.dumps(texts, default=str)


def test_thresholds_and_neurons_are_the_explorer_s(box: ChallengeBox) -> None:
    cut = float(np.sort(box.challenge.study.evidence.gradcam.values.ravel())[-5])
    box.threshold_d, box.threshold_g = 0.0, cut
    assert (box.explorer.threshold_d, box.explorer.threshold_g) == (0.0, cut)
    assert box.neurons == box.explorer.neurons
    assert len(box.neurons) == 4
    assert box.said.value == "4 neurons kept, 6 allowed"


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
    assert "another seed" in box.said.value

"""The committed report speaks of the shipped weights, and what it says can be measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pocket_lab.report import concept_figures, report_path, weights_digest

import mmkn_widgets as mmkn
from mmkn_widgets import pocket


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads(report_path().read_text())


def test_it_is_about_the_shipped_weights(report) -> None:
    assert report["weights"] == weights_digest(Path(pocket.path()))
    assert set(report["concepts"]) == set(mmkn.datasets.pocket_world("test", 1).categories)


def test_captions_are_right_on_held_out_scenes(report) -> None:
    captions = report["captions"]
    assert captions["recall"] >= 0.98
    assert captions["color"] >= 0.99
    assert captions["exact"] >= 0.95
    assert captions["hallucinated"] <= 0.02
    assert report["hallucination_subset"]["chair_s"] >= 0.10


def test_knowledge_is_in_the_neurons(report) -> None:
    mean = report["mean"]
    assert mean["suppression"] >= 0.97
    assert mean["suppression_worst"] >= 0.90
    assert min(mean["retention_scene"], mean["retention_other"]) >= 0.97
    assert mean["random_control"] <= 0.02
    assert mean["image_signed_suppression"] >= 0.90


def test_knowledge_can_be_seen_and_moved(report) -> None:
    mean = report["mean"]
    assert mean["pointing_raw"] >= max(0.75, mean["pointing_random_raw"] + 0.30)
    assert mean["pointing_signed"] >= max(0.80, mean["pointing_random_signed"] + 0.30)
    assert mean["logit_lens"] >= 0.90
    assert report["transplant"]["success"] >= 0.90
    assert report["transplant"]["n"] >= 100


def test_a_concept_can_be_measured_again(report) -> None:
    model = mmkn.load_model("pocket")
    worlds = (mmkn.datasets.pocket_world("val"), mmkn.datasets.pocket_world("test"))
    again = concept_figures(model, "fish", *worlds, measuring=24, n_random=2)
    held = report["concepts"]["fish"]
    assert again["suppression"] == pytest.approx(held["suppression"], abs=0.12)
    assert again["retention"]["scene"] == pytest.approx(held["retention"]["scene"], abs=0.1)
    assert again["logit_lens"] == pytest.approx(held["logit_lens"], abs=0.05)
    assert again["pointing"]["raw"] == pytest.approx(held["pointing"]["raw"], abs=0.15)
    assert again["random_control"]["mean"] <= 0.1

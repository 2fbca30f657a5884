"""Lesions that skip what they do not touch, against lesions of the whole model."""

from __future__ import annotations

import numpy as np
import pytest
from pocket_lab.atlas import TeacherForced, joint_order, lesioned, single_effects
from pocket_lab.lesioned_scene import LesionedScene

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import NotSupported


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def forced(model):
    scenes = mmkn.datasets.pocket_world("val").with_concept("star", 3)
    return TeacherForced(model, "star", scenes)


@pytest.fixture(scope="module")
def scenes(model):
    return lesioned(model, "star", mmkn.datasets.pocket_world("val").with_concept("star", 3))


def _whole(forced, place, off, layer, neurons):
    masks = np.repeat(off[None], len(neurons), 0)
    masks[np.arange(len(neurons)), layer, neurons] = True
    return forced.log_prob(place, masks, len(neurons))


@pytest.mark.parametrize("already", [False, True])
def test_each_layer_agrees_with_the_whole_model(forced, scenes, already) -> None:
    off = np.zeros((6, 512), bool)
    off[1::2, ::5] = already
    neurons = np.arange(3, 512, 30)  # more than one batch of rows
    for place, scene in enumerate(scenes):
        now, _ = scene.lesion(off)
        assert now == pytest.approx(float(forced.log_prob(place, off[None], 1)[0]), abs=1e-5)
        for layer in range(6):
            found = scene.effect_of(layer, neurons)
            wanted = _whole(forced, place, off, layer, neurons)
            np.testing.assert_allclose(found, wanted, atol=1e-5)
            assert np.ptp(found) > 1e-5  # single neurons matter differently
    assert scenes[0].lesion(None) == (pytest.approx(float(forced.baseline[0]), abs=1e-6), True)


def test_greedy_selection_takes_what_lowers_most(scenes) -> None:
    single = np.zeros((6, 512), np.float32)
    order, course = joint_order(scenes, single, 5, pool=0, step=2)
    assert order.shape == (5, 2)
    assert len({tuple(place) for place in order}) == 5
    assert set(order[:, 0]) <= {4, 5}
    first = []
    for layer in (4, 5):
        for scene in scenes:
            scene.lesion(None)
        first.append(sum(scene.effect_of(layer, np.arange(512)) for scene in scenes))
    best = np.unravel_index(np.argmin(first), (2, 512))
    assert tuple(order[0]) == (best[0] + 4, best[1])
    assert course[0, 0] == course[1, 0] > course[2, 0] > course[4, 0]
    assert course[0, 1] >= course[-1, 1]


def test_single_effects_are_means_over_scenes(scenes) -> None:
    found = single_effects(scenes[:1], (6, 512))
    base, _ = scenes[0].lesion(None)
    assert found.shape == (6, 512)
    np.testing.assert_allclose(
        found[5], base - scenes[0].effect_of(5, np.arange(512)), rtol=1e-5, atol=1e-7
    )


def test_another_decoder_is_refused(model, monkeypatch) -> None:
    scene = mmkn.datasets.pocket_world("val", 1)[0]
    monkeypatch.setattr(model.hf.model.language_model.config, "num_key_value_heads", 2)
    with pytest.raises(NotSupported, match=r"TeacherForced\.log_prob"):
        LesionedScene(model, scene.image, [5], 6)

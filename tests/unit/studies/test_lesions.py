"""Lesions that skip what they do not touch, against lesions of the whole model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pocket_lab import ordinary, sample
from pocket_lab.atlas import BEHIND, TeacherForced, joint_order, lesioned, single_effects
from pocket_lab.lesioned_scene import LesionedScene
from pocket_lab.study import study_path

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
    found, unknown = single_effects(scenes[:1], (6, 512))
    base, _ = scenes[0].lesion(None)
    assert found.shape == (6, 512)
    assert np.isnan(unknown).all()
    np.testing.assert_allclose(
        found[5], base - scenes[0].effect_of(5, np.arange(512)), rtol=1e-5, atol=1e-7
    )
    mean, error = single_effects(scenes[:3], (6, 512))
    falls = [
        scene.lesion(None)[0] - scene.effect_of(5, np.arange(512)).astype(np.float64)
        for scene in scenes[:3]
    ]
    np.testing.assert_allclose(mean[5], np.mean(falls, 0), rtol=1e-4, atol=1e-7)
    wanted = np.std(falls, axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(error[5], wanted, rtol=1e-3, atol=1e-6)


def test_only_the_neurons_asked_for_are_measured(scenes) -> None:
    which = np.zeros((6, 512), bool)
    which[2, [7, 11]] = which[5, 500] = True
    some, _ = single_effects(scenes[:2], which.shape, which)
    whole, _ = single_effects(scenes[:2], which.shape)
    np.testing.assert_allclose(some[which], whole[which], atol=1e-6)
    assert (some[~which] == 0).all()
    assert (np.abs(whole[which]) > 0).all()


def test_query_heads_that_share_a_key_head(pocket_of_fewer_keys) -> None:
    model = pocket_of_fewer_keys
    star = mmkn.datasets.pocket_world("val").with_concept("star", 8)
    ids = model.tokenizer("star", add_special_tokens=False).input_ids[0]
    scene = LesionedScene(model, star[0].image, [5, 9], ids)
    prepared = model.prepare([star[0].image], continuation=[[5, 9]])
    neurons = np.arange(3, 512, 60)
    for layer in (0, 3, 5):
        found = scene.effect_of(layer, neurons)
        wanted = []
        for neuron in neurons:
            with model.ablate({layer: [int(neuron)]}):
                logits = model.forward(prepared, logits_to_keep=1).logits[0, -1]
            wanted.append(float(logits.float().log_softmax(-1)[ids]))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert np.ptp(found) > 1e-5


@pytest.fixture
def pocket_of_fewer_keys():
    """A pocket model of which two query heads share a key head each."""
    model = mmkn.load_model("pocket")
    for layer in model.hf.model.language_model.layers:
        attention = layer.self_attn
        attention.num_key_value_groups *= 2
        for name in ("k_proj", "v_proj"):
            whole = getattr(attention, name)
            half = torch.nn.Linear(whole.in_features, whole.out_features // 2, bias=False)
            half.weight.data.copy_(whole.weight[: whole.out_features // 2])
            setattr(attention, name, half)
    return model


def test_another_decoder_is_refused() -> None:
    model, scene = (
        mmkn.load_model("pocket", dtype="bfloat16"),
        mmkn.datasets.pocket_world("val", 1)[0],
    )
    with pytest.raises(NotSupported, match=r"TeacherForced\.log_prob"):
        LesionedScene(model, scene.image, [5], 6)


def test_a_sample_of_neurons_is_measured_and_written(tmp_path, monkeypatch) -> None:
    for name, value in {"SCENES": 2, "DRAWN": 3, "FIRST": 4, "WHOLE": 8, "CHOOSING": 4}.items():
        monkeypatch.setattr(sample, name, value)
    monkeypatch.setattr(sample, "METHODS", ("gradcam", "contribution"))
    monkeypatch.setattr(ordinary, "study_path", lambda: tmp_path)
    monkeypatch.setattr(ordinary, "MODELS", {"pocket": ("prepared", None, ())})
    work = ["--work", str(tmp_path / "work")]
    sample.main([*work, "--model", "pocket", "--words", "car"])
    part = tmp_path / "work" / "pocket" / "car.json"
    found = json.loads(part.read_text())
    assert np.shape(found["drawn"]["effect"]) == np.shape(found["drawn"]["error"]) == (6, 3)
    assert list(found["methods"]) == ["gradcam", "contribution", "two_stage"]
    rows = found["methods"]
    model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    made = mmkn.study(model, "car", val.with_concept("car", 4))
    best = made.best_by_gradcam(8)
    measured = lesioned(model, "car", val.with_concept("car", BEHIND + 2)[BEHIND:])
    falls = []
    for scene in measured:
        before = scene.lesion(None)[0]
        off = np.zeros((6, 512), bool)
        off[best.layer, best.index] = True
        falls.append(before - scene.lesion(off)[0])
    assert rows["gradcam"]["together_8"] == pytest.approx(np.mean(falls), rel=1e-4)
    assert rows["gradcam"]["together_8"] > 1 > abs(rows["gradcam"]["random_8"])
    first = [(int(best.layer[0]), int(best.index[0]))]
    which = np.zeros((6, 512), bool)
    which[first[0]] = True
    effect, error = single_effects(measured, which.shape, which)
    assert rows["gradcam"]["effect"][0] == pytest.approx(effect[first[0]], rel=1e-4)
    assert rows["gradcam"]["error"][0] == pytest.approx(error[first[0]], rel=1e-4)
    shown = sample.summary([found])
    assert shown["drawn"]["neurons"] == 18
    assert shown["methods"]["gradcam"]["sum"]["mean"] == pytest.approx(
        sum(rows["gradcam"]["effect"]), abs=1e-4
    )


def test_the_page_of_the_sample_is_made_of_its_figures() -> None:
    held = json.loads((study_path() / "sample.json").read_text("utf-8"))
    text = (study_path() / "sample.md").read_text("utf-8")
    assert text == sample.table(held["pocket-smollm2"]).rstrip() + "\n"

"""What a study says and does on one of its scenes, against sums done by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.datasets import ObjectInstance, Scene
from mmkn_widgets.interventions.transplantation import last_third, word_start
from mmkn_widgets.models.geometry import Geometry
from mmkn_widgets.studies import on_scene
from mmkn_widgets.studies.elsewhere import shares_of
from mmkn_widgets.studies.on_scene import _slope


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val():
    return mmkn.datasets.pocket_world("val", 160)


@pytest.fixture(scope="module")
def study(model, val):
    return mmkn.study(model, "car", val.with_concept("car", 6))


@pytest.fixture(scope="module")
def chosen(study, model):
    neurons = study.neurons()
    return neurons.rows(model), neurons.index


def with_another(study):
    """Return a scene, a category that it shows beside the concept, and the concept's place."""
    for number, scene in enumerate(study.scenes):
        words = study.caption(number).split()
        for name in scene.categories:
            if name != "car" and name in words and "car" in words:
                return number, name, words.index("car")
    raise AssertionError("no scene names two objects")


def test_a_transplant_writes_the_other_object(study, model) -> None:
    scene, other, index = with_another(study)
    mask = study.scenes[scene].mask(other)
    pieces: list[str] = []
    found = study.transplant(
        scene, index, mask, object=other, on_token=lambda piece, _row: pieces.append(piece)
    )
    assert (found.word, found.before) == ("car", study.caption(scene))
    assert found.success
    assert found.said == found.after.split()[index]
    assert found.before.split()[:index] == found.after.split()[:index]
    assert "".join(pieces).strip() == found.after
    assert found.layers == last_third(model) == (4, 5)
    assert model.interventions.active == ()
    assert study.transplant(scene, index, mask, layers=[0]).success is None


def test_the_caption_before_is_that_of_the_unchanged_model(study, model) -> None:
    again = study.with_scene(Scene("again", study.scenes[0].image))
    with model.ablate(study.neurons()):
        assert model.caption(study.scenes[0].image) != study.caption(0)
        assert again.caption(len(study.scenes)) == study.caption(0)


def test_a_transplant_says_what_is_wrong(study) -> None:
    scene, other, _ = with_another(study)
    mask = study.scenes[scene].mask(other)
    with pytest.raises(BadArgument, match="index: got 99, expected a word of the caption"):
        study.transplant(scene, 99, mask)
    with pytest.raises(BadArgument, match="threshold"):
        study.transplant(scene, 0, np.zeros_like(mask))
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        study.transplant(scene, 0, mask, cancel=cancel)


def test_words_and_tokens_are_aligned(study, model) -> None:
    text = study.caption(0)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    for index, word in enumerate(text.split()):
        start = word_start(model, ids, index)
        assert start is not None
        assert model.decode(ids[start:]).split()[0] == word


def test_the_measured_change_is_the_change_of_the_log_probability(study, model, chosen) -> None:
    rows, indices = chosen
    clean = study.measured_change(0, rows, indices)
    assert clean.measured == 0.0
    assert clean.unit == "nats"
    mask = study.neurons().mask(model)
    with model.ablate(mask):
        found = study.measured_change(0, rows, indices)
        place = study.place(0).prediction
        prepared = model.prepare([study.scenes[0].image], continuation=[list(place.prefix)])
        logits = model.forward(prepared, logits_to_keep=1).logits[0, -1]
    assert found.after == pytest.approx(float(torch.log_softmax(logits, -1)[place.token]), abs=1e-6)
    assert found.before == clean.before
    assert found.measured == pytest.approx(found.after - clean.before)
    small = 1 - 1e-2  # to first order where the step is small
    with model.ablate(mask, "scale", scale=small):
        step = study.measured_change(0, rows, indices, scale=small)
    assert step.first_order == pytest.approx(0.01 * clean.first_order, rel=1e-3)
    assert step.measured == pytest.approx(step.predicted, rel=0.2, abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.4, 2.0])
def test_the_prediction_follows_the_way_to_the_ablation(study, model, chosen, scale) -> None:
    """Where the first order, of a model that is sure of the word, sees next to nothing."""
    rows, indices = chosen
    for scene in range(3):
        study.place(scene)  # its caption is written once
    forwards = []
    handle = model.hf.register_forward_hook(lambda *_: forwards.append(1))
    predicted, measured, first = [], [], []
    for scene in range(3):
        with model.ablate(study.neurons(), "scale", scale=scale):
            change = study.measured_change(scene, rows, indices, scale=scale)
        predicted.append(change.predicted)
        measured.append(change.measured)
        first.append(change.first_order)
    handle.remove()
    assert len(forwards) == 3 * 3  # before, on the way, after
    assert np.mean(predicted) == pytest.approx(np.mean(measured), rel=0.25, abs=2e-3)
    assert predicted == pytest.approx(measured, rel=0.5, abs=5e-3)
    if scale == 0:
        assert np.mean(measured) < -1 < 4 * np.mean(first)
    change = study.measured_change(0, rows, indices, scale=1.0)
    assert change.predicted == change.first_order == 0


def test_the_slope_is_the_difference_quotient(study, model) -> None:
    image, place = study.scenes[0].image, study.place(0)
    row, index = study.neurons().rows(model)[:40], study.neurons().index[:40]
    for a in (1.0, 0.5, 0.0):
        y, slope = _slope(model, image, place, row, index, a)
        beside = [_slope(model, image, place, row, index, a + h)[0] for h in (0.02, -0.02)]
        assert slope == pytest.approx((beside[0] - beside[1]) / 0.04, rel=0.02, abs=1e-4)
        with model.ablate(study.neurons().top(40), "scale", scale=a):
            assert y == pytest.approx(float(place.score(model, image)), abs=1e-5)


def test_predictions_of_the_scenes_average_to_the_study_s(study, chosen) -> None:
    rows, indices = chosen
    each = [study.measured_change(k, rows, indices).first_order for k in range(6)]
    mean = -study.evidence["gradient_sum"].values[rows, indices].sum()
    assert np.mean(each) == pytest.approx(mean, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("one", [0, 7, 23])
def test_the_predicted_change_has_the_sign_of_the_real_one(study, model, one) -> None:
    """Turn neurons down by a little, and read y in the real model on every scene."""
    neurons = study.neurons().take([one, one + 1, one + 2])
    step = 0.02
    predicted = study.predicted_change(neurons, scale=1 - step)
    assert predicted == pytest.approx(step * study.predicted_change(neurons))
    assert study.predicted_change(neurons, scale=1 + step) == pytest.approx(-predicted)
    assert study.predicted_change(neurons, scale=1.0) == 0

    def y(scene: int) -> float:
        place = study.place(scene).prediction
        picture = study.scenes[scene].image
        prepared = model.prepare([picture], continuation=[list(place.prefix)])
        logits = model.forward(prepared, logits_to_keep=1).logits[0, -1].double()
        return float(torch.log_softmax(logits, -1)[place.token])

    scenes = range(len(study.scenes))
    before = [y(scene) for scene in scenes]
    with model.ablate(neurons, "scale", scale=1 - step):
        after = [y(scene) for scene in scenes]
    measured = float(np.mean(np.subtract(after, before)))
    assert abs(measured) > 1e-5
    assert np.sign(measured) == np.sign(predicted)
    assert measured == pytest.approx(predicted, rel=0.1)


def test_patch_scores_are_the_sums_over_patches(study, model, chosen) -> None:
    rows, indices = chosen
    found = study.patch_scores(rows, indices, scene=0)
    one = [study.patch_scores(rows[k : k + 1], indices[k : k + 1], scene=0) for k in (0, 1)]
    two = study.patch_scores(rows[:2], indices[:2], scene=0)
    assert found.difference.shape == found.gradcam.shape == (8, 8)
    assert (found.difference >= 0).all()
    mean = (one[0].difference + one[1].difference) / 2
    np.testing.assert_allclose(two.difference, mean, rtol=1e-4, atol=1e-6)
    total = one[0].gradcam + one[1].gradcam
    np.testing.assert_allclose(two.gradcam, total, rtol=1e-3, atol=1e-7)
    original = study.maps(rows[:1], indices[:1], scene=0)[0]
    gone = Scene("gone", study.pictures(0)[1])
    other = study.with_scene(gone)
    twin = other.maps(rows[:1], indices[:1], scene=6)[0]
    np.testing.assert_allclose(one[0].difference, np.abs(original - twin), rtol=1e-3, atol=1e-5)


def test_the_logit_lens_reads_the_object_in_its_patches(study) -> None:
    hits = total = 0
    for scene in range(4):
        words = study.patch_words(scene, k=2)
        assert len(words) == 64
        small = Image.fromarray(study.scenes[scene].mask("car")).resize(
            (8, 8), Image.Resampling.BOX
        )
        inside = np.asarray(small).ravel()
        total += int(inside.sum())
        hits += sum("car" in words[cell] for cell in np.flatnonzero(inside))
    assert hits / total > 2 * 2 / 68  # twice the chance of two words out of 68


def test_a_cell_says_the_word_of_the_finest_token_that_looks_there(
    study, model, monkeypatch
) -> None:
    boxes = np.array([[0, 0, 6, 4], [0, 0, 2, 4], [4, 0, 6, 4], [0, 0, 4, 4]], float)
    panels = (np.array([[1, -1, 2]]), np.array([[0]]))
    geometry = Geometry("tiles", (1, 3), boxes, (4, 6), panels)
    words = [["whole"], ["left"], ["right"], ["two thirds"]]
    seen = SimpleNamespace(geometry=geometry)
    monkeypatch.setattr(on_scene, "patch_lens", lambda *_, **__: (words, seen))
    found = on_scene.patch_words(model, study.scenes[0].image)
    assert found == [["left"], ["two thirds"], ["right"]]
    boxes[[0, 2]] = np.nan  # tokens without a place
    assert on_scene.patch_words(model, study.scenes[0].image)[2] == []


def test_the_concept_s_neurons_write_its_word_above_others(study, val, chosen) -> None:
    rows, indices = chosen
    shares = study.word_shares(val.without_concept("car", 8))
    assert shares.sizes["word"] > 3
    own = shares_of(shares, int(rows[0]), int(indices[0]))
    values = [share["contribution"] for share in own]
    assert values == sorted(values, reverse=True)
    by_name = {share["name"]: share for share in own}
    assert by_name["car"]["captions"] >= 6
    word = shares["contribution"].sel(word="car").values
    assert by_name["car"]["rank"] == 1 + int((word > word[rows[0], indices[0]]).sum())
    others = shares["contribution"].drop_sel(word="car").values
    # the concept's neurons write its word, and the other words far less
    assert word[rows, indices].mean() > 5 * others[:, rows, indices].mean()
    assert word[rows, indices].mean() > 20 * word.mean()


def test_shares_agree_with_the_evidence_of_the_same_scenes(study) -> None:
    shares = study.word_shares(words=["car"])
    named = int(shares["captions"].sel(word="car"))
    if named == len(study.scenes):
        np.testing.assert_allclose(
            shares["contribution"].sel(word="car").values,
            study.evidence["contribution"].values,
            rtol=2e-3,
            atol=2e-4,
        )
    assert named > 0


def test_another_picture_to_look_at_leaves_the_scores(study, chosen, tmp_path, model) -> None:
    picture = study.scenes[1].image
    more = study.with_scene(Scene("mine", picture, source="own"))
    assert len(more.scenes) == 7
    assert len(more.scored) == 6
    assert more.evidence is study.evidence
    assert not more.has_pair(6)
    assert more.pictures(6)[1] is picture
    assert more.caption(6) == study.caption(1)
    with pytest.raises(BadArgument, match="paint one"):
        more.patch_scores(*chosen, scene=6)
    mask = study.scenes[1].mask("car")
    named = Scene("mine", picture, (), [ObjectInstance("car", mask, (0, 0, 1, 1))], source="own")
    again = more.with_scene(named, 6)
    assert again.has_pair(6)
    np.testing.assert_allclose(
        again.patch_scores(*chosen, scene=6).difference,
        study.patch_scores(*chosen, scene=1).difference,
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(BadArgument, match="scenes that were added"):
        more.with_scene(named, 0)
    opened = mmkn.open_study(more.save(tmp_path / "mine"), model)
    assert (len(opened.scenes), len(opened.scored)) == (7, 6)

"""A study from end to end on the pocket model: find, errors, save and open, threshold search."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import suppression
from mmkn_widgets.inpainting import FunctionInpainter
from mmkn_widgets.studies import find, search_thresholds
from mmkn_widgets.studies.search import plane
from mmkn_widgets.studies.study import PairCache


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val():
    return mmkn.datasets.pocket_world("val", 160)


@pytest.fixture(scope="module")
def study(model, val):
    return mmkn.study(model, "car", val.with_concept("car", 6))


def test_pictures_of_one_id_in_two_data_sets_are_painted_each() -> None:
    painted = PairCache(FunctionInpainter(lambda image, _mask: image))
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    pair = [
        mmkn.datasets.Scene("1", Image.new("RGB", (8, 8), colour), source=source)
        for colour, source in (("red", "a"), ("blue", "b"))
    ]
    both = painted.batch([scene.image for scene in pair], [mask, mask], pair)
    assert [one.getpixel((3, 3)) for one in both] == [(255, 0, 0), (0, 0, 255)]
    assert painted(pair[1].image, mask, pair[1]).getpixel((3, 3)) == (0, 0, 255)


def test_find_measures_on_other_scenes_and_writes_what_it_found(model, val, tmp_path) -> None:
    test = mmkn.datasets.pocket_world("test", 120)
    scenes = [*test.with_concept("star", 6), *test.without_concept("star", 6)]
    found = find(model, "star", list(val.with_concept("star", 16)), test=scenes, n_random=2)
    described = json.loads(json.dumps(found.to_dict()))
    assert described["held_out"] is True
    assert described["n_scenes"] == 6
    assert 50 < len(described["neurons"]) <= 60  # less what takes from the word
    assert min(neuron["score"] for neuron in described["neurons"]) > 0
    assert set(described["neurons"][0]) == {"layer", "index", "score", "words"}
    assert set(described["retention"]) == {"scene", "other"}
    assert described["suppression"] > described["random_control"]["mean"]
    folder = found.save(tmp_path / "out")
    assert mmkn.NeuronSet.load(folder / "star.mmkn.json") == found.neurons
    assert len(list(folder.glob("star-*.png"))) == 4


def test_find_says_what_is_wrong(model, val, monkeypatch) -> None:
    with pytest.raises(BadArgument, match="concept: got 'cart'.*car"):
        find(model, "cart")
    car = list(val.with_concept("car", 2))
    with pytest.raises(BadArgument, match="keep no neuron"):
        find(model, "car", car, threshold_d=1e9)
    with monkeypatch.context() as patch:
        patch.setitem(find.__globals__, "study", pytest.fail)  # said before any work
        for name in ("threshold_d", "threshold_g", "quantile_d", "quantile_g"):
            for wrong in (float("nan"), "0.5", True):
                with pytest.raises(BadArgument, match=f"{name}: got"):
                    find(model, "car", car, **{name: wrong})
    with pytest.raises(BadArgument, match="keep all"):
        find(model, "car", car, threshold_d=-1.0, threshold_g=-1e9)
    with pytest.raises(BadArgument, match="'car', expected an object of scene"):
        find(model, "car", list(val.without_concept("car", 2)))


def test_a_saved_study_opens_with_the_same_neurons(study, tmp_path, model) -> None:
    caption = study.caption(0)
    path = study.save(tmp_path / "car.study")
    again = mmkn.open_study(path, model)
    assert again.neurons(quantile_d=0.9, top=30) == study.neurons(quantile_d=0.9, top=30)
    assert again.caption(0) == caption
    assert np.array_equal(again.pictures(1)[1], study.pictures(1)[1])
    with pytest.raises(BadArgument, match="path"):
        mmkn.open_study(tmp_path)


def test_neurons_unchecked_by_hand_are_numbers(study) -> None:
    first, second = study.neurons(top=2)
    for place in ((first.layer, first.index), first.place, (float(first.layer), first.index)):
        assert study.neurons(top=2, exclude=[place]).places == [second.place]
    for wrong in ((4, 1.5), (4, "1"), (4, True), (4, 2**70)):
        with pytest.raises(BadArgument, match="exclude: got"):
            study.neurons(exclude=[wrong])
    for name in ("threshold_d", "threshold_g", "quantile_d", "quantile_g"):
        with pytest.raises(BadArgument, match=f"{name}: got nan"):
            study.neurons(**{name: float("nan")})
    assert len(study.neurons(threshold_d=float("inf"))) == 0
    everything = study.neurons(threshold_d=-float("inf"), threshold_g=-float("inf"))
    assert len(everything) == study.evidence["gradcam"].size


def test_maps_words_and_tokens_are_of_the_same_neuron(study) -> None:
    neurons = study.neurons()
    row, index = int(neurons.rows(study.model)[0]), int(neurons.index[0])
    painted = study.maps([row], [index], scene=0)
    tokens, values = study.tokens(0, row, index)
    image = values[[place for place, token in enumerate(tokens) if token[1] == "image"]]
    assert painted.shape == (1, 8, 8)
    np.testing.assert_allclose(painted[0].ravel(), image, rtol=1e-4, atol=1e-5)
    assert len(study.words([row], [index], k=3)[0]) == 3
    rows, indices = neurons.rows(study.model)[:5][::-1], neurons.index[:5][::-1]
    assert len(set(rows.tolist())) > 1
    together = study.tokens(0, rows, indices)
    assert together[0] == tokens
    np.testing.assert_allclose(together[1][-1], values, rtol=1e-5, atol=1e-6)
    other = study.tokens(0, int(rows[0]), int(indices[0]))[1]
    np.testing.assert_allclose(together[1][0], other, rtol=1e-5, atol=1e-6)


def test_provenance_names_the_inpainter_that_painted(study) -> None:
    assert study.evidence.attrs["inpainter"] == "telea"
    assert "radius" in str(study.evidence.attrs)


def test_the_search_proposes_a_measured_pair(study, val) -> None:
    found = search_thresholds(
        study, None, val.without_concept("car", 6), quantiles_d=(0.9, 0.95), kept=(20, 60)
    )
    assert 1 <= found.points.sizes["setting"] <= 4
    kept = study.neurons(found.threshold_d, found.threshold_g)
    assert len(kept) == int(found.points["neurons"][found.best])
    assert set(found.frontier) <= set(range(found.points.sizes["setting"]))
    control = found.points["random_control"].values
    assert (control < found.points["suppression"].values).all()
    assert (control >= 0).all()
    assert f"random {control[found.best]:.3f}" in repr(found)


def test_the_search_and_the_effect_look_for_the_same_objects(study, val) -> None:
    """What is said instead may be on none of these few scenes: the data set's words count."""
    ((*_, kept),) = plane(study, (0.9,), (60,))
    cars, without = val.with_concept("car", 6), val.without_concept("car", 12)
    with study.model.ablate(kept):
        said = [study.model.caption(scene.image) for scene in cars]
    at, instead = next(
        (at, word)
        for at, text in enumerate(said)
        for word in val.categories
        if word in text.split() and word not in cars[at].categories
    )
    other = next(n for n, scene in enumerate(without) if instead not in scene.categories)
    present, absent = cars[at : at + 1], without[other : other + 1]
    options = {"quantiles_d": (0.9,), "kept": (60,), "n_random": 0}
    found = search_thresholds(study, present, absent, **options)
    effect = study.evaluate(kept, present, absent, n_random=0, metrics=())
    assert effect.substitution == 1.0
    assert found.points["substitution"].values.tolist() == [effect.substitution]
    assert found.points["retention"].values.tolist() == [effect.retention["headline"]]


def test_random_neurons_are_drawn_like_the_set_and_measured_by_captions(study) -> None:
    options = {"quantiles_d": (0.95,), "kept": (20,), "seed": 7}
    ((*_, measured),) = plane(study, (0.95,), (20,))
    before = [study.caption(k) for k in range(len(study.scenes))]
    fast = search_thresholds(study, n_random=2, **options).points["random_control"]
    slow = []
    for draw in (7, 8):
        with study.model.ablate(mmkn.attribution.random_like(study.model, measured, draw)):
            after = study.model.caption([scene.image for scene in study.scenes])
        slow.append(suppression(before, after, study.concept))
    assert fast.values.tolist() == [np.mean(slow)]
    none = search_thresholds(study, n_random=0, **options).points["random_control"]
    assert none.isnull().all()

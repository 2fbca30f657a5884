"""What a study knows of its scenes: other words, masks painted by hand, where a neuron fires."""

from __future__ import annotations

import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.datasets import Scene
from mmkn_widgets.studies import blank_study


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val():
    return mmkn.datasets.pocket_world("val", 160)


@pytest.fixture(scope="module")
def study(model, val):
    return mmkn.study(model, "car", val.with_concept("car", 4), target="logit")


def test_another_word_is_studied_on_scenes_that_show_it(study, val) -> None:
    assert study.dataset.categories == val.categories
    trees = study.scenes_of("tree")
    assert len(trees) == 4
    assert all("tree" in scene.categories for scene in trees)
    other = study.of_word("tree")
    assert other.concept.word == "tree"
    assert other.options == study.options
    assert [scene.id for scene in other.scored] == [scene.id for scene in trees]
    assert other.pairs is study.pairs
    with pytest.raises(BadArgument, match="an object that the scenes show: .*car"):
        study.scenes_of("zebra")
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        study.of_word("tree", cancel=cancel)


def test_scenes_without_the_word_come_from_the_data_set(study, model) -> None:
    absent = study.scenes_without(5)
    assert len(absent) == 5
    assert not any("car" in scene.categories for scene in absent)
    picture = study.scenes[0].image
    alone = blank_study(model, "car", Scene("mine", picture, source="own"))
    assert alone.dataset is None
    assert alone.scenes_without(5) == []


def test_pictures_of_one_s_own_come_along_where_they_show_the_word(study) -> None:
    mine = study.with_scene(Scene("mine", study.scenes[0].image, source="own"))
    assert [s.id for s in mine.scenes_of("car")] == [s.id for s in study.scenes]
    painted = mine.with_mask(4, study.scenes[0].mask("car"))
    assert [str(s.id) for s in painted.scenes_of("car")][-1] == "mine"
    assert painted.has_pair(4)
    assert not mine.has_pair(4)


def test_a_mask_by_hand_paints_anew_and_leaves_the_scores(model, val) -> None:
    study = mmkn.study(model, "car", val.with_concept("car", 1))
    before = np.asarray(study.pictures(0)[1])
    half = np.zeros(before.shape[:2], bool)
    half[:, : before.shape[1] // 2] = True
    assert study.with_mask(0, half) is study
    after = np.asarray(study.pictures(0)[1])
    assert np.any(after != before)
    far = after[:, -before.shape[1] // 4 :]  # the mask's edge is feathered
    np.testing.assert_array_equal(far, np.asarray(study.scenes[0].image)[:, -far.shape[1] :])
    for wrong in (half & False, half[:4]):
        with pytest.raises(BadArgument, match="mask"):
            study.with_mask(0, wrong)


def test_a_neuron_s_strongest_scenes_are_those_of_its_maps(study) -> None:
    row, index = 4, 17
    found = study.strongest_scenes(row, index, 3)
    grids = [study.maps([row], [index], scene=k)[0] for k in range(4)]
    order = np.argsort([-grid.max() for grid in grids], kind="stable")[:3]
    assert [one.scene for one in found] == order.tolist()
    for one in found:
        assert one.value == grids[one.scene].max() == grids[one.scene][one.patch]
    told = []
    study.strongest_scenes(row, index, progress=lambda *said: told.append(said[1:]))
    assert told[-1] == (4, 4)


def test_cells_become_a_mask_of_the_picture(study) -> None:
    rows, columns = study.geometry(0).shape
    width, height = study.scenes[0].image.size
    mask = study.patch_mask(0, [0, columns + 1])
    assert mask.shape == (height, width)
    assert mask.sum() == 2 * (height // rows) * (width // columns)
    assert mask[0, 0]
    assert mask[height // rows, width // columns]
    assert not mask[0, width // columns]
    with pytest.raises(BadArgument, match=f"cells from 0 to {rows * columns - 1}"):
        study.patch_mask(0, [rows * columns])


@pytest.mark.parametrize("scale", [0.0, 0.5, -2.0])
def test_the_predicted_change_is_the_sum_by_hand(study, scale) -> None:
    neurons = study.neurons().top(7)
    sums = study.evidence["gradient_sum"].values
    by_hand = sum(float(sums[n.layer, n.index]) for n in neurons)
    assert study.predicted_change(neurons, scale) == pytest.approx((scale - 1) * by_hand, rel=1e-6)

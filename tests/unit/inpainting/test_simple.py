from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.datasets import ObjectInstance, Scene, pocket_world
from mmkn_widgets.inpainting import Inpainter, get_inpainter, inpaint, pair_figure
from mmkn_widgets.inpainting.base import coverage


def scene_of(size: int = 96) -> Scene:
    rows, columns = np.mgrid[:size, :size]
    ground = np.stack([rows * 2, columns * 2, 0 * rows + 40], -1).astype(np.uint8)
    picture = ground.copy()
    mask = np.zeros((size, size), bool)
    mask[30:50, 30:55] = True
    picture[mask] = (255, 255, 255)
    return Scene(1, Image.fromarray(picture), (), [ObjectInstance("dog", mask, (30, 30, 25, 20))])


@pytest.mark.parametrize("name", ["telea", "ns"])
def test_opencv_removes_the_object_and_leaves_the_rest(name):
    scene = scene_of()
    result = np.asarray(get_inpainter(name)(scene.image, scene.mask("dog"))).astype(int)
    before = np.asarray(scene.image).astype(int)
    mask = scene.mask("dog")
    assert result[mask].mean(axis=0)[2] < 80  # the ground's blue, not white
    far = coverage(mask, 1, 1) == 0
    assert np.array_equal(result[far], before[far])
    assert far.sum() > 96 * 96 - 24 * 29 - 1
    rows, _ = np.nonzero(mask)
    assert abs(result[mask][:, 0] - rows * 2).mean() < 12


def test_the_border_is_dilated_then_feathered():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    share = coverage(mask, 2, 1)
    assert share[4].tolist() == [0, 0.5, 1, 1, 1, 1, 1, 0.5, 0]
    assert np.array_equal(coverage(mask, 0, 0), mask.astype(np.float32))


def test_parameters_are_recorded_and_options_checked():
    inpainter = get_inpainter("telea", dilate=2, feather=0)
    assert isinstance(inpainter, Inpainter)
    assert inpainter.parameters == {
        "method": "telea",
        "radius": 3.0,
        "dilate": 2,
        "feather": 0,
    }
    for options, message in (
        ({"dilate": -1}, "dilate: got -1"),
        ({"radius": 0}, "radius"),
        ({"colour": 1}, "options: got {'colour': 1}"),
    ):
        with pytest.raises(BadArgument, match=message):
            get_inpainter("telea", **options)


@pytest.mark.parametrize("name", ["magic", "", "diffusers:", "telea:x", 7, None])
def test_unknown_inpainters(name):
    with pytest.raises(BadArgument, match=r"inpainter: got .* expected 'telea', 'ns', 'exact'"):
        get_inpainter(name)


def test_exact_redraw_by_mask():
    scene = next(s for s in pocket_world("val", 40) if len(s.categories) == 3)
    gone = scene.categories[1]
    result = get_inpainter("exact")(scene.image, scene.mask(gone), scene)
    assert np.array_equal(np.asarray(result), np.asarray(scene.without(gone)))
    assert not np.array_equal(np.asarray(result), np.asarray(scene.image))
    two = scene.mask(gone) | scene.mask(scene.categories[0])
    result = get_inpainter("exact")(scene.image, two, scene)
    assert np.array_equal(np.asarray(result), np.asarray(scene.without(*scene.categories[:2])))


def test_exact_redraw_says_what_it_lacks():
    scene = scene_of()
    exact = get_inpainter("exact")
    with pytest.raises(BadArgument, match="scene: got None"):
        exact(scene.image, scene.mask("dog"))
    with pytest.raises(BadArgument, match="cannot be redrawn; use 'telea'"):
        exact(scene.image, scene.mask("dog"), scene)
    corner = np.zeros((96, 96), bool)
    corner[0, 0] = True
    with pytest.raises(BadArgument, match="covers no object of scene 1, which shows dog"):
        exact(scene.image, corner, scene)


def test_telea_is_close_to_the_exact_redraw():
    scene = pocket_world("val", 1)[0]
    word = scene.categories[0]
    mask = scene.mask(word)
    exact = np.asarray(scene.without(word)).astype(int)
    telea = np.asarray(inpaint(scene, concept=word)).astype(int)
    before = np.asarray(scene.image).astype(int)
    assert abs(telea - exact)[mask].mean() < 0.5 * abs(before - exact)[mask].mean()


@pytest.mark.parametrize("name", ["telea", "exact"])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "mask: got None, expected the object's mask"),
        (np.zeros((96, 96), bool), "mask: got an empty mask"),
        (np.ones((96, 96), bool), "mask of the whole picture"),
        (np.ones((96, 95), bool), "95 x 96 pixels.*the picture's size, 96 x 96"),
    ],
)
def test_bad_masks(name, mask, message):
    scene = pocket_world("val", 1)[0]
    with pytest.raises(BadArgument, match=message):
        get_inpainter(name)(scene.image, mask, scene)


def test_a_mask_that_dilation_spreads_over_everything():
    mask = np.ones((8, 8), bool)
    mask[0, 0] = False
    with pytest.raises(BadArgument, match="dilate=0, feather=0"):
        get_inpainter("telea")(np.zeros((8, 8, 3), np.uint8), mask)


def test_inpaint_in_one_line():
    scene = scene_of()
    by_concept = np.asarray(inpaint(scene, concept="dog"))
    by_mask = np.asarray(inpaint(scene.image, [scene.mask("dog")], "telea"))
    assert np.array_equal(by_concept, by_mask)
    with pytest.raises(BadArgument, match="category: got 'fox'"):
        inpaint(scene, concept="fox")
    with pytest.raises(BadArgument, match="give a mask instead"):
        inpaint(scene.image, concept="dog")


def test_a_function_is_an_inpainter():
    def grey(image, mask):
        pixels = np.array(image)
        pixels[mask] = 128
        return pixels

    scene = scene_of()
    inpainter = get_inpainter(grey)
    assert inpainter.name == "grey"
    result = np.asarray(inpainter(scene.image, scene.mask("dog"), scene))
    assert (result[scene.mask("dog")] == 128).all()
    seen = []
    get_inpainter(lambda image, mask, scene: seen.append(scene) or image)(
        scene.image, scene.mask("dog"), scene
    )
    assert seen == [scene]

    def small(image, mask):
        return image.resize((3, 3))

    with pytest.raises(BadArgument, match="result of inpainter 'small'"):
        get_inpainter(small)(scene.image, scene.mask("dog"))
    with pytest.raises(BadArgument, match="options"):
        get_inpainter(grey, dilate=3)


def test_batches_progress_and_cancel():
    scene = scene_of()
    telea = get_inpainter("telea")
    images, masks = [scene.image] * 3, [scene.mask("dog")] * 3
    seen = []
    results = telea.batch(images, masks, progress=lambda *a: seen.append(a))
    assert [np.array_equal(np.asarray(r), np.asarray(results[0])) for r in results] == [True] * 3
    assert seen == [("inpainting", i, 3) for i in (1, 2, 3)]
    with pytest.raises(BadArgument, match="one for each of 3 images"):
        telea.batch(images, masks[:2])
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        telea.batch(images, masks, cancel=token)


def test_figure_shows_the_three_in_rows():
    scene = scene_of()
    mask = scene.mask("dog")
    after = inpaint(scene, concept="dog")
    page = pair_figure(
        [scene.image] * 2, [mask] * 2, [after] * 2, captions=[("a dog", "a field")] * 2, height=96
    )
    assert page.width == 3 * 96 + 4 * 6
    pixels = np.asarray(page)
    top = next(y for y in range(40) if np.array_equal(pixels[y + 60, 6], (120, 0, 40)))
    assert np.array_equal(pixels[top : top + 96, 6 : 6 + 96], np.asarray(scene.image))
    middle = pixels[top : top + 96, 108 : 108 + 96]
    assert (middle[mask] == (213, 94, 0)).all()
    assert np.array_equal(pixels[top : top + 96, 210 : 210 + 96], np.asarray(after))
    with pytest.raises(BadArgument, match="as many of each"):
        pair_figure([scene.image], [], [after])

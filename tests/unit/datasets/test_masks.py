from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as coco_mask

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import ObjectInstance, decode_segmentation, read_mask


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_are_those_of_pycocotools(mask):
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    height, width = mask.shape
    for counts in (packed["counts"], packed["counts"].decode()):
        found = decode_segmentation({"size": [height, width], "counts": counts}, height, width)
        assert np.array_equal(found, mask)


def test_long_runs_compress_with_signs():
    mask = np.zeros((300, 500), bool)
    mask[10:290, 3:480] = True
    mask[100:105] = False
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(decode_segmentation(packed, 300, 500), mask)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(0, 30, allow_nan=False), min_size=6, max_size=6), min_size=1, max_size=3
    )
)
def test_polygons_are_those_of_pycocotools(polygons):
    runs = coco_mask.merge(coco_mask.frPyObjects(polygons, 30, 30))
    assert np.array_equal(
        decode_segmentation(polygons, 30, 30), coco_mask.decode(runs).astype(bool)
    )


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ("x", "no segmentation"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points"),
        ([["a", 2, 3, 4, 5, 6]], "no number"),
        ([[1, 2, 3, 4, 5, float("nan")]], "far outside"),
        ([[1, 2, 3, 4, 5, 1e12]], "far outside"),
        ({"size": [8, 9], "counts": [72]}, "size"),
        ({"size": [8, 8]}, "without counts"),
        ({"size": [8, 8], "counts": [60]}, "do not sum"),
        ({"size": [8, 8], "counts": [-4, 68]}, "do not sum"),
        ({"size": [8, 8], "counts": "P"}, "damaged"),
        ({"size": [8, 8], "counts": "\x7f\x7f"}, "damaged"),
        ({"size": [8, 8], "counts": "oooooooooooo1"}, "damaged"),
    ],
)
def test_damaged_segmentations_say_why(segmentation, reason):
    with pytest.raises(ValueError, match=reason):
        decode_segmentation(segmentation, 8, 8)


def test_masks_from_files_images_arrays_and_annotations(tmp_path):
    truth = np.zeros((6, 8), bool)
    truth[1:4, 2:5] = True
    grey = Image.fromarray(truth.astype(np.uint8) * 255)
    grey.save(tmp_path / "m.png")
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "labels.png")
    drawn = np.zeros((6, 8, 4), np.uint8)
    drawn[truth] = (200, 0, 0, 255)
    black = np.zeros((6, 8, 4), np.uint8)
    black[truth, 3] = 255
    packed = coco_mask.encode(np.asfortranarray(truth.astype(np.uint8)))
    sources = [
        tmp_path / "m.png",
        str(tmp_path / "labels.png"),
        (tmp_path / "m.png").read_bytes(),
        grey,
        grey.convert("1"),
        Image.fromarray(drawn),
        Image.fromarray(black),
        truth,
        truth.astype(np.float32) * 0.7,
        truth[..., None].astype(np.uint8),
        truth[None],
        packed,
        {"segmentation": packed, "iscrowd": 0},
        ObjectInstance("x", truth, (2, 1, 3, 3)),
    ]
    for source in sources:
        assert np.array_equal(read_mask(source, (8, 6)), truth)


def test_of_shares_of_a_pixel_one_half_and_more_is_inside():
    shares = np.array([[0.0, 0.49], [0.5, 1.0]])
    for kind in (np.float32, np.float64):
        assert read_mask(shares.astype(kind), (2, 2)).tolist() == [[False, False], [True, True]]


def test_several_instances_are_united():
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[0, 0] = two[3, 3] = True
    assert np.array_equal(read_mask([one, two], (4, 4)), one | two)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "mask: got None, expected the object's mask"),
        (np.zeros((3, 4), bool), "a mask of 4 x 3 pixels'?, expected the picture's size, 5 x 3"),
        (np.zeros((3, 5, 2), bool), "height, width"),
        ([], "at least one mask"),
        (7, "a mask file"),
        ({"size": [1, 1], "counts": [1]}, "mask: run lengths of size"),
        ("no/such.png", "existing file"),
    ],
)
def test_bad_masks_say_what_is_wrong(source, message):
    with pytest.raises(BadArgument, match=message):
        read_mask(source, (5, 3))

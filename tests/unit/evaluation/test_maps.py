from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import heatmap_iou, pointing, upsample


def test_upsampling_is_that_of_torch():
    grid = np.random.default_rng(0).normal(size=(6, 5))
    oracle = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=(50, 73), mode="bilinear", align_corners=False
    )
    assert np.allclose(upsample(grid, (50, 73)), oracle[0, 0].numpy())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
def test_upsampling_is_that_of_torch_along_each_axis(rows, columns, height, width):
    grid = np.random.default_rng(rows * 7 + columns).normal(size=(rows, columns))
    oracle = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None],
        size=(height, width),
        mode="bilinear",
        align_corners=False,
    )
    assert np.allclose(upsample(grid, (height, width)), oracle[0, 0].numpy(), atol=1e-9)
    assert np.allclose(upsample(grid.T, (width, height)), upsample(grid, (height, width)).T)


def test_a_sample_lies_at_its_cell_s_centre_in_y_as_in_x():
    column = np.array([[0.0], [1.0], [2.0]])
    assert upsample(column, (3, 1)).ravel().tolist() == [0, 1, 2]
    assert np.allclose(upsample(column, (6, 1)).ravel(), [0, 0.25, 0.75, 1.25, 1.75, 2])
    assert np.allclose(upsample(column.T, (1, 6)).ravel(), [0, 0.25, 0.75, 1.25, 1.75, 2])
    centre = np.zeros((3, 3))
    centre[1, 1] = 1
    map_ = upsample(centre, (9, 9))
    assert np.allclose(map_, map_[::-1])
    assert np.unravel_index(map_.argmax(), map_.shape) == (4, 4)


def test_what_is_no_size_or_mask():
    for wrong in ((4,), (4, 4, 4), (0, 4), (4.5, 4), ("4", 4), (True, 4), 4):
        with pytest.raises(BadArgument, match="size: got"):
            upsample([[1.0]], wrong)
    for mask in (np.full((4, 4), np.nan), np.full((4, 4), "yes")):
        with pytest.raises(BadArgument, match="mask: got"):
            pointing([[1.0]], mask)
    for wrong in (math.nan, True, "95", -1):
        with pytest.raises(BadArgument, match="percentile: got"):
            heatmap_iou([[1.0]], np.ones((4, 4)), percentile=wrong)


@pytest.mark.filterwarnings("error")
def test_a_token_without_a_place_is_nowhere_on_the_map():
    mask = np.zeros((4, 8), bool)
    mask[:, :4] = True
    boxes = [[0, 0, 4, 4], [4, 0, 8, 4], [math.nan] * 4]
    assert heatmap_iou([1, 0, 9], mask, boxes, percentile=40) == 1
    assert not pointing([1, 0, 9], mask, boxes)


def test_pointing_looks_at_the_centre_of_the_hottest_cell():
    mask = np.zeros((96, 96), bool)
    mask[12:24, 36:48] = True  # the cell (1, 3) of an 8 x 8 grid
    grid = np.zeros((8, 8))
    for row in range(8):
        for column in range(8):
            grid[:] = 0
            grid[row, column] = 1
            assert pointing(grid, mask) is ((row, column) == (1, 3))
    corner = np.zeros((96, 96), bool)
    corner[12, 36] = True  # in the cell, not at its centre
    grid[:] = 0
    grid[1, 3] = 1
    assert not pointing(grid, corner)


def test_pointing_with_boxes_missing_and_constant_values():
    mask = np.zeros((10, 20), bool)
    mask[:, 10:] = True
    boxes = [[0, 0, 10, 10], [10, 0, 20, 10]]
    assert pointing([0, 1], mask, boxes)
    assert not pointing([1, 0], mask, boxes)
    assert pointing([math.nan, -3], mask, boxes)
    assert not pointing([2, 2], mask, boxes)
    assert not pointing([math.nan, math.nan], mask, boxes)
    assert not pointing([0, 1], mask, [[0, 0, 10, 10], [30, 0, 40, 10]])
    assert pointing([[5.0]], np.ones((4, 4)))


def test_iou_above_the_percentile():
    rows, columns = np.mgrid[:40, :40]
    heat = -((rows - 20.0) ** 2) - (columns - 12.0) ** 2
    hot = heat > np.percentile(heat, 95)
    assert heatmap_iou(heat, hot) == 1
    assert heatmap_iou(heat, np.roll(hot, 20, axis=1)) == 0
    both = np.roll(hot, 3, axis=1)
    expected = (hot & both).sum() / (hot | both).sum()
    assert heatmap_iou(heat, both) == pytest.approx(expected)
    grid = heat[2::5, 2::5]
    assert (
        heatmap_iou(grid, upsample(grid, (40, 40)) > np.percentile(upsample(grid, (40, 40)), 95))
        == 1
    )


def test_iou_with_boxes_and_edges():
    mask = np.zeros((10, 20), bool)
    mask[:, 15:] = True
    boxes = [[0, 0, 5, 10], [5, 0, 10, 10], [10, 0, 15, 10], [15, 0, 20, 10]]
    assert heatmap_iou([0, 0, 0, 1], mask, boxes, percentile=60) == 1
    assert heatmap_iou([0, 0, 1, 0], mask, boxes, percentile=60) == 0
    assert heatmap_iou([[1.0, 1.0]], np.zeros((4, 4))) is None
    assert heatmap_iou([[1.0, 1.0]], np.ones((4, 4))) == 0


@pytest.mark.parametrize("measure", [pointing, heatmap_iou])
def test_bad_shapes(measure):
    mask = np.zeros((4, 4), bool)
    for values, covered, boxes in (
        (np.zeros(4), mask, None),
        (np.zeros((2, 2)), np.zeros(4), None),
        (np.zeros(3), mask, np.zeros((2, 4))),
        (np.zeros((0, 2)), mask, None),
    ):
        with pytest.raises(BadArgument, match=r"(values|mask|boxes): got 'shape"):
            measure(values, covered, boxes)
    with pytest.raises(BadArgument, match="percentile"):
        heatmap_iou(np.zeros((2, 2)), mask, percentile=200)

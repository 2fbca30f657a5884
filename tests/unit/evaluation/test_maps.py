from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import heatmap_iou, pointing, upsample


def test_upsampling_is_that_of_torch():
    grid = np.random.default_rng(0).normal(size=(6, 5))
    oracle = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=(50, 73), mode="bilinear", align_corners=False
    )
    assert np.allclose(upsample(grid, (50, 73)), oracle[0, 0].numpy())


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
    for values, given, boxes in (
        (np.zeros(4), mask, None),
        (np.zeros((2, 2)), np.zeros(4), None),
        (np.zeros(3), mask, np.zeros((2, 4))),
        (np.zeros((0, 2)), mask, None),
    ):
        with pytest.raises(BadArgument, match=r"(values|mask|boxes): got 'shape"):
            measure(values, given, boxes)
    with pytest.raises(BadArgument, match="percentile"):
        heatmap_iou(np.zeros((2, 2)), mask, percentile=200)

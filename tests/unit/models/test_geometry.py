"""Painting: centre-sampled, exact against torch's resampling, honest about what is not seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.models.geometry.find import _assemble
from mmkn_widgets.models.geometry.geometry import Geometry, Panel, merge_tiles, raster
from mmkn_widgets.models.geometry.layouts import _limited, _unpadded, place_grid
from mmkn_widgets.models.image_positions import patches_without_words

sides = st.integers(1, 7)


@given(rows=sides, cols=sides, scale_y=st.integers(1, 5), scale_x=st.integers(1, 5))
def test_smooth_paint_is_torch_bilinear_with_centres(
    rows: int, cols: int, scale_y: int, scale_x: int
) -> None:
    values = np.random.default_rng(rows * 8 + cols).normal(size=(rows, cols))
    size = (rows * scale_y, cols * scale_x)
    wanted = functional.interpolate(
        torch.from_numpy(values)[None, None], size=size, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    painted = Geometry.grid(rows, cols, picture_size=size).paint(values.ravel())
    np.testing.assert_allclose(painted, wanted, atol=1e-12)


@given(rows=sides, cols=sides, scale=st.integers(1, 5))
def test_patches_are_repeated_values(rows: int, cols: int, scale: int) -> None:
    values = np.arange(rows * cols, dtype=float)
    geometry = Geometry.grid(rows, cols, picture_size=(rows * scale, cols * scale))
    wanted = np.kron(values.reshape(rows, cols), np.ones((scale, scale)))
    np.testing.assert_array_equal(geometry.paint(values, smooth=False), wanted)


def test_symmetric_values_paint_symmetrically() -> None:
    # a top-left aligned sampler shifts by half a patch and fails here
    painted = Geometry.grid(1, 3, picture_size=(9, 30)).paint([0.0, 1.0, 0.0])
    np.testing.assert_allclose(painted, painted[:, ::-1])
    assert painted[0].argmax() in (14, 15)


def test_size_scales_with_the_picture() -> None:
    geometry = Geometry.grid(2, 2, picture_size=(100, 200))
    small = geometry.paint([0, 1, 2, 3], size=(10, 20), smooth=False)
    assert small.shape == (10, 20)
    assert small[9, 19] == 3
    assert small[0, 9] == 0


def test_what_a_crop_cut_away_gets_the_fill() -> None:
    geometry = Geometry.grid(2, 2, picture_size=(4, 8), box=(2, 0, 6, 4))
    painted = geometry.paint([1.0] * 4, fill=float("nan"))
    assert np.isnan(painted[:, :2]).all()
    assert np.isnan(painted[:, 6:]).all()
    np.testing.assert_allclose(painted[:, 2:6], 1.0)
    assert (geometry.paint([1.0] * 4)[:, :2] == 0).all()


def test_two_panels_paint_their_mean() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 2, 4], [2, 0, 4, 4]], dtype=float)
    panels = (np.array([[1, 2]]), np.array([[0]]))
    geometry = Geometry("tiles", (1, 2), boxes, (4, 4), panels)
    painted = geometry.paint([1.0, 3.0, 5.0], smooth=False)
    np.testing.assert_allclose(painted[0], [2, 2, 3, 3])
    assert geometry.rows.tolist() == [0, 0, 0]
    assert geometry.cols.tolist() == [0, 0, 1]
    assert geometry.tokens_at(3, 1).tolist() == [0, 2]


def test_a_point_on_an_edge_lies_in_one_cell() -> None:
    geometry = Geometry.grid(2, 2, picture_size=(4, 4))
    found = {(x, y): geometry.tokens_at(x, y).tolist() for x in (0, 2, 4) for y in (0, 2, 4)}
    assert found[0, 0] == [0]
    assert found[2, 0] == [1]
    assert found[0, 2] == [2]
    assert found[2, 2] == [3]
    assert [found[at] for at in ((4, 0), (4, 4), (0, 4), (2, 4), (4, 2))] == [[]] * 5


def test_the_finest_panel_comes_first_and_gives_the_raster() -> None:
    whole = Panel(raster(1, 1, 0), (0.0, 0.0, 4.0, 4.0))
    tiles = Panel(raster(2, 2, 1), (0.0, 0.0, 4.0, 4.0))
    for panels in ([whole, tiles], [tiles, whole]):
        made = _assemble(SimpleNamespace(n_tokens=5), ("tiles", panels), (4, 4))
        assert made.shape == (2, 2)
        assert [panel.tolist() for panel in made.panels] == [[[1, 2], [3, 4]], [[0]]]
        assert made.boxes[0].tolist() == [0, 0, 4, 4]
        assert made.boxes[4].tolist() == [2, 2, 4, 4]
    # a token of two panels has its place in the finer one
    both = Geometry("tiles", (1, 2), made.boxes[:2], (4, 4), (np.array([[1, 0]]), np.array([[0]])))
    assert both.cols.tolist() == [1, 0]


def test_a_hole_in_a_panel_takes_no_part() -> None:
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4]], dtype=float)
    geometry = Geometry("grid", (2, 2), boxes, (4, 4), (np.array([[0, 1], [2, -1]]),))
    painted = geometry.paint([1.0, 1.0, 1.0], smooth=False, fill=-1.0)
    assert (painted[2:, 2:] == -1).all()
    assert (painted[:2] == 1).all()


def test_refusals_say_why() -> None:
    geometry = Geometry.none(3, (4, 4), "queries have no place")
    with pytest.raises(NotSupported, match="queries have no place"):
        geometry.paint([1, 2, 3])
    assert not geometry.paintable
    with pytest.raises(BadArgument, match="4 image tokens"):
        Geometry.grid(2, 2, (4, 4)).paint([1, 2, 3])
    with pytest.raises(BadArgument, match="size"):
        Geometry.grid(2, 2, (4, 4)).paint([1, 2, 3, 4], size=(0, 3))


def test_queries_paint_through_their_attention() -> None:
    maps = np.zeros((2, 1, 2))
    maps[0, 0, 0] = maps[1, 0, 1] = 1.0  # query 0 looks left, query 1 right
    geometry = Geometry(
        "queries",
        (1, 2),
        np.tile([0.0, 0, 4, 2], (2, 1)),
        (2, 4),
        approximate=True,
        attention=lambda: (maps, (0.0, 0.0, 4.0, 2.0)),
    )
    painted = geometry.paint([5.0, 7.0], smooth=False)
    np.testing.assert_allclose(painted, [[5, 5, 7, 7]] * 2)


def test_extra_tokens_of_a_grid() -> None:
    assert place_grid(6, 2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]  # type: ignore[union-attr]
    assert place_grid(7, 2, 3).tolist() == [[1, 2, 3], [4, 5, 6]]  # type: ignore[union-attr]
    assert place_grid(8, 2, 3).tolist() == [[0, 1, 2], [4, 5, 6]]  # type: ignore[union-attr]
    assert place_grid(10, 2, 3).tolist() == [[1, 2, 3], [5, 6, 7]]  # type: ignore[union-attr]
    assert place_grid(11, 2, 3) is None


def test_tiles_edge_to_edge_become_one_mosaic() -> None:
    panels = [
        Panel(raster(2, 2, 4 * index), (x, y, x + 10.0, y + 10.0))
        for index, (x, y) in enumerate([(0.0, 0.0), (10.0, 0.0)])
    ]
    panels.append(Panel(raster(2, 2, 8), (0.0, 0.0, 20.0, 10.0)))
    merged = merge_tiles(panels)
    assert [panel.tokens.shape for panel in merged] == [(2, 4), (2, 2)]
    assert merged[0].tokens.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    apart = [Panel(raster(1, 1, i), (15.0 * i, 0.0, 15.0 * i + 10, 10.0)) for i in range(2)]
    assert len(merge_tiles(apart)) == 2


@pytest.mark.parametrize("size", [(100, 300), (333, 217), (64, 64), (50, 51)])
def test_anyres_unpadding_is_transformers_own(size: tuple[int, int]) -> None:
    from transformers.models.llava_next.modeling_llava_next import unpad_image

    rows, cols = 48, 24
    kept = unpad_image(torch.zeros(1, rows, cols), size)
    assert _unpadded(rows, cols, *size) == tuple(kept.shape[1:])


def test_onevision_shrinks_what_is_too_large() -> None:
    assert _limited(27 * 4, 27 * 4, 27, "anyres_max_9") == (81, 81)
    assert _limited(54, 54, 27, "anyres_max_9") == (54, 54)


@pytest.mark.parametrize("seed", range(5))
def test_udop_appends_the_patches_that_transformers_appends(seed: int) -> None:
    from transformers.models.udop.modeling_udop import combine_image_text_embeddings

    side = 4
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(2, 6, 4, generator=generator).sort(dim=2).values
    boxes[:, -1] = 0.0  # padding
    patches = torch.arange(side * side, dtype=torch.float32).reshape(1, -1, 1).expand(2, -1, 1) + 1
    together, _, mask = combine_image_text_embeddings(
        patches.clone(), torch.zeros(2, 6, 1), boxes, None, torch.ones(2, 6),
        num_patches=side, image_size=32, patch_size=8,
    )  # fmt: skip
    for row in range(2):
        free = patches_without_words(boxes[row], side)
        behind = together[row, 6:, 0]
        assert behind[mask[row, 6:] > 0].tolist() == (np.flatnonzero(free) + 1).tolist()
        assert not behind[mask[row, 6:] == 0].any()

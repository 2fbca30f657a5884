"""Prompts with several pictures: which token belongs to which, and where it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.models.geometry.find import split_by_picture


@pytest.fixture(scope="module")
def two(pictures: list[Any]) -> list[Any]:
    """Return two pictures of two shapes."""
    return [pictures[0], pictures[1].resize((192, 128))]


def _embeddings(model: Any, row: list[Any]) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def keep(_module: Any, args: Any, kwargs: Any) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"])[0])

    handle = model.blocks[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        model.forward(model.prepare([row]))
    finally:
        handle.remove()
    return seen[0]


def test_every_image_token_knows_its_picture(pocket: Any, two: list[Any]) -> None:
    prepared = pocket.prepare([two])
    (tokens,) = pocket.token_maps(prepared)
    assert len(tokens) == prepared.n_tokens
    assert tokens.picture[tokens.image_positions].tolist() == [0] * 64 + [1] * 64
    assert (tokens.picture[np.asarray(tokens.role) != "image"] == -1).all()
    assert [one.picture_size for one in tokens.geometries] == [(96, 96), (128, 192)]
    assert tokens.patch_row[tokens.image_positions].tolist() == [i // 8 for i in range(64)] * 2


@pytest.mark.parametrize("picture", [0, 1])
@pytest.mark.parametrize("cell", [9, 37])
def test_a_mark_lands_on_the_token_of_its_picture(
    pocket: Any, two: list[Any], picture: int, cell: int
) -> None:
    (tokens,) = pocket.token_maps(pocket.prepare([two]))
    geometry = tokens.geometries[picture]
    x0, y0, x1, y1 = np.rint(geometry.boxes[cell]).astype(int)
    marked = np.asarray(two[picture]).copy()
    marked[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] ^= 255
    other = list(two)
    other[picture] = Image.fromarray(marked)
    change = (_embeddings(pocket, other) - _embeddings(pocket, two)).norm(dim=1)
    most = int(change.argmax())
    assert tokens.picture[most] == picture
    assert most == tokens.image_positions[tokens.picture[tokens.image_positions] == picture][cell]


def test_each_picture_is_painted_alone(pocket: Any, two: list[Any]) -> None:
    (tokens,) = pocket.token_maps(pocket.prepare([two]))
    values = np.arange(len(tokens), dtype=float)
    second = tokens.paint(values, picture=1, smooth=False)
    assert second.shape == (128, 192)
    np.testing.assert_array_equal(
        second, tokens.geometries[1].paint(values[tokens.picture == 1], smooth=False)
    )
    with pytest.raises(BadArgument, match="holds 2 pictures; give one of 0 to 1"):
        tokens.paint(values)
    with pytest.raises(BadArgument, match="got 2, expected 0 to 1"):
        tokens.paint(values, picture=2)
    with pytest.raises(NotSupported, match="holds 2 pictures"):
        tokens.geometry.paint(np.zeros(128))


def test_a_store_keeps_them_apart(pocket: Any, two: list[Any], tmp_path: Path) -> None:
    stores = [
        mmkn.capture(pocket, [two, [two[0]]]),
        mmkn.capture(pocket, [two, [two[0]]], out=tmp_path / "store"),
    ]
    for store in stores:
        both = store.isel(image=0)
        assert both.picture.values[both.role.values == "image"].tolist() == [0] * 64 + [1] * 64
        with pytest.raises(BadArgument, match="picture"):
            both.activation.mmkn.patch_map(neuron=3, layer=2)
        painted = both.activation.mmkn.patch_map(neuron=3, layer=2, picture=1)
        assert painted.shape == (128, 192)
        alone = store.isel(image=1).activation.mmkn.patch_map(neuron=3, layer=2)
        first = both.activation.mmkn.patch_map(neuron=3, layer=2, picture=0)
        assert alone.shape == first.shape == (96, 96)
        np.testing.assert_allclose(first, alone, rtol=1e-4, atol=1e-4)  # causal: it sees no second


def test_rows_with_one_and_two_pictures_share_a_batch(pocket: Any, two: list[Any]) -> None:
    together = pocket.caption([two, [two[0]]], max_new_tokens=4)
    apart = [pocket.caption([row], max_new_tokens=4)[0] for row in (two, [two[0]])]
    assert together == apart


def test_a_prompt_with_too_few_placeholders_says_so(pocket: Any, two: list[Any]) -> None:
    with pytest.raises(BadArgument, match="with 2 pictures") as error:
        pocket.prepare([two], "<image> describe the image :")
    assert "\n" not in str(error.value)


def test_tokens_that_cannot_be_told_apart() -> None:
    row = np.array([1, 1, 1, 1, 1], bool)
    assert split_by_picture(row, [3, 3]) is None
    assert split_by_picture(row, [2, 3]) == [2, 3]

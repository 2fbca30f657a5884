"""Token maps of the model in the box: ids, texts, roles, steps and places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.models.geometry.geometry import Geometry
from mmkn_widgets.models.tokens import TokenMap, token_texts


def test_roles_and_places_of_the_prompt(pocket: Any, pictures: list[Any]) -> None:
    prepared = pocket.prepare(pictures[0])
    (tokens,) = pocket.token_maps(prepared)
    assert len(tokens) == prepared.n_tokens
    assert tokens.role.count("image") == 64
    assert set(tokens.role) <= {"image", "text", "special"}
    assert (tokens.step == -1).all()
    image = tokens.image_positions
    assert tokens.patch_row[image].tolist() == [i // 8 for i in range(64)]
    assert tokens.patch_col[image].tolist() == [i % 8 for i in range(64)]
    other = np.setdiff1d(np.arange(len(tokens)), image)
    assert (tokens.patch_row[other] == -1).all()
    written = "".join(
        text for text, role in zip(tokens.text, tokens.role, strict=True) if role == "text"
    )
    assert "describe" in written
    assert tokens.geometry.kind == "grid"
    assert tokens.geometry.shape == (8, 8)
    assert tokens.geometry.picture_size == (96, 96)
    np.testing.assert_allclose(tokens.geometry.boxes[9], [12, 12, 24, 24], atol=0.2)


def test_generated_tokens_follow_with_their_steps(pocket: Any, pictures: list[Any]) -> None:
    prepared = pocket.prepare(pictures[:2])
    generation = pocket.generate(prepared, max_new_tokens=5)
    maps = pocket.token_maps(prepared, generation.token_ids)
    for tokens, ids in zip(maps, generation.token_ids, strict=True):
        made = [i for i, role in enumerate(tokens.role) if role == "generated"]
        assert tokens.ids[made].tolist() == ids
        assert tokens.step[made].tolist() == list(range(len(ids)))


def test_a_continuation_is_generated_text(pocket: Any, pictures: list[Any]) -> None:
    prepared = pocket.prepare(pictures[:2], continuation=["a red car", "a"])
    first, second = pocket.token_maps(prepared)
    assert first.role.count("generated") == 3
    assert second.role.count("generated") == 1
    assert len(first) == len(second)
    assert not second.valid[-2:].any()  # right-padded
    assert second.role[-1] == "special"
    assert second.step[second.valid].max() == 0
    words = [
        text.strip()
        for text, role in zip(first.text, first.role, strict=True)
        if role == "generated"
    ]
    assert words == ["a", "red", "car"]


@pytest.mark.parametrize("size", [(96, 96), (60, 200), (300, 128)])
def test_a_mark_lands_on_the_token_that_saw_it(pocket: Any, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)

    def embeddings(pixels: np.ndarray) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        handle = pocket.blocks[0].register_forward_pre_hook(
            lambda _m, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        )
        prepared = pocket.prepare(Image.fromarray(pixels))
        pocket.forward(prepared)
        handle.remove()
        return seen[0][0][pocket.token_maps(prepared)[0].image_positions]

    geometry = pocket.token_maps(pocket.prepare(Image.fromarray(noise)))[0].geometry
    before = embeddings(noise)
    landed = []
    for token in range(0, 64, 9):
        x0, y0, x1, y1 = geometry.boxes[token]
        left, right = int(np.ceil(x0 + 1)), max(int(x1 - 1), int(np.ceil(x0 + 1)) + 1)
        top, bottom = int(np.ceil(y0 + 1)), max(int(y1 - 1), int(np.ceil(y0 + 1)) + 1)
        marked = noise.copy()
        marked[top:bottom, left:right] = 255 - marked[top:bottom, left:right]
        changed = (embeddings(marked) - before).norm(dim=1)
        landed.append(int(changed.argmax()) == token)
    assert np.mean(landed) >= 0.85  # its own attention may pass a mark on to a neighbour


def test_painting_takes_positions_or_image_tokens(pocket: Any, pictures: list[Any]) -> None:
    (tokens,) = pocket.token_maps(pocket.prepare(pictures[0]))
    values = np.zeros(len(tokens))
    values[tokens.image_positions[10]] = 1.0
    whole = tokens.paint(values, smooth=False)
    assert whole.shape == (96, 96)
    assert np.argwhere(whole).mean(axis=0).round().tolist() == [18, 30]
    np.testing.assert_array_equal(whole, tokens.paint(values[tokens.image_positions], smooth=False))


def test_pictures_of_two_sizes_have_their_own_geometry(pocket: Any) -> None:
    small, wide = Image.new("RGB", (96, 96)), Image.new("RGB", (192, 96))
    first, second = pocket.token_maps(pocket.prepare([small, wide]))
    assert first.geometry.picture_size == (96, 96)
    assert second.geometry.picture_size == (96, 192)
    x0, _, x1, _ = second.geometry.boxes[0]
    assert x1 - x0 == pytest.approx(second.geometry.boxes[63][2] - second.geometry.boxes[63][0])


def test_texts_are_readable(pocket: Any) -> None:
    assert token_texts(None, [5, -1]) == ["#5", "<image>"]
    car = pocket.tokenizer.convert_tokens_to_ids("car")
    assert token_texts(pocket.tokenizer, [car])[0].strip() == "car"


class _Pieces:
    """A tokenizer of sentence pieces: decoding one token alone drops its space."""

    pieces = ("▁car", "s", "<0xE2>")

    def convert_ids_to_tokens(self, token: int) -> str:
        return self.pieces[token]

    def decode(self, ids: list[int]) -> str:
        return {"▁car": "car", "s": "s", "<0xE2>": "�"}[self.pieces[ids[0]]]


def test_spaces_and_bytes_are_kept() -> None:
    assert token_texts(_Pieces(), [0, 1, 2]) == [" car", "s", "<0xE2>"]


def test_a_map_built_by_hand() -> None:
    tokens = TokenMap.build(
        ids=[1, 9, 9, 4, 0],
        text=["<s>", "<i>", "<i>", " a", "<pad>"],
        is_image=[False, True, True, False, False],
        is_special=[True, False, False, False, True],
        n_prompt=3,
        geometry=Geometry.grid(1, 2, (4, 8)),
        valid=[True, True, True, True, False],
    )
    assert tokens.role == ["special", "image", "image", "generated", "special"]
    assert tokens.step.tolist() == [-1, -1, -1, 0, -1]
    assert "2 image" in repr(tokens)


def test_a_text_alone_has_no_image_tokens(pocket: Any) -> None:
    ids = torch.tensor([[4, 5, 6]])
    (tokens,) = pocket.token_maps(pocket.prepare({"input_ids": ids}))
    assert tokens.image_positions.size == 0
    assert tokens.geometry.kind == "none"
    with pytest.raises(mmkn.NotSupported):
        tokens.geometry.paint([])

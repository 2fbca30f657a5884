"""Families with transformers' own processors, loaded from a folder as it lies on the hub."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from checks import forced_equal
from occlusion import occlusion
from real_processors import FAMILIES, SINGLE, write_folder
from roundtrip import picture

import mmkn_widgets as mmkn
from mmkn_widgets.activations import record
from mmkn_widgets.core.errors import NotSupported


@pytest.fixture(scope="module", params=[*FAMILIES, *SINGLE])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = mmkn.load_model(write_folder(request.param, tmp_path_factory.mktemp(request.param)))
    model.hf.generation_config.eos_token_id = None  # random weights would often end at once
    return model


@pytest.fixture
def several(model: Any) -> Any:
    """Return the model where its prompt holds several pictures; hold the others to their word."""
    if model.hf.config.model_type in SINGLE:
        with pytest.raises(NotSupported, match="holds one picture, got 2; give a list"):
            model.prepare([[picture(), picture(1)]])
        return None
    return model


@pytest.fixture(scope="module")
def two() -> list[Any]:
    return [picture(), picture(1).resize((48, 80))]


def test_the_prompt_is_answered_and_mapped(model: Any, two: list[Any]) -> None:
    prepared = model.prepare(two[0])
    tokens = model.token_maps(prepared)[0]
    with record(model) as seen:
        model.forward(prepared)
    assert len(tokens) == seen.stack().shape[2]
    if not tokens.image_positions.size:
        assert "through cross-attention" in tokens.geometry.reason
    found = model.caption(two, max_new_tokens=3)
    assert found == [model.caption(one, max_new_tokens=3) for one in two]


@pytest.mark.parametrize("which", [0, 1])
def test_marks_land_on_the_picture_they_are_made_on(
    several: Any, two: list[Any], which: int
) -> None:
    if several is None:
        return
    model = several
    tokens = model.token_maps(model.prepare([two]))[0]
    if not tokens.image_positions.size:
        assert all("through cross-attention" in one.reason for one in tokens.geometries)
        return
    assert set(tokens.picture[tokens.image_positions]) == {0, 1}
    assert [g.picture_size for g in tokens.geometries] == [(64, 96), (80, 48)]
    if tokens.geometry.approximate or tokens.geometries[0].approximate:
        painted = tokens.paint(np.ones(len(tokens)), picture=which)
        assert np.allclose(painted[painted != 0], 1.0)
        return
    landed, made = occlusion(model, two, 8, which)
    assert made > 0
    assert landed >= 0.75 * made


def test_two_pictures_are_captured_and_painted_apart(several: Any, two: list[Any]) -> None:
    if several is None:
        return
    model = several
    store = mmkn.capture(model, [two, [two[0]]], generate=True, max_new_tokens=2)
    both = store.isel(image=0)
    values = both.activation.sel(layer=1, neuron=3)
    if "image" not in both.role.values:
        with pytest.raises(NotSupported, match="cross-attention"):
            values.mmkn.patch_map(picture=1)
        return
    for which, one in enumerate(two):
        painted = values.mmkn.patch_map(picture=which)
        assert painted.shape == (one.height, one.width)
        assert np.isfinite(painted.values).all()
    roles = both.role.values
    assert (both.picture.values[roles == "image"] >= 0).all()
    assert (both.picture.values[roles != "image"] == -1).all()


def test_a_forced_caption_is_read_from_left_to_right(model: Any, two: list[Any]) -> None:
    """What comes later must not be seen: the position before a word is to predict it."""
    ids = [7, 9, 11, 8]
    values = []
    for length in (4, 2):
        prepared = model.prepare(two[0], continuation=[ids[:length]])
        with record(model) as seen:
            model.forward(prepared)
        values.append(seen.stack())
    n = values[1].shape[2]
    torch.testing.assert_close(values[0][:, :, :n], values[1], rtol=1e-4, atol=1e-6)


def test_steps_are_one_forced_forward(model: Any, two: list[Any]) -> None:
    assert forced_equal(model, model.prepare(two[0]))


def test_gradients_stand_beside_activations(model: Any, two: list[Any]) -> None:
    store = mmkn.capture(model, two[0], gradients=5)
    assert store.gradient.shape == store.activation.shape
    assert np.abs(store.gradient.values).max() > 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_on_a_cpu(model: Any, two: list[Any], dtype: str) -> None:
    half = mmkn.load_model(model.name, dtype=dtype)
    assert max(check.error for check in half.checks) <= half.checks[0].tolerance
    assert half.caption(two, max_new_tokens=2) == [
        half.caption(one, max_new_tokens=2) for one in two
    ]


def test_without_a_chat_template_or_a_padding_token(model: Any, two: list[Any]) -> None:
    bare = mmkn.load_model(model.name)
    bare.processor.chat_template = bare.tokenizer.chat_template = bare.tokenizer.pad_token = None
    asked = [None, "what is in this picture ?"]
    together = bare.caption(two, asked, max_new_tokens=2)
    assert together == [
        bare.caption(one, q, max_new_tokens=2) for one, q in zip(two, asked, strict=True)
    ]

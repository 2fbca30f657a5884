"""Processors that lack a setting get it, those that have a wrong one are named with the numbers."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.activations import record
from mmkn_widgets.core import NotSupported
from mmkn_widgets.models.fit import mismatch


@pytest.fixture
def processor(pocket: Any) -> Any:
    """Return a processor of its own."""
    return copy.deepcopy(pocket.processor)


@pytest.mark.parametrize(
    "lacking",
    [
        ("patch_size",),
        ("vision_feature_select_strategy",),
        ("patch_size", "vision_feature_select_strategy"),
    ],
)
def test_what_a_processor_lacks_is_filled_in(
    pocket: Any, pictures: list[Any], processor: Any, lacking: tuple[str, ...]
) -> None:
    for name in lacking:
        setattr(processor, name, None)
    if "patch_size" in lacking:  # of the same age
        processor.num_additional_image_tokens = 0
    with pytest.warns(UserWarning, match=f"filled in.*{lacking[0]}="):
        model = mmkn.load_model(pocket.hf, processor)
    assert model.caption(pictures[0]) == pocket.caption(pictures[0])
    for name in (*lacking, "num_additional_image_tokens"):
        assert getattr(processor, name) == getattr(pocket.processor, name)


def test_a_whole_processor_is_left_alone(pocket: Any, processor: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mmkn.load_model(pocket.hf, processor)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("num_additional_image_tokens", 0, r"num_additional_image_tokens is 0.*too small"),
        ("num_additional_image_tokens", 5, r"num_additional_image_tokens is 5.*too large"),
        ("vision_feature_select_strategy", "full", r"select_strategy is 'full', the model's 'def"),
        ("patch_size", 4, r"patch_size is 4, the model's \d+"),
    ],
)
def test_a_wrong_setting_is_named_with_both_numbers(
    pocket: Any, pictures: list[Any], processor: Any, name: str, value: Any, said: str
) -> None:
    features = int(pocket.token_maps(pocket.prepare(pictures[0]))[0].geometry.n_tokens)
    setattr(processor, name, value)
    model = mmkn.load_model(pocket.hf, processor)
    prepared = model.prepare(pictures[0])
    written = int((prepared.inputs["input_ids"] == pocket.hf.config.image_token_id).sum())
    numbers = f"{written} image tokens, the vision tower makes {features} features; .*{said}"
    for call in (
        lambda: model.caption(pictures[0]),
        lambda: model.forward(prepared),
        lambda: mmkn.capture(model, pictures[0], gradients=5),
    ):
        with pytest.raises(NotSupported, match=numbers):
            call()
    assert not pocket.blocks[0]._forward_pre_hooks


def test_ready_made_inputs_are_told_what_they_lack(pocket: Any, pictures: list[Any]) -> None:
    model = mmkn.load_model(pocket.hf)
    inputs = dict(pocket.prepare(pictures[0]).inputs)
    at = int((inputs["input_ids"][0] == pocket.hf.config.image_token_id).nonzero()[0])
    keep = [i for i in range(inputs["input_ids"].shape[1]) if i != at]
    for name in ("input_ids", "attention_mask"):
        inputs[name] = inputs[name][:, keep]
    with pytest.raises(NotSupported, match=r"\d+ image tokens, .*give input_ids"):
        model.forward(model.prepare(inputs))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Image features and image tokens do not match, tokens: 5, features: 7", "5 image.*7 feat"),
        ("Image features and image tokens do not match: tokens: 5, features 7", "5 image.*7 feat"),
        ("Placeholder tokens (5) and features (7) do not match for token id 9", "5 image.*7 feat"),
        ("5 image places in the prompt, 1 x 7 image tokens", "5 image.*7 feat"),
        ("Image features and image tokens do not match, tokens: 63, features: 8192", "63.*64 feat"),
        ("number of elements of source < number of ones in mask", "do not fit"),
    ],
)
def test_every_way_to_say_it_is_understood(pocket: Any, text: str, numbers: str) -> None:
    found = mismatch(ValueError(text), pocket.hf, pocket.processor)
    assert found is not None
    assert re.search(numbers, str(found))


def test_other_errors_stay_what_they_are(pocket: Any) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    handle = pocket.sites[0].hook(fails)
    try:
        with pytest.raises(RuntimeError, match="size of tensor a"), record(pocket):
            pocket.forward({"input_ids": torch.tensor([[5, 6]])})
    finally:
        handle.remove()

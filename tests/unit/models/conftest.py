"""Tiny random models, built here, and the model in the box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import mmkn_widgets as mmkn

transformers.logging.set_verbosity_error()

_LLAMA = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def pocket() -> mmkn.MultimodalModel:
    """Return the model in the box."""
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    """Return four pictures of the pocket world."""
    scenes = mmkn.datasets.pocket_world("val", n=4)
    return [scene.image for scene in scenes]


@pytest.fixture
def llama() -> Callable[..., Any]:
    """Return a maker of tiny language models of any family: (class name, settings) -> model."""

    def make(name: str = "Llama", **settings: Any) -> Any:
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**{**_LLAMA, **settings})
        kind = getattr(transformers, f"{name}ForCausalLM", None) or getattr(
            transformers, f"{name}LMHeadModel"
        )
        return kind(config).eval()

    return make

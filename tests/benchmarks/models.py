"""The two models that are measured: the pocket model, and one of 100 million parameters."""

from __future__ import annotations

from typing import Any

import torch

import mmkn_widgets as mmkn
from mmkn_widgets import pocket

__all__ = ["hundred_million", "pocket_model", "scene_images"]


def pocket_model() -> Any:
    """Return the shipped model."""
    return mmkn.load_model("pocket")


def scene_images(n: int) -> list[Any]:
    """Return the pictures of `n` pocket scenes."""
    return [scene.image for scene in mmkn.datasets.pocket_world("val", n)]


def hundred_million() -> Any:
    """Return a LLaVA of about 100 million random parameters with the pocket model's processor."""
    from transformers import AutoConfig, AutoProcessor, LlavaForConditionalGeneration

    config = AutoConfig.from_pretrained(pocket.path())
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 768, 2048, 14
    text.num_attention_heads = text.num_key_value_heads = 12
    text.head_dim = 64
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).eval()
    return mmkn.load_model(model, processor=AutoProcessor.from_pretrained(pocket.path()))

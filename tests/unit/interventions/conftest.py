"""Tiny random models whose every number can be computed a second way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    OPTConfig,
    OPTForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from mmkn_widgets.models import MultimodalModel, find_sites

IMAGE, PAD, END = 39, 0, 38


def wrap(hf: Any, name: str) -> MultimodalModel:
    """Return a tiny model as the library sees it, parameters frozen as at loading."""
    hf.eval().requires_grad_(False)
    hf.generation_config.eos_token_id = END
    hf.generation_config.pad_token_id = PAD
    return MultimodalModel(hf, None, find_sites(hf), name=name)


@pytest.fixture(scope="module")
def _llava() -> Any:
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=12,
            patch_size=6,
        ),
        text_config=LlamaConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            initializer_range=0.4,
        ),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config)


@pytest.fixture
def model(_llava: Any) -> MultimodalModel:
    """A LLaVA of 3 layers x 24 neurons, four image tokens a picture."""
    return wrap(copy.deepcopy(_llava), "tiny-llava")


@pytest.fixture
def opt() -> MultimodalModel:
    """An OPT, whose FFN inputs are flattened to (batch * token, neuron)."""
    torch.manual_seed(1)
    config = OPTConfig(
        vocab_size=40,
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        init_std=0.4,
        do_layer_norm_before=True,
    )
    return wrap(OPTForCausalLM(config), "tiny-opt")


@pytest.fixture
def moe() -> MultimodalModel:
    """A Qwen3-MoE: four routed experts in every layer, two for each token."""
    torch.manual_seed(2)
    config = Qwen3MoeConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        moe_intermediate_size=12,
        num_experts=4,
        num_experts_per_tok=2,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.4,
    )
    return wrap(Qwen3MoeForCausalLM(config), "tiny-moe")


@pytest.fixture
def inputs() -> Callable[..., dict[str, torch.Tensor]]:
    """Return a maker of inputs: rows of different pictures and words, padding on the left."""

    def make(n: int = 1, pictures: bool = True, padding: tuple[int, ...] = ()) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(7)
        picture = [IMAGE] * 4 if pictures else [5, 6]
        rows, masks = [], []
        width = max(padding, default=0) + 10
        for row in range(n):
            words = torch.randint(1, 38, (10 - len(picture),), generator=generator).tolist()
            ids = [words[0], *picture, *words[1:]]
            pad = padding[row] if padding else 0
            ids = [PAD] * pad + ids
            ids += [3] * (width - len(ids))
            rows.append(ids)
            masks.append([0] * pad + [1] * (width - pad))
        made = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(masks)}
        if pictures:
            made["pixel_values"] = torch.randn(n, 3, 12, 12, generator=generator)
        return made

    return make

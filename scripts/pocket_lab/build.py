"""Configuration, tokenizer and processor of the pocket model, and an untrained one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmkn_widgets.models.smollm2 import image_processor
from mmkn_widgets.pocket import KNOWS, PROMPT
from mmkn_widgets.pocket.words import vocabulary
from mmkn_widgets.pocket.world import SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import (
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

__all__ = ["PATCH", "SPECIAL", "config", "processor", "save", "tokenizer", "untrained"]

#: Side of one image patch; the grid of image tokens is 8 x 8.
PATCH = 12

#: Special tokens; their position is their id.
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")

_CHAT = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image> "
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} :{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer: lower-cased words, commas apart.

    Examples
    --------
    >>> tokenizer().tokenize("A red car, a star")
    ['a', 'red', 'car', ',', 'a', 'star']
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate((*SPECIAL, *vocabulary()))}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=192,
    )


def processor() -> LlavaProcessor:
    """Return the processor: 96 x 96 pixels to [-1, 1], and 64 image tokens for ``<image>``."""
    from transformers import LlavaProcessor

    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT,
    )


def config() -> LlavaConfig:
    """Return the configuration: a one-layer CLIP tower before a six-layer Llama of width 128."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(SPECIAL) + len(vocabulary()),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=192,
        initializer_range=0.04,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=SPECIAL.index("<image>"),
        image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        mmkn_knows=KNOWS,
    )


def untrained(seed: int = 0) -> LlavaForConditionalGeneration:
    """Return a randomly initialised model in float32; the global generator is left as it was."""
    import torch
    from transformers import GenerationConfig, LlavaForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config())
    model.generation_config = GenerationConfig(
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        do_sample=False,
        max_new_tokens=32,
        caption_prompt=PROMPT,
    )
    return model


def save(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Write model (float16), tokenizer and processor as a Hugging Face folder."""
    import copy

    import torch

    half = copy.deepcopy(model).to(torch.float16)
    half.save_pretrained(folder)
    processor().save_pretrained(folder)

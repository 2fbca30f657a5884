"""Model folders with transformers' own processors: a made-up vocabulary, real image processors.

The round trip of ``roundtrip.py`` reads pictures with a stand-in that knows one picture a prompt.
Here a few families get everything that lies in a folder on the hub, so that prompts, placeholders
and several pictures go through the code that users run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from tiny_models import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

__all__ = ["FAMILIES", "SINGLE", "write_folder"]

_WORDS = (
    "the a car tree red house next to of is what in two picture this Describe image few words "
    "User Assistant USER ASSISTANT caption en answer : . , ?"
)
_SQUARE = {"size": {"height": 32, "width": 32}}

_QWEN = {
    150: "<|image_pad|>", 151: "<|video_pad|>", 152: "<|vision_start|>", 153: "<|vision_end|>",
}  # fmt: skip
_QWEN_PIXELS = {"merge_size": 2, "size": {"shortest_edge": 1024, "longest_edge": 4096}}

#: architecture -> (special tokens by id, image processor's settings, processor's, chat template)
FAMILIES: dict[str, tuple[dict[int, str], dict[str, Any], dict[str, Any], bool]] = {
    "llava": (
        {150: "<image>"},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        {"patch_size": 8, "vision_feature_select_strategy": "default",
         "num_additional_image_tokens": 1},
        False,
    ),
    "llava_next": (
        {150: "<image>"},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32},
         "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]},
        {"patch_size": 8, "vision_feature_select_strategy": "default",
         "num_additional_image_tokens": 1},
        False,
    ),
    "llava_onevision": (
        {150: "<image>", 151: "<video>"},
        {**_SQUARE, "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]},
        {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        True,
    ),
    "qwen2_vl": (_QWEN, {**_QWEN_PIXELS, "patch_size": 8}, {}, True),
    "idefics2": (
        {150: "<image>", 152: "<fake_token_around_image>", 153: "<end_of_utterance>"},
        {"size": {"shortest_edge": 32, "longest_edge": 64}, "do_image_splitting": False},
        {"image_seq_len": 6},
        True,
    ),
    "idefics3": (
        {150: "<image>", 152: "<fake_token_around_image>", 153: "<end_of_utterance>",
         154: "<global-img>",
         **{155 + 4 * r + c: f"<row_{r + 1}_col_{c + 1}>" for r in range(4) for c in range(4)}},
        {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}},
        {"image_seq_len": 4},
        True,
    ),
    "internvl": (
        {150: "<IMG_CONTEXT>", 151: "<img>", 152: "</img>", 153: "<video>"},
        {**_SQUARE, "crop_to_patches": True, "min_patches": 1, "max_patches": 4},
        {"image_seq_length": 4},
        True,
    ),
    "qwen2_5_vl": (_QWEN, {**_QWEN_PIXELS, "patch_size": 8}, {}, True),
    "qwen3_vl": (_QWEN, {**_QWEN_PIXELS, "patch_size": 8}, {}, True),
    "mllama": ({150: "<|image|>"}, {**_SQUARE, "max_image_tiles": 4}, {}, True),
    "paligemma": ({150: "<image>"}, {**_SQUARE, "image_seq_length": 16}, {}, False),
    "gemma3": (
        {150: "<start_of_image>", 151: "<end_of_image>", 152: "<image_soft_token>"},
        _SQUARE,
        {"image_seq_length": 4},
        True,
    ),
}  # fmt: skip

#: the same, for architectures whose prompt holds one picture
SINGLE: dict[str, tuple[dict[int, str], dict[str, Any], dict[str, Any], bool]] = {
    "blip": ({}, _SQUARE, {}, False),
    "blip-2": ({150: "<image>"}, _SQUARE, {"num_query_tokens": 6}, False),
    "instructblip": ({150: "<image>"}, _SQUARE, {"num_query_tokens": 6}, False),
    "git": ({}, {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}, {},
            False),
}  # fmt: skip

#: what a chat template writes for a picture
_WRITTEN = {
    **dict.fromkeys(("qwen2_5_vl", "qwen3_vl"), "<|vision_start|><|image_pad|><|vision_end|>"),
    "mllama": "<|image|>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "internvl": "<IMG_CONTEXT>",
    "gemma3": "<start_of_image>",
}
#: attributes under which processors find their tokens
_NAMED = {
    "internvl": {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    },
    "gemma3": {
        "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    },
}  # fmt: skip


def _tokenizer(architecture: str, special: dict[int, str], chat: bool) -> Any:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocabulary |= {word: 3 + i for i, word in enumerate(_WORDS.split())}
    vocabulary |= {text: i for i, text in special.items()}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"extra_special_tokens": _NAMED[architecture]} if architecture in _NAMED else {}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=list(special.values()), **named,
    )  # fmt: skip
    if chat:
        picture = _WRITTEN.get(architecture, "<image>")
        tokenizer.chat_template = (
            "{% for m in messages %}User : {% for c in m.content %}{% if c.type == 'image' %}"
            + picture
            + "{% else %}{{ c.text }}{% endif %}{% endfor %} Assistant : {% endfor %}"
        )
    return tokenizer


def write_folder(architecture: str, folder: Path) -> Path:
    """Write a tiny model with its processor's files beside it."""
    special, pixels, settings, chat = {**FAMILIES, **SINGLE}[architecture]
    hf = tiny_model(architecture)
    hf.save_pretrained(folder)
    name = IMAGE_PROCESSOR_MAPPING_NAMES[architecture]["pil"]
    get_image_processor_class_from_name(name)(**pixels).save_pretrained(folder)
    tokenizer = _tokenizer(architecture, special, chat)
    tokenizer.save_pretrained(folder)
    if settings:
        (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder

"""The few families whose own `generate` reads a prompt in another way than their forward."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = [
    "as_read",
    "end_ids",
    "for_generate",
    "one_at_a_time",
    "placeholders",
    "reads_text",
    "reads_text_apart",
    "written_type",
]


def _kind(model: ModelParts) -> str:
    return str(getattr(model.hf.config, "model_type", ""))


def reads_text(encoder: Any) -> bool:
    """Return whether an encoder reads token ids; a vision tower does not."""
    return "input_ids" in inspect.signature(encoder.forward).parameters


def reads_text_apart(hf: Any) -> bool:
    """Return whether a stack of its own reads the prompt, and the decoder only looks at it."""
    encoder = hf.get_encoder()
    try:
        decoder = hf.get_decoder()
    except (AttributeError, NotImplementedError):
        decoder = hf
    apart = all(module is not decoder for module in encoder.modules())
    return encoder is not hf and apart and reads_text(encoder)


def one_at_a_time(model: ModelParts) -> str:
    """Return why pictures cannot share a batch; empty when they can."""
    if _kind(model).startswith("minicpmv"):
        return (
            "the vision tower of MiniCPM-V (transformers 5.23) gives the second picture of a "
            "batch other features than it has alone"
        )
    return ""


def placeholders(model: ModelParts) -> set[int]:
    """Return the ids that stand for pictures and clips in a prompt."""
    names = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
    found = (getattr(model.hf.config, name, None) for name in names)
    return {value for value in found if isinstance(value, int) and value >= 0}


def written_type(model: ModelParts) -> int:
    """Return the token type of what a model writes itself.

    PaliGemma reads what has type 0 in both directions, its caption (1) from left to right.
    """
    return int(_kind(model) == "paligemma")


def as_read(model: ModelParts, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return one row's inputs with the prompt as greedy decoding starts from it.

    BLIP's `generate` puts its own start token in front and drops the prompt's last token; GIT's
    tokenizer closes the prompt with an end token that must not stand before a caption.
    """
    ids = inputs.get("input_ids")
    if ids is None or ids.shape[1] < 2 or _kind(model) not in ("blip", "git"):
        return inputs
    last = int(ids[0, -1])
    text = model.hf.config.get_text_config()
    ends = {getattr(text, "sep_token_id", None), getattr(text, "eos_token_id", None)}
    ends.add(getattr(model.tokenizer, "sep_token_id", None))
    if last in ends:
        length = ids.shape[1]
        inputs = {
            key: value[:, :-1] if value.dim() > 1 and value.shape[:2] == (1, length) else value
            for key, value in inputs.items()
        }
    if _kind(model) == "blip":
        started = inputs["input_ids"].clone()
        started[:, 0] = text.bos_token_id
        inputs = {**inputs, "input_ids": started}
    return inputs


def for_generate(model: ModelParts, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch as the model's own `generate` wants it; undoes `as_read`."""
    if "input_ids" not in inputs:
        return inputs
    if model.is_encoder_decoder and not reads_text(model.hf.get_encoder()):
        return {key: value for key, value in inputs.items() if key != "input_ids"}
    if _kind(model) != "blip":
        return inputs
    ids = inputs["input_ids"]
    longer = {**inputs, "input_ids": torch.cat([ids, ids[:, -1:]], dim=1)}
    if "attention_mask" in inputs:
        mask = inputs["attention_mask"]
        longer["attention_mask"] = torch.cat([mask, mask[:, -1:]], dim=1)
    return longer


def end_ids(model: ModelParts) -> set[int]:
    """Return the ids that end a caption beside the generation config's own."""
    if _kind(model) in ("blip", "git"):
        value: Any = getattr(model.hf.config.get_text_config(), "sep_token_id", None)
        value = getattr(model.tokenizer, "sep_token_id", None) if value is None else value
        return set() if value is None else {int(value)}
    return set()

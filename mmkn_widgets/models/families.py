"""The few families whose own `generate` reads a prompt in another way than their forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .model import MultimodalModel

__all__ = ["as_read", "end_ids", "for_generate"]


def _kind(model: MultimodalModel) -> str:
    return str(getattr(model.hf.config, "model_type", ""))


def as_read(model: MultimodalModel, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
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


def for_generate(
    model: MultimodalModel, inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return a batch as the model's own `generate` wants it; undoes `as_read`."""
    if _kind(model) != "blip" or "input_ids" not in inputs:
        return inputs
    ids = inputs["input_ids"]
    longer = {**inputs, "input_ids": torch.cat([ids, ids[:, -1:]], dim=1)}
    if "attention_mask" in inputs:
        mask = inputs["attention_mask"]
        longer["attention_mask"] = torch.cat([mask, mask[:, -1:]], dim=1)
    return longer


def end_ids(model: MultimodalModel) -> set[int]:
    """Return the ids that end a caption beside the generation config's own."""
    if _kind(model) in ("blip", "git"):
        value: Any = getattr(model.hf.config.get_text_config(), "sep_token_id", None)
        value = getattr(model.tokenizer, "sep_token_id", None) if value is None else value
        return set() if value is None else {int(value)}
    return set()

"""A batch ready for the model: its tensors, its pictures, the lengths of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PER_TOKEN", "Prepared", "valid_lengths"]

#: Inputs with one entry per token of the prompt, and the value that padding gets.
PER_TOKEN = {
    "input_ids": None,
    "attention_mask": 0,
    "token_type_ids": 0,
    "mm_token_type_ids": 0,
    "moe_mm_token_type_ids": 0,
    "image_embeds_position_mask": 0,
    "image_attention_mask": 0,
    "cross_attention_mask": 0,
    "image_patches_indices": -1,
    "bbox": 0,
    "decoder_input_ids": None,
    "decoder_attention_mask": 0,
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch ready for the model, right-padded.

    Attributes
    ----------
    inputs : dict of str to torch.Tensor
        Keyword arguments of the model's forward, on its device.
    images : tuple of PIL.Image.Image, tuple of these, or None
        The original pictures, one per row; a tuple in a row whose prompt holds several; None where
        they are not known.
    prompts : tuple of str or None
        The text of each row, as the processor got it.
    prompt_lengths : tuple of int
        Tokens of each row before the continuation, padding left out.
    lengths : tuple of int
        Tokens of each row with the continuation, padding left out.
    continuation : tuple of tuple of int
        The teacher-forced ids of each row; empty when there are none.
    extras : tuple of mapping
        What the processor said beyond the model's inputs (tile counts, grids), one per row.
    """

    inputs: dict[str, torch.Tensor]
    images: tuple[Image | tuple[Image, ...] | None, ...]
    prompts: tuple[str | None, ...]
    prompt_lengths: tuple[int, ...]
    lengths: tuple[int, ...]
    continuation: tuple[tuple[int, ...], ...] = ()
    extras: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths)

    def left_padded(self) -> Prepared:
        """Return the same batch with the padding before the tokens, as `generate` wants it."""
        key = "decoder_input_ids" if "decoder_input_ids" in self.inputs else "input_ids"
        total = self.inputs[key].shape[1] if key in self.inputs else 0
        mask = self.inputs.get("attention_mask")
        shifts = [total - length for length in self.lengths]
        if mask is not None and mask.dim() == 2:  # rows that came padded on the left stay
            shifts = [s if bool(first) else 0 for s, first in zip(shifts, mask[:, 0], strict=True)]
        if not any(shifts) or key == "decoder_input_ids":
            return self
        moved = dict(self.inputs)
        for name, value in self.inputs.items():
            if name in PER_TOKEN and value.dim() > 1 and value.shape[1] == total:
                rows = [torch.roll(value[row], shift, 0) for row, shift in enumerate(shifts)]
                moved[name] = torch.stack(rows)
        return replace(self, inputs=moved)


def valid_lengths(tensors: Mapping[str, torch.Tensor], n: int) -> tuple[int, ...]:
    """Return how many tokens of each row are no padding."""
    ids, mask = tensors.get("input_ids"), tensors.get("attention_mask")
    if ids is None:
        return (1,) * n
    if mask is None or mask.shape != ids.shape:
        return (ids.shape[1],) * n
    return tuple(int(total) for total in mask.gt(0).sum(dim=1))

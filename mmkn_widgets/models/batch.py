"""A batch of prepared inputs: rows joined, padded on the right, continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from .families import written_type
from .prompts import all_continuation_ids

if TYPE_CHECKING:
    from PIL.Image import Image

    from .model import MultimodalModel

__all__ = ["Prepared", "collate", "place", "valid_lengths", "with_decoder_start"]

#: Inputs with one entry per token of the prompt, and the value that padding gets.
_PER_TOKEN = {
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
#: What the tokens of a continuation get, where it is neither their id nor the padding's value.
_CONTINUED = {"attention_mask": 1, "decoder_attention_mask": 1}
#: Inputs whose last row, not a constant, goes on over the continuation.
_GOES_ON = {"image_attention_mask", "cross_attention_mask"}


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
            if name in _PER_TOKEN and value.dim() > 1 and value.shape[1] == total:
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


def place(model: MultimodalModel, value: torch.Tensor) -> torch.Tensor:
    """Return an input on the model's device, floats in its type."""
    if value.is_floating_point():
        return value.to(model.device, model.dtype)
    return value.to(model.device)


def with_decoder_start(
    model: MultimodalModel, inputs: dict[str, torch.Tensor], n: int
) -> dict[str, torch.Tensor]:
    """Give an encoder-decoder its first decoder token."""
    if not model.is_encoder_decoder or "decoder_input_ids" in inputs:
        return inputs
    start = model.decoder_start
    ids = torch.full((n, 1), start, dtype=torch.long, device=model.device)
    return {**inputs, "decoder_input_ids": ids}


def collate(
    model: MultimodalModel,
    rows: list[dict[str, torch.Tensor]],
    pictures: Sequence[Any],
    texts: Sequence[str | None],
    continuation: Any,
    extras: Sequence[Mapping[str, Any]],
) -> Prepared:
    """Join single rows to a batch and append what they are made to have written."""
    n = len(rows)
    rows = [with_decoder_start(model, dict(row), 1) for row in rows]
    stream = "decoder_input_ids" if model.is_encoder_decoder else "input_ids"
    for row in rows:
        row.setdefault("attention_mask", torch.ones_like(row["input_ids"])) if (
            n > 1 and "input_ids" in row
        ) else None
    prompt_lengths = tuple(row[stream].shape[1] if stream in row else 1 for row in rows)
    continued: tuple[tuple[int, ...], ...] = ()
    if continuation is not None:
        continued = all_continuation_ids(model, continuation, texts, n)
        kinds = {**_CONTINUED, "token_type_ids": written_type(model)}
        rows = [
            _continue(row, ids, stream, kinds) for row, ids in zip(rows, continued, strict=True)
        ]
    lengths = tuple(row[stream].shape[1] if stream in row else 1 for row in rows)
    flat = "target_sizes" in rows[0]  # MiniCPM lays all pictures' patches in one line
    inputs = {
        key: _stack(model, key, [row[key] for row in rows], flat and key == "pixel_values")
        for key in rows[0]
    }
    placed = {key: place(model, value) for key, value in inputs.items()}
    return Prepared(
        placed, tuple(pictures), tuple(texts), prompt_lengths, lengths, continued, tuple(extras)
    )


def _continue(
    row: dict[str, torch.Tensor], ids: Sequence[int], stream: str, kinds: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    length, more = row[stream].shape[1], len(ids)
    if not more:
        return row
    longer = dict(row)
    decoder = stream == "decoder_input_ids"
    for name, value in row.items():
        if name not in _PER_TOKEN or value.dim() < 2 or value.shape[1] != length:
            continue
        if decoder and not name.startswith("decoder"):
            continue
        if name == stream:
            tail = torch.tensor([list(ids)], dtype=value.dtype, device=value.device)
        elif name in _GOES_ON:
            tail = value[:, -1:].expand(value.shape[0], more, *value.shape[2:])
        else:
            fill = kinds.get(name, _PER_TOKEN[name] or 0)
            tail = value.new_full((value.shape[0], more, *value.shape[2:]), fill)
        longer[name] = torch.cat([value, tail], dim=1)
    return longer


def _stack(
    model: MultimodalModel, key: str, values: list[torch.Tensor], one_line: bool = False
) -> torch.Tensor:
    """Join one input of all rows, padding at the end what is shorter."""
    if len(values) == 1:
        return values[0]
    if values[0].dim() == 0:
        return torch.stack(values)
    if one_line:
        return torch.cat(values, dim=-1)
    ranks = {value.dim() for value in values}
    if len(ranks) == 1 and any(v.shape[1:] != values[0].shape[1:] for v in values):
        fill = _PER_TOKEN.get(key, 0)
        fill = model.pad_id if fill is None else fill
        largest = [max(v.shape[d] for v in values) for d in range(1, values[0].dim())]
        values = [_pad(v, largest, fill) for v in values]
    return torch.cat(values, dim=0)


def _pad(value: torch.Tensor, largest: list[int], fill: float) -> torch.Tensor:
    padded = value.new_full((value.shape[0], *largest), fill)
    padded[tuple(slice(0, size) for size in value.shape)] = value
    return padded

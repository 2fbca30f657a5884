"""A batch of prepared inputs: rows joined, padded on the right, continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .families import written_type
from .prepared import PER_TOKEN, Prepared
from .prompts import all_continuation_ids

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = ["collate", "place", "with_decoder_start"]
#: What the tokens of a continuation get, where it is neither their id nor the padding's value.
_CONTINUED = {"attention_mask": 1, "decoder_attention_mask": 1}
#: Inputs whose last row, not a constant, goes on over the continuation.
_GOES_ON = {"image_attention_mask", "cross_attention_mask"}


def place(model: ModelParts, value: torch.Tensor) -> torch.Tensor:
    """Return an input on the model's device, floats in its type; an ordinary tensor."""
    if value.is_inference():
        value = value.clone()
    if value.is_floating_point():
        return value.to(model.device, model.dtype)
    return value.to(model.device)


def with_decoder_start(
    model: ModelParts, inputs: dict[str, torch.Tensor], n: int
) -> dict[str, torch.Tensor]:
    """Give an encoder-decoder its first decoder token."""
    if not model.is_encoder_decoder or "decoder_input_ids" in inputs:
        return inputs
    start = model.decoder_start
    ids = torch.full((n, 1), start, dtype=torch.long, device=model.device)
    return {**inputs, "decoder_input_ids": ids}


def collate(
    model: ModelParts,
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
        if name not in PER_TOKEN or value.dim() < 2 or value.shape[1] != length:
            continue
        if decoder and not name.startswith("decoder"):
            continue
        if name == stream:
            tail = torch.tensor([list(ids)], dtype=value.dtype, device=value.device)
        elif name in _GOES_ON:
            tail = value[:, -1:].expand(value.shape[0], more, *value.shape[2:])
        else:
            fill = kinds.get(name, PER_TOKEN[name] or 0)
            tail = value.new_full((value.shape[0], more, *value.shape[2:]), fill)
        longer[name] = torch.cat([value, tail], dim=1)
    return longer


def _stack(
    model: ModelParts, key: str, values: list[torch.Tensor], one_line: bool = False
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
        fill = PER_TOKEN.get(key, 0)
        fill = model.pad_id if fill is None else fill
        largest = [max(v.shape[d] for v in values) for d in range(1, values[0].dim())]
        values = [_pad(v, largest, fill) for v in values]
    return torch.cat(values, dim=0)


def _pad(value: torch.Tensor, largest: list[int], fill: float) -> torch.Tensor:
    padded = value.new_full((value.shape[0], *largest), fill)
    padded[tuple(slice(0, size) for size in value.shape)] = value
    return padded

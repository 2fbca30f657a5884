"""From pictures and a question to the tensors that the model takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from .._errors import BadArgument, NotSupported, bad_argument
from .families import as_read, one_at_a_time, placeholders
from .prompts import image_token, prompt_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from .model import MultimodalModel

__all__ = ["Prepared", "prepare"]

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
    images : tuple of PIL.Image.Image or None
        The original pictures, one per row; None where they are not known.
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
    images: tuple[Image | None, ...]
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


def prepare(
    model: MultimodalModel,
    images: Any,
    prompt: str | Sequence[str] | None = None,
    *,
    continuation: Sequence[str] | Sequence[Sequence[int]] | None = None,
) -> Prepared:
    """Turn pictures and a prompt into a batch; see `MultimodalModel.prepare`."""
    if isinstance(images, Mapping):
        return _ready_made(model, images, continuation)
    if model.processor is None:
        raise NotSupported(
            f"images: {model.name} was loaded without a processor, which reads pictures and texts; "
            "give a dict of the model's input tensors, or load_model(model, processor)"
        )
    pictures = _pictures(images)
    if len(pictures) > 1 and (reason := one_at_a_time(model)):
        raise NotSupported(f"images: {reason}; give one picture at a time")
    prompts = _per_row("prompt", prompt, len(pictures))
    texts = [prompt_text(model.hf, model.processor, text) for text in prompts]
    rows, extras = [], []
    for picture, text in zip(pictures, texts, strict=True):
        inputs, extra = _process(model, picture, text)
        rows.append(as_read(model, inputs))
        extras.append(extra)
    return _collate(model, rows, pictures, texts, continuation, extras)


def _pictures(images: Any) -> list[Any]:
    from ..datasets import read_image

    if isinstance(images, list | tuple):
        if not images:
            raise bad_argument("images", images, "at least one picture")
        return [read_image(image) for image in images]
    return [read_image(images)]


def _per_row(name: str, value: Any, n: int) -> list[Any]:
    if value is None or isinstance(value, str):
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise bad_argument(name, f"{len(values)} texts", f"one text, or one for each of {n} images")
    return values


def _process(
    model: MultimodalModel, picture: Image, text: str
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Run the processor on one picture; split what the model takes from what it does not."""
    processor = model.processor
    try:
        made = _call_processor(processor, picture, text)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise BadArgument(
            f"prompt: the processor of {model.name} cannot read the prompt {text!r} with one "
            f"picture: {error}"
        ) from error
    accepted = model.input_names
    inputs: dict[str, torch.Tensor] = {}
    extra: dict[str, Any] = {}
    for key, value in made.items():
        if accepted is None or key in accepted:
            inputs[key] = torch.as_tensor(value)
        else:
            extra[key] = value
    ids = inputs.get("input_ids")
    asked = accepted is None or "input_ids" in accepted
    if (ids is None and asked and not model.is_encoder_decoder) or (
        ids is not None and ids.shape[-1] == 0
    ):
        start = getattr(model.tokenizer, "bos_token_id", None)
        start = model.config_value("bos_token_id") if start is None else start
        if start is not None:
            inputs["input_ids"] = torch.tensor([[int(start)]])
            inputs["attention_mask"] = torch.ones(1, 1, dtype=torch.long)
    return inputs, extra


def _call_processor(processor: Any, picture: Image, text: str) -> Mapping[str, Any]:
    parameters = inspect.signature(type(processor).__call__).parameters
    if "text" in parameters or any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        if getattr(processor, "tokenizer", None) is None:  # an image processor alone
            return processor(images=picture, return_tensors="pt")
        if not text and not image_token(processor):
            return processor(images=[picture], return_tensors="pt")
        return processor(images=[picture], text=[text], return_tensors="pt", padding=False)
    return processor(images=[picture], return_tensors="pt")


def _ready_made(model: MultimodalModel, given: Mapping[str, Any], continuation: Any) -> Prepared:
    tensors = {k: v for k, v in given.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise bad_argument(
            "images", sorted(map(str, given)), "a dict of the model's input tensors, by name"
        )
    first = tensors.get("input_ids", next(iter(tensors.values())))
    n = first.shape[0]
    rows = [tensors] if n == 1 else None
    if rows is None:
        if continuation is not None:
            raise NotSupported(
                "continuation: ready-made inputs of more than one row cannot be continued; give "
                "one row, or put the ids in yourself"
            )
        lengths = _valid_lengths(tensors, n)
        placed = {k: _place(model, v) for k, v in tensors.items()}
        placed = _with_decoder_start(model, placed, n)
        return Prepared(placed, (None,) * n, (None,) * n, lengths, lengths)
    return _collate(model, rows, [None], [None], continuation, [{}])


def _valid_lengths(tensors: Mapping[str, torch.Tensor], n: int) -> tuple[int, ...]:
    ids, mask = tensors.get("input_ids"), tensors.get("attention_mask")
    if ids is None:
        return (1,) * n
    if mask is None or mask.shape != ids.shape:
        return (ids.shape[1],) * n
    return tuple(int(total) for total in mask.gt(0).sum(dim=1))


def _place(model: MultimodalModel, value: torch.Tensor) -> torch.Tensor:
    if value.is_floating_point():
        return value.to(model.device, model.dtype)
    return value.to(model.device)


def _with_decoder_start(
    model: MultimodalModel, inputs: dict[str, torch.Tensor], n: int
) -> dict[str, torch.Tensor]:
    """Give an encoder-decoder its first decoder token."""
    if not model.is_encoder_decoder or "decoder_input_ids" in inputs:
        return inputs
    start = model.decoder_start
    ids = torch.full((n, 1), start, dtype=torch.long, device=model.device)
    return {**inputs, "decoder_input_ids": ids}


def _collate(
    model: MultimodalModel,
    rows: list[dict[str, torch.Tensor]],
    pictures: Sequence[Any],
    texts: Sequence[str | None],
    continuation: Any,
    extras: Sequence[Mapping[str, Any]],
) -> Prepared:
    n = len(rows)
    rows = [_with_decoder_start(model, dict(row), 1) for row in rows]
    stream = "decoder_input_ids" if model.is_encoder_decoder else "input_ids"
    for row in rows:
        row.setdefault("attention_mask", torch.ones_like(row["input_ids"])) if (
            n > 1 and "input_ids" in row
        ) else None
    prompt_lengths = tuple(row[stream].shape[1] if stream in row else 1 for row in rows)
    continued: tuple[tuple[int, ...], ...] = ()
    if continuation is not None:
        continued = _continuation_ids(model, continuation, texts, n)
        rows = [_continue(row, ids, stream) for row, ids in zip(rows, continued, strict=True)]
    lengths = tuple(row[stream].shape[1] if stream in row else 1 for row in rows)
    flat = "target_sizes" in rows[0]  # MiniCPM lays all pictures' patches in one line
    inputs = {
        key: _stack(model, key, [row[key] for row in rows], flat and key == "pixel_values")
        for key in rows[0]
    }
    placed = {key: _place(model, value) for key, value in inputs.items()}
    return Prepared(
        placed, tuple(pictures), tuple(texts), prompt_lengths, lengths, continued, tuple(extras)
    )


def _continuation_ids(
    model: MultimodalModel, continuation: Any, texts: Sequence[str | None], n: int
) -> tuple[tuple[int, ...], ...]:
    if isinstance(continuation, str):
        continuation = [continuation]
    given = list(continuation)
    if given and isinstance(given[0], int):
        given = [given]
    if len(given) != n:
        raise bad_argument("continuation", f"{len(given)} rows", f"one for each of {n} images")
    ids = []
    for row, text in zip(given, texts, strict=True):
        if isinstance(row, str):
            ids.append(tuple(continuation_ids(model, text or "", row)))
        else:
            ids.append(tuple(int(i) for i in row))
        _refuse_placeholders(model, ids[-1])
    return tuple(ids)


def _refuse_placeholders(model: MultimodalModel, ids: Sequence[int]) -> None:
    """Say so where a caption holds the id that stands for a picture: no picture belongs to it."""
    if found := placeholders(model) & set(ids):
        raise bad_argument(
            "continuation", list(ids), f"text without {min(found)}, which stands for a picture"
        )


def continuation_ids(model: MultimodalModel, prompt: str, text: str) -> list[int]:
    """Return the ids of a text as the model would write it behind its prompt.

    Byte-level and SentencePiece vocabularies fold the space before a word into its token, so the
    text is read together with the prompt's last character and that character's ids are taken off.
    """
    if model.tokenizer is None:
        raise NotSupported(
            f"continuation: {model.name} has no tokenizer; give token ids instead of text"
        )
    anchor = prompt[-1:] or "\n"
    joint = anchor + text if anchor.isspace() else f"{anchor} {text.lstrip()}"
    head = model.tokenizer(anchor, add_special_tokens=False)["input_ids"]
    ids = model.tokenizer(joint, add_special_tokens=False)["input_ids"]
    if ids[: len(head)] == head:
        return list(ids[len(head) :])
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def _continue(
    row: dict[str, torch.Tensor], ids: Sequence[int], stream: str
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
            fill = _CONTINUED.get(name, _PER_TOKEN[name] or 0)
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

"""From pictures and a question to the tensors that the model takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..core import BadArgument, NotSupported, bad_argument
from .batch import collate, place, with_decoder_start
from .families import as_read, one_at_a_time
from .image_positions import image_mask
from .prepared import Prepared, valid_lengths
from .prompts import image_token, prompt_text, with_one_placeholder
from .source import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

    from .parts import ModelParts

__all__ = ["call_processor", "pictures_of", "prepare"]


def prepare(
    model: ModelParts,
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
    texts = [
        prompt_text(model.hf, model.processor, text, len(pictures_of(row)))
        for row, text in zip(pictures, prompts, strict=True)
    ]
    rows, extras = [], []
    for picture, text in zip(pictures, texts, strict=True):
        inputs, extra = _process(model, picture, text)
        rows.append(as_read(model, inputs))
        extras.append(extra)
    return collate(model, rows, pictures, texts, continuation, extras)


def _pictures(images: Any) -> list[Any]:
    from ..datasets import read_image

    if isinstance(images, list | tuple):
        if not images:
            raise bad_argument("images", images, "at least one picture")
        return [
            tuple(_pictures(image)) if isinstance(image, list | tuple) else read_image(image)
            for image in images
        ]
    return [read_image(images)]


def pictures_of(row: Any) -> tuple[Any, ...]:
    """Return the pictures of one row: a picture, several, or None where they are not known."""
    if row is None:
        return ()
    return row if isinstance(row, tuple) else (row,)


def _per_row(name: str, value: Any, n: int) -> list[Any]:
    if value is None or isinstance(value, str):
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise bad_argument(name, f"{len(values)} texts", f"one text, or one for each of {n} images")
    return values


def _process(
    model: ModelParts, picture: Image | tuple[Image, ...], text: str
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Run the processor on one row; split what the model takes from what it does not."""
    processor = model.processor
    try:
        made = call_processor(processor, picture, text)
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RuntimeError,
    ) as error:  # fmt: skip
        raise BadArgument(
            f"prompt: the processor of {model.name} cannot read the prompt {text!r} with "
            f"{_count(len(pictures_of(picture)))}: {one_line(error)}"
        ) from error
    accepted = model.input_names
    inputs: dict[str, torch.Tensor] = {}
    extra: dict[str, Any] = {}
    for key, value in made.items():
        if key == "labels":  # what a loss would be computed from (PaliGemma's processor makes them)
            continue
        if accepted is None or key in accepted:
            inputs[key] = torch.as_tensor(value)
        else:
            extra[key] = value
    if (n := len(pictures_of(picture))) > 1:
        _refuse_single(model, inputs, picture, text, n)
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


def _refuse_single(
    model: ModelParts, inputs: dict[str, torch.Tensor], picture: Any, text: str, n: int
) -> None:
    """Say so where a prompt of this model holds one picture and several were given.

    Its processor lays them along the batch, and makes no more image tokens than for one.
    """
    pixels, ids = inputs.get("pixel_values"), inputs.get("input_ids")
    if pixels is None or pixels.dim() != 4 or pixels.shape[0] != n:
        return
    if ids is not None and (count := int(image_mask(model, inputs).sum())):
        alone = call_processor(model.processor, pictures_of(picture)[0], with_one_placeholder(
            model.processor, text
        ))  # fmt: skip
        one = {k: torch.as_tensor(v) for k, v in alone.items() if k in inputs}
        if count > int(image_mask(model, one).sum()):
            return
    raise NotSupported(
        f"images: a prompt of {model.name} holds one picture, got {n}; give a list of pictures, "
        "each with a prompt of its own"
    )


def _count(n: int) -> str:
    return "one picture" if n == 1 else f"{n} pictures"


def call_processor(
    processor: Callable[..., Mapping[str, Any]], picture: Image | tuple[Image, ...], text: str
) -> Mapping[str, Any]:
    """Return what a processor makes of one prompt and its picture or pictures."""
    pictures = list(pictures_of(picture))
    called: Any = type(processor).__call__
    parameters = inspect.signature(called).parameters
    if "text" in parameters or any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        if getattr(processor, "tokenizer", None) is None:  # an image processor alone
            return processor(images=picture, return_tensors="pt")
        if not text and not image_token(processor):
            return processor(images=pictures, return_tensors="pt")
        if len(pictures) == 1:
            return processor(images=pictures, text=[text], return_tensors="pt", padding=False)
        # a list in a list: all of them belong to the one text
        return processor(images=[pictures], text=[text], return_tensors="pt", padding=False)
    return processor(images=pictures, return_tensors="pt")


def _ready_made(model: ModelParts, given: Mapping[str, Any], continuation: Any) -> Prepared:
    tensors = {k: v for k, v in given.items() if isinstance(v, torch.Tensor) and k != "labels"}
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
        lengths = valid_lengths(tensors, n)
        placed = {k: place(model, v) for k, v in tensors.items()}
        placed = with_decoder_start(model, placed, n)
        return Prepared(placed, (None,) * n, (None,) * n, lengths, lengths)
    return collate(model, rows, [None], [None], continuation, [{}])

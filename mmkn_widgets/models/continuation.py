"""The ids of a caption that a model is made to have written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._errors import NotSupported, bad_argument
from .families import placeholders

if TYPE_CHECKING:
    from .model import MultimodalModel

__all__ = ["all_continuation_ids", "continuation_ids"]


def all_continuation_ids(
    model: MultimodalModel, continuation: Any, texts: Sequence[str | None], n: int
) -> tuple[tuple[int, ...], ...]:
    """Return the ids of each row's continuation, given as texts or as ids."""
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

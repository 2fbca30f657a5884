"""What an optimised edit learns from: teacher-forced captions and what the model said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import bad_argument
from ..attribution.concept import Concept
from ..attribution.predicting import find_word

__all__ = ["Lesson", "lessons"]


@dataclass(frozen=True)
class Lesson:
    """A batch of teacher-forced captions.

    Attributes
    ----------
    inputs : mapping of str to Tensor
        The forward's arguments.
    width : int
        The last so many positions are the caption's places: those whose output is a caption token.
    before : Tensor, shape (row, place, word)
        Log-probabilities of the model as it is.
    asked : Tensor of bool, shape (row, place)
        Where the target's tokens (when muting: the source's first) are predicted.
    answers : Tensor of int64, shape (asked,)
        Those tokens, in the order of ``asked``.
    behind : Tensor of bool, shape (row, place)
        Places behind the word.
    kept : Tensor of bool, shape (row, place)
        Places that should stay as they are.
    word : int
        The target's first token.
    say : bool
        Whether the answers are to be said, or not to be said.
    """

    inputs: Mapping[str, Tensor]
    width: int
    before: Tensor
    asked: Tensor
    answers: Tensor
    behind: Tensor
    kept: Tensor
    word: int
    say: bool


def lessons(
    model: Any,
    source: Concept,
    targets: Sequence[Concept],
    scenes: Sequence[Any],
    prompt: str | None,
    batch_size: int,
) -> tuple[list[Lesson], list[Lesson]]:
    """Caption scenes and make lessons of those that name the source, and of the others.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    source : Concept
        The word to be replaced.
    targets : sequence of Concept
        The word to be said, or none.
    scenes : sequence of Scene
        Pictures.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Captions in a lesson.

    Returns
    -------
    list of Lesson
        Captions that name the source, the word replaced.
    list of Lesson
        Captions that do not.

    Raises
    ------
    BadArgument
        If no caption names the source.
    """
    answer = None
    if targets:
        forms = targets[0].token_ids(model.tokenizer)
        answer = list(next(iter(forms.values())))
    with_source: list[tuple[Any, list[int], int, int]] = []
    without: list[tuple[Any, list[int], int, int]] = []
    for start in range(0, len(scenes), batch_size):
        group = scenes[start : start + batch_size]
        written = model.generate(model.prepare([s.image for s in group], prompt)).token_ids
        for scene, ids in zip(group, written, strict=True):
            at = find_word(model, ids, source)
            if at is None:
                without.append((scene, list(ids), -1, 0))
                continue
            end = next(
                n for n in range(at + 1, len(ids) + 1) if source.named_in(model.decode(ids[at:n]))
            )
            if answer is None:
                with_source.append((scene, list(ids), at, 1))
            else:
                with_source.append((scene, [*ids[:at], *answer, *ids[end:]], at, len(answer)))
    if not with_source:
        raise bad_argument(
            "scenes", f"{len(scenes)} scenes", f"some whose caption names {source.word!r}"
        )
    return (
        [
            _lesson(model, group, prompt, bool(targets))
            for group in _groups(with_source, batch_size)
        ],
        [_lesson(model, group, prompt, True) for group in _groups(without, batch_size)],
    )


def _groups(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _lesson(
    model: Any, group: Sequence[tuple[Any, list[int], int, int]], prompt: str | None, say: bool
) -> Lesson:
    captions = [ids for _, ids, _, _ in group]
    prepared = model.prepare([s.image for s, _, _, _ in group], prompt, continuation=captions)
    total = max(prepared.lengths)
    # the output of the prompt's last token is the caption's first, the caption's last ends it
    width = total - min(prepared.prompt_lengths) + 1
    with torch.no_grad():
        logits = model.forward(prepared, logits_to_keep=width).logits[:, -width:]
    before = torch.log_softmax(logits.float(), dim=-1)
    shape = before.shape[:2]
    asked = torch.zeros(shape, dtype=torch.bool)
    behind, valid = torch.zeros_like(asked), torch.zeros_like(asked)
    answers: list[int] = []
    for row, (_, ids, at, n) in enumerate(group):
        first = prepared.prompt_lengths[row] - 1 - (total - width)
        valid[row, first : first + len(ids) + 1] = True
        if at >= 0:
            asked[row, first + at : first + at + n] = True
            behind[row, first + at + n : first + len(ids) + 1] = True
            answers += ids[at : at + n]
    where = before.device
    return Lesson(
        prepared.inputs,
        width,
        before,
        asked.to(where),
        torch.tensor(answers, dtype=torch.long, device=where),
        behind.to(where),
        (valid & ~asked).to(where),
        answers[0] if answers else -1,
        say,
    )

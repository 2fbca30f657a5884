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

__all__ = ["Lesson", "Text", "lessons", "swaps", "write"]


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
        Where the answers are predicted.
    answers : Tensor of int64, shape (asked,)
        Those tokens, in the order of ``asked``.
    behind : Tensor of bool, shape (row, place)
        Places behind the answer, where it should not be said again.
    kept : Tensor of bool, shape (row, place)
        Places that should stay as they are.
    word : Tensor of int64, shape (row,)
        The answer's first token; 0 in rows without an answer.
    """

    inputs: Mapping[str, Tensor]
    width: int
    before: Tensor
    asked: Tensor
    answers: Tensor
    behind: Tensor
    kept: Tensor
    word: Tensor


@dataclass(frozen=True)
class Text:
    """A caption to learn from.

    Attributes
    ----------
    scene : Scene
        Its picture.
    ids : tuple of int
        The teacher-forced caption.
    at, n : int
        Where the answer stands in it, and how many tokens it has; -1 and 0 for a caption that
        should stay as it is.
    """

    scene: Any
    ids: tuple[int, ...]
    at: int = -1
    n: int = 0


def swaps(
    model: Any,
    source: Concept,
    target: Concept | None,
    scenes: Sequence[Any],
    prompt: str | None,
    batch_size: int,
) -> tuple[list[Text], list[Text]]:
    """Caption scenes, and put the target in place of the source.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    source : Concept
        The word to be replaced.
    target : Concept or None
        The word to be said; None when the source is to be muted: then in each caption the next
        best token is the answer.
    scenes : sequence of Scene
        Pictures.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.

    Returns
    -------
    list of Text
        Captions that name the source, the word replaced.
    list of Text
        Captions that do not.

    Raises
    ------
    BadArgument
        If no caption names the source.
    """
    answer: list[int] | None = None
    if target is not None:
        answer = list(next(iter(target.token_ids(model.tokenizer).values())))
    with_source: list[Text] = []
    without: list[Text] = []
    for scene, ids in write(model, scenes, prompt, batch_size):
        at = find_word(model, ids, source)
        if at is None:
            without.append(Text(scene, tuple(ids)))
            continue
        end = next(
            n for n in range(at + 1, len(ids) + 1) if source.named_in(model.decode(ids[at:n]))
        )
        said = answer or [_next_best(model, source, scene, ids[:at], prompt)]
        with_source.append(Text(scene, (*ids[:at], *said, *ids[end:]), at, len(said)))
    if not with_source:
        raise bad_argument(
            "scenes", f"{len(scenes)} scenes", f"some whose caption names {source.word!r}"
        )
    return with_source, without


def _next_best(
    model: Any, source: Concept, scene: Any, ahead: list[int], prompt: str | None
) -> int:
    """Return the token the model would say there if it could not say the source."""
    with torch.no_grad():
        prepared = model.prepare([scene.image], prompt, continuation=[ahead])
        last = model.forward(prepared, logits_to_keep=1).logits[0, -1].clone()
    last[list(source.first_tokens(model.tokenizer))] = -torch.inf
    return int(last.argmax())


def write(
    model: Any, scenes: Sequence[Any], prompt: str | None, batch_size: int
) -> list[tuple[Any, list[int]]]:
    """Return each scene with the ids of its greedy caption."""
    made: list[tuple[Any, list[int]]] = []
    for group in _groups(list(scenes), batch_size):
        written = model.generate(model.prepare([s.image for s in group], prompt)).token_ids
        made += zip(group, (list(ids) for ids in written), strict=True)
    return made


def lessons(
    model: Any,
    texts: Sequence[Text],
    prompt: str | None,
    batch_size: int,
    *,
    once: bool = True,
) -> list[Lesson]:
    """Return batches of captions with what the model says of them now.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    texts : sequence of Text
        Captions.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Captions in a lesson.
    once : bool
        Whether an answer should not be said again behind its place.
    """
    return [_lesson(model, group, prompt, once) for group in _groups(list(texts), batch_size)]


def _groups(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _lesson(model: Any, group: Sequence[Text], prompt: str | None, once: bool) -> Lesson:
    captions = [list(text.ids) for text in group]
    prepared = model.prepare([text.scene.image for text in group], prompt, continuation=captions)
    total = max(prepared.lengths)
    # the output of the prompt's last token is the caption's first, the caption's last ends it
    width = total - min(prepared.prompt_lengths) + 1
    with torch.no_grad():
        logits = model.forward(prepared, logits_to_keep=width).logits[:, -width:]
    before = torch.log_softmax(logits.float(), dim=-1)
    asked = torch.zeros(before.shape[:2], dtype=torch.bool)
    behind, valid = torch.zeros_like(asked), torch.zeros_like(asked)
    answers: list[int] = []
    for row, text in enumerate(group):
        first = prepared.prompt_lengths[row] - 1 - (total - width)
        valid[row, first : first + len(text.ids) + 1] = True
        if text.at >= 0:
            end = text.at + text.n
            asked[row, first + text.at : first + end] = True
            behind[row, first + end : first + len(text.ids) + 1] = once
            answers += text.ids[text.at : end]
    where = before.device
    return Lesson(
        prepared.inputs,
        width,
        before,
        asked.to(where),
        torch.tensor(answers, dtype=torch.long, device=where),
        behind.to(where),
        (valid & ~asked).to(where),
        torch.tensor([t.ids[t.at] if t.at >= 0 else 0 for t in group], device=where),
    )

"""Where a model predicts a concept: the caption up to its first token, teacher-forced."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core import BadArgument, Concept, bad_argument

if TYPE_CHECKING:
    from ..core import CancelToken
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["Prediction", "find_span", "find_word", "predictions"]


@dataclass(frozen=True)
class Prediction:
    """One scene's predicting position.

    Attributes
    ----------
    scene : int
        Its place in the list of scenes.
    prefix : tuple of int
        Token ids of the caption before the concept.
    token : int
        The concept's first token in that caption.
    caption : str
        The whole caption.
    tokens : tuple of int
        All tokens of the concept there, the first included.
    """

    scene: int
    prefix: tuple[int, ...]
    token: int
    caption: str
    tokens: tuple[int, ...] = ()


def find_span(model: Any, token_ids: Sequence[int], concept: Concept) -> tuple[int, int] | None:
    """Return where a concept's first occurrence starts and ends in a list of tokens, or None.

    Token and word are aligned by decoding: the first prefix of the caption that names the concept
    ends at its last token, the shortest tail of that prefix that names it starts at its first.

    Parameters
    ----------
    model : MultimodalModel
        Decodes the ids.
    token_ids : sequence of int
        What was generated.
    concept : Concept
    """
    ids = list(token_ids)
    named = [concept.named_in(model.decode(ids[:n])) for n in range(len(ids) + 1)]
    # a word is there once its next token has not made another one of it ("cat", "catfish")
    end = next((n for n in range(len(ids)) if named[n] and named[n + 1]), None)
    if end is None:
        if not named[-1]:
            return None
        end = len(ids)
    start = next(n for n in range(end - 1, -1, -1) if concept.named_in(model.decode(ids[n:end])))
    return start, end


def find_word(model: Any, token_ids: Sequence[int], concept: Concept) -> int | None:
    """Return the place of the first token of a concept's first occurrence, or None."""
    span = find_span(model, token_ids, concept)
    return None if span is None else span[0]


def predictions(
    model: MultimodalModel,
    concept: Concept,
    scenes: Sequence[Scene],
    *,
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int = 16,
    cancel: CancelToken | None = None,
) -> tuple[list[Prediction], dict[str, str]]:
    """Find the predicting position of every scene.

    Parameters
    ----------
    model : MultimodalModel
    concept : Concept
    scenes : sequence of Scene
    caption : {"greedy", "reference"}
        The model's own greedy caption of the original picture, or the first reference that names
        the concept.
    prompt : str, optional
    batch_size : int
    cancel : CancelToken, optional

    Returns
    -------
    list of Prediction
    dict
        Scene id -> why it was left out.

    Raises
    ------
    BadArgument
        If no caption names the concept; the message has the nearest words that captions use.
    """
    if caption not in ("greedy", "reference"):
        raise bad_argument("caption", caption, "'greedy' or 'reference'")
    found, skipped = [], {}
    written = _captions(model, concept, scenes, caption, prompt, batch_size, cancel)
    for place, (scene, ids) in enumerate(zip(scenes, written, strict=True)):
        span = find_span(model, ids, concept)
        if span is None:
            said = f"{model.decode(ids)!r} does not name it" if ids else "no reference names it"
            skipped[str(scene.id)] = f"{caption} caption: {said}"
            continue
        start, end = span
        found.append(
            Prediction(
                place, tuple(ids[:start]), ids[start], model.decode(ids), tuple(ids[start:end])
            )
        )
    if not found:
        texts = [model.decode(ids) for ids in written]
        texts += [text for scene in scenes for text in scene.captions]
        near = ", ".join(_nearest(concept.word, texts)) or "none"
        raise BadArgument(
            f"concept: got {concept.word!r}, which "
            f"{'the model names' if caption == 'greedy' else 'the references name'} in none of "
            f"{len(scenes)} captions ({next(iter(skipped.values()), 'no scene')}); nearest words "
            f"of the captions: {near}; choose scenes whose caption names it"
            + ("" if caption == "reference" else ", or caption='reference'")
        )
    return found, skipped


def _captions(
    model: MultimodalModel,
    concept: Concept,
    scenes: Sequence[Scene],
    caption: str,
    prompt: str | None,
    batch_size: int,
    cancel: CancelToken | None,
) -> list[list[int]]:
    written: list[list[int]] = []
    if caption == "reference":
        for scene in scenes:
            text = next((c for c in scene.captions if concept.named_in(c)), "")
            if not text:
                written.append([])
                continue
            prepared = model.prepare([scene.image], prompt, continuation=[text])
            written.append(list(prepared.continuation[0]))
        return written
    for start in range(0, len(scenes), batch_size):
        if cancel is not None:
            cancel.raise_if_cancelled()
        pictures = [scene.image for scene in scenes[start : start + batch_size]]
        written += [list(i) for i in model.generate(model.prepare(pictures, prompt)).token_ids]
    return written


def _nearest(word: str, texts: Iterable[str], n: int = 3) -> list[str]:
    known = {w for text in texts for w in re.findall(r"[^\W\d_]{3,}", text.lower())}
    return difflib.get_close_matches(word, sorted(known), n=n, cutoff=0.0)

"""Where a model predicts a concept: the caption up to its first token, teacher-forced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import BadArgument, bad_argument
from .concept import Concept

if TYPE_CHECKING:
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["Prediction", "find_word", "predictions"]


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
    """

    scene: int
    prefix: tuple[int, ...]
    token: int
    caption: str


def find_word(model: Any, token_ids: Sequence[int], concept: Concept) -> int | None:
    """Return the place of the first token of a concept's first occurrence, or None.

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
    return next(n for n in range(end - 1, -1, -1) if concept.named_in(model.decode(ids[n:end])))


def predictions(
    model: MultimodalModel,
    concept: Concept,
    scenes: Sequence[Scene],
    *,
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int = 16,
) -> tuple[list[Prediction], dict[str, str]]:
    """Find the predicting position of every scene (section "Predicting position").

    Parameters
    ----------
    model : MultimodalModel
    concept : Concept
    scenes : sequence of Scene
    caption : {"greedy", "reference"}
        The model's own greedy caption, or the first reference that names the concept.
    prompt : str, optional
    batch_size : int

    Returns
    -------
    list of Prediction
    dict
        Scene id -> why it was left out.

    Raises
    ------
    BadArgument
        If no caption names the concept.
    """
    if caption not in ("greedy", "reference"):
        raise bad_argument("caption", caption, "'greedy' or 'reference'")
    found, skipped = [], {}
    written: list[list[int]] = []
    if caption == "greedy":
        for start in range(0, len(scenes), batch_size):
            pictures = [scene.image for scene in scenes[start : start + batch_size]]
            written += model.generate(model.prepare(pictures, prompt)).token_ids
    else:
        for scene in scenes:
            text = next((c for c in scene.captions if concept.named_in(c)), "")
            prepared = model.prepare([scene.image], prompt, continuation=[text or "a"])
            written.append(list(prepared.continuation[0]) if text else [])
    for place, (scene, ids) in enumerate(zip(scenes, written, strict=True)):
        where = find_word(model, ids, concept)
        if where is None:
            skipped[str(scene.id)] = f"{caption} caption: {model.decode(ids)!r}"
            continue
        found.append(Prediction(place, tuple(ids[:where]), int(ids[where]), model.decode(ids)))
    if not found:
        shown = next(iter(skipped.values()), "no scene")
        raise BadArgument(
            f"concept: got {concept.word!r}, which the model names in none of {len(scenes)} scenes "
            f"({shown}); choose scenes whose caption names it, or caption='reference'"
        )
    return found, skipped

"""Find a concept's word in what a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["find_word", "first_words", "names"]


def names(concept: Any, text: str) -> bool:
    """Return whether a text names a concept (a word, or a `Concept` with its forms)."""
    from ..attribution import as_concept

    return bool(as_concept(concept).named_in(text))


def find_word(model: Any, token_ids: Sequence[int], concept: Any) -> int | None:
    """Return the place of the first token of a concept's first occurrence, or None.

    Parameters
    ----------
    model : MultimodalModel
        Decodes the ids.
    token_ids : sequence of int
        What was generated.
    concept : str or Concept
        What to find.
    """
    ids = list(token_ids)
    named = [names(concept, model.decode(ids[:n])) for n in range(len(ids) + 1)]
    # a word is there once its next token has not made another one of it ("cat", "catfish")
    end = next((n for n in range(len(ids)) if named[n] and named[n + 1]), None)
    if end is None:
        if not named[-1]:
            return None
        end = len(ids)
    return next(n for n in range(end - 1, -1, -1) if names(concept, model.decode(ids[n:end])))


def first_words(model: Any, token_ids: Sequence[int], start: int, concept: Any) -> str:
    """Return what was written from a place on: as many words as the concept's name has."""
    n_words = len(str(getattr(concept, "word", concept)).split())
    return " ".join(model.decode(list(token_ids)[start:]).split()[:n_words])

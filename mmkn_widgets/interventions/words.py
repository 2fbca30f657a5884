"""A concept's word in what a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..attribution.concept import as_concept

__all__ = ["first_words", "names"]


def names(concept: Any, text: str) -> bool:
    """Return whether a text names a concept (a word, or a `Concept` with its forms)."""
    return as_concept(concept).named_in(text)


def first_words(model: Any, token_ids: Sequence[int], start: int, concept: Any) -> str:
    """Return what was written from a place on: as many words as the concept's name has.

    Parameters
    ----------
    model : MultimodalModel
        Decodes the ids.
    token_ids : sequence of int
        What was generated.
    start : int
        The place.
    concept : str or Concept
        Gives the number of words.
    """
    n_words = len(as_concept(concept).word.split())
    return " ".join(model.decode(list(token_ids)[start:]).split()[:n_words])

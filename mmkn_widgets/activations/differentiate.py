"""What a capture differentiates: a concept's word, a token, or any function of the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..core import BadArgument, as_concept, bad_argument

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Aim", "aim", "value_of"]


@dataclass(frozen=True)
class Aim:
    """One scalar y of a forward.

    Attributes
    ----------
    continuation : list of int
        Token ids that are teacher-forced behind the prompt.
    token : int
        Whose score is y; -1 for a function.
    back : int
        The predicting position, counted from the end: 1 is the last.
    function : callable or None
        ``function(logits (token, vocabulary)) -> scalar``.
    """

    continuation: list[int]
    token: int = -1
    back: int = 1
    function: Callable[[torch.Tensor], torch.Tensor] | None = None


def aim(model: MultimodalModel, of: Any, written: Sequence[int], *, whole: bool) -> Aim:
    """Return what to differentiate for one picture.

    Parameters
    ----------
    model : MultimodalModel
    of : str, Concept, int or callable
        A concept's first token where the caption names it; a token at the last position; a
        function of the logits.
    written : sequence of int
        The caption's token ids.
    whole : bool
        Whether the tokens from the concept on are forced too.

    Raises
    ------
    BadArgument
        If the caption does not name the concept.
    """
    ids = [int(i) for i in written]
    if callable(of) and not hasattr(of, "named_in"):
        return Aim(ids, function=of)
    if isinstance(of, bool):
        raise bad_argument(
            "gradients", of, "what to differentiate: a concept, a token id or a function of logits"
        )
    if isinstance(of, int):
        vocabulary = model.unembedding.shape[0]
        if not 0 <= of < vocabulary:
            raise bad_argument("gradients", of, f"a token id from 0 to {vocabulary - 1}")
        return Aim(ids, token=of)
    from .predicting import find_word

    concept = as_concept(of)
    place = find_word(model, ids, concept)
    if place is None:
        raise BadArgument(
            f"gradients: got {concept.word!r}, which the caption {model.decode(ids)!r} does not "
            "name; give continuation= a text that does, or a token id"
        )
    forced = ids if whole else ids[:place]
    return Aim(forced, token=ids[place], back=len(forced) - place + 1)


def value_of(logits: torch.Tensor, wanted: Aim, target: str) -> torch.Tensor:
    """Return y from the logits (1, token, vocabulary) of the last positions."""
    if wanted.function is not None:
        value: Any = wanted.function(logits[0].float())
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
            raise bad_argument(
                "gradients", value, "a function that returns one number computed from the logits"
            )
        return value
    at = logits[0, -wanted.back].float()
    return (torch.log_softmax(at, -1) if target == "log_prob" else at)[wanted.token]

"""Run the last layers again and again on what the first ones said once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Replay"]

#: the residual stream itself, and what would remember the last run
_LEFT_OUT = ("hidden_states", "past_key_values", "past_key_value", "use_cache")


class Replay:
    """A batch whose blocks from `start` on can be run again, say under an ablation.

    What is switched off behind block `start` cannot change what enters it, so that the vision
    tower and the blocks before are run once.

    Parameters
    ----------
    model : MultimodalModel
    prepared : Prepared
    start : int
        The first block that is run again.
    keep : int
        Logits of the last so many positions are wanted.

    Attributes
    ----------
    works : bool
        Whether running the blocks, the final norm and the head one after the other gives the
        model's own logits; where an architecture does more in between, `logits` runs it whole.
    """

    def __init__(self, model: Any, prepared: Any, start: int, keep: int) -> None:
        self._model, self._prepared, self._keep = model, prepared, keep
        self._blocks = list(model.blocks)[start:]
        self._given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        handles = [
            block.register_forward_pre_hook(self._take, with_kwargs=True) for block in self._blocks
        ]
        try:
            with model.interventions.suspended():
                own = model.forward(prepared, logits_to_keep=keep).logits[:, -keep:]
        finally:
            for handle in handles:
                handle.remove()
        self.works = len(self._given) == len(self._blocks) and self._is(own)

    def _take(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = given[0] if given else named.get("hidden_states")
        first = not self._given
        rest = {key: value for key, value in named.items() if key not in _LEFT_OUT}
        self._given.append(((hidden, *given[1:]) if first else (None, *given[1:]), rest))

    def _is(self, own: Tensor) -> bool:
        """Return whether the blocks alone give the model's own logits."""
        try:
            with self._model.interventions.suspended():
                again = self._again()
        except Exception:  # whatever an architecture needs beside: then it is run whole
            return False
        return again.shape == own.shape and torch.allclose(
            again.float(), own.float(), rtol=1e-3, atol=1e-3
        )

    def _again(self) -> Tensor:
        hidden: Any = self._given[0][0][0]
        with self._model.lock, self._model.running(self._prepared), torch.no_grad():
            for block, (given, named) in zip(self._blocks, self._given, strict=True):
                hidden = block(hidden, *given[1:], **named)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            hidden = hidden[:, -self._keep :]
            if self._model.final_norm is not None:
                hidden = self._model.final_norm(hidden)
            made: Tensor = self._model._head(hidden)
        return made

    def logits(self) -> Tensor:
        """Return the logits of the last positions under whatever is active from `start` on.

        Returns
        -------
        torch.Tensor, shape (row, keep, word)
        """
        if self.works:
            return self._again()
        keep = self._keep
        found: Tensor = self._model.forward(self._prepared, logits_to_keep=keep).logits[:, -keep:]
        return found

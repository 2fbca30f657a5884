"""Run only the last token of a sequence, many times, on keys and values that are kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["LastToken"]

#: Bytes of keys and values that one pass may copy, and how far its logits may be from a forward's.
_ROOM = 512 * 2**20
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class LastToken:
    """A picture and a prefix, with everything but the last token computed once.

    Parameters
    ----------
    model : MultimodalModel
        Any; where its cache cannot be used so, `prepare` says no, for good.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        self._works: bool | None = False if model.is_encoder_decoder else None
        self._cache: Any = None
        self._last = 0
        self._length = 0
        self._mask = False

    def prepare(self, picture: Any, prompt: str | None, prefix: Sequence[int]) -> bool:
        """Compute what comes before the prefix's last token; return whether that can be used."""
        self._cache = None
        if self._works is False or not prefix:
            return False
        model = self._model
        before = model.prepare([picture], prompt, continuation=[list(prefix[:-1])])
        try:
            with model.lock, torch.no_grad():
                made = model.hf(**before.inputs, use_cache=True)
            self._cache = made.past_key_values
            self._last, self._length = int(prefix[-1]), before.n_tokens + 1
            self._mask = "attention_mask" in before.inputs
            if self._works is None:
                self._works = self._agrees(picture, prompt, prefix)
        except Exception:  # any model, any cache: what fails here runs as a whole forward
            self._works = False
        if not self._works:
            self._cache = None
        return bool(self._works)

    def _agrees(self, picture: Any, prompt: str | None, prefix: Sequence[int]) -> bool:
        model = self._model
        whole = model.prepare([picture], prompt, continuation=[list(prefix)])
        wanted = model.forward(whole, logits_to_keep=1).logits[:, -1].float()
        with torch.no_grad():
            found = self.logits(2).float()
        limit = _TOLERANCE.get(model.dtype, 1e-1) * float(wanted.abs().max().clamp_min(1))
        return bool((found - wanted).abs().max() <= limit)

    def together(self, steps: int) -> int:
        """Return how many sites, of `steps` rows each, fit into one pass."""
        if self._cache is None:
            return 1
        held = sum(
            tensor.numel() * tensor.element_size()
            for layer in getattr(self._cache, "layers", ())
            for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
            if isinstance(tensor, torch.Tensor)
        )
        return max(1, int(_ROOM // max(1, held * steps)))

    def logits(self, n: int) -> torch.Tensor:
        """Return the logits (n, vocabulary) of `n` copies of the last token."""
        model = self._model
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(n)
        inputs = {"input_ids": torch.full((n, 1), self._last, device=model.device)}
        if self._mask:
            inputs["attention_mask"] = torch.ones(
                n, self._length, dtype=torch.long, device=model.device
            )
        with model.lock, torch.set_grad_enabled(torch.is_grad_enabled()):
            output = model.hf(**inputs, past_key_values=cache, use_cache=True)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

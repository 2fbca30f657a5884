"""Where the forward of the current thread stands in its run (prefill and steps)."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._errors import NotSupported
from .where import RunTracker, Where

__all__ = ["Run", "Running"]


class Run(threading.local):
    """The state of the current thread's run; other threads have their own.

    Parameters
    ----------
    model : MultimodalModel
        Tells which token ids are image tokens and which are special.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tracker: RunTracker | None = None
        self.where: Where | None = None
        self.prompt_length: Sequence[int] | None = None

    def begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a forward of the whole model with these arguments."""
        if self._tracker is None:
            self._tracker = _tracker(self._model)
        names = inspect.signature(module.forward).parameters if args else ()
        inputs = {**dict(zip(names, args, strict=False)), **kwargs}
        try:
            self.where = self._tracker.forward(inputs, self.prompt_length)
        except NotSupported:
            self.where = None  # whoever needs it says so

    def end(self) -> None:
        """Note that the forward is over: what runs next on its own is not part of it."""
        self.where = None


def _tracker(model: Any) -> RunTracker:
    from ..models.image_positions import image_mask, image_token_ids

    image_ids = image_token_ids(model)

    def images(inputs: Mapping[str, Any]) -> np.ndarray:
        # generate may have turned the pixels into embeddings already: the ids tell as well
        by_id = np.isin(inputs["input_ids"].detach().cpu().numpy(), image_ids)
        return np.logical_or(by_id, image_mask(model, inputs))

    special = getattr(model.tokenizer, "all_special_ids", None)
    stream = "decoder_" if model.is_encoder_decoder and model.stack == "decoder" else ""
    return RunTracker(images, list(special or ()), stream)


class Running:
    """One forward or generation whose prompt length is known.

    Parameters
    ----------
    run : Run
        The stack's.
    prompt_length : sequence of int, optional
        Tokens of each prompt, padding not counted.
    """

    def __init__(self, run: Run, prompt_length: Sequence[int] | None) -> None:
        self._run = run
        self._prompt_length = prompt_length
        self._outer: Sequence[int] | None = None

    def __enter__(self) -> Running:
        self._outer = self._run.prompt_length
        self._run.prompt_length = self._prompt_length
        return self

    def __exit__(self, *_: object) -> None:
        self._run.prompt_length = self._outer
        self._run.end()

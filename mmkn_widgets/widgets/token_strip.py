"""One value per token of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .._errors import bad_argument
from ._base import Widget, bundle
from ._encode import float32_bytes
from .traits import TokenTraits

__all__ = ["TokenStrip"]


class TokenStrip(TokenTraits, Widget):
    """One value per token of a sequence: text, image and generated tokens.

    Parameters
    ----------
    tokens : sequence of (text, role, step)
        Roles ``text``, ``image``, ``special``, ``generated``; step -1 in the prompt.
    values : sequence of float, optional
    label : str
    """

    _esm: ClassVar[Any] = bundle("token_strip")

    def __init__(
        self, tokens: Sequence[tuple[str, str, int]], values: Any = None, label: str = ""
    ) -> None:
        given = np.zeros(0) if values is None else np.asarray(values, np.float32)
        if given.size and given.size != len(tokens):
            raise bad_argument("values", f"{given.size} values", f"{len(tokens)}, one per token")
        super().__init__(
            tokens=[{"text": str(x), "role": str(r), "step": int(s)} for x, r, s in tokens],
            token_values=float32_bytes(given),
            token_label=label,
        )

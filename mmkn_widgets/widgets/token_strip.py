"""One value per token of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..core import bad_argument
from ._base import Widget, bundle
from ._encode import float32_bytes
from ._labelled import tokens_of
from .traits import TokenTraits

__all__ = ["TokenStrip"]


class TokenStrip(TokenTraits, Widget):
    """One value per token of a sequence: text, image and generated tokens.

    Parameters
    ----------
    tokens : sequence of (text, role, step) or DataArray of dim (token)
        Roles ``text``, ``image``, ``special``, ``generated``; step -1 in the prompt. An array of
        a store brings its own values.
    values : sequence of float, optional
    label : str

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> strip = TokenStrip(store.activation.sel(layer=4, neuron=7))
    >>> len(strip.tokens) == store.sizes["token"]
    True
    """

    _esm: ClassVar[Any] = bundle("token_strip")

    def __init__(
        self, tokens: Sequence[tuple[str, str, int]] | Any, values: Any = None, label: str = ""
    ) -> None:
        if hasattr(tokens, "dims"):
            tokens, values = tokens_of(tokens)
        given = np.zeros(0) if values is None else np.asarray(values, np.float32)
        if given.size and given.size != len(tokens):
            raise bad_argument("values", f"{given.size} values", f"{len(tokens)}, one per token")
        super().__init__(
            tokens=[{"text": str(x), "role": str(r), "step": int(s)} for x, r, s in tokens],
            token_values=float32_bytes(given),
            token_label=label,
        )

"""One neuron, and the columns that many are kept in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import bad_argument

__all__ = ["Neuron", "column"]


@dataclass(frozen=True)
class Neuron:
    """Unit `index` of the FFN of `layer` (of routed expert `expert`; -1 when dense)."""

    layer: int
    index: int
    expert: int = -1
    score: float = 0.0

    @property
    def place(self) -> tuple[int, int, int]:
        """(layer, expert, index): what makes it this neuron."""
        return (self.layer, self.expert, self.index)


def column(name: str, values: Iterable[Any] | np.ndarray, n: int, dtype: Any) -> np.ndarray:
    """Return one value a neuron as an array, or say what is wrong with it."""
    array = np.array(values, dtype)
    if array.shape != (n,):
        raise bad_argument(name, f"shape {array.shape}", f"one value for each of {n} neurons")
    return array

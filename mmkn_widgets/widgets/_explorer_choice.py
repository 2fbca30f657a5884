"""Which neurons the Explorer keeps: thresholds, rows off, neurons unchecked by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets as t

from ..core import bad_argument
from ._choice import kept_ids, quantile
from .traits import ExplorerTraits

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["Choice"]


class Choice(ExplorerTraits):
    """A mixin of `Explorer`: from what is on screen to a set of neurons."""

    neurons = t.Any(None, help="the checked survivors, best stage-2 score first")
    study: StudyLike
    _loading: bool
    _d: np.ndarray
    _g: np.ndarray
    _width: int
    _guarded: Callable[..., Any]

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, whichever the mode."""
        if self.mode == "quantile":
            valid = np.isfinite(self._d) & np.isfinite(self._g)
            return (
                quantile(self._d[valid], self.quantile_d),
                quantile(self._g[valid], self.quantile_g),
            )
        return float(np.float32(self.threshold_d)), float(np.float32(self.threshold_g))

    @property
    def kept(self) -> np.ndarray:
        """Flat ids (row * neurons + index) of the checked survivors, best first."""
        cut_d, cut_g = self.thresholds
        return kept_ids(self._d, self._g, cut_d, cut_g, self.rows_off, self.unchecked)

    @t.observe(
        "mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g", "unchecked", "rows_off"
    )
    def _on_choice(self, _change: Any) -> None:
        if not self._loading:
            self._guarded(self._choose)()

    def _choose(self) -> None:
        if self.mode == "quantile":
            cuts = {"quantile_d": self.quantile_d, "quantile_g": self.quantile_g}
        else:
            cuts = {"threshold_d": self.threshold_d, "threshold_g": self.threshold_g}
        out = [self._place(int(i)) for i in self.unchecked]
        chosen = self.study.neurons(**cuts, exclude=out)
        if self.rows_off:
            gone = {tuple(self.rows[int(row)]) for row in self.rows_off}
            chosen = chosen.filter(lambda n: (n.layer, n.expert) not in gone)
        self.neurons = chosen

    def _place(self, flat: int) -> tuple[int, ...]:
        layer, expert = self.rows[flat // self._width]
        index = flat % self._width
        return (layer, index) if expert < 0 else (layer, expert, index)

    def _flat(self, place: Sequence[int]) -> int:
        layer, expert, index = (
            (place[0], -1, place[1]) if len(place) == 2 else (place[0], place[1], place[2])
        )
        rows = [tuple(row) for row in self.rows]
        if (layer, expert) not in rows or not 0 <= index < self._width:
            raise bad_argument("neuron", tuple(place), "a (layer, index) of this model")
        return rows.index((layer, expert)) * self._width + int(index)

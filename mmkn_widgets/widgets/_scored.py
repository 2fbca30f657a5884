"""What the parts share that choose neurons by two thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import bad_argument
from ._base import Widget
from ._choice import default_thresholds, kept_ids, quantile
from ._encode import float32_bytes
from ._labelled import is_store, rows_of, score_array, store_scores
from .traits import EvidenceTraits

__all__ = ["Scored"]

_LABELS = {
    "difference": "activation difference",
    "gradcam": "GradCAM",
    "activation": "activation",
    "score": "score",
}


def _scores(scores: Any) -> tuple[np.ndarray, np.ndarray, list[list[int]], dict[str, Any]]:
    """Return difference, gradcam, rows and extra traits of whatever holds scores."""
    evidence = getattr(scores, "evidence", scores)
    more: dict[str, Any] = {}
    if is_store(evidence):
        d, g, more["labels"] = store_scores(evidence)
    elif isinstance(evidence, tuple) and len(evidence) == 2:
        d, g = (score_array(part) for part in evidence)
        evidence = evidence[0]
    elif hasattr(evidence, "data_vars") and {"difference", "gradcam"} <= set(evidence.data_vars):
        d, g = (score_array(evidence[name]) for name in ("difference", "gradcam"))
    elif hasattr(evidence, "dims") and not hasattr(evidence, "data_vars"):
        d = g = score_array(evidence)
        name = str(evidence.name or "score")
        one = {"difference": name, "gradcam": name}
        more["labels"] = {**one, **{f"short_{axis}": name[:12] for axis in one}}
    else:
        raise bad_argument(
            "scores",
            type(scores).__name__,
            "a Study, a store, a Dataset with 'difference' and 'gradcam', a DataArray, "
            "or a pair of arrays",
        )
    if d.ndim != 2 or d.shape != g.shape:
        raise bad_argument("scores", f"shapes {d.shape} and {g.shape}", "two (layer, neuron)")
    model = getattr(scores, "model", None)
    if model is not None and hasattr(model, "sites"):
        rows = [[int(s.layer), int(getattr(s, "expert", -1))] for s in model.sites]
    else:
        rows = rows_of(evidence, len(d))
    if hasattr(evidence, "data_vars") and "gradient_sum" in evidence:
        more["gradient_sum"] = float32_bytes(evidence["gradient_sum"].values)
    return d, g, rows, more


class Scored(EvidenceTraits, Widget):
    """A part that chooses neurons by two thresholds."""

    def __init__(
        self,
        scores: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        **traits: Any,
    ) -> None:
        d, g, rows, more = _scores(scores)
        cut_d, cut_g = default_thresholds(d, g)
        self._d, self._g = d, g
        super().__init__(
            shape=list(d.shape),
            rows=rows,
            difference=float32_bytes(d),
            gradcam=float32_bytes(g),
            labels={**_LABELS, **more.pop("labels", {})},
            threshold_d=cut_d if threshold_d is None else float(threshold_d),
            threshold_g=cut_g if threshold_g is None else float(threshold_g),
            **more,
            **traits,
        )

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, whichever the mode."""
        if self.mode != "quantile":
            return float(np.float32(self.threshold_d)), float(np.float32(self.threshold_g))
        valid = np.isfinite(self._d) & np.isfinite(self._g)
        return quantile(self._d[valid], self.quantile_d), quantile(self._g[valid], self.quantile_g)

    @property
    def kept(self) -> np.ndarray:
        """Flat ids (row * neurons + index) of the checked survivors, best first."""
        return kept_ids(self._d, self._g, *self.thresholds, self.rows_off, self.unchecked)

    @property
    def neurons(self) -> list[tuple[int, int]]:
        """(row, index) of the checked survivors, best first."""
        width = self._d.shape[1]
        return [(int(i) // width, int(i) % width) for i in self.kept]

    def _place(self, flat: int) -> tuple[int, ...]:
        layer, expert = self.rows[flat // self._d.shape[1]]
        index = flat % self._d.shape[1]
        return (layer, index) if expert < 0 else (layer, expert, index)

"""The neurons that pass both thresholds, one row each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._base import Answer, Call, bundle, request
from ._encode import int32_bytes
from ._scored import Scored
from .traits import WordTraits

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NeuronTable"]


#: words of so many neurons travel with the table; the rest on sight
_WORDS_FIRST = 64


class NeuronTable(WordTraits, Scored):
    """The neurons that pass both thresholds, with their words.

    Parameters
    ----------
    scores : Study, store, xarray.Dataset, DataArray or pair of arrays (layer, neuron)
    threshold_d, threshold_g : float, optional
    words : callable, optional
        ``words(rows, indices) -> list of lists of str``; a Study brings its own.
    concept_forms : sequence of str
        Words to set in bold.
    """

    _esm: ClassVar[Any] = bundle("neuron_table")

    def __init__(
        self,
        scores: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        words: Callable[..., Sequence[Sequence[str]]] | None = None,
        concept_forms: Sequence[str] = (),
        **traits: Any,
    ) -> None:
        self._words = words or getattr(scores, "words", None)
        self._model = getattr(scores, "model", None)
        super().__init__(
            scores, threshold_d, threshold_g, concept_forms=list(concept_forms), **traits
        )
        if self._words is not None:
            ids, width = self.kept[:_WORDS_FIRST], self._d.shape[1]
            found = self._words(ids // width, ids % width)
            self.map_ids = int32_bytes(ids)
            self.words = [[str(word) for word in line] for line in found]

    @property
    def _worker(self) -> Any:
        return getattr(getattr(self, "_model", None), "worker", None)

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        width = self._d.shape[1]
        ids = np.asarray(call.args.get("ids", []), np.int64)
        if self._words is None:
            return {"words": [[] for _ in ids]}
        return {
            "words": [[str(w) for w in line] for line in self._words(ids // width, ids % width)]
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Return the checked survivors as a table: layer, expert, index and both scores."""
        import pandas as pd

        kept, width = self.kept, self._d.shape[1]
        place = np.asarray([self.rows[int(i) // width] for i in kept], int).reshape(-1, 2)
        return pd.DataFrame(
            {
                "layer": place[:, 0],
                "expert": place[:, 1],
                "index": kept % width,
                "difference": self._d.ravel()[kept],
                "gradcam": self._g.ravel()[kept],
            }
        )

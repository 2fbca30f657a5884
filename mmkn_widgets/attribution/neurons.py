"""An ordered, immutable set of neurons with scores, words and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._errors import bad_argument
from .neuron import Neuron, column

if TYPE_CHECKING:
    import pandas as pd

    from ..models import MultimodalModel

__all__ = ["Neuron", "NeuronSet"]


class NeuronSet:
    """Neurons in order, best first, each once.

    Parameters
    ----------
    layer, index : sequence of int
    expert : sequence of int, optional
        -1 for dense layers (the default).
    score : sequence of float, optional
    words : sequence of sequence of str, optional
        What each neuron writes.
    provenance : mapping, optional
        How the set was made.
    sign : sequence of int, optional
        Sign of each neuron's activation where the concept is predicted, -1, 0 or 1: a neuron that
        fires negatively writes the words at the other end of its column.

    Examples
    --------
    >>> a = NeuronSet([4, 4], [7, 9], score=[0.5, 0.2])
    >>> b = NeuronSet([4, 5], [9, 1])
    >>> len(a | b), [n.index for n in a & b], [n.index for n in a - b]
    (3, [9], [7])
    >>> NeuronSet.from_json(a.to_json()) == a
    True
    """

    __slots__ = ("_place", "_provenance", "expert", "index", "layer", "score", "sign", "words")

    layer: np.ndarray
    index: np.ndarray
    expert: np.ndarray
    score: np.ndarray
    sign: np.ndarray | None
    words: tuple[tuple[str, ...], ...] | None
    _provenance: str
    _place: dict[tuple[int, int, int], int]

    def __init__(
        self,
        layer: Sequence[int] | np.ndarray,
        index: Sequence[int] | np.ndarray,
        expert: Sequence[int] | np.ndarray | None = None,
        score: Sequence[float] | np.ndarray | None = None,
        words: Sequence[Sequence[str]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        sign: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        n = len(layer)
        columns = {
            "layer": column("layer", layer, n, np.int64),
            "index": column("index", index, n, np.int64),
            "expert": column("expert", np.full(n, -1) if expert is None else expert, n, np.int64),
            "score": column("score", np.zeros(n) if score is None else score, n, np.float32),
            "sign": None if sign is None else column("sign", np.sign(sign), n, np.int64),
        }
        for name, array in columns.items():
            if array is not None:
                array.flags.writeable = False
            object.__setattr__(self, name, array)
        own = None if words is None else tuple(tuple(map(str, each)) for each in words)
        if own is not None and len(own) != n:
            raise bad_argument("words", f"{len(own)} lists", f"one for each of {n} neurons")
        object.__setattr__(self, "words", own)
        object.__setattr__(self, "_provenance", json.dumps(dict(provenance or {}), default=str))
        object.__setattr__(self, "_place", dict(zip(self.places, range(n), strict=True)))
        if len(self._place) != n:
            raise bad_argument("index", "the same neuron twice", "each neuron once")
        if n and (int(self.layer.min()) < 0 or int(self.index.min()) < 0):
            raise bad_argument("layer, index", "a negative number", "numbers from 0")
        if not np.isfinite(self.score).all():
            raise bad_argument("score", "NaN or infinity", "numbers")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a NeuronSet is immutable; make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a NeuronSet is immutable; {name} cannot be deleted")

    def __reduce__(self) -> Any:
        return NeuronSet.from_json, (self.to_json(),)

    @property
    def provenance(self) -> dict[str, Any]:
        """How the set was made; a copy."""
        return dict(json.loads(self._provenance))

    # -- a sequence ----------------------------------------------------------------------------

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """(layer, expert, index) of each neuron."""
        return list(
            zip(self.layer.tolist(), self.expert.tolist(), self.index.tolist(), strict=True)
        )

    def __len__(self) -> int:
        return len(self.layer)

    def __iter__(self) -> Iterator[Neuron]:
        for place, score in zip(self.places, self.score.tolist(), strict=True):
            yield Neuron(place[0], place[2], place[1], score)

    @overload
    def __getitem__(self, place: int) -> Neuron: ...
    @overload
    def __getitem__(self, place: slice) -> NeuronSet: ...
    def __getitem__(self, place: int | slice) -> Neuron | NeuronSet:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        layer, expert, index = self.places[place]
        return Neuron(layer, index, expert, float(self.score[place]))

    def __contains__(self, neuron: object) -> bool:
        place = getattr(neuron, "place", neuron)
        if isinstance(place, tuple) and len(place) == 2:
            place = (place[0], -1, place[1])
        return place in self._place

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronSet):
            return NotImplemented
        return self.places == other.places and np.array_equal(self.score, other.score)

    def __hash__(self) -> int:
        return hash(tuple(self.places))

    def __repr__(self) -> str:
        layers = ", ".join(f"L{layer}: {n}" for layer, n in self.layer_histogram().items())
        return f"<NeuronSet of {len(self)}{' (' + layers + ')' if layers else ''}>"

    def take(self, which: Sequence[int] | np.ndarray) -> NeuronSet:
        """Return the neurons at these places of the order."""
        chosen = np.asarray(which, np.int64)
        return NeuronSet(
            self.layer[chosen],
            self.index[chosen],
            self.expert[chosen],
            self.score[chosen],
            None if self.words is None else [self.words[i] for i in chosen],
            self.provenance,
            None if self.sign is None else self.sign[chosen],
        )

    def top(self, n: int) -> NeuronSet:
        """Return the first `n`."""
        return self.take(np.arange(min(n, len(self))))

    def filter(self, keep: Callable[[Neuron], bool]) -> NeuronSet:
        """Return the neurons for which `keep(neuron)` is true."""
        return self.take([i for i, neuron in enumerate(self) if keep(neuron)])

    # -- set algebra ----------------------------------------------------------------------------

    def __or__(self, other: NeuronSet) -> NeuronSet:
        new = other.filter(lambda neuron: neuron not in self)
        words = None
        if self.words is not None and new.words is not None:
            words = [*self.words, *new.words]
        sign = None
        if self.sign is not None and new.sign is not None:
            sign = np.concatenate([self.sign, new.sign])
        return NeuronSet(
            np.concatenate([self.layer, new.layer]),
            np.concatenate([self.index, new.index]),
            np.concatenate([self.expert, new.expert]),
            np.concatenate([self.score, new.score]),
            words,
            {"method": "union", "of": [self.provenance, other.provenance]},
            sign,
        )

    def __and__(self, other: NeuronSet) -> NeuronSet:
        return self.filter(lambda neuron: neuron in other)

    def __sub__(self, other: NeuronSet) -> NeuronSet:
        return self.filter(lambda neuron: neuron not in other)

    # -- in a model -----------------------------------------------------------------------------

    def layer_histogram(self) -> dict[int, int]:
        """Return layer -> number of neurons, by layer (figure 2 of Sato and Takagi 2025)."""
        layers, counts = np.unique(self.layer, return_counts=True)
        return dict(zip(layers.tolist(), counts.tolist(), strict=True))

    def rows(self, model: MultimodalModel) -> np.ndarray:
        """Return each neuron's row in arrays of shape (layer, neuron).

        Raises
        ------
        BadArgument
            If the model has no such layer, expert or neuron.
        """
        rows = []
        for layer, expert, index in self.places:
            site = model.site(layer, expert)
            if index >= site.width:
                raise bad_argument(
                    "neurons", (layer, index), f"neurons 0 to {site.width - 1} in layer {layer}"
                )
            rows.append(site.row)
        return np.asarray(rows, np.int64)

    def mask(self, model: MultimodalModel) -> np.ndarray:
        """Return bool, shape (len(model.sites), model.n_neurons)."""
        inside = np.zeros((len(model.sites), model.n_neurons), bool)
        inside[self.rows(model), self.index] = True
        return inside

    def with_words(self, model: MultimodalModel, k: int = 10) -> NeuronSet:
        """Return the same neurons with the `k` words each writes most.

        A neuron that fires negatively at the concept writes the words at the other end of its
        column, where the method that chose it knows the sign (`two_stage` does).
        """
        from ..activations.decode import decode_rows

        rows = self.rows(model)
        signs = None
        if self.sign is not None:
            signs = np.zeros((len(model.sites), model.n_neurons), np.float32)
            signs[rows, self.index] = self.sign
        words = decode_rows(model, rows, self.index, k=k, signs=signs)
        return NeuronSet(
            self.layer, self.index, self.expert, self.score, words, self.provenance, self.sign
        )

    # -- out and in -----------------------------------------------------------------------------

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: layer, expert, index, score, words."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": self.layer,
                "expert": self.expert,
                "index": self.index,
                "score": self.score,
                "words": [" ".join(each) for each in self.words or [()] * len(self)],
            }
        )

    def to_json(self) -> str:
        """Return the JSON text of a ``*.mmkn.json`` file (`neuron_set.schema.json`)."""
        from .neuron_json import to_text

        return to_text(self)

    @classmethod
    def from_json(cls, text: str) -> NeuronSet:
        """Read what `to_json` wrote.

        Raises
        ------
        BadArgument
            If the text is no neuron set of this version.
        """
        from .neuron_json import from_text

        return from_text(text)

    def save(self, path: str | Path) -> Path:
        """Write a ``*.mmkn.json`` file."""
        place = Path(path)
        place.write_text(self.to_json() + "\n", encoding="utf-8")
        return place

    @classmethod
    def load(cls, path: str | Path) -> NeuronSet:
        """Read a ``*.mmkn.json`` file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise bad_argument("path", str(path), "a *.mmkn.json file") from error
        return cls.from_json(text)

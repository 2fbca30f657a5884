"""One neuron, an ordered set of them, their JSON, and what a caller means by "these neurons"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from .errors import BadArgument, bad_argument
from .files import seal, unseal, write_whole
from .html import html_bars, html_card, html_table
from .provenance import provenance
from .whole import real_numbers, whole_number, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    import torch
    import xarray as xr

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Neuron",
    "NeuronIndex",
    "NeuronModel",
    "NeuronSet",
    "array_over_neurons",
    "column",
    "count",
    "describe_layers",
    "from_text",
    "neuron_rows",
    "neuron_set",
    "site_row",
    "to_text",
    "top_neurons",
]


class SiteLike(Protocol):
    """One layer's (or routed expert's) neurons, as `mmkn_widgets.models` finds them."""

    @property
    def layer(self) -> int:
        """The decoder layer."""

    @property
    def expert(self) -> int:
        """The routed expert; -1 where the layer is dense."""

    @property
    def row(self) -> int:
        """The row in arrays over (layer, neuron)."""

    @property
    def width(self) -> int:
        """The number of neurons."""


class NeuronModel(Protocol):
    """What a set of neurons asks of the model that it is read in."""

    @property
    def sites(self) -> Sequence[SiteLike]:
        """The model's FFN sites, by row."""

    @property
    def n_neurons(self) -> int:
        """Neurons of the widest layer."""

    def site(self, layer: int, expert: int = -1) -> SiteLike:
        """Return the site of a layer (and expert)."""

    def neuron_words(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        k: int = 10,
        norm: bool = False,
        signs: np.ndarray | None = None,
    ) -> list[list[str]]:
        """Return the `k` words that each neuron writes most."""


@dataclass(frozen=True)
class Neuron:
    """Unit `index` of the FFN of `layer` (of routed expert `expert`; -1 when dense).

    Attributes
    ----------
    layer, index : int
        Which layer, and which unit of it.
    expert : int
        The routed expert; -1 where the layer is dense.
    score : float
        What a method gave it; not part of what makes it this neuron.

    Examples
    --------
    >>> neuron = mmkn.Neuron(4, 233, score=0.9)
    >>> neuron.layer, neuron.index, neuron.place
    (4, 233, (4, -1, 233))
    >>> neuron in mmkn.NeuronSet([4], [233])
    True
    """

    layer: int
    index: int
    expert: int = -1
    score: float = 0.0

    @property
    def place(self) -> tuple[int, int, int]:
        """(layer, expert, index): what makes it this neuron."""
        return (self.layer, self.expert, self.index)


def column(name: str, values: Any, n: int, lowest: int | None = 0) -> np.ndarray:
    """Return one whole number a neuron, or say what is wrong with them; int64, shape (n,)."""
    return _one_each(name, whole_numbers(name, values, lowest=lowest), n)


def _one_each(name: str, array: np.ndarray, n: int) -> np.ndarray:
    if array.shape != (n,):
        raise bad_argument(name, f"shape {array.shape}", f"one value for each of {n} neurons")
    return array


def _scores(values: Any, n: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = real_numbers("score", values, finite=False).astype(np.float32)
    if not np.isfinite(array).all():
        raise bad_argument("score", "NaN or infinity", "finite numbers, in float32")
    return _one_each("score", array, n)


def _signs(values: Any, n: int) -> np.ndarray:
    return _one_each("sign", np.sign(real_numbers("sign", values)).astype(np.int64), n)


def _words(values: Any, n: int) -> tuple[tuple[str, ...], ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise bad_argument("words", values, f"a list of words for each of {n} neurons")
    own: list[tuple[str, ...]] = []
    for each in values:
        if isinstance(each, str) or not isinstance(each, Iterable):
            raise bad_argument("words", each, "a list of words for each neuron")
        own.append(tuple(map(str, each)))
    if len(own) != n:
        raise bad_argument("words", f"{len(own)} lists", f"one for each of {n} neurons")
    return tuple(own)


def _made(how: Any) -> str:
    if how is not None and not isinstance(how, Mapping):
        raise bad_argument("provenance", how, "a mapping of text to what JSON can hold")
    try:
        return json.dumps(dict(how or {}), default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise bad_argument("provenance", str(error), "what JSON can hold") from error


class NeuronSet:
    """Neurons in order, best first, each once.

    Parameters
    ----------
    layer, index : sequence of int
        From 0. Floats that are whole, as a column of a table holds them, are taken: 5.0 is 5.
    expert : sequence of int, optional
        -1 for dense layers (the default).
    score : sequence of float, optional
        Finite numbers, kept as float32.
    words : sequence of sequence of str, optional
        What each neuron writes.
    provenance : mapping, optional
        How the set was made.
    sign : sequence of int, optional
        Sign of each neuron's activation where the concept is predicted, -1, 0 or 1: a neuron that
        fires negatively writes the words at the other end of its column.

    Raises
    ------
    BadArgument
        If a number is none, or not whole (3.7, True, "1", NaN, 2**70), a neuron stands there
        twice, or a column has another length.

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
        layers = whole_numbers("layer", layer, lowest=0)
        n = len(layers)
        columns = {
            "layer": layers,
            "index": column("index", index, n),
            "expert": column("expert", np.full(n, -1) if expert is None else expert, n, -1),
            "score": _scores(np.zeros(n) if score is None else score, n),
            "sign": None if sign is None else _signs(sign, n),
        }
        for name, array in columns.items():
            if array is not None:
                array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "words", None if words is None else _words(words, n))
        object.__setattr__(self, "_provenance", _made(provenance))
        object.__setattr__(self, "_place", dict(zip(self.places, range(n), strict=True)))
        if len(self._place) != n:
            raise bad_argument("index", "the same neuron twice", "each neuron once")

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
        place = neuron.place if isinstance(neuron, Neuron) else neuron
        if isinstance(place, list | np.ndarray):
            place = tuple(place)
        if isinstance(place, tuple) and len(place) == 2:
            place = (place[0], -1, place[1])
        try:
            return place in self._place
        except TypeError:  # nothing that has no hash is a neuron
            return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronSet):
            return NotImplemented
        return self.places == other.places and np.array_equal(self.score, other.score)

    def __hash__(self) -> int:
        return hash(tuple(self.places))

    def __repr__(self) -> str:
        layers = ", ".join(f"L{layer}: {n}" for layer, n in self.layer_histogram().items())
        return f"<NeuronSet of {len(self)}{' (' + layers + ')' if layers else ''}>"

    def _repr_html_(self) -> str:
        shown = self.top(10)
        scored = bool(self.score.any())  # a set that was only listed has none
        head = [
            "neuron",
            *(["score"] if scored else []),
            *(["sign"] if self.sign is not None else []),
        ]
        head += ["writes"] if self.words is not None else []
        most = float(np.abs(shown.score).max()) if scored else 0.0
        usual = 1e-5 <= most < 1e6
        form = f".{max(0, 3 - int(np.floor(np.log10(most))))}f" if usual else ".3g"
        rows = []
        for at, neuron in enumerate(shown):
            expert = f"·E{neuron.expert}" if neuron.expert >= 0 else ""
            row: list[Any] = [f"L{neuron.layer}{expert}·{neuron.index}"]
            row += [f"{neuron.score:{form}}"] if scored else []
            if shown.sign is not None:
                row.append({-1: "−", 0: "0", 1: "+"}[int(shown.sign[at])])
            if shown.words is not None:
                row.append(" ".join(shown.words[at][:6]))
            rows.append(row)
        left = len(self) - len(shown)
        below = f"and {left:,} more; to_dataframe() gives all" if left else ""
        counts = [(f"layer {layer}", n) for layer, n in sorted(self.layer_histogram().items())]
        listed = html_table(head, rows, below) if rows else ""
        many = html_bars(counts) if counts else ""
        return html_card(f"NeuronSet of {len(self):,}", (), many, listed)

    def take(self, which: Sequence[int] | np.ndarray) -> NeuronSet:
        """Return the neurons at these places of the order.

        Parameters
        ----------
        which : sequence of int, or of bool
            Places, negative ones counted from the end; or yes or no for each neuron.

        Raises
        ------
        BadArgument
            If there is no such place.
        """
        chosen = self._chosen(which)
        return NeuronSet(
            self.layer[chosen],
            self.index[chosen],
            self.expert[chosen],
            self.score[chosen],
            None if self.words is None else [self.words[i] for i in chosen],
            self.provenance,
            None if self.sign is None else self.sign[chosen],
        )

    def _chosen(self, which: Any) -> np.ndarray:
        given = which if hasattr(which, "dtype") else list(which)
        asked = np.asarray(given)
        if asked.size and asked.dtype == np.bool_:
            if asked.shape != (len(self),):
                raise bad_argument(
                    "which", f"booleans of shape {asked.shape}", f"one for each of {len(self)}"
                )
            return np.flatnonzero(asked)
        n = len(self)
        return whole_numbers("which", given, lowest=-n, highest=n - 1)

    def top(self, n: int) -> NeuronSet:
        """Return the first `n`; all of them where there are not so many."""
        return self.take(np.arange(min(whole_number("n", n, lowest=0), len(self))))

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

    def rows(self, model: NeuronModel) -> np.ndarray:
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

    def mask(self, model: NeuronModel) -> np.ndarray:
        """Return bool, shape (len(model.sites), model.n_neurons)."""
        inside = np.zeros((len(model.sites), model.n_neurons), bool)
        inside[self.rows(model), self.index] = True
        return inside

    def with_words(self, model: NeuronModel, k: int = 10) -> NeuronSet:
        """Return the same neurons with the `k` words each writes most.

        A neuron that fires negatively at the concept writes the words at the other end of its
        column, where the method that chose it knows the sign (`two_stage` does).
        """
        rows = self.rows(model)
        signs = None
        if self.sign is not None:
            signs = np.zeros((len(model.sites), model.n_neurons), np.float32)
            signs[rows, self.index] = self.sign
        words = model.neuron_words(rows, self.index, k=k, signs=signs)
        return NeuronSet(
            self.layer, self.index, self.expert, self.score, words, self.provenance, self.sign
        )

    # -- out and in -----------------------------------------------------------------------------

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: layer, expert, index, score, sign, words.

        The sign is that of the activation at the concept, None where the method knows none; the
        words are those of that side.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": self.layer,
                "expert": self.expert,
                "index": self.index,
                "score": self.score,
                "sign": None if self.sign is None else self.sign.astype(int),
                "words": [" ".join(each) for each in self.words or [()] * len(self)],
            }
        )

    def to_json(self) -> str:
        """Return the JSON text of a ``*.mmkn.json`` file (`neuron_set.schema.json`)."""
        return to_text(self)

    @classmethod
    def from_json(cls, text: str) -> NeuronSet:
        """Read what `to_json` wrote.

        Raises
        ------
        BadArgument
            If the text is no neuron set of this version.
        """
        return from_text(text)

    def save(self, path: str | Path) -> Path:
        """Write a ``*.mmkn.json`` file, at once or not at all.

        Parameters
        ----------
        path : str or pathlib.Path
            In a folder that exists.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        BadArgument
            If it cannot be written; an older file there is then as it was.
        """
        return write_whole(path, seal(json.loads(self.to_json())))

    @classmethod
    def load(cls, path: str | Path) -> NeuronSet:
        """Read a ``*.mmkn.json`` file.

        Raises
        ------
        BadArgument
            If it is none, is damaged, or was changed by hand without taking its ``checksum`` out.
        """
        known = {"format", "version", "neurons", "provenance"}
        try:
            held = unseal(Path(path).read_bytes(), required=False)
            if not held.keys() <= known:
                raise ValueError(f"it has a key {min(held.keys() - known)!r}")
        except (OSError, ValueError) as error:
            raise BadArgument(
                f"path: {str(path)!r} cannot be read ({error}); expected a *.mmkn.json file as "
                "NeuronSet.save wrote it (changed by hand: take out the line 'checksum')"
            ) from error
        return cls.from_json(json.dumps(held))


# -- by number ---------------------------------------------------------------------------------


class NeuronIndex:
    """The neurons of an array over (layer, neuron), by number and by name.

    Row r of the array is the FFN of layer ``layer[r]`` (of routed expert ``expert[r]``; -1 when
    dense); a neuron's flat id is ``r * width + column``, and its column is its index where the
    array has them all. Nothing else turns one into the other.

    Parameters
    ----------
    layer : sequence of int
        The layer of each row.
    width : int
        Columns of the array: neurons of the widest row.
    expert : sequence of int, optional
        The routed expert of each row; -1 for dense rows (the default).
    neuron : sequence of int, optional
        The index of the neuron in each column, where only some were selected or their order is
        another; 0, 1, ... by default.

    Attributes
    ----------
    layer, expert : numpy.ndarray of int64, shape (row,)
    neuron : numpy.ndarray of int64, shape (column,)
    shape : tuple of int
        (rows, columns) of the arrays that it numbers.

    Examples
    --------
    >>> index = NeuronIndex([4, 5], 512)  # a store of layers 4 and 5
    >>> index.place(512 + 7), index.flat(5, 7)
    ((5, -1, 7), 519)
    >>> index.neurons([519, 3])
    <NeuronSet of 2 (L4: 1, L5: 1)>
    >>> NeuronIndex([4, 5], 2, neuron=[100, 101]).place(3)
    (5, -1, 101)
    """

    __slots__ = ("_column", "_row", "expert", "layer", "neuron", "shape")

    def __init__(
        self,
        layer: Sequence[int] | np.ndarray,
        width: int,
        expert: Sequence[int] | np.ndarray | None = None,
        neuron: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self.layer = whole_numbers("layer", layer, lowest=0)
        n = len(self.layer)
        self.expert = column("expert", np.full(n, -1) if expert is None else expert, n, -1)
        columns = whole_number("width", width, lowest=0)
        self.shape = (n, columns)
        if neuron is None:
            self.neuron = np.arange(columns)
        else:
            self.neuron = whole_numbers("neuron", neuron, lowest=0)
            if len(self.neuron) != columns:
                raise bad_argument("neuron", f"{len(self.neuron)} numbers", f"{columns}, the width")
        pairs = list(zip(self.layer.tolist(), self.expert.tolist(), strict=True))
        self._row = {pair: row for row, pair in enumerate(pairs)}
        if len(self._row) != n:
            raise bad_argument("layer, expert", "the same row twice", "each row once")
        self._column = {index: place for place, index in enumerate(self.neuron.tolist())}
        if len(self._column) != columns:
            raise bad_argument("neuron", "the same neuron twice", "each neuron once")

    @classmethod
    def of(cls, model: NeuronModel) -> NeuronIndex:
        """Return the index of arrays over a model's neurons, ``(len(sites), n_neurons)``."""
        sites = model.sites
        layer, expert = [site.layer for site in sites], [site.expert for site in sites]
        return cls(layer, model.n_neurons, expert)

    @classmethod
    def of_labelled(cls, scores: xr.Dataset | xr.DataArray) -> NeuronIndex:
        """Return the index of labelled scores: coords ``layer``, ``neuron`` and ``expert``.

        A dimension without a coordinate counts from 0, as it does in xarray; without ``expert``
        all rows are dense.

        Raises
        ------
        BadArgument
            If there is no dimension ``layer`` or ``neuron``, or its coordinate has no whole
            numbers.
        """
        missing = [name for name in ("layer", "neuron") if name not in scores.sizes]
        if missing:
            raise bad_argument("scores", f"dims {tuple(scores.sizes)}", "dims layer and neuron")
        n, width = int(scores.sizes["layer"]), int(scores.sizes["neuron"])
        layer = scores["layer"].values if "layer" in scores.coords else np.arange(n)
        neuron = scores["neuron"].values if "neuron" in scores.coords else None
        expert = None
        if "expert" in scores.coords:
            expert = np.broadcast_to(scores["expert"].values, (n,))
        return cls(layer, width, expert, neuron)

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronIndex):
            return NotImplemented
        same = self.shape == other.shape and self.rows == other.rows
        return same and np.array_equal(self.neuron, other.neuron)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<NeuronIndex of {self.shape[0]} rows x {self.shape[1]} neurons>"

    @property
    def rows(self) -> list[tuple[int, int]]:
        """(layer, expert) of each row."""
        return list(self._row)

    def row(self, layer: int, expert: int = -1) -> int:
        """Return the row of a layer (and expert).

        Raises
        ------
        BadArgument
            If there is none; the message lists the layers.
        """
        found = self._row.get((whole_number("layer", layer), whole_number("expert", expert)))
        if found is None:
            given = layer if expert < 0 else (layer, expert)
            known = sorted(set(self.layer.tolist()))
            raise bad_argument("layer", given, f"one of the layers {known}")
        return found

    def flat(self, layer: int, index: int, expert: int = -1) -> int:
        """Return the flat id of a neuron.

        Raises
        ------
        BadArgument
            If there is no such neuron.
        """
        row = self.row(layer, expert)
        place = self._column.get(whole_number("index", index))
        if place is None:
            raise bad_argument("neuron", (layer, index), described_numbers("an index", self.neuron))
        return row * self.shape[1] + place

    def place(self, flat: int) -> tuple[int, int, int]:
        """Return (layer, expert, index) of a flat id."""
        row, place = divmod(int(self.checked([flat])[0]), self.shape[1])
        return int(self.layer[row]), int(self.expert[row]), int(self.neuron[place])

    def split(self, ids: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows, columns) of flat ids; int64 arrays of the same length."""
        rows, columns = np.divmod(self.checked(ids), max(self.shape[1], 1))
        return rows, columns

    def join(
        self, rows: Sequence[int] | np.ndarray, columns: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Return the flat ids of rows and columns; int64.

        Raises
        ------
        BadArgument
            If there is no such row or column: a column behind the last is none of the next row.
        """
        n, width = self.shape
        row = whole_numbers("rows", rows, lowest=0, highest=n - 1)
        place = whole_numbers("columns", columns, lowest=0, highest=width - 1)
        if row.shape != place.shape:
            raise bad_argument("columns", f"{len(place)} of them", f"{len(row)}, one for each row")
        ids: np.ndarray = row * width + place
        return ids

    def checked(self, ids: Any, argument: str = "ids") -> np.ndarray:
        """Return flat ids as int64.

        Raises
        ------
        BadArgument
            If they are no whole numbers, or one lies outside.
        """
        found = whole_numbers(argument, ids)
        outside = found[(found < 0) | (found >= len(self))]
        if outside.size:
            raise bad_argument(argument, int(outside[0]), f"flat ids from 0 to {len(self) - 1}")
        return found

    def mask(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return flat ids as a boolean array of shape (row, neuron)."""
        inside = np.zeros(len(self), bool)
        inside[self.checked(ids)] = True
        return inside.reshape(self.shape)

    def ids(self, neurons: NeuronSet) -> np.ndarray:
        """Return the flat ids of a neuron set, in its order; int64.

        Raises
        ------
        BadArgument
            If one of them is not here.
        """
        found = [self.flat(layer, index, expert) for layer, expert, index in neurons.places]
        return np.asarray(found, np.int64)

    def neurons(self, ids: Sequence[int] | np.ndarray, **columns: Any) -> NeuronSet:
        """Return flat ids as a neuron set, in their order.

        Parameters
        ----------
        ids : sequence of int
        **columns
            Further columns of `NeuronSet`: ``score``, ``words``, ``sign``, ``provenance``.
        """
        rows, places = self.split(ids)
        return NeuronSet(self.layer[rows], self.neuron[places], self.expert[rows], **columns)


def described_numbers(what: str, known: np.ndarray) -> str:
    """Return numbers in words: as a range where they are one, else some of them.

    Examples
    --------
    >>> described_numbers("a neuron", np.arange(100, 200))
    'a neuron from 100 to 199'
    >>> described_numbers("a neuron", np.array([7, 3, 512]))
    'a neuron among 3, 7, 512'
    >>> described_numbers("a neuron", np.arange(0, 100, 2))
    'a neuron among the 50 from 0 to 98: 0, 2, 4, ...'
    """
    numbers = np.unique(known)
    if not numbers.size:
        return f"{what}, of which there is none"
    low, high, n = int(numbers[0]), int(numbers[-1]), len(numbers)
    if high - low + 1 == n and n > 1:
        return f"{what} from {low} to {high}"
    if n <= 8:
        return f"{what} among {', '.join(map(str, numbers.tolist()))}"
    first = ", ".join(map(str, numbers[:3].tolist()))
    return f"{what} among the {n} from {low} to {high}: {first}, ..."


# -- from labelled scores ---------------------------------------------------------------------


def neuron_set(
    labels: xr.Dataset | xr.DataArray, scores: np.ndarray, top: int | None, made: dict[str, object]
) -> NeuronSet:
    """Return the neurons whose score is a number, largest first; named by their labels.

    Parameters
    ----------
    labels : xarray.Dataset or xarray.DataArray
        Has the dims layer and neuron and their coordinates; of evidence also the activation, which
        gives the signs.
    scores : numpy.ndarray, shape (layer, neuron)
    top : int, optional
        Only the largest so many.
    made : dict
        Provenance.
    """
    import xarray as xr

    index = NeuronIndex.of_labelled(labels)
    ids = np.flatnonzero(np.isfinite(scores))
    values = scores.ravel()[ids]
    order = np.argsort(-values, kind="stable")[:top]
    sign = None
    if isinstance(labels, xr.Dataset) and "activation" in labels:
        activation = over_neurons(labels["activation"], "evidence").values.ravel()
        sign = np.sign(np.nan_to_num(activation[ids[order]]))
    return index.neurons(ids[order], score=values[order], provenance=made, sign=sign)


def neuron_coords(model: NeuronModel) -> dict[str, Any]:
    """Return the coordinates of an array over a model's neurons: layer, expert, neuron.

    Examples
    --------
    >>> made = neuron_coords(mmkn.load_model("pocket"))
    >>> made["layer"], made["neuron"].size
    ([0, 1, 2, 3, 4, 5], 512)
    """
    return {
        "layer": [site.layer for site in model.sites],
        "expert": ("layer", [site.expert for site in model.sites]),
        "neuron": np.arange(model.n_neurons),
    }


def over_neurons(values: xr.DataArray, argument: str) -> xr.DataArray:
    """Return labelled scores with the dims in the order (layer, neuron).

    A layer or neuron that was selected by one label, which takes its dim away, is one of one.

    Raises
    ------
    BadArgument
        If other dims are left, or one is missing.
    """
    for name in ("layer", "neuron"):
        if name not in values.dims and name in values.coords and not values[name].ndim:
            values = values.expand_dims(name)
    if set(values.dims) != {"layer", "neuron"}:
        raise bad_argument(argument, f"dims {tuple(values.dims)}", "dims layer and neuron")
    return values.transpose("layer", "neuron")


def top_neurons(score: xr.DataArray, top: int) -> NeuronSet:
    """Return the neurons with the largest score of one method; fewer where fewer have one.

    Parameters
    ----------
    score : xarray.DataArray, dims (layer, neuron)
        Such as `mmkn_widgets.attribution.score` gives, or a selection of it. NaN is no score.
    top : int
        How many, from 1.

    Raises
    ------
    BadArgument
        If `top` is no whole number from 1.

    Examples
    --------
    >>> import xarray as xr
    >>> values = [[0.1, 0.9], [0.5, 0.2]]
    >>> score = xr.DataArray(values, {"layer": [3, 4], "neuron": [0, 1]}, ("layer", "neuron"))
    >>> [(neuron.layer, neuron.index) for neuron in top_neurons(score, 2)]
    [(3, 1), (4, 0)]
    """
    top = whole_number("top", top, lowest=1)
    made = provenance("top_neurons", score=str(score.name), top=top, **_text(score.attrs))
    labelled = over_neurons(score, "score")
    return neuron_set(labelled, labelled.values.astype(np.float32), top, made)


def _text(attrs: dict[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in attrs.items() if key == "provenance"}


# -- as JSON: the published format of *.mmkn.json files ------------------------------------------

FORMAT = "mmkn-neuron-set"
FORMAT_VERSION = 1


def to_text(neurons: NeuronSet) -> str:
    """Return a neuron set as JSON; ``neuron_set.schema.json`` beside this file describes it."""
    entries = []
    for number, neuron in enumerate(neurons):
        entry: dict[str, Any] = {"layer": neuron.layer, "index": neuron.index}
        if neuron.expert >= 0:
            entry["expert"] = neuron.expert
        entry["score"] = neuron.score
        if neurons.sign is not None:
            entry["sign"] = int(neurons.sign[number])
        if neurons.words is not None:
            entry["words"] = list(neurons.words[number])
        entries.append(entry)
    described = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "neurons": entries,
        "provenance": neurons.provenance,
    }
    return json.dumps(described, indent=1)


def from_text(text: str) -> NeuronSet:
    """Read what `to_text` wrote.

    Raises
    ------
    BadArgument
        If the text is no neuron set of this version.
    """
    wanted = "the JSON of a neuron set"
    try:
        data = json.loads(text, object_pairs_hook=_each_key_once)
        if data["format"] != FORMAT or whole_number("version", data["version"]) != FORMAT_VERSION:
            raise BadArgument(
                f"text: got {data['format']} version {data['version']}, expected "
                f"{FORMAT} version {FORMAT_VERSION}"
            )
        neurons = data["neurons"]
        if not isinstance(neurons, list) or not all(isinstance(one, dict) for one in neurons):
            raise bad_argument("neurons", neurons, "a list of objects with layer, index and score")
        return NeuronSet(
            [one["layer"] for one in neurons],
            [one["index"] for one in neurons],
            [one.get("expert", -1) for one in neurons],
            [one["score"] for one in neurons],
            _all_or_none(neurons, "words", _list_of_text),
            data.get("provenance", {}),
            _all_or_none(neurons, "sign", _sign),
        )
    except BadArgument as error:
        if str(error).startswith("text: "):
            raise
        raise BadArgument(f"text: {error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise bad_argument("text", str(text)[:40], wanted) from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise bad_argument("keys", [key for key, _ in pairs], "each of them once")
    return found


def _all_or_none(neurons: list[dict[str, Any]], key: str, read: Callable[[Any], Any]) -> Any:
    """Return a column that every neuron has, or None where none has it."""
    having = sum(key in one for one in neurons)
    if having not in (0, len(neurons)):
        raise bad_argument(key, f"{having} of {len(neurons)} neurons", "all of them, or none")
    return [read(one[key]) for one in neurons] if having else None


def _list_of_text(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise bad_argument("words", value, "a list of words for each neuron")
    return value


def _sign(value: Any) -> int:
    return whole_number("sign", value, lowest=-1, highest=1)


# -- what a caller means by "these neurons" ------------------------------------------------------

_WANTED = (
    "a NeuronSet, a boolean array of shape (sites, neurons), a mapping {layer: indices}, a table "
    "with columns layer and index, or pairs (layer, index)"
)


def provenance_of(neurons: Any) -> Any:
    """Return where neurons come from: of a set and of labelled scores what they say, else None."""
    if isinstance(neurons, NeuronSet):
        return neurons.provenance
    return neurons.attrs.get("provenance") if hasattr(neurons, "dims") else None


def site_row(model: NeuronModel, layer: int, expert: int = -1) -> int:
    """Return the site's row in arrays over (layer, neuron).

    Raises
    ------
    BadArgument
        If the model has no such site; the message lists its layers.
    """
    layer, expert = whole_number("layer", layer), whole_number("expert", expert)
    for row, site in enumerate(model.sites):
        if site.layer == layer and site.expert == expert:
            return row
    layers = sorted({site.layer for site in model.sites})
    given = layer if expert < 0 else (layer, expert)
    raise bad_argument("layer", given, f"a layer of the model with FFN neurons: {layers}")


def neuron_rows(
    model: NeuronModel, neurons: Any, *, argument: str = "neurons", empty: bool = True
) -> dict[int, np.ndarray]:
    """Return the chosen neurons as indices for each site row.

    Parameters
    ----------
    model : MultimodalModel
        Its `sites` bound the indices.
    neurons : NeuronSet, mapping, array or iterable
        A neuron set; a boolean array of shape (sites, neurons), or one with labelled dims layer
        and neuron; a mapping from layer to indices; pairs (layer, index) or triples (layer,
        expert, index), also as the rows of an array; a table with columns layer and index (and
        expert); None means every neuron.
    argument : str
        The argument's name in errors.
    empty : bool
        Whether no neuron at all is an ordinary input.

    Returns
    -------
    dict of int to numpy.ndarray of int64
        Site row to sorted, unique neuron indices; rows without a neuron are left out.

    Raises
    ------
    BadArgument
        If the neurons cannot be read, or one does not exist in this model.
    """
    found: dict[int, Any]
    if neurons is None:
        found = {row: np.arange(site.width) for row, site in enumerate(model.sites)}
    elif hasattr(neurons, "dims") or _is_array(neurons):
        found = _from_array(model, neurons, argument)
    elif isinstance(neurons, Mapping):
        found = {
            site_row(model, whole_number(argument, layer)): whole_numbers(argument, index)
            for layer, index in neurons.items()
        }
    else:
        found = _from_triples(model, _triples(neurons, argument))
    rows: dict[int, np.ndarray] = {}
    for row in sorted(found):
        index = np.unique(np.asarray(found[row], dtype=np.int64))
        if index.size == 0:
            continue
        site = model.sites[row]
        if index[0] < 0 or index[-1] >= site.width:
            wrong = index[0] if index[0] < 0 else index[-1]
            raise bad_argument(
                argument, (site.layer, int(wrong)), f"neurons 0 to {site.width - 1} in that layer"
            )
        rows[row] = index
    if not rows and not empty:
        raise bad_argument(argument, neurons, "at least one neuron")
    return rows


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _from_array(model: NeuronModel, given: Any, argument: str) -> dict[int, Any]:
    if hasattr(given, "dims") and "layer" in given.coords and set(given.dims) == _DIMS:
        given = given.transpose("layer", "neuron")
        if given.dtype == np.bool_:
            index = NeuronIndex.of_labelled(given)
            return _from_triples(model, index.neurons(np.flatnonzero(given.values)).places)
    values = _to_numpy(given)
    if values.dtype != np.bool_ and values.ndim == 2 and values.shape[1] in (2, 3):
        return _from_triples(model, _triples(values, argument))
    wanted = (len(model.sites), model.n_neurons)
    if values.dtype != np.bool_ or values.shape != wanted:
        raise bad_argument(
            argument,
            f"an array of {values.dtype} of shape {values.shape}",
            f"a boolean array of shape {wanted}, (layer, neuron), or rows (layer, index)",
        )
    return {row: np.flatnonzero(values[row]) for row in range(wanted[0]) if values[row].any()}


_DIMS = {"layer", "neuron"}


def _triples(neurons: Any, argument: str) -> Iterable[tuple[int, int, int]]:
    """Return (layer, expert, index) of whatever names neurons one by one."""
    if isinstance(neurons, NeuronSet):
        return neurons.places
    if hasattr(neurons, "columns") and hasattr(neurons, "iloc"):  # .index is its row labels
        return _by_column(neurons, neurons.columns, argument)
    if isinstance(neurons, Neuron):
        return [neurons.place]
    if isinstance(neurons, str | bytes) or not isinstance(neurons, Iterable):
        raise bad_argument(argument, neurons, _WANTED)
    return [_triple(neuron, argument) for neuron in neurons]


def _by_column(table: Any, names: Any, argument: str) -> list[tuple[int, int, int]]:
    missing = [name for name in ("layer", "index") if name not in names]
    if missing:
        raise bad_argument(argument, f"columns {list(names)}", "columns layer and index")
    layer = whole_numbers(f"{argument}, layer", table["layer"], lowest=0)
    index = whole_numbers(f"{argument}, index", table["index"], lowest=0)
    expert = np.full(len(layer), -1)
    if "expert" in names:
        expert = whole_numbers(f"{argument}, expert", table["expert"], lowest=-1)
    return list(zip(layer.tolist(), expert.tolist(), index.tolist(), strict=True))


def _triple(neuron: Any, argument: str) -> tuple[int, int, int]:
    if isinstance(neuron, Neuron):
        return neuron.place
    if isinstance(neuron, Mapping) or hasattr(neuron, "iloc"):  # a record, or a row of a table
        return _by_column(neuron, list(neuron.keys()), argument)[0]
    if hasattr(neuron, "layer") and hasattr(neuron, "index"):
        expert = neuron.expert if hasattr(neuron, "expert") else -1
        parts = [neuron.layer, expert, neuron.index]
    elif isinstance(neuron, str | bytes) or not isinstance(neuron, Iterable):
        raise bad_argument(argument, neuron, _WANTED)
    else:
        parts = list(neuron)
    if len(parts) == 2:
        parts.insert(1, -1)
    if len(parts) != 3:
        raise bad_argument(argument, neuron, _WANTED)
    layer, expert, index = (whole_number(argument, part) for part in parts)
    return layer, expert, index


def _from_triples(model: NeuronModel, triples: Iterable[tuple[int, int, int]]) -> dict[int, Any]:
    row_of = {(site.layer, site.expert): row for row, site in enumerate(model.sites)}
    found: dict[int, list[int]] = {}
    for layer, expert, index in triples:
        row = row_of.get((layer, expert))
        if row is None:
            row = site_row(model, layer, expert)  # raises the error that lists the layers
        found.setdefault(row, []).append(index)
    return found


def array_over_neurons(model: NeuronModel, values: Any, argument: str) -> np.ndarray:
    """Return an array over (layer, neuron), or a store reduced to one by its mean.

    Parameters
    ----------
    model : MultimodalModel
        Gives the shape.
    values : array, xarray.DataArray or xarray.Dataset
        Of shape (sites, neurons), or an activation store (variable ``activation``), of which the
        mean over pictures and valid tokens is taken.
    argument : str
        The argument's name in errors.

    Returns
    -------
    numpy.ndarray of float32, shape (sites, neurons)
    """
    wanted = (len(model.sites), model.n_neurons)
    if hasattr(values, "data_vars"):
        if "activation" not in values.data_vars:
            raise bad_argument(
                argument, list(values.data_vars), "a store with the variable 'activation'"
            )
        data = values["activation"]
        if "valid" in values:
            data = data.where(values["valid"])
        values = data
    if hasattr(values, "dims"):
        others = [dim for dim in values.dims if dim not in ("layer", "neuron")]
        if others:
            values = values.mean(dim=others, skipna=True)
        if set(values.dims) == _DIMS:
            values = _in_model_order(model, values.transpose("layer", "neuron"), argument)
    array = _to_numpy(values)
    if array.shape != wanted:
        raise bad_argument(
            argument, f"an array of shape {array.shape}", f"shape {wanted}, (layer, neuron)"
        )
    return np.nan_to_num(array.astype(np.float32))


def _in_model_order(model: NeuronModel, values: Any, argument: str) -> Any:
    """Return labelled values with the model's own order of layers and neurons."""
    if "layer" not in values.coords or "neuron" not in values.coords:
        return values
    here, whole = NeuronIndex.of_labelled(values), NeuronIndex.of(model)
    if here == whole or here.shape != whole.shape:
        return values  # its shape says what is missing
    columns = np.argsort(here.neuron, kind="stable")
    if set(here.rows) != set(whole.rows) or (here.neuron[columns] != whole.neuron).any():
        raise bad_argument(
            argument,
            f"layers {here.layer.tolist()} with {described_numbers('neurons', here.neuron)}",
            f"all layers and neurons of the model, layers {whole.layer.tolist()}",
        )
    rows = [here.row(*row) for row in whole.rows]
    return values.isel(layer=rows, neuron=columns)


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        tensor: torch.Tensor = values.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        return tensor.numpy()
    if hasattr(values, "dims"):
        values = values.values
    return np.asarray(values)


def count(rows: Mapping[int, np.ndarray]) -> int:
    """Return the number of neurons in all rows."""
    return int(sum(len(index) for index in rows.values()))


def describe_layers(model: NeuronModel, rows: Iterable[int]) -> str:
    """Return the layers of the rows in words, such as ``"layers 3-5, 7"``.

    Examples
    --------
    >>> from types import SimpleNamespace as Of
    >>> describe_layers(Of(sites=[Of(layer=n) for n in range(9)]), [3, 4, 5, 7])
    'layers 3-5, 7'
    """
    layers = sorted({int(model.sites[row].layer) for row in rows})
    if not layers:
        return "no layer"
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    shown = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"layer {shown}" if len(layers) == 1 else f"layers {shown}"

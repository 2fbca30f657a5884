"""One neuron, an ordered set of them, their JSON, and what a caller means by "these neurons"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .errors import BadArgument, bad_argument

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from ..models import MultimodalModel

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Neuron",
    "NeuronSet",
    "array_over_neurons",
    "column",
    "count",
    "describe_layers",
    "from_text",
    "neuron_rows",
    "site_row",
    "to_text",
]


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
        from ..models.decode import decode_rows

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
    try:
        data = json.loads(text)
        if data["format"] != FORMAT or data["version"] != FORMAT_VERSION:
            raise BadArgument(
                f"text: got {data['format']} version {data['version']}, expected "
                f"{FORMAT} version {FORMAT_VERSION}"
            )
        neurons = data["neurons"]
        first = neurons[0] if neurons else {}
        return NeuronSet(
            [int(n["layer"]) for n in neurons],
            [int(n["index"]) for n in neurons],
            [int(n.get("expert", -1)) for n in neurons],
            [float(n["score"]) for n in neurons],
            [list(n["words"]) for n in neurons] if "words" in first else None,
            data.get("provenance", {}),
            [int(n["sign"]) for n in neurons] if "sign" in first else None,
        )
    except BadArgument:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise bad_argument("text", text[:40], "the JSON of a neuron set") from error


# -- what a caller means by "these neurons" ------------------------------------------------------

_WANTED = (
    "a NeuronSet, a boolean array of shape (sites, neurons), a mapping {layer: indices} "
    "or pairs (layer, index)"
)


def site_row(model: Any, layer: int, expert: int = -1) -> int:
    """Return the site's row in arrays over (layer, neuron).

    Raises
    ------
    BadArgument
        If the model has no such site; the message lists its layers.
    """
    for row, site in enumerate(model.sites):
        if site.layer == layer and site.expert == expert:
            return row
    layers = sorted({site.layer for site in model.sites})
    given = layer if expert < 0 else (layer, expert)
    raise bad_argument("layer", given, f"a layer of the model with FFN neurons: {layers}")


def neuron_rows(
    model: Any, neurons: Any, *, argument: str = "neurons", empty: bool = True
) -> dict[int, np.ndarray]:
    """Return the chosen neurons as indices for each site row.

    Parameters
    ----------
    model : MultimodalModel
        Its `sites` bound the indices.
    neurons : NeuronSet, mapping, array or iterable
        A neuron set; a boolean array of shape (sites, neurons); a mapping from layer to indices;
        pairs (layer, index) or triples (layer, expert, index); None means every neuron.
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
    found: dict[int, list[int] | np.ndarray]
    if neurons is None:
        found = {row: np.arange(site.width) for row, site in enumerate(model.sites)}
    elif hasattr(neurons, "dims") or _is_array(neurons):
        found = _from_mask(model, neurons, argument)
    elif isinstance(neurons, Mapping):
        found = {
            site_row(model, int(layer)): np.atleast_1d(np.asarray(index, dtype=np.int64))
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


def _from_mask(model: Any, mask: Any, argument: str) -> dict[int, list[int] | np.ndarray]:
    values = _to_numpy(mask)
    wanted = (len(model.sites), model.n_neurons)
    if values.dtype != np.bool_ or values.shape != wanted:
        raise bad_argument(
            argument,
            f"an array of {values.dtype} of shape {values.shape}",
            f"a boolean array of shape {wanted}, (layer, neuron)",
        )
    return {row: np.flatnonzero(values[row]) for row in range(wanted[0]) if values[row].any()}


def _triples(neurons: Any, argument: str) -> Iterable[tuple[int, int, int]]:
    if hasattr(neurons, "layer") and hasattr(neurons, "index"):
        layers = np.atleast_1d(np.asarray(neurons.layer))
        indices = np.atleast_1d(np.asarray(neurons.index))
        experts = getattr(neurons, "expert", None)
        if experts is None:
            experts = np.full(layers.shape, -1)
        experts = np.atleast_1d(np.asarray(experts))
        return zip(layers.tolist(), experts.tolist(), indices.tolist(), strict=True)
    if isinstance(neurons, str | bytes) or not isinstance(neurons, Iterable):
        raise bad_argument(argument, neurons, _WANTED)
    triples: list[tuple[int, int, int]] = []
    for neuron in neurons:
        if hasattr(neuron, "layer") and hasattr(neuron, "index"):
            expert = getattr(neuron, "expert", None)
            triples.append((int(neuron.layer), -1 if expert is None else expert, int(neuron.index)))
            continue
        try:
            parts = tuple(int(part) for part in neuron)
        except (TypeError, ValueError):
            raise bad_argument(argument, neuron, _WANTED) from None
        if len(parts) == 2:
            triples.append((parts[0], -1, parts[1]))
        elif len(parts) == 3:
            triples.append(parts)  # type: ignore[arg-type]
        else:
            raise bad_argument(argument, neuron, _WANTED)
    return triples


def _from_triples(
    model: Any, triples: Iterable[tuple[int, int, int]]
) -> dict[int, list[int] | np.ndarray]:
    row_of = {(site.layer, site.expert): row for row, site in enumerate(model.sites)}
    found: dict[int, list[int] | np.ndarray] = {}
    for layer, expert, index in triples:
        row = row_of.get((layer, expert))
        if row is None:
            row = site_row(model, layer, expert)  # raises the error that lists the layers
        found.setdefault(row, []).append(index)  # type: ignore[union-attr]
    return found


def array_over_neurons(model: Any, values: Any, argument: str) -> np.ndarray:
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
        if set(values.dims) == {"layer", "neuron"}:
            values = values.transpose("layer", "neuron")
    array = _to_numpy(values)
    if array.shape != wanted:
        raise bad_argument(
            argument, f"an array of shape {array.shape}", f"shape {wanted}, (layer, neuron)"
        )
    return np.nan_to_num(array.astype(np.float32))


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


def describe_layers(model: Any, rows: Iterable[int]) -> str:
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

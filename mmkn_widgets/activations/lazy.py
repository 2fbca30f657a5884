"""Many pictures' arrays on disk seen as one array that reads only what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = ["ImageStack", "from_bits", "to_bits"]

_Key = Any

#: Of a picture's number and a row: (first place along the inner axis, values (inner, neuron)).
Pieces = Callable[[int, int], Iterator[tuple[int, np.ndarray]]]


def to_bits(values: np.ndarray) -> np.ndarray | None:
    """Return float32 values that are bfloat16 as its 16 bits; None if they are not all.

    Examples
    --------
    >>> to_bits(np.array([1.0, -2.5], np.float32)).tolist()
    [16256, 49184]
    """
    if values.dtype != np.float32:
        return None
    bits = np.ascontiguousarray(values).view(np.uint32)
    return None if (bits & 0xFFFF).any() else (bits >> 16).astype(np.uint16)


def from_bits(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 bits as float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class ImageStack(BackendArray):
    """An array (image, row, inner, neuron) over the arrays of many pictures.

    The inner axis may differ in length between pictures and is padded.

    Parameters
    ----------
    pieces : callable
        Reads one row of one picture, in pieces.
    paths : sequence of pathlib.Path
        Each picture's array.
    shapes : sequence of tuple of int
        Of those arrays.
    dtype : numpy.dtype
        Of the values, float32 for bfloat16 bits.
    bits : bool
        Whether the arrays hold bfloat16 bits.
    fill : float
        Value of the padding.
    """

    def __init__(
        self,
        pieces: Pieces,
        paths: Sequence[Path],
        shapes: Sequence[tuple[int, ...]],
        dtype: Any,
        *,
        bits: bool = False,
        fill: float = 0.0,
    ) -> None:
        self._pieces = pieces
        self._paths = [str(path) for path in paths]
        self._shapes = [tuple(shape) for shape in shapes]
        self._bits = bits
        self._fill = fill
        longest = max(shape[1] for shape in self._shapes)
        self.shape = (len(paths), self._shapes[0][0], longest, self._shapes[0][2])
        self.dtype = np.dtype(np.float32) if bits else np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[_Key, ...]) -> np.ndarray:
        wanted = [
            np.atleast_1d(np.arange(length)[k]) for length, k in zip(self.shape, key, strict=True)
        ]
        images, rows, inner, neurons = wanted
        found = np.full(tuple(map(len, wanted)), self._fill, self.dtype)
        narrow = _as_slice(neurons)
        for place, number in enumerate(images):
            if not (inner < self._shapes[number][1]).any():
                continue
            for row, one in enumerate(rows):
                for first, values in self._chunk(int(number), int(one)):
                    there = np.flatnonzero((inner >= first) & (inner < first + len(values)))
                    if not len(there):
                        continue
                    cut = values[_as_slice(inner[there] - first)][:, narrow]
                    found[place, row, _as_slice(there)] = from_bits(cut) if self._bits else cut
        dropped = tuple(
            axis for axis, k in enumerate(key) if not isinstance(k, slice) and np.ndim(k) == 0
        )
        return found.squeeze(dropped) if dropped else found

    def _chunk(self, number: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        return self._pieces(number, row)


def _as_slice(places: np.ndarray) -> Any:
    """Return consecutive places as a slice, which numpy copies faster."""
    if len(places) and places[-1] - places[0] + 1 == len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places

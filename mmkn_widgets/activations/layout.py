"""How a store lies on disk: one zarr v3 group that any xarray opens, and a record of each picture.

::

    store/zarr.json                      every array's shape; replacing it commits a picture
    store/activation/zarr.json           dims (image, layer, token, neuron)
    store/activation/c/3/0/0/0           picture 3: a shard of chunks (1 layer, some tokens)
    store/token_text/c/3/0               and so on for every coordinate and reduction
    store/pictures/00000003.json         the record: id, and the checksum of every chunk above

Pictures' files lie there before ``zarr.json`` says that there is one picture more, so nobody sees
half of one. The store of a single picture has no dim ``image``.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core import BLANK, is_stamped, stamp
from .lazy import to_bits as to_bits
from .picture import FILLS, ROLES, Picture

__all__ = [
    "RECORDS",
    "Grid",
    "Layout",
    "array_metadata",
    "checksum",
    "decode",
    "encode",
    "inside",
    "kind_of",
    "layout_of",
    "record_path",
    "root_is_whole",
    "root_text",
    "shared_files",
]

#: Tokens of a chunk, about: a longer picture than the first wastes at most so many.
_STEP = 64


def checksum(content: np.ndarray | bytes) -> int:
    """Return the CRC-32C of bytes, as the codec ``crc32c`` of zarr writes it."""
    import google_crc32c

    return int(google_crc32c.value(content))


#: Folder of the records.
RECORDS = "pictures"


def record_path(number: int) -> str:
    """Return where a picture's record lies in its store."""
    return f"{RECORDS}/{number:08d}.json"


@dataclass(frozen=True)
class Grid:
    """One array over (row, inner, neuron) of every picture, in files that are zarr shards.

    Attributes
    ----------
    name : str
    dims : tuple of str
        ``("layer", "token", "neuron")``, or ``("token_role", "layer", "neuron")``.
    rows, neurons : int
    step : int
        Length of a chunk along the inner dim.
    per_file : int
        Chunks of a file along the inner dim.
    dtype : str
        numpy's name, or ``"bfloat16"``: kept as its bits, uint16.
    """

    name: str
    dims: tuple[str, str, str]
    rows: int
    neurons: int
    step: int
    per_file: int
    dtype: str

    @property
    def stored(self) -> np.dtype:
        """The type on disk."""
        return np.dtype("uint16" if self.dtype == "bfloat16" else self.dtype).newbyteorder("<")

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk, without its checksum."""
        return self.step * self.neurons * self.stored.itemsize

    def chunks(self, length: int) -> int:
        """Return how many chunks a row of so many tokens has."""
        return -(-length // self.step)

    def files(self, length: int) -> list[tuple[int, int]]:
        """Return (first chunk of a row, chunks of a row) of each file of a picture."""
        n = self.chunks(length)
        return [(first, min(self.per_file, n - first)) for first in range(0, n, self.per_file)]

    def file_bytes(self, per_row: int) -> int:
        """Return the size of a file that holds so many chunks of every row."""
        index = 16 * self.rows * self.per_file + 4
        return self.rows * per_row * (self.chunk_bytes + 4) + index

    def index(self, per_row: int) -> bytes:
        """Return the end of such a file, where zarr looks up its chunks."""
        places = np.full((self.rows, self.per_file, 2), 2**64 - 1, "<u8")
        number = np.arange(self.rows * per_row).reshape(self.rows, per_row)
        places[:, :per_row, 0] = number * (self.chunk_bytes + 4)
        places[:, :per_row, 1] = self.chunk_bytes + 4
        found = places.tobytes()
        return found + struct.pack("<I", checksum(found))


@dataclass(frozen=True)
class Layout:
    """What all pictures of a store have in common.

    Attributes
    ----------
    single : bool
        Whether it is the store of one picture, without the dim ``image``.
    layers, experts : list of int
        Of each row of ``layer``.
    neurons : int
    arrays : dict of str to str
        ``activation`` and so on: type on disk.
    reduced : list of str
        ``activation_max`` and so on; float32.
    tokens : list of str
        Coordinates over tokens.
    step, per_file : int
        See `Grid`.
    """

    single: bool
    layers: list[int]
    experts: list[int]
    neurons: int
    arrays: dict[str, str]
    reduced: list[str]
    tokens: list[str]
    step: int
    per_file: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Layout:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            If it is something else, or names a path.
        """
        try:
            made = cls(**described)
            for name in [*made.arrays, *made.reduced, *made.tokens]:
                if not re.fullmatch(r"[A-Za-z]\w*", name):
                    raise ValueError(f"it has an array {name!r}")
            for grid in made.grids():
                if min(grid.rows, grid.neurons, grid.step, grid.per_file) < 1:
                    raise ValueError(f"its array {grid.name!r} is empty")
                _ = grid.stored
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return made

    def grids(self) -> list[Grid]:
        """Return the large arrays."""
        rows, roles = len(self.layers), len(ROLES)
        dims, role_dims = ("layer", "token", "neuron"), ("token_role", "layer", "neuron")
        return [
            Grid(name, dims, rows, self.neurons, self.step, self.per_file, dtype)
            for name, dtype in self.arrays.items()
        ] + [
            Grid(name, role_dims, roles, self.neurons, rows, 1, "float32") for name in self.reduced
        ]

    def length(self, grid: Grid, tokens: int) -> int:
        """Return a picture's extent along a grid's inner dim."""
        return tokens if grid.dims[1] == "token" else len(self.layers)

    def path(self, name: str, number: int, *places: int) -> str:
        """Return where one picture's chunk of an array lies in its store."""
        first = () if self.single else (number,)
        return "/".join([name, "c", *map(str, (*first, *places))])

    def of_tokens(self) -> int:
        """Return the tokens of a file of a coordinate."""
        return self.step * self.per_file


def layout_of(picture: Picture, single: bool, bits: bool) -> Layout:
    """Return the layout of a store whose first picture this is."""
    n, first = picture.n_tokens, next(iter([*picture.arrays.values(), *picture.reduced.values()]))
    parts = max(1, -(-n // _STEP))

    def dtype(values: np.ndarray) -> str:
        return (
            "bfloat16"
            if bits and all(to_bits(row) is not None for row in values)
            else str(values.dtype)
        )

    return Layout(
        single=single,
        layers=[int(layer) for layer in picture.layers],
        experts=[int(expert) for expert in picture.experts],
        neurons=int(first.shape[2]),
        arrays={name: dtype(values) for name, values in picture.arrays.items()},
        reduced=picture.reduced_names(),
        tokens=[name for name in FILLS if name in picture.tokens] if picture.arrays else [],
        step=-(-n // parts),
        per_file=parts + 1,
    )


# -- small arrays -------------------------------------------------------------------------------


def encode(values: np.ndarray) -> bytes:
    """Return the bytes of a chunk of numbers, truth values or texts, its checksum at the end."""
    if values.dtype.kind in "UO":
        texts = [str(value).encode() for value in values.reshape(-1)]
        parts = [struct.pack("<I", len(texts))]
        for text in texts:
            parts += [struct.pack("<I", len(text)), text]
        content = b"".join(parts)
    else:
        content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return content + struct.pack("<I", checksum(content))


def decode(content: bytes, kind: str) -> np.ndarray:
    """Read what `encode` wrote, checksum and all.

    Parameters
    ----------
    content : bytes
    kind : {"int64", "bool", "string"}

    Raises
    ------
    ValueError
        If it is not as it was written.
    """
    content, (held,) = content[:-4], struct.unpack("<I", content[-4:].rjust(4, b"\0"))
    if checksum(content) != held:
        raise ValueError("its checksum does not fit")
    if kind != "string":
        return np.frombuffer(content, np.dtype(kind).newbyteorder("<")).astype(kind)
    texts, place = [], 4
    while place < len(content):
        end = place + 4 + int.from_bytes(content[place : place + 4], "little")
        texts.append(content[place + 4 : end].decode())
        place = end
    return np.asarray(texts, dtype=str)


def kind_of(name: str) -> str:
    """Return the type on disk of a coordinate over tokens."""
    fill = FILLS[name]
    return "string" if isinstance(fill, str) else "bool" if isinstance(fill, bool) else "int64"


# -- what zarr reads ----------------------------------------------------------------------------


def root_text(layout: Layout | None, attrs: dict[str, Any], pictures: int, tokens: int) -> str:
    """Return ``zarr.json`` of a store: its attributes, and the metadata of every array.

    Parameters
    ----------
    layout : Layout or None
        None before the first picture.
    attrs : dict
    pictures : int
    tokens : int
        Of the longest picture.
    """
    arrays = {} if layout is None else array_metadata(layout, attrs, pictures, tokens)
    coordinates = {} if layout is None else {"coordinates": " ".join(coordinate_names(layout))}
    own = {
        "pictures": pictures,
        "tokens": tokens,
        "layout": None if layout is None else layout.to_dict(),
        "checksum": BLANK,
    }
    described = {
        "zarr_format": 3,
        "node_type": "group",
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
        "attributes": {**attrs, **coordinates, "mmkn": own},
    }
    return stamp(json.dumps(described, indent=1) + "\n")


def root_is_whole(text: str, own: dict[str, Any]) -> bool:
    """Return whether ``zarr.json`` is as `root_text` wrote it."""
    return is_stamped(text, own.get("checksum"))


def coordinate_names(layout: Layout) -> list[str]:
    """Return the arrays that are coordinates without being dims."""
    return ["expert", "geometry", *layout.tokens]


def fixed_arrays(layout: Layout) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return what does not depend on pictures: name to (dims, values)."""
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "layer": (("layer",), np.asarray(layout.layers, np.int64)),
        "expert": (("layer",), np.asarray(layout.experts, np.int64)),
        "neuron": (("neuron",), np.arange(layout.neurons)),
    }
    if layout.reduced:
        found["token_role"] = (("token_role",), np.asarray(ROLES))
    return found


def shared_files(layout: Layout, tokens: int) -> dict[str, bytes]:
    """Return the files that belong to no picture: name to content, up to so many tokens."""
    found = {f"{key}/c/0": encode(values) for key, (_, values) in fixed_arrays(layout).items()}
    size = layout.of_tokens()
    for part in range(-(-tokens // size) if layout.tokens else 0):
        found[f"token/c/{part}"] = encode(np.arange(part * size, (part + 1) * size))
    return found


#: Attributes of the store that its arrays have too.
_OF_ARRAYS = ("model", "weights", "site", "dtype")


def array_metadata(
    layout: Layout, attrs: dict[str, Any], pictures: int, tokens: int
) -> dict[str, dict[str, Any]]:
    """Return every array's ``zarr.json``."""
    own: dict[str, Any] = {key: attrs[key] for key in _OF_ARRAYS if key in attrs}
    n = () if layout.single else (pictures,)
    one = () if layout.single else (1,)
    image = () if layout.single else ("image",)
    found: dict[str, dict[str, Any]] = {}
    for grid in layout.grids():
        inner = layout.length(grid, tokens)
        chunk = [*one, 1, grid.step, grid.neurons]
        kind = "float32" if grid.dims[0] == "token_role" else ""
        described: dict[str, Any] = {} if kind else dict(own)
        if grid.dtype == "bfloat16":
            described |= {
                "mmkn_dtype": "bfloat16",
                "comment": "bits of bfloat16: (values.astype('u4') << 16).view('f4')",
            }
        codecs = [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ]
        found[grid.name] = _array(
            (*n, grid.rows, inner, grid.neurons),
            (*one, grid.rows, grid.step * grid.per_file, grid.neurons),
            grid.stored.name,
            (*image, *grid.dims),
            [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": chunk,
                        "codecs": codecs,
                        "index_codecs": codecs,
                        "index_location": "end",
                    },
                }
            ],
            described,
        )
    for name in layout.tokens:
        of_file = (*one, layout.of_tokens())
        found[name] = _array((*n, tokens), of_file, kind_of(name), (*image, "token"))
    found["geometry"] = _array(n, one, "string", image)
    if not layout.single:
        found["image"] = _array(n, one, "string", image)
    if layout.tokens:
        found["token"] = _array((tokens,), (layout.of_tokens(),), "int64", ("token",))
    for name, (dims, values) in fixed_arrays(layout).items():
        kind = "string" if values.dtype.kind == "U" else "int64"
        found[name] = _array(values.shape, values.shape, kind, dims)
    return found


def _array(
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: str,
    dims: Sequence[str],
    codecs: list[dict[str, Any]] | None = None,
    attributes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    fills: dict[str, Any] = {"string": "", "bool": False}
    if codecs is None:
        first = (
            {"name": "vlen-utf8", "configuration": {}}
            if dtype == "string"
            else {"name": "bytes", "configuration": {"endian": "little"}}
        )
        codecs = [first, {"name": "crc32c"}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fills.get(dtype, 0),
        "codecs": codecs,
        "attributes": attributes or {},
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


def inside(root: str, relative: str) -> str:
    """Return a file's path in a store whose real path is `root`.

    Raises
    ------
    ValueError
        If a link leads out of the store.
    """
    path = os.path.join(root, *relative.split("/"))
    if os.path.realpath(path) != path:
        raise ValueError("a link leads to another place")
    return path

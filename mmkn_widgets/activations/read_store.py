"""Read an activation store from disk, lazily; nothing damaged passes for values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, bad_argument, unseal
from .layout import (
    RECORDS,
    Grid,
    Layout,
    checksum,
    decode,
    inside,
    kind_of,
    record_path,
    root_is_whole,
)
from .lazy import ImageStack
from .old_store import open_old_store
from .picture import FILLS, FORMAT, STORE_VERSION, label, single

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PictureFiles", "Root", "Unreadable", "open_store", "read_record", "read_root"]


class Unreadable(BadArgument):
    """A store whose ``zarr.json`` is damaged or gone, while its pictures' records are there."""


class Root:
    """What a store's ``zarr.json`` says.

    Attributes
    ----------
    version : int
        Of the layout.
    attrs : dict
        The Dataset's.
    layout : Layout or None
        None where there is no picture yet, and for layout 1.
    pictures : int
        How many are committed.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        attrs = dict(described)
        self.version = int(attrs["version"])
        own = attrs.pop("mmkn", {})
        attrs.pop("coordinates", None)
        self.attrs = attrs
        self.pictures = int(own.get("pictures", 0))
        held = own.get("layout")
        self.layout = None if held is None else Layout.from_dict(held)


def read_root(path: Path) -> Root:
    """Return what a store says of itself.

    Raises
    ------
    BadArgument
        If the folder holds no store, one of a later version, or a Dataset that xarray wrote;
        `Unreadable` if a capture with the same options can repair it.
    """
    ours = (path / RECORDS).is_dir()
    try:
        text = (path / "zarr.json").read_bytes().decode()
        held = json.loads(text)["attributes"]
        if not isinstance(held, dict):
            raise ValueError("it has no attributes")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if ours:
            raise _unreadable(path, error) from error
        raise bad_argument(
            "path", str(path), "a folder that capture(..., out=) or save wrote"
        ) from error
    if held.get("format") != FORMAT:
        if ours:
            raise _unreadable(
                path, f"got format {held.get('format')!r}, expected an activation store"
            )
        raise bad_argument("path", str(path), f"an activation store, format {FORMAT!r}")
    if held.get("version") not in (1, STORE_VERSION):
        raise bad_argument(
            "path",
            f"{path}, a store of version {held.get('version')}",
            f"version {STORE_VERSION}; read it with the mmkn_widgets that wrote it",
        )
    old = held["version"] == 1 and (path / "images").is_dir()
    if not ours and not old and (held["version"] == 1 or _has_arrays(path)):
        raise bad_argument(
            "path",
            f"{path}, a Dataset that xarray wrote",
            "a store of capture(..., out=) or mmkn_widgets.activations.save, which have "
            "checksums; open this one with xarray.open_zarr",
        )
    own = held.get("mmkn")
    try:
        if held["version"] == STORE_VERSION and not root_is_whole(text, own):  # type: ignore[arg-type]
            raise ValueError("its checksum does not fit")
        return Root(held)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _has_arrays(path: Path) -> bool:
    return any(one.is_dir() and (one / "zarr.json").is_file() for one in path.iterdir())


def _unreadable(path: Path, reason: object) -> Unreadable:
    return Unreadable(
        f"path: {path / 'zarr.json'} is damaged, or was changed by another program "
        f"({' '.join(str(reason).split())}); the same capture(..., out=) again repairs it"
    )


def read_record(root: str, number: int) -> dict[str, Any]:
    """Return a picture's record.

    Parameters
    ----------
    root : str
        The store's real path.
    number : int

    Raises
    ------
    ValueError, OSError
        If it is damaged or not there.
    """
    with open(inside(root, record_path(number)), "rb") as file:
        held = unseal(file.read())
    wanted = {"id": str, "number": int, "source": str, "tokens": int, "files": dict, "layout": dict}
    for key, kind in wanted.items():
        if not isinstance(held.get(key), kind) or isinstance(held[key], bool):
            raise ValueError(f"its {key} is missing")
    if held["tokens"] < 0:
        raise ValueError(f"it has {held['tokens']} tokens")
    if not isinstance(held.get("store", {}), dict):
        raise ValueError("its store is no description")
    for name, kept in held["files"].items():
        known = isinstance(kept, list) and len(kept) == 2 and isinstance(kept[1], str)
        if not known or type(kept[0]) is not int or kept[0] < 0:
            raise ValueError(f"its size and checksums of {name} are missing"[:200])
    if held["number"] != number:
        raise ValueError(f"it is that of picture number {held['number']}")
    return held


class PictureFiles:
    """The files of a store's pictures, verified as they are read.

    Parameters
    ----------
    path : pathlib.Path
    layout : Layout
    records : dict of int to dict
        Picture number to its record.
    """

    def __init__(self, path: Path, layout: Layout, records: dict[int, dict[str, Any]]) -> None:
        self.path = path
        self.layout = layout
        self.records = records
        self._root = os.path.realpath(path)
        self._there: set[int] = set()

    def error(self, number: int, file: str, reason: object) -> BadArgument:
        """Return the error for a damaged file of a picture."""
        name = self.records[number]["id"] if number in self.records else f"number {number}"
        return damaged(self.path, name, file, reason)

    def small(self, number: int, file: str, kind: str) -> np.ndarray:
        """Return a picture's part of a coordinate.

        Raises
        ------
        BadArgument
            If it is damaged.
        """
        try:
            size, (crc,) = self._expected(number, file)
            with open(inside(self._root, file), "rb") as opened:
                content = opened.read(size + 1)
            if len(content) != size or int.from_bytes(content[-4:], "little") != crc:
                raise ValueError("it is not the file that was written")
            return decode(content, kind)
        except (OSError, ValueError) as error:
            raise self.error(number, file, error) from error

    def _expected(self, number: int, file: str) -> tuple[int, list[int]]:
        try:
            size, crcs = self.records[number]["files"][file]
            return int(size), np.frombuffer(bytes.fromhex(crcs), "<u4").tolist()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("the picture's record does not name it") from error

    def check(self, number: int) -> None:
        """Raise if one of a picture's files is missing or has another size."""
        if number in self._there:
            return
        for file, (size, _) in self.records[number]["files"].items():
            try:
                found = os.path.getsize(inside(self._root, file))
                if found != size:
                    raise ValueError(f"it has {found} bytes, not {size}")
            except (OSError, ValueError) as error:
                raise self.error(number, file, error) from error
        self._there.add(number)

    def row(self, grid: Grid, number: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """Read one row of a picture's array, chunk by chunk.

        Yields
        ------
        (int, numpy.ndarray)
            Where the chunk begins along the inner dim, and its values (inner, neuron) as stored.

        Raises
        ------
        BadArgument
            If it is damaged, or any file of the picture is missing.
        """
        self.check(number)
        length = self.layout.length(grid, self.records[number]["tokens"])
        size = grid.chunk_bytes
        for part, (first, per_row) in enumerate(grid.files(length)):
            file = self.layout.path(grid.name, number, 0, part, 0)
            try:
                crcs = self._expected(number, file)[1][row * per_row : (row + 1) * per_row]
                found = np.empty((per_row, size + 4), np.uint8)
                with open(inside(self._root, file), "rb", buffering=0) as opened:
                    opened.seek(row * found.nbytes)
                    if opened.readinto(found.data.cast("B")) != found.nbytes:
                        raise ValueError("it is cut off")
                for chunk, crc in zip(found, crcs, strict=True):
                    if checksum(chunk[:size]) != crc:
                        raise ValueError("its checksum does not fit")
            except (OSError, ValueError) as error:
                raise self.error(number, file, f"row {row}: {error}") from error
            for place in range(per_row):
                begin = (first + place) * grid.step
                values = found[place, :size].view(grid.stored).reshape(grid.step, grid.neurons)
                yield begin, values[: length - begin]

    def is_whole(self, number: int) -> bool:
        """Read everything that belongs to a picture and return whether it is as it was written."""
        try:
            self.check(number)
            for file in self.records[number]["files"]:
                self._verify(number, file)
        except (OSError, ValueError):
            self._there.discard(number)
            return False
        return set(self.records[number]["files"]) == set(
            expected_files(self.layout, number, self.records[number]["tokens"])
        )

    def _verify(self, number: int, file: str) -> None:
        grids = {grid.name: grid for grid in self.layout.grids()}
        grid = grids.get(file.split("/")[0])
        if grid is None:
            _, (crc,) = self._expected(number, file)
            content = Path(inside(self._root, file)).read_bytes()
            if checksum(content[:-4]) != crc or int.from_bytes(content[-4:], "little") != crc:
                raise ValueError(file)
            return
        _, crcs = self._expected(number, file)
        per_row = len(crcs) // grid.rows
        block = np.empty((per_row, grid.chunk_bytes + 4), np.uint8)
        with open(inside(self._root, file), "rb", buffering=0) as opened:
            for row in range(grid.rows):
                opened.readinto(block.data.cast("B"))
                for chunk, crc in zip(block, crcs[row * per_row :], strict=False):
                    if checksum(chunk[:-4]) != crc or chunk[-4:].tobytes() != crc.to_bytes(
                        4, "little"
                    ):
                        raise ValueError(file)
            if opened.read() != grid.index(per_row):
                raise ValueError(file)


def expected_files(layout: Layout, number: int, tokens: int) -> list[str]:
    """Return every file of a picture of so many tokens."""
    found = [
        layout.path(grid.name, number, 0, part, 0)
        for grid in layout.grids()
        for part in range(len(grid.files(layout.length(grid, tokens))))
    ]
    for name in layout.tokens:
        for part in range(-(-tokens // layout.of_tokens())):
            found.append(layout.path(name, number, part))
    found.append(layout.path("geometry", number))
    return found if layout.single else [*found, layout.path("image", number)]


def damaged(path: Path, name: str, file: str, reason: object) -> BadArgument:
    """Return the error for a damaged picture, naming it and the file."""
    said = str((reason.strerror if isinstance(reason, OSError) else None) or reason)
    return BadArgument(
        f"path: {path}, picture {name!r} is damaged: {file} ({' '.join(said.split())}); the same "
        "capture(..., out=) again makes it anew"
    )


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily: values are read when asked for.

    Parameters
    ----------
    path : str or pathlib.Path
        What ``capture(..., out=)`` or `save` wrote, of this or an earlier release.

    Returns
    -------
    xarray.Dataset
        As `capture` returns it, with the reductions over roles (``activation_max``,
        ``activation_mean``) beside it. ``store.sel(layer=4, neuron=233)`` reads one row of chunks a
        picture; ``store.chunk(image=1)`` hands it to dask, where dask is installed. Every chunk's
        checksum is verified as it is read.

    Raises
    ------
    BadArgument
        If the folder holds no store, one of a later version, or no committed picture; on reading,
        if a picture is damaged (the message names it and the file; the others stay readable).

    Notes
    -----
    ``xarray.open_zarr(path)`` shows the same Dataset without this package, and without verifying
    that no file is missing: zarr reads what is missing as zeros.

    Examples
    --------
    >>> import tempfile
    >>> model, folder = mmkn.load_model("pocket"), tempfile.mkdtemp() + "/store"
    >>> pictures = [scene.image for scene in mmkn.datasets.pocket_world("val", 2)]
    >>> written = mmkn.capture(model, pictures, out=folder)
    >>> mmkn.open_store(folder)["activation"].dims
    ('image', 'layer', 'token', 'neuron')
    """
    folder = Path(path)
    held = read_root(folder)
    if held.version == 1:
        return open_old_store(folder, held.attrs)
    if held.layout is None or not held.pictures:
        raise bad_argument("path", str(path), "a store with at least one committed picture")
    files = PictureFiles(folder, held.layout, _records(folder, held))
    layout, numbers = held.layout, range(held.pictures)
    arrays: dict[str, Any] = {}
    reduced: dict[str, Any] = {}
    for grid in layout.grids():
        of_tokens = grid.dims[1] == "token"
        (arrays if of_tokens else reduced)[grid.name] = _stack(files, grid, held.pictures)
    names = [str(files.records[n]["id"]) for n in numbers]
    geometry = [str(files.small(n, layout.path("geometry", n), "string").item()) for n in numbers]
    store = label(
        arrays, [_tokens(files, n) for n in numbers], layout.layers, layout.experts, geometry,
        names, held.attrs, reduced,
    )  # fmt: skip
    store.attrs.pop("single", None)
    return single(store) if layout.single else store


def _records(folder: Path, held: Root) -> dict[int, dict[str, Any]]:
    """Return every picture's record.

    Raises
    ------
    BadArgument
        If one is damaged, of another store, or of a picture that is there twice.
    """
    assert held.layout is not None
    real, layout = os.path.realpath(folder), held.layout.to_dict()
    found: dict[int, dict[str, Any]] = {}
    names: dict[str, int] = {}
    for number in range(held.pictures):
        file = record_path(number)
        try:
            one = read_record(real, number)
        except (OSError, ValueError) as error:
            raise damaged(folder, f"number {number}", file, error) from error
        name = one["id"]
        wrong = foreign(one, held.attrs, layout)
        if wrong:
            raise damaged(folder, name, file, wrong)
        if name in names:
            other = record_path(names[name])
            raise damaged(folder, name, file, f"the same picture is in {other}")
        names[name] = number
        found[number] = one
    return found


def foreign(record: dict[str, Any], attrs: dict[str, Any], layout: dict[str, Any]) -> str:
    """Return what makes a record one of another store, empty if nothing does."""
    if record["layout"] != layout:
        return "its layers or types are those of another store"
    held = record.get("store", {})
    for key in dict.fromkeys([*attrs, *held]):
        if held.get(key) != attrs.get(key):
            return f"it is of another store: {key} {held.get(key)!r}, not {attrs.get(key)!r}"[:200]
    return ""


def _tokens(files: PictureFiles, number: int) -> dict[str, np.ndarray]:
    """Return a picture's coordinates over tokens."""
    layout, n = files.layout, files.records[number]["tokens"]
    if not layout.tokens:
        return {"valid": np.ones(n, bool)}
    found = {}
    for name in layout.tokens:
        parts = [
            files.small(number, layout.path(name, number, part), kind_of(name))
            for part in range(-(-n // layout.of_tokens()))
        ]
        found[name] = np.concatenate(parts)[:n] if parts else np.asarray([FILLS[name]])[:0]
        if len(found[name]) != n:
            raise files.error(number, layout.path(name, number, 0), "it has too few tokens")
    return found


class _Rows:
    """Reads rows of one array; may be sent to another process, as dask does."""

    def __init__(self, files: PictureFiles, grid: Grid) -> None:
        self.files, self.grid = files, grid

    def __call__(self, number: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        return self.files.row(self.grid, number, row)


def _stack(files: PictureFiles, grid: Grid, n: int) -> Any:
    """Return one variable of all pictures, unread."""
    from xarray.core import indexing

    bits = grid.dtype == "bfloat16"
    shapes = [
        (grid.rows, files.layout.length(grid, files.records[number]["tokens"]), grid.neurons)
        for number in range(n)
    ]
    stack = ImageStack(
        _Rows(files, grid),
        [files.path / grid.name] * n,
        shapes,
        np.float32 if bits else grid.stored.newbyteorder("="),
        bits=bits,
    )
    return indexing.LazilyIndexedArray(stack)

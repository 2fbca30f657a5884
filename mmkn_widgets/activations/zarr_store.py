"""Write an activation store: every picture is committed by one rename (see `layout`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from ..core import BadArgument, bad_argument, seal, sync, sync_all, write_whole
from .layout import (
    RECORDS,
    Grid,
    Layout,
    array_metadata,
    checksum,
    encode,
    kind_of,
    layout_of,
    record_path,
    root_text,
    shared_files,
    to_bits,
)
from .picture import FILLS, FORMAT, STORE_VERSION, Picture, pictures_of
from .read_store import PictureFiles, Unreadable, foreign, read_record, read_root

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StoreWriter", "save"]


#: Attributes that have to agree for a store to be continued.
_SAME = ("weights", "prompt", "site", "dtype")

_LOCK, _NEXT = ".writer.lock", ".zarr.json.part"


class StoreWriter:
    """Write pictures one by one into a store; the only writer of it while open.

    Parameters
    ----------
    path : pathlib.Path
        A new folder, or a store made with the same options, which is continued.
    attrs : dict
        Of the store; ``single`` says that it will hold one picture and no dim ``image``.
    bits : bool
        Whether values of a bfloat16 model may be kept as 2 bytes.

    Attributes
    ----------
    finished : dict of str to int
        Image id -> number, of every committed picture.

    Raises
    ------
    BadArgument
        If the folder is something else, a store of other attributes or another version, cannot be
        written, or has another writer.
    """

    def __init__(self, path: Path, attrs: dict[str, Any], *, bits: bool = True) -> None:
        self.path = path
        kept = {k: v for k, v in attrs.items() if k not in ("single", "mmkn")}
        self.attrs = {**kept, "format": FORMAT, "version": STORE_VERSION}
        self.finished: dict[str, int] = {}
        self._single = bool(attrs.get("single", False))
        self._bits = bits and attrs.get("dtype") == "bfloat16"
        self._layout: Layout | None = None
        self._records: dict[int, dict[str, Any]] = {}
        self._damaged: list[int] = []
        self._n = 0
        self._lock: BaseFileLock | None = None
        self._ours = self._began = False

    def __enter__(self) -> StoreWriter:
        mark = self.path / "zarr.json"
        if self.path.exists() and not self.path.is_dir():
            raise bad_argument("out", str(self.path), "a folder")
        begun = mark.is_file() or (self.path / RECORDS).is_dir()
        foreign = self.path.is_dir() and any(
            entry.name not in (_LOCK, _NEXT) for entry in self.path.iterdir()
        )
        if foreign and not begun:
            raise bad_argument("out", str(self.path), "a new folder, or an activation store")
        self._ours = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # The system takes it back when its process dies; whichever thread closes may let go.
            lock = FileLock(self.path / _LOCK, timeout=0, thread_local=False)
            lock.acquire()
            self._lock = lock
        except Timeout as error:
            raise bad_argument("out", str(self.path), "a store that no one else writes") from error
        except OSError as error:
            self._close()
            raise bad_argument(
                "out", str(self.path), f"a folder that can be written ({error.strerror})"
            ) from error
        try:
            if begun:
                self._continue()
            else:
                self._began = True
                (self.path / RECORDS).mkdir(exist_ok=True)
                sync(self.path / RECORDS)
                self._commit()
            self._drop(self._n)
        except OSError as error:
            raised = self._failed(error)
            self._close()
            raise raised from error
        except BaseException:
            self._close()
            raise
        return self

    def _continue(self) -> None:
        """Take up a store that was made with the same options, and see what of it is damaged."""
        records = self._found_records()
        try:
            held = read_root(self.path)
            if held.version != STORE_VERSION:
                raise bad_argument(
                    "out", f"{self.path}, a store of an earlier release",
                    "a new folder; save(open_store(OLD), NEW) brings its pictures there",
                )  # fmt: skip
            attrs, self._layout, self._n = held.attrs, held.layout, held.pictures
        except Unreadable:  # every record says what zarr.json said
            attrs = next((one["store"] for one in records.values()), self.attrs)
            if records:
                self._layout = Layout.from_dict(next(iter(records.values()))["layout"])
                self._n = max(records) + 1
        self._compare(attrs)
        self.attrs = attrs
        layout = None if self._layout is None else self._layout.to_dict()
        for number in range(self._n):
            one = records.get(number)
            if (
                one is None
                or layout is None
                or foreign(one, attrs, layout)
                or one["id"] in self.finished
            ):
                self._damaged.append(number)
            else:
                self._records[number] = one
                self.finished[one["id"]] = number
        self._commit()
        self._describe_arrays()

    def _found_records(self) -> dict[int, dict[str, Any]]:
        """Return every whole record, by number."""
        found: dict[int, dict[str, Any]] = {}
        real = os.path.realpath(self.path)
        for file in sorted((self.path / RECORDS).glob("*.json")):
            if file.stem.isdigit():
                with suppress(OSError, ValueError):
                    found[int(file.stem)] = read_record(real, int(file.stem))
        return found

    def _compare(self, held: dict[str, Any]) -> None:
        mine, theirs = _options(self.attrs), _options(held)
        for key in dict.fromkeys([*_SAME, *mine]):
            old, new = theirs.get(key, held.get(key)), mine.get(key, self.attrs.get(key))
            if old != new:
                raise bad_argument(
                    "out", f"a store with {key} {old!r}", f"one with {new!r}, or a new folder"
                )
        if self._layout is not None and self._layout.single != self._single:
            one, more = "one picture without a list", "a list of pictures"
            raise bad_argument(
                "out", f"a store of {one if self._layout.single else more}",
                f"one of {one if self._single else more}, or a new folder",
            )  # fmt: skip

    def source(self, name: str) -> str:
        """Return the fingerprint of a picture that is there, empty where none was kept."""
        return str(self._records[self.finished[name]]["source"])

    def is_whole(self, name: str) -> bool:
        """Read a picture that is there and return whether it is as it was written."""
        assert self._layout is not None
        files = PictureFiles(self.path, self._layout, self._records)
        return files.is_whole(self.finished[name])

    def add(self, name: str, picture: Picture, source: str = "") -> None:
        """Write one picture and commit it; one of the same name that is there is replaced.

        Parameters
        ----------
        name : str
        picture : Picture
        source : str
            A fingerprint of what it was made from.

        Raises
        ------
        BadArgument
            If the disk is full or cannot be written (what was committed before stays), or the
            picture's layers or types are not those of the store.
        """
        number = self.finished.get(name)
        if number is None:
            number = self._damaged[0] if self._damaged else self._n
        if self._single and number:
            raise bad_argument("out", "a store of one picture", "a new folder for more")
        first = self._layout is None
        layout = layout_of(picture, self._single, self._bits) if first else self._layout
        assert layout is not None
        _check_fits(layout, picture)
        before = self._layout, self._n
        try:
            self._drop(number)
            record = self._write(layout, number, name, picture, source)
            self._layout, self._n = layout, max(self._n, number + 1)
            self._records[number] = record
            self._commit()
            if first:
                self._describe_arrays()
        except OSError as error:
            self._layout, self._n = before
            self._records.pop(number, None)
            raise self._failed(error) from error
        if number in self._damaged:
            self._damaged.remove(number)
        self.finished[name] = number

    def _write(
        self, layout: Layout, number: int, name: str, picture: Picture, source: str
    ) -> dict[str, Any]:
        """Have a picture's files on the disk, of which ``zarr.json`` does not know yet."""
        made = _Files(self.path)

        def shards(held: Mapping[str, np.ndarray]) -> None:
            for grid in layout.grids():
                if grid.name in held:
                    length = held[grid.name].shape[1]
                    for part, (first, per_row) in enumerate(grid.files(length)):
                        file = layout.path(grid.name, number, 0, part, 0)
                        made.shard(file, grid, held[grid.name], first, per_row)

        with ThreadPoolExecutor(1) as beside:  # the disk works while the processor reduces
            writing = beside.submit(shards, picture.arrays)
            if not picture.reduced:
                picture.reduce()
            writing.result()
        shards(picture.reduced)
        size = layout.of_tokens()
        for key in layout.tokens:
            values = np.asarray(picture.tokens[key])
            for part in range(-(-len(values) // size)):
                made.small(layout.path(key, number, part), _filled(values, key, part, size))
        made.small(layout.path("geometry", number), np.asarray(picture.geometry))
        if not layout.single:
            made.small(layout.path("image", number), np.asarray(name))
        record = {
            "id": name,
            "number": number,
            "source": source,
            "tokens": picture.n_tokens,
            "files": made.written,
            "layout": layout.to_dict(),
            "store": self.attrs,
        }
        for file, content in shared_files(layout, picture.n_tokens).items():
            if not self._holds(file, content):
                made.beside(file, content)
        made.beside(record_path(number), seal(record).encode())
        made.sync()
        return dict(json.loads(json.dumps(record)))

    def _commit(self) -> None:
        """Let everyone see the pictures that are on the disk, by one rename."""
        tokens = max((one["tokens"] for one in self._records.values()), default=0)
        text = root_text(self._layout, self.attrs, self._n, tokens)
        place, part = self.path / "zarr.json", self.path / _NEXT
        if place.is_file() and place.read_bytes() == text.encode():
            return
        part.write_text(text, encoding="utf-8", newline="\n")
        sync(part)
        os.replace(part, place)
        sync(self.path)

    def _describe_arrays(self) -> None:
        """Write each array's own ``zarr.json``, for what does not read the root's."""
        if self._layout is None:
            return
        tokens = max((one["tokens"] for one in self._records.values()), default=0)
        wanted = shared_files(self._layout, tokens)
        for name, described in array_metadata(self._layout, self.attrs, self._n, tokens).items():
            wanted[f"{name}/zarr.json"] = (json.dumps(described, indent=1) + "\n").encode()
        for file, content in wanted.items():
            if not self._holds(file, content):
                (self.path / file).parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.path / file, content, "out")

    def _holds(self, file: str, content: bytes) -> bool:
        place = self.path / file
        return place.is_file() and place.read_bytes() == content

    def _drop(self, number: int) -> None:
        """Remove what there is of a picture; its record first, so that it does not seem whole."""
        (self.path / record_path(number)).unlink(missing_ok=True)
        if self._single:
            return
        names = [] if self._layout is None else list(array_metadata(self._layout, {}, 1, 1))
        for name in names or [entry.name for entry in self.path.iterdir() if entry.is_dir()]:
            left = self.path / name / "c" / str(number)
            if "image" in self._dims(name) and os.path.lexists(left):
                left.unlink() if left.is_symlink() or left.is_file() else shutil.rmtree(left)

    def _dims(self, name: str) -> tuple[str, ...]:
        if name in ("layer", "expert", "neuron", "token", "token_role", RECORDS):
            return ()
        return ("image",)

    def _failed(self, error: OSError) -> BadArgument:
        with suppress(OSError):
            (self.path / _NEXT).unlink(missing_ok=True)
            self._drop(self._n)
        reason = error.strerror or str(error)
        if self.finished:
            return BadArgument(
                f"out: {self.path} took {len(self.finished)} pictures, then: {reason}; make room "
                "and run again, it goes on from there"
            )
        return BadArgument(f"out: {self.path} took no picture: {reason}; choose another folder")

    def _close(self) -> None:
        if self._lock is not None:
            if self._began and not self.finished:  # nothing half done stays behind
                self._remove()
            self._lock.release()
            self._lock = None

    def _remove(self) -> None:
        """Take back a store that this writer began and that holds no picture."""
        if self._ours:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        (self.path / "zarr.json").unlink(missing_ok=True)
        for entry in list(self.path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._lock is not None and self.finished:
                with suppress(OSError, BadArgument):  # what is committed is there without it
                    self._drop(self._n)
                    self._describe_arrays()
        finally:
            self._close()


class _Files:
    """The files of one picture, with their checksums, not yet on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: dict[str, tuple[int, str]] = {}
        self._touched: dict[Path, None] = {}

    def _open(self, file: str) -> IO[bytes]:
        place = self.root / file
        folder = place.parent
        while folder != self.root and folder not in self._touched:
            self._touched[folder] = None
            folder = folder.parent
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        self._touched[place] = None
        return open(place, "xb", buffering=0)

    def shard(self, file: str, grid: Grid, values: np.ndarray, first: int, per_row: int) -> None:
        """Write chunks of every row of an array, with the index that zarr reads."""
        crcs = np.empty((grid.rows, per_row), "<u4")
        step = grid.step
        with self._open(file) as opened:
            for row in range(grid.rows):
                for place in range(per_row):
                    begin = (first + place) * step
                    chunk = _chunk(values[row, begin : begin + step], grid)
                    crcs[row, place] = checksum(chunk)
                    _write(opened, chunk)
                    _write(opened, crcs[row, place].tobytes())
            _write(opened, grid.index(per_row))
            os.fsync(opened.fileno())
        self.written[file] = (grid.file_bytes(per_row), crcs.tobytes().hex())

    def small(self, file: str, values: np.ndarray) -> None:
        """Write a part of a coordinate."""
        content = encode(values)
        self.beside(file, content)
        self.written[file] = (len(content), content[-4:].hex())

    def beside(self, file: str, content: bytes) -> None:
        """Write what the record does not name."""
        with self._open(file) as opened:
            _write(opened, content)

    def sync(self) -> None:
        """Have all of them on the disk."""
        sync_all(self._touched)


def _write(file: IO[bytes], content: np.ndarray | bytes) -> None:
    view = (content.data if isinstance(content, np.ndarray) else memoryview(content)).cast("B")
    while len(view):  # a raw file may take less than all of it
        view = view[file.write(view) :]


def _chunk(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a chunk as it is stored, filled up to its full length."""
    if grid.dtype == "bfloat16":
        bits = to_bits(values)
        if bits is None:
            raise bad_argument("out", "a store of bfloat16 values", "pictures that are bfloat16")
        values = bits
    found = np.ascontiguousarray(values, grid.stored)
    if len(found) < grid.step:
        whole = np.zeros((grid.step, *found.shape[1:]), grid.stored)
        whole[: len(found)] = found
        found = whole
    return found


def _filled(values: np.ndarray, name: str, part: int, size: int) -> np.ndarray:
    """Return a chunk of a coordinate over tokens, filled up to its full length."""
    kind = kind_of(name)
    found = np.full(size, FILLS[name], object if kind == "string" else kind)
    here = values[part * size : (part + 1) * size]
    found[: len(here)] = here
    return found


def _check_fits(layout: Layout, picture: Picture) -> None:
    """Raise if a picture is not like those of a store."""
    here = layout_of(picture, layout.single, False)
    if (here.layers, here.experts, here.neurons) != (layout.layers, layout.experts, layout.neurons):
        raise bad_argument("out", f"a picture of layers {here.layers}", f"layers {layout.layers}")
    held = {k: "float32" if v == "bfloat16" else v for k, v in layout.arrays.items()}
    if here.arrays != held or sorted(here.reduced) != sorted(layout.reduced):
        raise bad_argument("out", f"a picture with {here.arrays}", f"one with {held}")


def _options(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return what a capture was asked for, as its provenance says."""
    try:
        found = dict(json.loads(attrs.get("provenance", "{}")).get("arguments", {}))
    except (ValueError, TypeError, AttributeError):
        return {}
    found.pop("model", None)  # its weights are compared; it may lie in another folder now
    return found


def save(store: xr.Dataset, path: str | Path) -> Path:
    """Write a store from memory.

    Parameters
    ----------
    store : xarray.Dataset
        From `capture`, or any with a variable ``activation`` of dims ([image,] layer, token,
        neuron).
    path : str or pathlib.Path
        A new folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadArgument
        If the folder holds something else, or cannot be written.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr
    >>> from mmkn_widgets.activations import open_store
    >>> store = xr.Dataset({"activation": (("layer", "token", "neuron"), np.ones((2, 3, 4)))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(store, folder + "/store")
    ...     float(open_store(path).activation.sum())
    24.0
    """
    if "activation" not in store:
        raise bad_argument(
            "store", list(store.data_vars), "a dataset with the variable 'activation'"
        )
    folder = Path(path)
    attrs = {**_plain(store.attrs), "single": "image" not in store.dims}
    pictures = pictures_of(store)
    bits = all(to_bits(v) is not None for _, one in pictures for v in one.arrays.values())
    with StoreWriter(folder, attrs, bits=bits) as writer:
        for name, picture in pictures:
            if name not in writer.finished or not writer.is_whole(name):
                writer.add(name, picture)
    return folder


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON holds them.

    Raises
    ------
    BadArgument
        If one cannot be written as JSON.
    """

    def simple(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__}")

    found = {}
    for key, value in attrs.items():
        try:
            found[str(key)] = json.loads(json.dumps(value, default=simple, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise bad_argument(
                "store", f"the attribute {key!r} ({error})", "numbers, texts and lists of them"
            ) from error
    return found

"""An activation store on disk: zarr v3, every picture committed by a rename."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, bad_argument, commit_group, flush, sync, write_group
from .lazy import to_bits
from .picture import FORMAT, STORE_VERSION, Picture, pictures_of
from .read_store import picture_names, read_attributes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StoreWriter", "WriterLock", "save"]


class WriterLock:
    """A lock that the operating system takes back when its process dies.

    Parameters
    ----------
    path : pathlib.Path
        Its file; made if there is none, never removed (removing would let two hold it).

    Raises
    ------
    OSError
        If the file cannot be made; `BlockingIOError` if another writer holds it.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            _lock(self._handle)
        except OSError as error:
            os.close(self._handle)
            raise BlockingIOError(error.errno, "another writer holds the lock") from error

    def release(self) -> None:
        """Let the next writer in; again is harmless."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


#: Attributes that have to agree for a store to be continued.
_SAME = ("weights", "prompt", "site", "dtype")

#: What a writer that was killed at once may leave.
_OWN = (".writing", ".writer.lock", ".part", "images")


class StoreWriter:
    """Write pictures one by one into a store; the only writer of it while open.

    Parameters
    ----------
    path : pathlib.Path
        A new folder, or a store made with the same options, which is continued.
    attrs : dict
        Of the store.

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

    def __init__(self, path: Path, attrs: dict[str, Any]) -> None:
        self.path = path
        self.attrs = attrs
        self.finished: dict[str, int] = {}
        self._lock: WriterLock | None = None
        self._ours = self._began = False

    def __enter__(self) -> StoreWriter:
        mark = self.path / "zarr.json"
        if self.path.exists() and not self.path.is_dir():
            raise bad_argument("out", str(self.path), "a folder")
        foreign = self.path.is_dir() and any(
            entry.name not in (".writing", ".writer.lock", "images")
            for entry in self.path.iterdir()
        )
        if foreign and not mark.is_file():
            raise bad_argument("out", str(self.path), "a new folder, or an activation store")
        self._ours = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self.path / ".writer.lock")
            (self.path / "images").mkdir(exist_ok=True)
        except BlockingIOError as error:
            raise bad_argument("out", str(self.path), "a store that no one else writes") from error
        except OSError as error:
            self._close()
            raise bad_argument(
                "out", str(self.path), f"a folder that can be written ({error.strerror})"
            ) from error
        try:
            self._claim(mark)
            shutil.rmtree(self.path / ".writing", ignore_errors=True)
            self.finished = {name: number for number, name in picture_names(self.path)}
        except BaseException:
            self._close()
            raise
        return self

    def _claim(self, mark: Path) -> None:
        """Begin a store, or check that this one was made with the same options."""
        if not mark.is_file():
            self._began = True
            try:
                commit_group(self.path / "images", {})
                commit_group(self.path, self.attrs)
            except OSError as error:
                raise self._failed(error) from error
            return
        held = read_attributes(self.path)
        mine, theirs = _options(self.attrs), _options(held)
        for key in dict.fromkeys([*_SAME, *mine]):
            old, new = theirs.get(key, held.get(key)), mine.get(key, self.attrs.get(key))
            if old != new:
                raise bad_argument(
                    "out", f"a store with {key} {old!r}", f"one with {new!r}, or a new folder"
                )

    def source(self, name: str) -> str:
        """Return the fingerprint of a picture that is there, empty where none was kept."""
        file = self.path / "images" / f"{self.finished[name]:08d}" / "zarr.json"
        held = json.loads(file.read_text(encoding="utf-8"))
        return str(held["attributes"]["mmkn"].get("source", ""))

    def add(self, name: str, picture: Picture, source: str = "") -> None:
        """Write one picture and commit it; `source` says what it was made from.

        Raises
        ------
        BadArgument
            If the disk is full or cannot be written; what was committed before stays.
        """
        number = max(self.finished.values(), default=-1) + 1
        part = self.path / ".writing" / f"{number:08d}"
        final = self.path / "images" / part.name
        try:
            _write_picture(part, name, picture, self.attrs.get("dtype") == "bfloat16", source)
            flush(part)
            os.replace(part, final)
            sync(final.parent)
        except OSError as error:
            raise self._failed(error) from error
        self.finished[name] = number

    def _failed(self, error: OSError) -> BadArgument:
        shutil.rmtree(self.path / ".writing", ignore_errors=True)
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
        for name in (".writing", ".part", "images"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path / ".writing", ignore_errors=True)
        self._close()


def _options(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return what a capture was asked for, as its provenance says."""
    try:
        found = dict(json.loads(attrs.get("provenance", "{}")).get("arguments", {}))
    except ValueError:
        return {}
    found.pop("model", None)  # its weights are compared; it may lie in another folder now
    return found


def _write_picture(folder: Path, name: str, picture: Picture, bfloat16: bool, source: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not picture.reduced:
        picture.reduce()
    arrays = {key: (values, ("layer", "token", "neuron")) for key, values in picture.arrays.items()}
    reduced = {k: (v, ("token_role", "layer", "neuron")) for k, v in picture.reduced.items()}
    shapes: dict[str, Any] = {}
    described = {
        "id": name,
        "source": source,
        "layer": picture.layers,
        "expert": picture.experts,
        "geometry": picture.geometry,
        "tokens": {key: np.asarray(values).tolist() for key, values in picture.tokens.items()},
        "arrays": shapes,
    }
    for key, (values, dims) in {**arrays, **reduced}.items():
        bits = to_bits(values) if bfloat16 and key in arrays else None
        stored = values if bits is None else bits
        _write_array(folder / key, stored, dims, bits is not None)
        shapes[key] = {
            "shape": list(stored.shape),
            "dtype": "bfloat16" if bits is not None else str(stored.dtype),
            "dims": list(dims),
        }
    write_group(folder, {"mmkn": described})


def _write_array(folder: Path, values: np.ndarray, dims: tuple[str, ...], bits: bool) -> None:
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec

    array = zarr.create_array(
        str(folder),
        shape=values.shape,
        chunks=(1, *values.shape[1:]),
        dtype=values.dtype,
        serializer=BytesCodec(),
        compressors=[Crc32cCodec()],
        dimension_names=dims,
        attributes={"mmkn_dtype": "bfloat16"} if bits else {},
        zarr_format=3,
        config={"write_empty_chunks": True},
    )
    for row in range(values.shape[0]):
        array[row] = values[row]


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
    attrs = {"format": FORMAT, "version": STORE_VERSION, **store.attrs}
    attrs["single"] = "image" not in store.dims
    with StoreWriter(folder, attrs) as writer:
        for name, picture in pictures_of(store):
            if name not in writer.finished:
                writer.add(name, picture)
    return folder

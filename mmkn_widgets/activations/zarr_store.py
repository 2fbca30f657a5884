"""An activation store on disk: one folder of small zarr groups, each committed by a rename.

``STORE/store.json`` holds the version and the attributes. Each picture is a zarr v3 group of its
own, ``STORE/images/NUMBER``: ``activation`` in one uncompressed, checksummed chunk per layer, the
token coordinates, and the reductions over roles beside it. A group is written under a temporary
name, flushed, and renamed: a reader never sees half a picture, a killed writer loses nothing that
was committed, and resuming is listing the folder.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import BadArgument, bad_argument

if TYPE_CHECKING:
    from types import TracebackType

    import xarray as xr

__all__ = ["StoreWriter", "open_store", "save"]

_VERSION = 1


class StoreWriter:
    """Write pictures one by one into a store; the only writer of it while open.

    Parameters
    ----------
    path : pathlib.Path
        A new folder, or a store of the same model, prompt and site, which is continued.
    attrs : dict
        Of the store.

    Raises
    ------
    BadArgument
        If the folder is something else, a store of other attributes, cannot be written, or has
        another writer.
    """

    def __init__(self, path: Path, attrs: dict[str, Any]) -> None:
        self.path = path
        self.attrs = attrs
        self.finished: dict[str, int] = {}
        self._lock: int | None = None

    def __enter__(self) -> StoreWriter:
        import fcntl

        mark = self.path / "store.json"
        if self.path.exists() and not mark.is_file() and any(self.path.iterdir()):
            raise bad_argument("out", str(self.path), "a new folder, or an activation store")
        try:
            (self.path / "images").mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "writer.lock", os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise bad_argument(
                "out", str(self.path), f"a writable folder ({error.strerror})"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = None
            raise bad_argument("out", str(self.path), "a store that no one else writes") from error
        if mark.is_file():
            held = _read_mark(self.path)
            for key in ("weights", "prompt", "site", "dtype"):
                if held.get(key) != self.attrs.get(key):
                    self.__exit__(None, None, None)
                    raise bad_argument(
                        "out",
                        f"a store with {key} {held.get(key)!r}",
                        f"one with {self.attrs.get(key)!r}, or a new folder",
                    )
            for group in self.path.glob("images/*.part"):
                shutil.rmtree(group)
        else:
            _commit_text(mark, json.dumps(self.attrs, indent=1))
        self.finished = {name: number for number, name in _groups(self.path)}
        return self

    def add(self, name: str, picture: xr.Dataset) -> None:
        """Write one picture (layer, token, neuron) and commit it."""
        number = max(self.finished.values(), default=-1) + 1
        final = self.path / "images" / f"{number:08d}"
        part = final.with_name(final.name + ".part")
        try:
            _write_group(part, picture)
            (part / "name.json").write_text(json.dumps({"name": name}))
            for file in part.rglob("*"):
                if file.is_file():
                    with file.open("rb") as held:
                        os.fsync(held.fileno())
            os.replace(part, final)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise BadArgument(
                f"out: {self.path} took {len(self.finished)} pictures, then {error.strerror}; free "
                "space and run again, it goes on from there"
            ) from error
        _sync_folder(final.parent)
        self.finished[name] = number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _write_group(folder: Path, picture: xr.Dataset) -> None:
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec

    shutil.rmtree(folder, ignore_errors=True)
    group = zarr.open_group(str(folder), mode="w", zarr_format=3)
    values = np.ascontiguousarray(picture["activation"].values)
    raw: Any = {"compressors": None, "serializer": BytesCodec(), "filters": None}
    array = group.create_array(
        "activation",
        shape=values.shape,
        chunks=(1, *values.shape[1:]),
        dtype=values.dtype,
        dimension_names=("layer", "token", "neuron"),
        compressors=[Crc32cCodec()],
        serializer=raw["serializer"],
    )
    array[:] = values
    roles = picture["role"].values
    for role in dict.fromkeys(roles.tolist()):
        inside = values[:, roles == role]
        for how, reduced in (("max", inside.max(1)), ("mean", inside.mean(1, dtype=np.float32))):
            group.create_array(
                f"{how}_{role}",
                data=reduced.astype(np.float32),
                dimension_names=("layer", "neuron"),
            )
    coords = {
        name: picture[name].values.tolist()
        for name in picture.coords
        if name not in ("neuron", "token")
    }
    (folder / "coords.json").write_text(json.dumps(coords))


def _groups(path: Path) -> list[tuple[int, str]]:
    found = []
    for group in sorted((path / "images").iterdir()):
        if group.is_dir() and not group.name.endswith(".part"):
            found.append((int(group.name), json.loads((group / "name.json").read_text())["name"]))
    return found


def _commit_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_mark(path: Path) -> dict[str, Any]:
    try:
        held = json.loads((path / "store.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise bad_argument("path", str(path), "a folder that capture(..., out=) wrote") from error
    if held.get("format") != "mmkn-activations" or held.get("version") != _VERSION:
        raise bad_argument(
            "path", f"{held.get('format')} version {held.get('version')}", f"version {_VERSION}"
        )
    return dict(held)


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily: values are read when asked for.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    xarray.Dataset
        As `capture` returns it, always with the ``image`` dim; ``store.sel(layer=4, neuron=233)``
        reads one chunk per picture. Every chunk's checksum is verified as it is read.

    Raises
    ------
    BadArgument
        If the folder holds no store, one of another version, or no committed picture.
    """
    import xarray as xr
    from xarray.core import indexing

    from .lazy import ImageStack

    folder = Path(path)
    attrs = _read_mark(folder)
    groups = _groups(folder)
    if not groups:
        raise bad_argument("path", str(path), "a store with at least one committed picture")
    stack = ImageStack([folder / "images" / f"{number:08d}" / "activation" for number, _ in groups])
    coords: dict[str, list[Any]] = {}
    shapes = stack.shapes
    longest = stack.shape[2]
    first: dict[str, Any] = {}
    fills = {"token_text": "", "role": "special", "valid": False}
    for place, (number, _) in enumerate(groups):
        held = json.loads((folder / "images" / f"{number:08d}" / "coords.json").read_text())
        first = first or held
        for name, values in held.items():
            if name not in ("layer", "expert"):
                pad = [fills.get(name, -1)] * (longest - shapes[place][1])
                coords.setdefault(name, []).append([*values, *pad])
    lazy = indexing.LazilyIndexedArray(stack)
    return xr.Dataset(
        {"activation": (("image", "layer", "token", "neuron"), lazy)},
        coords={
            "image": [name for _, name in groups],
            "layer": first["layer"],
            "expert": ("layer", first["expert"]),
            "token": np.arange(longest),
            "neuron": np.arange(stack.shape[3]),
            **{name: (("image", "token"), np.asarray(values)) for name, values in coords.items()},
        },
        attrs=attrs,
    )


def save(store: xr.Dataset, path: str | Path) -> Path:
    """Write a store from memory.

    Parameters
    ----------
    store : xarray.Dataset
        From `capture`; with or without ``image``.
    path : str or pathlib.Path

    Returns
    -------
    pathlib.Path
    """
    folder = Path(path)
    if "image" not in store.dims:
        store = store.expand_dims(image=["0"])
    with StoreWriter(folder, dict(store.attrs)) as writer:
        for place, name in enumerate(store["image"].values.tolist()):
            if str(name) not in writer.finished:
                picture = store.isel(image=place).drop_vars("image")
                writer.add(str(name), picture.isel(token=np.flatnonzero(picture["valid"].values)))
    return folder

"""Read stores of layout 1, which earlier releases wrote: a zarr group for every picture."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, bad_argument
from .lazy import ImageStack
from .picture import label, single

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_old_store"]


def open_old_store(folder: Path, attrs: dict[str, Any]) -> xr.Dataset:
    """Open a store of layout 1 lazily.

    Parameters
    ----------
    folder : pathlib.Path
    attrs : dict
        Of the store.

    Raises
    ------
    BadArgument
        If it holds no picture, or one is damaged or of another store.
    """
    folders = sorted(f for f in (folder / "images").glob("*") if f.is_dir() and f.name.isdigit())
    if not folders:
        raise bad_argument("path", str(folder), "a store with at least one committed picture")
    held = [_described(one) for one in folders]
    names = [str(one["id"]) for one in held]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_argument("path", str(folder), f"a store with one picture {twice[0]!r}, not two")
    arrays: dict[str, Any] = {}
    reduced: dict[str, Any] = {}
    try:
        for name, first in held[0]["arrays"].items():
            stack = _stack(name, first, folders, held)
            (arrays if first["dims"][1] == "token" else reduced)[name] = stack
        tokens = [{k: np.asarray(v) for k, v in one["tokens"].items()} for one in held]
        store = label(
            arrays, tokens, held[0]["layer"], held[0]["expert"],
            [one.get("geometry", "") for one in held], names, attrs, reduced,
        )  # fmt: skip
    except BadArgument:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise _damaged(folder, folders[0].name, f"its pictures do not fit: {error}") from error
    alone = store.attrs.pop("single", False) and len(folders) == 1
    return single(store) if alone else store


def _damaged(folder: Path, picture: str, reason: str) -> BadArgument:
    return BadArgument(
        f"path: {folder}, picture {picture} is damaged ({' '.join(reason.split())}); delete its "
        "folder, or capture anew into another store"
    )


def _described(folder: Path) -> dict[str, Any]:
    try:
        if os.path.realpath(folder) != os.path.join(os.path.realpath(folder.parent), folder.name):
            raise ValueError("a link leads to another place")
        held = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]["mmkn"]
        if not {"id", "layer", "expert", "tokens", "arrays"} <= held.keys() or not held["arrays"]:
            raise KeyError("mmkn")
        for name in held["arrays"]:
            if not re.fullmatch(r"\w+", name) or (folder / name).is_symlink():
                raise ValueError(f"its array {name!r} leads out of the store")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_argument(
            "path",
            str(folder),
            f"a whole picture ({error}); delete its folder and capture it again",
        ) from error
    return dict(held)


def _stack(
    name: str, first: dict[str, Any], folders: list[Path], held: list[dict[str, Any]]
) -> Any:
    """Return one variable of all pictures, unread."""
    from xarray.core import indexing

    try:
        shapes = [tuple(one["arrays"][name]["shape"]) for one in held]
        kinds = {one["arrays"][name]["dtype"] for one in held}
        rows = [(one["layer"], one["expert"]) for one in held]
        if (
            len(kinds) != 1
            or len({(s[0], s[2]) for s in shapes}) != 1
            or rows != rows[:1] * len(rows)
        ):
            raise KeyError(name)
        bits = first["dtype"] == "bfloat16"
        dtype = np.dtype(np.uint16 if bits else first["dtype"])
    except (KeyError, IndexError, TypeError) as error:
        raise bad_argument(
            "path",
            str(folders[0].parent.parent),
            f"pictures with the same layers, and the same array {name!r}",
        ) from error
    paths = [folder / name for folder in folders]

    def pieces(number: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        chunk = paths[number] / "c" / str(row) / "0" / "0"
        try:
            if not chunk.is_file():
                raise ValueError("its file is missing")
            array = _open(str(paths[number]))
            if array.shape != shapes[number] or array.dtype != dtype:
                raise ValueError(f"an array {array.shape} of {array.dtype}")
            yield 0, np.asarray(array[row])
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            raise BadArgument(
                f"path: {paths[number]}, layer row {row} is damaged "
                f"({' '.join(str(error).split())}); delete this picture's folder and capture it "
                "again"
            ) from error

    stack = ImageStack(pieces, paths, shapes, np.float32 if bits else dtype, bits=bits)
    return indexing.LazilyIndexedArray(stack)


@lru_cache(maxsize=256)
def _open(path: str) -> Any:
    import zarr

    return zarr.open_array(path, mode="r")

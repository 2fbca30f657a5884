"""Read an activation store from disk, lazily."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument
from .lazy import ImageStack
from .picture import FORMAT, STORE_VERSION, label, single

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_store", "picture_names", "read_attributes"]


def read_attributes(path: Path) -> dict[str, Any]:
    """Return a store's attributes.

    Raises
    ------
    BadArgument
        If the folder holds no store, or one of another version.
    """
    try:
        held = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_argument(
            "path", str(path), "a folder that capture(..., out=) or save wrote"
        ) from error
    if held.get("format") != FORMAT:
        raise bad_argument("path", str(path), f"an activation store, format {FORMAT!r}")
    if held.get("version") != STORE_VERSION:
        raise bad_argument(
            "path",
            f"{path}, a store of version {held.get('version')}",
            f"version {STORE_VERSION}; read it with the mmkn_widgets that wrote it",
        )
    return dict(held)


def _described(folder: Path) -> dict[str, Any]:
    try:
        held = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]["mmkn"]
        if not {"id", "layer", "expert", "tokens", "arrays"} <= held.keys():
            raise KeyError("mmkn")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_argument(
            "path", str(folder), "a whole picture; delete its folder and capture it again"
        ) from error
    return dict(held)


def _folders(path: Path) -> list[Path]:
    return sorted(f for f in (path / "images").glob("*") if f.is_dir() and f.name.isdigit())


def picture_names(path: Path) -> list[tuple[int, str]]:
    """Return (number, image id) of every committed picture."""
    return [(int(folder.name), str(_described(folder)["id"])) for folder in _folders(path)]


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily: values are read when asked for.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    xarray.Dataset
        As `capture` returns it, with the reductions over roles (``activation_max``,
        ``activation_mean``) beside it. ``store.sel(layer=4, neuron=233)`` reads one chunk a
        picture; ``store.chunk(image=1)`` hands it to dask, where dask is installed. Every chunk's
        checksum is verified as it is read.

    Raises
    ------
    BadArgument
        If the folder holds no store, one of another version, or no committed picture; on reading,
        if a chunk is damaged.

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
    attrs = read_attributes(folder)
    folders = _folders(folder)
    if not folders:
        raise bad_argument("path", str(path), "a store with at least one committed picture")
    held = [_described(one) for one in folders]
    arrays: dict[str, Any] = {}
    reduced: dict[str, Any] = {}
    for name, first in held[0]["arrays"].items():
        stack = _stack(name, first, folders, held)
        (arrays if first["dims"][1] == "token" else reduced)[name] = stack
    tokens = [{k: np.asarray(v) for k, v in one["tokens"].items()} for one in held]
    store = label(
        arrays, tokens, held[0]["layer"], held[0]["expert"],
        [one.get("geometry", "") for one in held], [str(one["id"]) for one in held], attrs, reduced,
    )  # fmt: skip
    alone = store.attrs.pop("single", False) and len(folders) == 1
    return single(store) if alone else store


def _stack(
    name: str, first: dict[str, Any], folders: list[Path], held: list[dict[str, Any]]
) -> Any:
    """Return one variable of all pictures, unread."""
    from xarray.core import indexing

    try:
        shapes = [tuple(one["arrays"][name]["shape"]) for one in held]
        kinds = {one["arrays"][name]["dtype"] for one in held}
        if len(kinds) != 1 or len({(s[0], s[2]) for s in shapes}) != 1:
            raise KeyError(name)
    except (KeyError, IndexError, TypeError) as error:
        raise bad_argument(
            "path", str(folders[0].parent.parent), f"pictures with the same array {name!r}"
        ) from error
    bits = first["dtype"] == "bfloat16"
    stack = ImageStack(
        [folder / name for folder in folders],
        shapes,
        np.float32 if bits else np.dtype(first["dtype"]),
        bits=bits,
    )
    return indexing.LazilyIndexedArray(stack)

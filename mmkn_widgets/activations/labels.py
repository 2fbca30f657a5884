"""What a selection of a store still says of itself: its layers, neurons, tokens and their roles.

xarray's idioms take dims away, turn their order, drop coordinates and fill in NaN. Everything here
goes by the labels that are left, and says in words which one is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..core import BadArgument, NotSupported, bad_argument, whole_numbers
from .lazy import ImageStack

if TYPE_CHECKING:
    from ..models import Geometry

__all__ = [
    "FILLS",
    "image_tokens",
    "is_unread",
    "missing",
    "numbers_of",
    "pick_image",
    "roles_of",
    "text_of",
    "truth_of",
    "valid_of",
    "with_dims",
    "words_of",
]

#: Coordinates over tokens, and what they hold on padding.
FILLS: dict[str, Any] = {
    "token_id": -1,
    "token_text": "",
    "role": "special",
    "step": -1,
    "patch_row": -1,
    "patch_col": -1,
    "picture": -1,
    "valid": False,
}

#: What an array has that a capture made, and one made by hand need not have.
_CAPTURED = ("geometry", "token_id", "token_text")


def missing(labelled: Any, name: str) -> BadArgument:
    """Return the error for a dim that an array or a store does not have, with what to do.

    Examples
    --------
    >>> print(missing(xr.DataArray([1.0], dims="position"), "token"))
    token: got dims ('position',), expected a dim 'token'; rename or keep it: .sel(token=[...])
    """
    dims = tuple(labelled.sizes)
    if name in labelled.coords and labelled[name].ndim:
        (along, *_) = labelled[name].dims
        return bad_argument(name, f"dims {dims}", f"{name!r} as a dim; .unstack({along!r}) first")
    wanted = f"a dim {name!r}; rename or keep it: .sel({name}=[...])"
    return BadArgument(f"{name}: got dims {dims}, expected {wanted}")


def with_dims(labelled: Any, *names: str) -> Any:
    """Return an array or a store that has these dims.

    What was selected by one label, as ``.sel(layer=5)`` does, becomes a dim of length 1 again.

    Raises
    ------
    BadArgument
        If a dim is gone and left no label behind.
    """
    for name in names:
        if name in labelled.dims:
            continue
        if name not in labelled.coords or labelled[name].ndim:
            raise missing(labelled, name)
        labelled = labelled.expand_dims(name)
        if name == "layer" and "expert" in labelled.coords:
            expert = np.broadcast_to(labelled["expert"].values, (1,))
            labelled = labelled.assign_coords(expert=("layer", expert))
    return labelled


def numbers_of(labelled: Any, name: str) -> np.ndarray:
    """Return the labels of the dim (or of the one that was selected) ``layer`` or ``neuron``.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)

    Raises
    ------
    BadArgument
        If the coordinate was dropped, or holds no whole numbers: a position is no name.
    """
    if name not in labelled.coords:
        if name not in labelled.sizes:
            raise missing(labelled, name)
        n = labelled.sizes[name]
        raise BadArgument(
            f"{name}: the coordinate was dropped, so the numbers of its {n} entries are not "
            f"known; keep it, or give them: .assign_coords({name}=[...])"
        )
    if labelled[name].ndim and labelled[name].dims != (name,):
        raise missing(labelled, name)
    return whole_numbers(name, labelled[name].values, lowest=0)


def text_of(value: Any) -> str:
    """Return text that a file format may have given back as bytes, or as an array of one.

    Examples
    --------
    >>> text_of(np.array(b"image")), text_of("image")
    ('image', 'image')
    """
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def words_of(values: Any) -> np.ndarray:
    """Return an array of text as numpy's own text, whatever a file format made of it."""
    array = np.asarray(values)
    if array.dtype.kind == "U":
        return array
    flat = [text_of(one) for one in array.ravel().tolist()]
    return np.asarray(flat, dtype=str).reshape(array.shape)


def roles_of(array: xr.DataArray) -> xr.DataArray:
    """Return the role of each token, as text.

    Raises
    ------
    BadArgument
        If the coordinate is gone.
    """
    if "role" not in array.coords:
        raise BadArgument(
            "role: the array no longer says which role its tokens have (the coordinate was "
            "dropped, or lost by a mean over images); keep it, or reduce over the tokens first: "
            ".mmkn.reduce('max', role='image').mean('image')"
        )
    return array["role"].copy(data=words_of(array["role"].values))


def valid_of(array: xr.DataArray) -> xr.DataArray:
    """Return which tokens are none of the padding; all of an array that was made by hand.

    Raises
    ------
    BadArgument
        If a capture's coordinate is gone.
    """
    if "valid" in array.coords:
        return array["valid"].copy(data=truth_of(array["valid"].values))
    if "weights" in array.attrs or any(name in array.coords for name in _CAPTURED):
        raise BadArgument(
            "valid: the array no longer says which of its tokens are padding (the coordinate was "
            "dropped, or lost by a mean over images); keep it, or reduce over the tokens first: "
            ".mmkn.reduce('max').mean('image')"
        )
    return xr.ones_like(array["token"], bool)


def truth_of(values: Any) -> np.ndarray:
    """Return booleans; what an outer join filled in as NaN is not true.

    Examples
    --------
    >>> truth_of(np.array([True, np.nan, False], object)).tolist()
    [True, False, False]
    """
    array = np.asarray(values)
    return array if array.dtype == np.bool_ else np.asarray(array == 1, bool)


def pick_image(array: xr.DataArray, image: Any) -> xr.DataArray:
    """Select one picture by its name along ``image``; a number means the name that it spells.

    Raises
    ------
    BadArgument
        If none, or more than one, has the name.
    """
    wanted = str(image) if isinstance(image, int | np.integer) else image
    if isinstance(image, bool) or not isinstance(wanted, str):
        raise bad_argument("image", image, "the name of one picture")
    if "image" not in array.coords:
        has = "no names along image" if "image" in array.dims else "one picture, without a name"
        raise BadArgument(f"image: got {image!r}, but the store holds {has}; use .isel or None")
    known = np.atleast_1d(words_of(array["image"].values))
    places = np.flatnonzero(known == wanted)
    if len(places) != 1:
        shown = ", ".join(map(repr, known[:8].tolist())) + (", ..." if len(known) > 8 else "")
        if len(places):
            shown = f"a name that one picture has; {len(places)} have it: .isel(image=...)"
        else:
            shown = f"one of {shown}"
        raise bad_argument("image", image, shown)
    return array.isel(image=int(places[0])) if "image" in array.dims else array


def image_tokens(array: xr.DataArray, geometries: Sequence[Geometry]) -> np.ndarray:
    """Return where in an array the image tokens stand, in the order of the geometries' boxes.

    Tokens may stand in any order: each is found by its picture, row and column, and where several
    panels have the same cell, by its number along ``token``.

    Parameters
    ----------
    array : xarray.DataArray
        With the dim ``token``, of one image.
    geometries : sequence of Geometry
        Of the prompt's pictures.

    Returns
    -------
    numpy.ndarray of int64, shape (image token,)

    Raises
    ------
    NotSupported
        If not all image tokens are there.
    BadArgument
        If their places are not those of the geometries, or cannot be told apart.
    """
    at = np.flatnonzero(roles_of(array).values == "image")
    n = sum(geometry.n_tokens for geometry in geometries)
    if len(at) != n:
        raise NotSupported(
            f"patch_map: the store keeps {len(at)} of {n} image tokens; "
            "capture with roles=('image',) or all roles, and select none of them away"
        )
    which = np.repeat(np.arange(len(geometries)), [g.n_tokens for g in geometries])
    places = {
        "picture": which,
        "patch_row": np.concatenate([g.rows for g in geometries]),
        "patch_col": np.concatenate([g.cols for g in geometries]),
    }
    names = [name for name in places if name in array.coords]
    wanted = np.array([places[name] for name in names]).reshape(len(names), n)
    held = np.array([whole_numbers(name, array[name].values[at]) for name in names])
    held = held.reshape(len(names), n)
    numbered = "token" in array.coords
    if not numbered and len(np.unique(wanted, axis=1).T) != n:
        raise BadArgument(
            "token: the coordinate was dropped, and row and column alone do not tell the image "
            "tokens apart; keep it"
        )
    order = whole_numbers("token", array["token"].values[at]) if numbered else np.zeros(n)
    first = np.lexsort((np.arange(n), *wanted[::-1]))
    second = np.lexsort((order, *held[::-1]))
    if not np.array_equal(wanted[:, first], held[:, second]):
        raise BadArgument(
            f"{', '.join(names)}: these are not the places of the picture's own geometry; "
            "keep the coordinates that capture gave"
        )
    found = np.empty(n, np.int64)
    found[first] = at[second]
    return found


def is_unread(array: xr.DataArray) -> bool:
    """Return whether values still lie on the disk as they were captured, with all their tokens.

    Then, and only then, the reductions that were written beside them are theirs: what was computed
    from them since, or selected along the tokens, is not known to those.
    """
    from xarray.core import indexing

    data = array.variable._data  # noqa: SLF001  `.data` would read it
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, ImageStack):
        return False
    tokens = data.key.tuple[2]
    return isinstance(tokens, slice) and tokens.indices(data.array.shape[2]) == (
        0, data.array.shape[2], 1,
    )  # fmt: skip

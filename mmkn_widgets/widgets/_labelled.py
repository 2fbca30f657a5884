"""From labelled arrays as xarray holds them to what the parts draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, NotSupported, bad_argument

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "given_pictures",
    "is_store",
    "maps_of",
    "rows_of",
    "score_array",
    "store_scores",
    "tokens_of",
]

_ELSEWHERE = ("text", "generated")


def is_store(value: Any) -> bool:
    """Return whether a value is a captured store (and not scores)."""
    names = set(getattr(value, "data_vars", ()))
    return bool(names & {"activation", "activation_max"}) and "difference" not in names


def score_array(values: Any, name: str = "scores") -> np.ndarray:
    """Return a score as float32 of shape (layer, neuron), whatever the order of its dims."""
    dims = set(getattr(values, "dims", ()))
    if dims and not {"layer", "neuron"} <= dims:
        raise bad_argument(name, f"dims {tuple(values.dims)}", "dims layer and neuron")
    if dims:
        left = sorted(dims - {"layer", "neuron"})
        if left:
            raise bad_argument(name, f"dims {tuple(values.dims)}", f"no {left}: select or reduce")
        values = values.transpose("layer", "neuron").values
    return np.asarray(values, np.float32)


def rows_of(labelled: Any, n: int) -> list[list[int]]:
    """Return layer and expert (-1: dense) of each row, from the coords where they are known."""
    layers = experts = None
    if hasattr(labelled, "coords"):
        if "layer" in labelled.coords:
            names = np.asarray(labelled["layer"].values)
            layers = names if np.issubdtype(names.dtype, np.integer) else None
        if "expert" in labelled.coords and labelled["expert"].dims == ("layer",):
            experts = np.asarray(labelled["expert"].values)
    return [
        [r if layers is None else int(layers[r]), -1 if experts is None else int(experts[r])]
        for r in range(n)
    ]


def store_scores(store: xr.Dataset) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Return two scores of every neuron of a captured store, and what they are called.

    The first is the largest activation at the image tokens; the second the largest activation
    times gradient over all tokens where the store keeps gradients, else the largest activation
    at text and generated tokens. Means over the images.
    """
    roles = _roles(store)
    first_role = "image" if "image" in roles else None
    first = _mean(store.mmkn.reduce("max", first_role))
    labels = {
        "difference": "largest activation at " + ("image tokens" if first_role else "all tokens"),
        "short_difference": "image" if first_role else "all",
        "activation": "activation",
        "score": "score",
    }
    if {"activation", "gradient"} <= set(store.data_vars):
        product = (store["activation"] * store["gradient"]).assign_attrs(store["activation"].attrs)
        second = _mean(product.mmkn.reduce("max"))
        more = ("largest activation × gradient", "cam")
    else:
        parts = [_mean(store.mmkn.reduce("max", role)) for role in _ELSEWHERE if role in roles]
        second = np.fmax.reduce(parts) if parts else first
        more = ("largest activation at text tokens", "text") if parts else ("the same", "same")
    return first, second, {**labels, "gradcam": more[0], "short_gradcam": more[1]}


def _roles(store: xr.Dataset) -> set[str]:
    if "role" in store.coords:
        return {str(role) for role in np.unique(store["role"].values)}
    return {str(role) for role in store["token_role"].values}


def _mean(reduced: Any) -> np.ndarray:
    others = [dim for dim in reduced.dims if dim not in ("layer", "neuron")]
    values = reduced.mean(others, skipna=True) if others else reduced
    return values.transpose("layer", "neuron").values.astype(np.float32)


def maps_of(values: Any, geometry: Any = None) -> np.ndarray:
    """Return maps (neuron, row, column) of activations along the tokens of one picture.

    Parameters
    ----------
    values : xarray.DataArray
        Dims (token) and at most one more, the neurons; coord ``role``.
    geometry : Geometry, optional
        By default the array's own.

    Raises
    ------
    NotSupported
        If the image tokens have no place on the picture, or were not kept.
    """
    others = [dim for dim in values.dims if dim != "token"]
    if len(others) > 1:
        raise BadArgument(f"maps: dims {others} are left beside token; select or stack them")
    place = values.mmkn.geometry if geometry is None else geometry
    along = values.transpose(*others, "token")
    kept = np.asarray(along["role"].values) == "image"
    array = np.asarray(along.values, np.float32).reshape(-1, along.sizes["token"])[:, kept]
    if array.shape[1] != place.n_tokens:
        raise NotSupported(
            f"the store keeps {array.shape[1]} of {place.n_tokens} image tokens; capture all roles"
        )
    maps = [place.paint(line.astype(np.float64), place.shape, smooth=False) for line in array]
    return np.asarray(maps, np.float32).reshape(len(array), *place.shape)


def tokens_of(values: Any) -> tuple[list[tuple[str, str, int]], np.ndarray]:
    """Return (text, role, step) and the value of each token of an array of dim (token)."""
    if tuple(values.dims) != ("token",):
        raise bad_argument("values", f"dims {tuple(values.dims)}", "one dim, token: select first")
    inside = np.ones(values.sizes["token"], bool)
    if "valid" in values.coords:
        inside = np.asarray(values["valid"].values, bool)
    names = [np.asarray(values[name].values)[inside] for name in ("token_text", "role", "step")]
    tokens = [(str(x), str(r), int(s)) for x, r, s in zip(*names, strict=True)]
    return tokens, np.asarray(values.values, np.float32)[inside]


def given_pictures(given: Any, n: int) -> list[Any] | None:
    """Return pictures that go with a store's images, or None where none are given."""
    if given is None:
        return None
    from ..datasets import read_image

    many = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    found = [read_image(one) for one in given] if many else [read_image(given)]
    if len(found) != n:
        raise bad_argument("pictures", f"{len(found)} pictures", f"{n}, as many as the store has")
    return found

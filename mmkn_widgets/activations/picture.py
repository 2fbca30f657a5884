"""One captured picture, and how several are laid along ``image``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core import NotSupported, bad_argument
from .labels import FILLS, numbers_of, text_of, valid_of, with_dims, words_of

if TYPE_CHECKING:
    import xarray as xr

    from ..models import TokenMap

__all__ = [
    "FILLS",
    "FORMAT",
    "ROLES",
    "STORE_VERSION",
    "Picture",
    "Pile",
    "pictures_of",
    "reductions",
]

FORMAT = "mmkn-activations"
STORE_VERSION = 2

#: Roles of tokens, in the order of the dim ``token_role`` of reductions.
ROLES = ("text", "image", "special", "generated")

_BLOCK = 32


@dataclass
class Picture:
    """Everything that was captured of one picture.

    Attributes
    ----------
    arrays : dict of str to numpy.ndarray
        ``activation`` and, where asked, ``gradient``: (layer, token, neuron). Empty for a capture
        of reductions only.
    tokens : dict of str to numpy.ndarray
        The coordinates over tokens, see `FILLS`.
    layers, experts : list of int
        Of each row of ``layer``.
    geometry : str
        Of its image tokens, see `geometry_to_text`; empty when unknown.
    reduced : dict of str to numpy.ndarray
        ``activation_max`` and so on: float32 (token_role, layer, neuron), NaN for absent roles.
    """

    arrays: dict[str, np.ndarray]
    tokens: dict[str, np.ndarray]
    layers: list[int]
    experts: list[int]
    geometry: str = ""
    reduced: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_tokens(self) -> int:
        """Its tokens, without padding."""
        return len(self.tokens["valid"])

    def reduced_names(self) -> list[str]:
        """Return the names that `reduced` has, or will have."""
        return list(self.reduced) or [f"{n}_{how}" for n in self.arrays for how in ("max", "mean")]

    def reduce(self) -> None:
        """Fill `reduced` from `arrays`."""
        for name, values in self.arrays.items():
            for how, found in reductions(values, self.tokens["role"]).items():
                self.reduced[f"{name}_{how}"] = found


def token_coords(tokens: TokenMap, n: int, roles: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Return the coordinates of the first `n` tokens; the positions kept are under ``keep``.

    Raises
    ------
    BadArgument
        If no token has one of the roles.
    """
    role = np.asarray(tokens.role[:n], dtype=str)
    keep = np.arange(n)
    if roles is not None:
        unknown = sorted(set(roles) - set(ROLES))
        keep = np.flatnonzero(np.isin(role, list(roles)))
        if unknown or not len(keep):
            here = ", ".join(sorted(set(role.tolist())))
            raise bad_argument("roles", list(roles), f"roles of its tokens: {here}")
    return {
        "keep": keep,
        "token_id": np.asarray(tokens.ids)[keep],
        "token_text": np.asarray([tokens.text[i] for i in keep], dtype=str),
        "role": role[keep],
        "step": np.asarray(tokens.step)[keep],
        "patch_row": np.asarray(tokens.patch_row)[keep],
        "patch_col": np.asarray(tokens.patch_col)[keep],
        "picture": np.asarray(tokens.picture)[keep],
        "valid": np.asarray(tokens.valid, bool)[keep],
    }


def reductions(values: np.ndarray, roles: np.ndarray) -> dict[str, np.ndarray]:
    """Reduce (layer, token, neuron) over the tokens of each role.

    Returns
    -------
    dict of str to numpy.ndarray
        ``max`` and ``mean``: float32, (token_role, layer, neuron), NaN where no token has the role.
    """
    shape = (len(ROLES), values.shape[0], values.shape[2])
    found = {how: np.full(shape, np.nan, np.float32) for how in ("max", "mean")}
    tensor = torch.from_numpy(_native(values))
    for place, role in enumerate(ROLES):
        at = np.flatnonzero(roles == role)
        if not len(at):
            continue
        together = at[-1] - at[0] + 1 == len(at)
        for row in range(values.shape[0]):
            largest = torch.full((shape[2],), -torch.inf)
            total = torch.zeros(shape[2], dtype=torch.float32)
            for start in range(0, len(at), _BLOCK):  # as float32 a block at a time stays in cache
                part = at[start : start + _BLOCK]
                which: Any = slice(int(part[0]), int(part[-1]) + 1) if together else part
                block = tensor[row, which].float()
                largest = torch.maximum(largest, block.amax(0))
                total += block.sum(0)
            found["max"][place, row] = largest.numpy()
            found["mean"][place, row] = (total / len(at)).numpy()
    return found


def _native(values: np.ndarray) -> np.ndarray:
    """Return an array that torch can take: of this machine's byte order, read forwards."""
    if not values.dtype.isnative or values.dtype.kind != "f" or values.dtype.itemsize > 8:
        values = values.astype(np.float32)
    return np.ascontiguousarray(values) if any(s < 0 for s in values.strides) else values


class Pile:
    """Pictures laid along ``image`` as they come; grown only for one longer than those before.

    Parameters
    ----------
    n : int
        Pictures to come.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._arrays: dict[str, np.ndarray] = {}
        self._tokens: list[dict[str, np.ndarray]] = []
        self._geometry: list[str] = []
        self._reduced: list[dict[str, np.ndarray]] = []
        self._first: Picture | None = None

    def add(self, picture: Picture) -> None:
        """Take the next picture."""
        place = len(self._tokens)
        self._first = self._first or picture
        for name, values in picture.arrays.items():
            layers, tokens, neurons = values.shape
            held = self._arrays.get(name)
            if self._n == 1:
                held = values[None]
            elif held is None:
                held = np.zeros((self._n, layers, tokens, neurons), values.dtype)
            elif held.shape[2] < tokens:
                longer = np.zeros((self._n, layers, tokens, neurons), held.dtype)
                longer[:place, :, : held.shape[2]] = held[:place]
                held = longer
            if self._n > 1:
                held[place, :, :tokens] = values
            self._arrays[name] = held
        self._tokens.append(picture.tokens)
        self._geometry.append(picture.geometry)
        self._reduced.append(picture.reduced)

    def dataset(self, ids: Sequence[str], attrs: dict[str, Any]) -> xr.Dataset:
        """Return everything as one store of dims (image, layer, token, neuron)."""
        if self._first is None:
            raise bad_argument("images", [], "at least one picture")
        reduced = {
            name: np.stack([held[name] for held in self._reduced]) for name in self._first.reduced
        }
        return label(
            self._arrays, self._tokens, self._first.layers, self._first.experts,
            self._geometry, ids, attrs, reduced,
        )  # fmt: skip


def label(
    arrays: dict[str, Any],
    tokens: Sequence[dict[str, np.ndarray]],
    layers: Sequence[int],
    experts: Sequence[int],
    geometry: Sequence[str],
    ids: Sequence[str],
    attrs: dict[str, Any],
    reduced: dict[str, Any],
) -> xr.Dataset:
    """Put the labels on arrays (image, layer, token, neuron), which may be lazy."""
    import xarray as xr

    longest = max(len(held["valid"]) for held in tokens)
    n_neurons = next(iter([*arrays.values(), *reduced.values()])).shape[-1]
    coords: dict[str, Any] = {
        "image": list(ids),
        "layer": list(layers),
        "expert": ("layer", list(experts)),
        "neuron": np.arange(n_neurons),
        "geometry": ("image", np.asarray(list(geometry), dtype=object)),
    }
    own = {key: attrs[key] for key in ("model", "weights", "site", "dtype") if key in attrs}
    variables: dict[str, Any] = {
        name: (("image", "layer", "token", "neuron"), values, own)
        for name, values in arrays.items()
    }
    if arrays:
        coords["token"] = np.arange(longest)
        for name, fill in FILLS.items():
            if any(name not in held for held in tokens):  # a store of an earlier release
                continue
            padded = [_pad(held[name], longest, fill) for held in tokens]
            coords[name] = (("image", "token"), np.stack(padded))
    if reduced:
        coords["token_role"] = list(ROLES)
        dims = ("image", "token_role", "layer", "neuron")
        variables.update({name: (dims, values) for name, values in reduced.items()})
    return xr.Dataset(variables, coords, attrs)


def single(store: xr.Dataset) -> xr.Dataset:
    """Return a store of one picture without its ``image`` dim."""
    return store.isel(image=0).drop_vars("image")


def _pad(values: np.ndarray, length: int, fill: Any) -> np.ndarray:
    if len(values) == length:
        return values
    tail = np.full(length - len(values), fill)
    return np.concatenate([values, tail.astype(values.dtype) if values.dtype.kind != "U" else tail])


def pictures_of(store: xr.Dataset) -> list[tuple[str, Picture]]:
    """Take a store apart: (image id, picture) with padding cut off.

    What a store made by hand does not say about its tokens is filled in as padding would be.

    Raises
    ------
    BadArgument
        If the dims are not those of a store.
    NotSupported
        If only some of the neurons are left: the format numbers them from 0.
    """
    if "image" not in store.dims:
        named = "image" in store.coords and not store["image"].ndim
        store = store.expand_dims("image") if named else store.expand_dims(image=["0"])
    store = with_dims(store, "layer", "token", "neuron")
    if "token" in store.coords and (np.diff(store["token"].values) < 0).any():
        store = store.sortby("token")
    names = [n for n in ("activation", "gradient") if n in store]
    n_layers = store.sizes["layer"]
    layers = numbers_of(store, "layer") if "layer" in store.coords else np.arange(n_layers)
    if "neuron" in store.coords:
        neurons = numbers_of(store, "neuron")
        store = store.isel(neuron=np.argsort(neurons)) if (np.diff(neurons) < 0).any() else store
        if (np.sort(neurons) != np.arange(len(neurons))).any():
            raise NotSupported(
                f"store: only {len(neurons)} of the neurons are left, up to {neurons.max()}, and "
                "this format numbers them from 0; keep them all, or write it with xarray: "
                "store.to_zarr(path), and read it with xarray.open_zarr(path)"
            )
    left = [dim for name in names for dim in store[name].dims if dim not in _DIMS]
    if left:
        raise bad_argument("store", f"dims {tuple(store.sizes)}", f"no dim but {_DIMS}")
    found = []
    for place, name in enumerate(store["image"].values.tolist()):
        one = store.isel(image=place)
        n = one.sizes["token"]
        valid = valid_of(one["activation"] if "activation" in one else one[names[0]]).values
        valid = np.broadcast_to(valid, (n,))
        tokens = {"valid": valid[valid]}
        for key, fill in FILLS.items():
            if key != "valid":
                held = one[key].values if key in one.coords else np.full(n, fill)
                held = words_of(held) if isinstance(fill, str) else np.asarray(held)
                tokens[key] = np.broadcast_to(held, (n,))[valid]
        cut = slice(None) if valid.all() else np.flatnonzero(valid)
        expert = one["expert"].values if "expert" in one.coords else -1
        found.append(
            (
                text_of(name),
                Picture(
                    {v: one[v].transpose("layer", "token", "neuron").values[:, cut] for v in names},
                    tokens,
                    layers.tolist(),
                    np.broadcast_to(expert, (n_layers,)).tolist(),
                    text_of(one["geometry"].values) if "geometry" in one.coords else "",
                ),
            )
        )
    return found


_DIMS = ("image", "layer", "token", "neuron")

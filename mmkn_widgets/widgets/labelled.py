"""From labelled arrays as xarray holds them to what the parts draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, NeuronIndex, bad_argument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Scores", "given_pictures", "is_store", "maps_of", "scores_of", "tokens_of"]

_LABELS = {
    "difference": "activation difference",
    "gradcam": "GradCAM",
    "activation": "activation",
    "score": "score",
}


@dataclass(frozen=True)
class Scores:
    """Two scores of every neuron.

    Attributes
    ----------
    evidence : xarray.Dataset
        ``difference`` and ``gradcam`` over (layer, neuron), whatever they are.
    index : NeuronIndex
        Of their rows: the layers' numbers in the model.
    labels : dict of str to str
        What the two are called.
    method : str
        Where they come from, for provenance.
    """

    evidence: xr.Dataset
    index: NeuronIndex
    labels: dict[str, str]
    method: str


def is_store(value: Any) -> bool:
    """Return whether a value is a captured store (and not scores)."""
    if not hasattr(value, "data_vars"):
        return False
    names = set(value.data_vars)
    return bool(names & {"activation", "activation_max"}) and "difference" not in names


def scores_of(given: Any) -> Scores:
    """Read the two scores of whatever holds some.

    Parameters
    ----------
    given : Study, store, xarray.Dataset, DataArray or pair of arrays (layer, neuron)

    Raises
    ------
    BadArgument
        If it is none of these, or the two have not the same two dimensions.
    """
    import xarray as xr

    evidence = given.evidence if hasattr(given, "evidence") else given
    labels: dict[str, str] = {}
    method = "two_stage"
    if is_store(evidence):
        from ..activations import StoreAccessor

        found, method = StoreAccessor(evidence).scores(), "store"
        pair = [found[name] for name in ("first", "second")]
        for name, one in zip(("difference", "gradcam"), pair, strict=True):
            labels |= {name: one.attrs["long_name"], f"short_{name}": one.attrs["short_name"]}
    elif isinstance(evidence, tuple) and len(evidence) == 2:
        pair, method = [_score(one) for one in evidence], "two_scores"
    elif hasattr(evidence, "data_vars") and {"difference", "gradcam"} <= set(evidence.data_vars):
        pair = [_score(evidence[name]) for name in ("difference", "gradcam")]
    elif hasattr(evidence, "dims") and not hasattr(evidence, "data_vars"):
        pair, method = [_score(evidence)] * 2, "one_score"
        name = str(evidence.name or "score")
        for axis in ("difference", "gradcam"):
            labels |= {axis: name, f"short_{axis}": name[:12]}
    else:
        raise bad_argument(
            "scores",
            type(given).__name__,
            "a Study, a store, a Dataset with 'difference' and 'gradcam', a DataArray, "
            "or a pair of arrays",
        )
    d, g = pair
    if d.shape != g.shape:
        raise bad_argument("scores", f"shapes {d.shape} and {g.shape}", "two (layer, neuron)")
    variables = {"difference": d.variable, "gradcam": g.variable}
    attrs: dict[str, Any] = {}
    if hasattr(evidence, "data_vars") and not is_store(evidence):
        more = [name for name in ("gradient_sum", "activation") if name in evidence]
        variables |= {name: _score(evidence[name]).variable for name in more}
        attrs = dict(evidence.attrs)
    made = xr.Dataset(variables, coords=_rows(d), attrs=attrs)
    return Scores(made, NeuronIndex.of_labelled(made), {**_LABELS, **labels}, method)


def _score(values: Any) -> xr.DataArray:
    """Return one score as a DataArray (layer, neuron), whatever the order of its dims."""
    import xarray as xr

    if hasattr(values, "dims"):
        dims = set(values.dims)
        if not {"layer", "neuron"} <= dims:
            raise bad_argument("scores", f"dims {tuple(values.dims)}", "dims layer and neuron")
        if left := sorted(dims - {"layer", "neuron"}):
            wanted = f"no {left}: select or reduce"
            raise bad_argument("scores", f"dims {tuple(values.dims)}", wanted)
        ordered: xr.DataArray = values.transpose("layer", "neuron")
        return ordered
    array = np.asarray(values, np.float32)
    if array.ndim != 2:
        raise bad_argument("scores", f"shape {array.shape}", "two (layer, neuron)")
    return xr.DataArray(array, dims=("layer", "neuron"))


def _rows(labelled: xr.DataArray) -> dict[str, Any]:
    """Return the layer and expert of each row; by number where the coords do not say."""
    layers = np.arange(labelled.sizes["layer"])
    found: dict[str, Any] = {"layer": layers}
    if "layer" in labelled.coords:
        names = np.asarray(labelled["layer"].values)
        found["layer"] = names if np.issubdtype(names.dtype, np.integer) else layers
    if "expert" in labelled.coords and labelled["expert"].dims == ("layer",):
        found["expert"] = ("layer", np.asarray(labelled["expert"].values))
    return found


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
    from ..activations import image_tokens

    others = [dim for dim in values.dims if dim != "token"]
    if len(others) > 1:
        raise BadArgument(f"maps: dims {others} are left beside token; select or stack them")
    place = values.mmkn.geometry if geometry is None else geometry
    along = values.transpose(*others, "token")
    kept = image_tokens(values, [place])  # wherever they stand: by row and column
    array = np.asarray(along.values, np.float32).reshape(-1, along.sizes["token"])[:, kept]
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

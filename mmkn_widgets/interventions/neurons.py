"""Read what a caller means by "these neurons": indices for each site of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import bad_argument

if TYPE_CHECKING:
    import torch

__all__ = ["array_over_neurons", "count", "describe_layers", "neuron_rows", "site_row"]

_WANTED = (
    "a NeuronSet, a boolean array of shape (sites, neurons), a mapping {layer: indices} "
    "or pairs (layer, index)"
)


def site_row(model: Any, layer: int, expert: int = -1) -> int:
    """Return the site's row in arrays over (layer, neuron).

    Raises
    ------
    BadArgument
        If the model has no such site; the message lists its layers.
    """
    for row, site in enumerate(model.sites):
        if site.layer == layer and site.expert == expert:
            return row
    layers = sorted({site.layer for site in model.sites})
    given = layer if expert < 0 else (layer, expert)
    raise bad_argument("layer", given, f"a layer of the model with FFN neurons: {layers}")


def neuron_rows(
    model: Any, neurons: Any, *, argument: str = "neurons", empty: bool = True
) -> dict[int, np.ndarray]:
    """Return the chosen neurons as indices for each site row.

    Parameters
    ----------
    model : MultimodalModel
        Its `sites` bound the indices.
    neurons : NeuronSet, mapping, array or iterable
        A neuron set; a boolean array of shape (sites, neurons); a mapping from layer to indices;
        pairs (layer, index) or triples (layer, expert, index); None means every neuron.
    argument : str
        The argument's name in errors.
    empty : bool
        Whether no neuron at all is an ordinary input.

    Returns
    -------
    dict of int to numpy.ndarray of int64
        Site row to sorted, unique neuron indices; rows without a neuron are left out.

    Raises
    ------
    BadArgument
        If the neurons cannot be read, or one does not exist in this model.
    """
    found: dict[int, list[int] | np.ndarray]
    if neurons is None:
        found = {row: np.arange(site.width) for row, site in enumerate(model.sites)}
    elif hasattr(neurons, "dims") or _is_array(neurons):
        found = _from_mask(model, neurons, argument)
    elif isinstance(neurons, Mapping):
        found = {
            site_row(model, int(layer)): np.atleast_1d(np.asarray(index, dtype=np.int64))
            for layer, index in neurons.items()
        }
    else:
        found = _from_triples(model, _triples(neurons, argument))
    rows: dict[int, np.ndarray] = {}
    for row in sorted(found):
        index = np.unique(np.asarray(found[row], dtype=np.int64))
        if index.size == 0:
            continue
        site = model.sites[row]
        if index[0] < 0 or index[-1] >= site.width:
            wrong = index[0] if index[0] < 0 else index[-1]
            raise bad_argument(
                argument, (site.layer, int(wrong)), f"neurons 0 to {site.width - 1} in that layer"
            )
        rows[row] = index
    if not rows and not empty:
        raise bad_argument(argument, neurons, "at least one neuron")
    return rows


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _from_mask(model: Any, mask: Any, argument: str) -> dict[int, list[int] | np.ndarray]:
    values = _to_numpy(mask)
    wanted = (len(model.sites), model.n_neurons)
    if values.dtype != np.bool_ or values.shape != wanted:
        raise bad_argument(
            argument,
            f"an array of {values.dtype} of shape {values.shape}",
            f"a boolean array of shape {wanted}, (layer, neuron)",
        )
    return {row: np.flatnonzero(values[row]) for row in range(wanted[0]) if values[row].any()}


def _triples(neurons: Any, argument: str) -> Iterable[tuple[int, int, int]]:
    if hasattr(neurons, "layer") and hasattr(neurons, "index"):
        layers = np.atleast_1d(np.asarray(neurons.layer))
        indices = np.atleast_1d(np.asarray(neurons.index))
        experts = getattr(neurons, "expert", None)
        if experts is None:
            experts = np.full(layers.shape, -1)
        experts = np.atleast_1d(np.asarray(experts))
        return zip(layers.tolist(), experts.tolist(), indices.tolist(), strict=True)
    if isinstance(neurons, str | bytes) or not isinstance(neurons, Iterable):
        raise bad_argument(argument, neurons, _WANTED)
    triples: list[tuple[int, int, int]] = []
    for neuron in neurons:
        if hasattr(neuron, "layer") and hasattr(neuron, "index"):
            expert = getattr(neuron, "expert", None)
            triples.append((int(neuron.layer), -1 if expert is None else expert, int(neuron.index)))
            continue
        try:
            parts = tuple(int(part) for part in neuron)
        except (TypeError, ValueError):
            raise bad_argument(argument, neuron, _WANTED) from None
        if len(parts) == 2:
            triples.append((parts[0], -1, parts[1]))
        elif len(parts) == 3:
            triples.append(parts)  # type: ignore[arg-type]
        else:
            raise bad_argument(argument, neuron, _WANTED)
    return triples


def _from_triples(
    model: Any, triples: Iterable[tuple[int, int, int]]
) -> dict[int, list[int] | np.ndarray]:
    row_of = {(site.layer, site.expert): row for row, site in enumerate(model.sites)}
    found: dict[int, list[int] | np.ndarray] = {}
    for layer, expert, index in triples:
        row = row_of.get((layer, expert))
        if row is None:
            row = site_row(model, layer, expert)  # raises the error that lists the layers
        found.setdefault(row, []).append(index)  # type: ignore[union-attr]
    return found


def array_over_neurons(model: Any, values: Any, argument: str) -> np.ndarray:
    """Return an array over (layer, neuron), or a store reduced to one by its mean.

    Parameters
    ----------
    model : MultimodalModel
        Gives the shape.
    values : array, xarray.DataArray or xarray.Dataset
        Of shape (sites, neurons), or an activation store (variable ``activation``), of which the
        mean over pictures and valid tokens is taken.
    argument : str
        The argument's name in errors.

    Returns
    -------
    numpy.ndarray of float32, shape (sites, neurons)
    """
    wanted = (len(model.sites), model.n_neurons)
    if hasattr(values, "data_vars"):
        if "activation" not in values.data_vars:
            raise bad_argument(
                argument, list(values.data_vars), "a store with the variable 'activation'"
            )
        data = values["activation"]
        if "valid" in values:
            data = data.where(values["valid"])
        values = data
    if hasattr(values, "dims"):
        others = [dim for dim in values.dims if dim not in ("layer", "neuron")]
        if others:
            values = values.mean(dim=others, skipna=True)
        if set(values.dims) == {"layer", "neuron"}:
            values = values.transpose("layer", "neuron")
    array = _to_numpy(values)
    if array.shape != wanted:
        raise bad_argument(
            argument, f"an array of shape {array.shape}", f"shape {wanted}, (layer, neuron)"
        )
    return np.nan_to_num(array.astype(np.float32))


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        tensor: torch.Tensor = values.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        return tensor.numpy()
    if hasattr(values, "dims"):
        values = values.values
    return np.asarray(values)


def count(rows: Mapping[int, np.ndarray]) -> int:
    """Return the number of neurons in all rows."""
    return int(sum(len(index) for index in rows.values()))


def describe_layers(model: Any, rows: Iterable[int]) -> str:
    """Return the layers of the rows in words, such as ``"layers 3-5, 7"``.

    Examples
    --------
    >>> from types import SimpleNamespace as Of
    >>> describe_layers(Of(sites=[Of(layer=n) for n in range(9)]), [3, 4, 5, 7])
    'layers 3-5, 7'
    """
    layers = sorted({int(model.sites[row].layer) for row in rows})
    if not layers:
        return "no layer"
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    shown = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"layer {shown}" if len(layers) == 1 else f"layers {shown}"

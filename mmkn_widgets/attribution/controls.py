"""Random controls: as many neurons, anywhere or in the same layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import NeuronModel, NeuronSet, provenance, whole_number

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["exists", "random_like", "random_uniform"]


def exists(model: MultimodalModel) -> np.ndarray:
    """Return which places of an array (layer, neuron) hold a neuron; narrow layers have fewer."""
    width = np.asarray([site.width for site in model.sites])
    return np.arange(model.n_neurons)[None] < width[:, None]


def random_uniform(model: MultimodalModel, top: int, seed: int = 0) -> NeuronSet:
    """Draw distinct neurons, all equally likely.

    Parameters
    ----------
    model : MultimodalModel
    top : int
        How many, from 0 to the number of all neurons.
    seed : int
        Of the draw, from 0.

    Raises
    ------
    BadArgument
        If the model has fewer.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> len(random_uniform(mmkn.load_model("pocket"), 5, seed=1))
    5
    """
    rows, index = np.nonzero(exists(model))
    top = whole_number("top", top, lowest=0, highest=len(rows))
    seed = whole_number("seed", seed, lowest=0)
    chosen = np.random.default_rng(seed).choice(len(rows), top, replace=False)
    return _from_rows(
        model, rows[chosen], index[chosen], provenance("random_uniform", top=top, seed=seed)
    )


def random_like(model: NeuronModel, neurons: NeuronSet, seed: int = 0) -> NeuronSet:
    """Draw as many other neurons from the same layers.

    Parameters
    ----------
    model : MultimodalModel
    neurons : NeuronSet
        Gives the layer histogram; its own neurons are not drawn where enough others are there.
    seed : int
        Of the draw, from 0.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> chosen = mmkn.NeuronSet([4, 4, 5], [7, 9, 1])
    >>> drawn = random_like(mmkn.load_model("pocket"), chosen, seed=1)
    >>> drawn.layer_histogram() == chosen.layer_histogram(), len(drawn & chosen)
    (True, 0)
    """
    seed = whole_number("seed", seed, lowest=0)
    rng = np.random.default_rng(seed)
    inside = neurons.mask(model)
    rows: list[int] = []
    index: list[int] = []
    for site in model.sites:
        wanted = int(inside[site.row].sum())
        others = np.flatnonzero(~inside[site.row][: site.width])
        pool = others if len(others) >= wanted else np.arange(site.width)
        drawn = rng.choice(pool, wanted, replace=False)
        rows += [site.row] * wanted
        index += drawn.tolist()
    made = provenance("random_like", top=len(neurons), seed=seed)
    return _from_rows(model, np.asarray(rows, int), np.asarray(index, int), made)


def _from_rows(
    model: NeuronModel, rows: np.ndarray, index: np.ndarray, made: dict[str, Any]
) -> NeuronSet:
    sites = [model.sites[int(row)] for row in rows]
    return NeuronSet(
        [site.layer for site in sites], index, [site.expert for site in sites], provenance=made
    )

"""Disturb the columns with which neurons write, by seeded noise of their own size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core import count, neuron_rows, provenance, provenance_of, real_number, whole_number
from .base import WeightIntervention
from .weights import writable_columns

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Perturbation", "perturb"]


class Perturbation(WeightIntervention):
    """Columns of W_out with noise added; made by `perturb`.

    Parameters
    ----------
    model : MultimodalModel
    rows : mapping of int to numpy.ndarray
        Site row to the neurons there.
    sigma, seed : float, int
        As in `perturb`.
    name, provenance
        As in `Intervention`.

    Examples
    --------
    >>> made = perturb(mmkn.load_model("pocket"), {4: [1, 2]}, sigma=2, seed=3)
    >>> made
    <perturbation 'noise 2': 2 neurons in layer 4, sigma 2, seed 3>
    """

    kind: ClassVar[str] = "perturbation"

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        sigma: float,
        seed: int,
        *,
        name: str,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(model, rows, name=name, provenance=provenance)
        self.sigma = sigma
        self.seed = seed

    def changed(self, row: int, columns: Tensor) -> Tensor:
        """Return the columns with noise of `sigma` times their norm; shape (hidden, neuron)."""
        before = columns.float()
        noise = torch.from_numpy(self._noise(row, before.shape[0])).to(before.device)
        norm: Tensor = before.norm(dim=0, keepdim=True)
        return (before + self.sigma * norm * noise / math.sqrt(before.shape[0])).to(columns.dtype)

    def _noise(self, row: int, hidden: int) -> np.ndarray:
        """Return N(0, 1) noise that depends on the seed, the layer and the neuron alone."""
        site = self.model.sites[row]
        columns = [
            np.random.default_rng([self.seed, site.layer, site.expert + 1, int(neuron)])
            .standard_normal(hidden)
            .astype(np.float32)
            for neuron in self.rows[row]
        ]
        return np.stack(columns, axis=1)

    def _more(self) -> str:
        return f", sigma {self.sigma:g}, seed {self.seed}"


def perturb(
    model: MultimodalModel,
    neurons: Any,
    sigma: float = 1.0,
    *,
    seed: int = 0,
    name: str | None = None,
) -> Perturbation:
    """Return an intervention that disturbs what neurons write.

    Every chosen neuron's column of W_out gets ``sigma * norm(column) * N(0, 1) / sqrt(hidden)``
    added, so that sigma 1 adds noise as long as the column. Compare with the same on random
    neurons. Leaving restores the columns bit for bit.

    Parameters
    ----------
    model : MultimodalModel
        The model; its weights must be in memory and not quantised.
    neurons : NeuronSet, boolean array (sites, neurons), mapping {layer: indices} or pairs
        Which neurons.
    sigma : float
        Size of the noise relative to the column.
    seed : int
        The same seed gives a neuron the same noise, whatever other neurons are chosen.
    name : str, optional
        For people.

    Returns
    -------
    Perturbation
        A context manager; also for ``model.interventions.push``.

    Raises
    ------
    NotSupported
        If the columns cannot be written exactly.

    Notes
    -----
    The causal effect of Pan et al. 2024 (arXiv 2311.07470).

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> before = model.w_out(4)[:, 2].clone()
    >>> with perturb(model, {4: [2]}, sigma=3, seed=1):
    ...     bool((model.w_out(4)[:, 2] == before).all())
    False
    >>> bool((model.w_out(4)[:, 2] == before).all())
    True
    """
    sigma = real_number("sigma", sigma)
    seed = whole_number("seed", seed, lowest=0)
    rows = neuron_rows(model, neurons)
    for row in rows:
        writable_columns(model, row)
    made = provenance(
        "perturb",
        sigma=sigma,
        seed=seed,
        n_neurons=count(rows),
        neurons=provenance_of(neurons),
    )
    shown = name or f"noise {sigma:g}"
    return Perturbation(model, rows, sigma, seed, name=shown, provenance=made)

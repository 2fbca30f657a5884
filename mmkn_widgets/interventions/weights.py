"""The only place that writes into weights: changed from kept originals, restored bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..core import NotSupported
from ..models import plain_torch
from .base import WeightIntervention

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["WeightKeeper", "writable_columns"]


def writable_columns(model: MultimodalModel, row: int) -> Tensor:
    """Return a site's W_out as a live view, or say why it cannot be written.

    Parameters
    ----------
    model : MultimodalModel
        Gives the weights.
    row : int
        The site's row.

    Returns
    -------
    Tensor, shape (hidden, neuron)
        Shares memory with the model's parameter.

    Raises
    ------
    NotSupported
        If the weights are quantised, not in memory, computed, or have an adapter round them.
    """
    site = model.sites[row]
    where = f"layer {site.layer}" + (f", expert {site.expert}" if site.expert >= 0 else "")
    if site.kind == "wrapped":
        raise NotSupported(
            f"the down projection of {where} has an adapter round it ({type(site.module).__name__})"
            ": its columns are not weights that can be written; merge the adapter first (PEFT: "
            "model.merge_and_unload()) and load the model again"
        )
    name = "down_proj" if site.kind == "routed" else "weight"
    if site.module._parameters.get(name) is None:
        raise NotSupported(
            f"the {name} of the down projection of {where} is computed anew at every forward "
            f"({type(site.module).__name__}), so what is written into it would be lost"
        )
    weight = getattr(site.module, "weight", None)
    quantised = isinstance(weight, Tensor) and (
        not weight.is_floating_point() or weight.element_size() < 2
    )
    packed = any(hasattr(site.module, name) for name in ("qweight", "quant_state", "W_q"))
    if quantised or packed:
        raise NotSupported(
            f"the down projection of {where} is quantised ({type(site.module).__name__}): "
            "its columns cannot be changed exactly; load the model with its full weights"
        )
    if isinstance(weight, Tensor) and weight.is_meta:
        raise NotSupported(
            f"the weights of {where} are not in memory (offloaded); load the model on one device"
        )
    columns: Tensor = model.w_out(site.layer, site.expert).detach()
    if not columns.is_floating_point() or columns.element_size() < 2:
        raise NotSupported(f"the weights of {where} are {columns.dtype}, expected floating point")
    return columns


class WeightKeeper:
    """Keeps the original columns and writes what a list of interventions makes of them.

    Every write starts from the originals, so that order, nesting and leaving out of order do not
    matter, and nothing is ever computed back. If the model is cast or moved meanwhile, the kept
    originals are cast and moved the same way when they are next written.

    Parameters
    ----------
    model : MultimodalModel
        The model whose W_out columns are written.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        #: (site row) -> neuron -> original column, kept while an intervention may need it
        self._originals: dict[int, dict[int, Tensor]] = {}
        self._written: tuple[WeightIntervention, ...] | None = ()

    @property
    def changed(self) -> bool:
        """Whether any column may differ from its original."""
        return self._written != ()

    def realise(self, interventions: Sequence[WeightIntervention]) -> None:
        """Write the columns as the interventions make them, in their order.

        Calling it again, also after it was interrupted half-way, gives the same weights.
        """
        wanted = tuple(interventions)
        if wanted == self._written:
            return
        with plain_torch(False):
            self._keep(wanted)
            self._written = None  # from here on unknown, should this be interrupted
            for row in list(self._originals):
                if self._writable(row, wanted):
                    self._write(row, self._originals[row], wanted)
        self._written = wanted

    def forget(self) -> None:
        """Restore everything and drop the kept originals."""
        self.realise(())
        self._originals.clear()

    def _writable(self, row: int, wanted: Sequence[WeightIntervention]) -> bool:
        """Bring kept columns to where and what the weights are now, which may have been cast.

        What cannot be put back because the weights are gone costs a warning, so that all else is.
        """
        kept = self._originals[row]
        try:
            weight = writable_columns(self._model, row)
        except NotSupported as error:
            if any(row in intervention.rows for intervention in wanted):
                raise
            del self._originals[row]
            if kept:
                warnings.warn(
                    f"{len(kept)} changed columns could not be put back: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return False
        for neuron, column in kept.items():
            if column.dtype != weight.dtype or column.device != weight.device:
                kept[neuron] = column.to(weight.device, weight.dtype)
        return True

    def _keep(self, wanted: Sequence[WeightIntervention]) -> None:
        for intervention in wanted:
            for row, index in intervention.rows.items():
                kept = self._originals.setdefault(row, {})
                new = [int(i) for i in index if int(i) not in kept]
                if new and self._writable(row, wanted):
                    columns = writable_columns(self._model, row)[:, new].clone()
                    kept.update((i, columns[:, place]) for place, i in enumerate(new))

    def _write(
        self, row: int, kept: dict[int, Tensor], wanted: Sequence[WeightIntervention]
    ) -> None:
        if not kept:
            return
        place = {neuron: position for position, neuron in enumerate(kept)}
        columns = torch.stack(list(kept.values()), dim=1)
        for intervention in wanted:
            index = intervention.rows.get(row)
            if index is None:
                continue
            at = torch.as_tensor(
                np.array([place[int(i)] for i in index], dtype=np.int64), device=columns.device
            )
            new = intervention.changed(row, columns.index_select(1, at))
            columns.index_copy_(1, at, new.to(columns.dtype))
        neurons = torch.as_tensor(np.array(list(kept), dtype=np.int64), device=columns.device)
        writable_columns(self._model, row).index_copy_(1, neurons, columns)

    @plain_torch(False)
    def original(self, row: int, index: np.ndarray) -> Tensor:
        """Return original columns, a copy of shape (hidden, neuron), whatever is written now."""
        columns = writable_columns(self._model, row)[:, torch.as_tensor(index)].clone()
        kept = self._originals.get(row, {})
        for place, neuron in enumerate(index):
            if int(neuron) in kept:
                columns[:, place] = kept[int(neuron)]
        return columns

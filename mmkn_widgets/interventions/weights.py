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


def _stand(now: Tensor, written: Tensor) -> Tensor:
    """Return which columns are what was written, which may have been cast meanwhile."""
    written = written.to(now.device)
    found = torch.zeros(now.shape[1], dtype=torch.bool, device=now.device)
    for cast in (written.dtype, torch.bfloat16, torch.float16):
        same = written.to(cast).to(now.dtype)
        found |= torch.isclose(now, same, rtol=0, atol=0, equal_nan=True).all(0)
        if bool(found.all()):
            break
    return found


class WeightKeeper:
    """Keeps the original columns and writes what a list of interventions makes of them.

    Every write starts from the originals, so that order, nesting and leaving out of order do not
    matter, and nothing is ever computed back. If the model is cast or moved meanwhile, the kept
    originals are cast and moved the same way when they are next written. Columns that are no longer
    what was written (the model has loaded other weights, or was trained) are the originals from
    then on, with a warning: older ones are never put over them.

    Parameters
    ----------
    model : MultimodalModel
        The model whose W_out columns are written.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        #: (site row) -> neuron -> original column, kept while an intervention may need it
        self._originals: dict[int, dict[int, Tensor]] = {}
        #: the same for what stands in the weights; two of each only while it is being written
        self._standing: dict[int, tuple[dict[int, Tensor], ...]] = {}
        self._written: tuple[WeightIntervention, ...] | None = ()
        self._told: list[str] = []

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
        told, self._told = self._told, []
        for text in told:  # when all is written: where warnings are errors, too
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def forget(self) -> None:
        """Restore everything and drop the kept originals."""
        try:
            self.realise(())
        finally:
            if not self.changed:  # what it said may be an error
                self._originals.clear()
                self._standing.clear()

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
            self._standing.pop(row, None)
            if kept:
                self._told.append(f"{len(kept)} changed columns could not be put back: {error}")
            return False
        for neuron, column in kept.items():
            if column.dtype != weight.dtype or column.device != weight.device:
                kept[neuron] = column.to(weight.device, weight.dtype)
        self._adopt(row, weight)
        return True

    def _adopt(self, row: int, weight: Tensor) -> None:
        """Take columns that somebody else has written as the originals, and say so."""
        kept = self._originals[row]
        if not kept:
            return
        neurons = list(kept)
        now = weight[:, neurons]
        ours = torch.zeros(len(neurons), dtype=torch.bool, device=now.device)
        for columns in self._standing[row]:
            known = [place for place, neuron in enumerate(neurons) if neuron in columns]
            written = torch.stack([columns[neurons[place]] for place in known], 1)
            ours[known] |= _stand(now[:, known], written)
        new = [neuron for neuron, own in zip(neurons, ours.tolist(), strict=True) if not own]
        if not new:
            return
        for neuron in new:
            kept[neuron] = weight[:, neuron].clone()
        self._standing[row] = (dict(kept),)
        site = self._model.sites[row]
        where = f"layer {site.layer}" + (f", expert {site.expert}" if site.expert >= 0 else "")
        self._told.append(
            f"the weights of {where} were assigned anew while an intervention had changed them "
            f"(load_state_dict, training?): {len(new)} of its {len(kept)} changed columns stay as "
            "they are now, what they were before the intervention is not put over them"
        )

    def _keep(self, wanted: Sequence[WeightIntervention]) -> None:
        for intervention in wanted:
            for row, index in intervention.rows.items():
                kept = self._originals.setdefault(row, {})
                new = [int(i) for i in index if int(i) not in kept]
                if new and self._writable(row, wanted):
                    columns = writable_columns(self._model, row)[:, new].clone()
                    found = {i: columns[:, place] for place, i in enumerate(new)}
                    standing = self._standing.get(row, ({},))
                    self._standing[row] = tuple({**one, **found} for one in standing)
                    kept.update(found)

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
        written = {neuron: columns[:, position] for neuron, position in place.items()}
        self._standing[row] = (*self._standing[row], written)  # one or the other, if it is stopped
        writable_columns(self._model, row).index_copy_(1, neurons, columns)
        self._standing[row] = (written,)

    @plain_torch(False)
    def original(self, row: int, index: np.ndarray) -> Tensor:
        """Return original columns, a copy of shape (hidden, neuron), whatever is written now."""
        columns = writable_columns(self._model, row)[:, torch.as_tensor(index)].clone()
        kept = self._originals.get(row, {})
        for place, neuron in enumerate(index):
            if int(neuron) in kept:
                columns[:, place] = kept[int(neuron)]
        return columns

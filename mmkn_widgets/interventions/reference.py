"""Activations of another picture, token by token, to put in place of a picture's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..core import Handles, bad_argument
from ..models import Prepared, plain_torch
from .where import Where

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Reference", "read_reference", "record_values"]


class Reference:
    """Activations of some neurons on one picture, or on one for each picture of a batch.

    Parameters
    ----------
    values : sequence of mapping of int to Tensor, shape (token, neuron)
        For each picture, site row to the activations of the neurons that are set there and of no
        others; tokens as in the sequence without padding.
    """

    def __init__(self, values: Sequence[Mapping[int, Tensor]]) -> None:
        self._values = [dict(one) for one in values]

    def __len__(self) -> int:
        return len(self._values)

    def at(self, row: int, where: Where, before: Tensor) -> Tensor:
        """Return the reference's activations at the same tokens.

        Parameters
        ----------
        row : int
            The site's row.
        where : Where
            The tokens of this forward.
        before : Tensor, shape (batch, token, neuron)
            The picture's own, kept where the reference has no such token.
        """
        if len(self) not in (1, where.batch):
            raise bad_argument(
                "reference", f"{len(self)} pictures", f"1 or {where.batch}, as many as the batch"
            )
        after = before.clone()
        for number in range(where.batch):
            own = self._values[number if len(self) > 1 else 0][row]
            place = where.index[number].to(own.device)
            known = (place >= 0) & (place < len(own))
            after[number, known.to(before.device)] = own[place[known]].to(
                before.device, before.dtype
            )
        return after


@plain_torch(False)
def read_reference(
    model: MultimodalModel, reference: Any, rows: Mapping[int, np.ndarray]
) -> Reference:
    """Read stores, pictures or what was prepared of them; these are run with nothing active.

    What is kept is as large as the neurons are many, not as the model is wide: it stays in the
    history of the stack.
    """
    if hasattr(reference, "data_vars"):
        return Reference(_from_store(model, reference, rows))
    pictures = list(reference) if isinstance(reference, list | tuple) else [reference]
    if pictures and all(hasattr(one, "data_vars") for one in pictures):
        return Reference([one for store in pictures for one in _from_store(model, store, rows)])
    ready = (one if isinstance(one, Prepared) else model.prepare(one) for one in pictures)
    seen = (one for batch in ready for one in record_values(model, batch, sorted(rows)))
    return Reference(
        [
            {
                row: values[:, torch.as_tensor(rows[row]).to(values.device)]
                for row, values in one.items()
            }
            for one in seen
        ]
    )


def _from_store(
    model: MultimodalModel, store: Any, rows: Mapping[int, np.ndarray]
) -> list[dict[int, Tensor]]:
    if "activation" not in store.data_vars:
        raise bad_argument("reference", list(store.data_vars), "a store with 'activation'")
    activation = store["activation"]
    if "image" not in activation.dims:
        activation = activation.expand_dims("image")
    activation = activation.transpose("image", "layer", "token", "neuron")
    if activation.sizes["layer"] != len(model.sites):
        raise bad_argument(
            "reference",
            f"a store of {activation.sizes['layer']} layers",
            f"one of all {len(model.sites)} layers of the model",
        )
    found = []
    for number in range(activation.sizes["image"]):
        kept: Any = slice(None)
        if "valid" in store:
            valid = store["valid"]
            kept = np.flatnonzero(valid.values[number] if "image" in valid.dims else valid.values)
        one = activation.isel(image=number)
        found.append(
            {
                row: torch.as_tensor(np.asarray(one.isel(layer=row).values)[kept][:, index].copy())
                for row, index in rows.items()
            }
        )
    return found


@plain_torch(False)
def record_values(
    model: MultimodalModel, prepared: Any, rows: Sequence[int]
) -> list[dict[int, Tensor]]:
    """Run a batch with nothing active and return what the FFNs of some sites get.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    prepared : Prepared
        From ``model.prepare``, right-padded.
    rows : sequence of int
        Site rows.

    Returns
    -------
    list of dict of int to Tensor, shape (token, width)
        For each picture, site row to activations, padding left out.
    """
    got: dict[int, Tensor] = {}

    def keeper(row: int) -> Any:
        def keep(activation: Tensor) -> None:
            got[row] = activation.detach()

        return keep

    hooked = Handles(model.sites[row].hook(keeper(row)) for row in rows)
    with model.lock, model.interventions.suspended(), hooked:
        model.forward(prepared, logits_to_keep=1)
    lengths = list(prepared.lengths)
    batches = {row: value.reshape(len(lengths), -1, value.shape[-1]) for row, value in got.items()}
    return [
        {row: batches[row][number, :length].clone() for row in rows}
        for number, length in enumerate(lengths)
    ]

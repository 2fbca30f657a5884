"""A different ablation for every row of a batch: many settings in one generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core import CancelToken, NotSupported, bad_argument, neuron_rows, provenance
from ..models import plain_torch
from .base import ActivationIntervention
from .where import Selection, Where

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["RowAblation", "ablate_rows", "caption_rows", "repeat"]


class RowAblation(ActivationIntervention):
    """Neurons scaled by a factor of each batch row's own; made by `ablate_rows`."""

    kind: ClassVar[str] = "row ablation"

    def __init__(
        self,
        model: MultimodalModel,
        factors: Mapping[int, tuple[np.ndarray, Tensor]],
        n_rows: int,
        selection: Selection,
        *,
        name: str,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(
            model,
            {row: index for row, (index, _) in factors.items()},
            selection,
            name=name,
            provenance=provenance,
        )
        self.n_rows = n_rows
        self._factors = {row: factor for row, (_, factor) in factors.items()}

    def asks(self, given: Tensor) -> bool:
        """Return whether it matters to `apply` where the tokens of what a site gets stand."""
        return super().asks(given) or given.shape[0] != self.n_rows

    def _change(
        self, row: int, before: Tensor, where: Where | None  # noqa: ARG002  the base's
    ) -> Tensor:  # fmt: skip
        if before.dim() != 3:
            raise NotSupported(
                "ablate_rows: this layer flattens its tokens and the batch's size is not known"
            )
        if before.shape[0] != self.n_rows:
            raise bad_argument(
                "neurons", f"{self.n_rows} neuron sets", f"one for each of {before.shape[0]} rows"
            )
        factor = self._factors[row]
        if factor.device != before.device:
            with plain_torch(False):
                factor = self._factors[row] = factor.to(before.device)
        factor = factor.to(before.dtype)
        scaled = before * factor[:, None, :]
        return torch.where(factor[:, None, :] == 0, scaled.new_zeros(()), scaled)

    def _more(self) -> str:
        return f", {self.n_rows} rows{super()._more()}"


@plain_torch(False)
def ablate_rows(
    model: MultimodalModel,
    neurons: Any,
    *,
    scale: float | Sequence[float] = 0.0,
    positions: Any = None,
    steps: Any = None,
    name: str = "rows",
) -> RowAblation:
    """Return an intervention with another neuron set for each row of the batch.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    neurons : sequence, or array of shape (rows, sites, neurons)
        For each row what `ablate` takes, or None to leave the row as it is. An array of bool
        marks neurons, an array of float holds the factors themselves (1 leaves a neuron as it is).
    scale : float or sequence of float
        The factor of the marked neurons, one for all rows or one for each; 0 silences.
    positions, steps
        As in `ablate`.
    name : str
        For people.

    Returns
    -------
    RowAblation
        Every forward inside it must have as many rows.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> ablate_rows(model, [None, {4: [1, 2]}, {5: [3]}])
    <row ablation 'rows': 3 neurons in layers 4-5, 3 rows>
    """
    selection = Selection.of(positions, steps)
    if hasattr(neurons, "shape") and hasattr(neurons, "dtype"):
        factors, n_rows = _from_array(model, neurons, scale)
    else:
        factors, n_rows = _from_sets(model, list(neurons), scale)
    made = provenance(
        "ablate_rows",
        n_rows=n_rows,
        scale=scale,
        positions=selection.positions,
        steps=selection.steps,
    )
    return RowAblation(model, factors, n_rows, selection, name=name, provenance=made)


def _scales(scale: float | Sequence[float], n_rows: int) -> np.ndarray:
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float32).reshape(-1), (n_rows,))
    if not np.isfinite(scales).all():
        raise bad_argument("scale", scale, "finite numbers")
    return scales


def _from_sets(
    model: MultimodalModel, sets: list[Any], scale: float | Sequence[float]
) -> tuple[dict[int, tuple[np.ndarray, Tensor]], int]:
    if not sets:
        raise bad_argument("neurons", sets, "one neuron set for each row of the batch")
    scales = _scales_or_error(scale, len(sets))
    chosen = [{} if one is None else neuron_rows(model, one) for one in sets]
    factors: dict[int, tuple[np.ndarray, Tensor]] = {}
    for row in sorted({row for one in chosen for row in one}):
        union = np.unique(np.concatenate([one[row] for one in chosen if row in one]))
        factor = np.ones((len(sets), len(union)), dtype=np.float32)
        for number, one in enumerate(chosen):
            if row in one:
                factor[number, np.searchsorted(union, one[row])] = scales[number]
        factors[row] = (union, torch.from_numpy(factor))
    return factors, len(sets)


def _scales_or_error(scale: float | Sequence[float], n_rows: int) -> np.ndarray:
    try:
        return _scales(scale, n_rows)
    except ValueError:
        raise bad_argument("scale", scale, f"one number, or {n_rows} numbers") from None


def _from_array(
    model: MultimodalModel, array: Any, scale: float | Sequence[float]
) -> tuple[dict[int, tuple[np.ndarray, Tensor]], int]:
    values = array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
    wanted = (len(model.sites), model.n_neurons)
    if values.ndim != 3 or values.shape[0] == 0 or values.shape[1:] != wanted:
        raise bad_argument(
            "neurons",
            f"an array of shape {values.shape}",
            f"shape (rows, {wanted[0]}, {wanted[1]})",
        )
    if values.dtype == np.bool_:
        scales = _scales_or_error(scale, len(values))
        values = np.where(values, scales[:, None, None], np.float32(1))
    if not np.isfinite(values).all():
        raise bad_argument("neurons", "factors that are not finite", "finite factors")
    factors: dict[int, tuple[np.ndarray, Tensor]] = {}
    for row, site in enumerate(model.sites):
        own = values[:, row, : site.width].astype(np.float32)
        index = np.flatnonzero((own != 1).any(axis=0))
        if index.size:
            factors[row] = (index, torch.from_numpy(own[:, index]))
    return factors, len(values)


@plain_torch(False)
def repeat(prepared: Any, n: int) -> Any:
    """Return a batch of `n` copies of a prepared picture, without reading it again.

    Parameters
    ----------
    prepared : Prepared
        Of one row.
    n : int
        How many rows to make of it.

    Returns
    -------
    Prepared
    """
    if len(prepared.lengths) != 1:
        raise bad_argument("prepared", f"{len(prepared.lengths)} rows", "one row to repeat")
    inputs = {
        key: torch.cat([value] * n) if value.dim() else value
        for key, value in prepared.inputs.items()
    }
    rows = ("images", "prompts", "prompt_lengths", "lengths", "continuation", "extras")
    return replace(prepared, inputs=inputs, **{key: getattr(prepared, key) * n for key in rows})


def caption_rows(
    model: MultimodalModel,
    image: Any,
    neurons: Sequence[Any],
    prompt: str | None = None,
    *,
    scale: float | Sequence[float] = 0.0,
    max_new_tokens: int | None = None,
    cancel: CancelToken | None = None,
) -> list[str]:
    """Caption one picture under many ablations, in one batched generation.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    image : picture
        What ``model.prepare`` takes.
    neurons : sequence
        As in `ablate_rows`: one neuron set (or None) for each caption wanted.
    prompt, max_new_tokens, cancel
        As in ``model.caption``.
    scale
        As in `ablate_rows`.

    Returns
    -------
    list of str
        One caption for each neuron set; what else is active stays active.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> picture = mmkn.datasets.pocket_world("val")[0].image
    >>> as_it_is, changed = caption_rows(model, picture, [None, {4: range(512), 5: range(512)}])
    >>> as_it_is == model.caption(picture), changed == as_it_is
    (True, False)
    """
    rows = ablate_rows(model, neurons, scale=scale)
    batch = repeat(model.prepare(image, prompt), rows.n_rows)
    with model.interventions.inner(), rows:
        written = model.generate(batch, max_new_tokens=max_new_tokens, cancel=cancel)
        return list(written.texts)

"""Silence, replace or amplify neurons: the causal test of both papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core import (
    array_over_neurons,
    bad_argument,
    count,
    neuron_rows,
    provenance,
    provenance_of,
    real_number,
)
from ..models import plain_torch
from .base import ActivationIntervention
from .reference import Reference, read_reference
from .where import Selection, Where

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Ablation", "ablate"]

MODES = ("zero", "mean", "scale", "from_inpainted", "range")


class Ablation(ActivationIntervention):
    """Neurons whose activation is zeroed (in a range), set to a mean or another's, or multiplied.

    Made by `ablate`.

    Parameters
    ----------
    model : MultimodalModel
    rows : mapping of int to numpy.ndarray
        Site row to the neurons there.
    selection : Selection
        The positions and steps.
    mode, scale : str, float
        As in `ablate`.
    values : Reference or numpy.ndarray or None
        What mode "from_inpainted" or "mean" puts there; the lower and upper ends of mode "range",
        shape (2, layer, neuron).
    name, provenance
        As in `Intervention`.

    Examples
    --------
    >>> made = ablate(mmkn.load_model("pocket"), {4: [1, 2]}, "scale", scale=2)
    >>> made.kind, made.mode, made.n_neurons, made.layers
    ('ablation', 'scale', 2, (4,))
    """

    kind: ClassVar[str] = "ablation"

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        selection: Selection,
        mode: str,
        scale: float,
        values: Reference | np.ndarray | None,
        *,
        name: str,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(model, rows, selection, name=name, provenance=provenance)
        self.needs_place = self.needs_place or mode == "from_inpainted"
        self.mode = mode
        self.scale = scale
        self._values = values
        self._parts: dict[int, Tensor] = {}

    @property
    def silences(self) -> bool:
        """Whether every chosen neuron becomes 0, whatever it was."""
        return self.mode == "zero"

    def _change(self, row: int, before: Tensor, where: Where | None) -> Tensor:
        if self.mode == "scale":
            return before * self.scale
        if self.mode == "mean":
            return self._held(row, before).to(before.dtype)
        if self.mode == "range":
            low, high = self._held(row, before)
            wide = before.float()
            return torch.where((wide >= low) & (wide <= high), before.new_zeros(()), before)
        if self.mode == "from_inpainted":
            assert isinstance(self._values, Reference)
            assert where is not None
            return self._values.at(row, where, before)
        return before.new_zeros(())

    def _held(self, row: int, before: Tensor) -> Tensor:
        """Return a site's part of the values, (..., neuron), where the activations are."""
        held = self._parts.get(row)
        if held is None or held.device != before.device:
            assert isinstance(self._values, np.ndarray)
            with plain_torch(False):  # a graph may hold it
                held = torch.as_tensor(self._values[..., row, self.rows[row]]).to(before.device)
            self._parts[row] = held
        return held

    def _more(self) -> str:
        how = f"scale {self.scale:g}" if self.mode == "scale" else self.mode
        return f", {how}{super()._more()}"


def ablate(
    model: MultimodalModel,
    neurons: Any,
    mode: str = "zero",
    *,
    scale: float = 0.0,
    reference: Any = None,
    positions: Any = None,
    steps: Any = None,
    name: str | None = None,
) -> Ablation:
    """Return an intervention that takes neurons out of the computation, or turns them up.

    Nothing happens until it is entered (``with``) or pushed on ``model.interventions``.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    neurons : NeuronSet, boolean array (sites, neurons), mapping {layer: indices} or pairs
        Which neurons; none at all is allowed and changes nothing.
    mode : {"zero", "mean", "scale", "from_inpainted", "range"}
        Set the activation to 0 (the first paper's suppression); to each neuron's mean over
        `reference`; to `scale` times itself; to what it is at the same token on the inpainted
        picture, `reference`; or to 0 only while it lies in the neuron's range, `reference`.
    scale : float
        The factor of mode "scale"; above 1 amplifies, below 0 inverts.
    reference : array, xarray.Dataset, picture, Prepared, list of these
        Mode "mean": an array over (layer, neuron), or an activation store of which the mean over
        pictures and tokens is taken. Mode "from_inpainted": the inpainted picture, or the store
        of it (one picture; tokens beyond those it holds keep their own activation); a list gives
        one for each picture of the batch; what ``model.prepare`` made holds its continuation's
        tokens too. Mode "range": a dataset of `low` and `high` over (layer,
        neuron), such as `mmkn_widgets.attribution.activation_ranges` makes, or the two arrays.
    positions : str, int or sequence, optional
        All tokens by default. Roles ``"text"``, ``"image"``, ``"special"``, ``"generated"``;
        ``"prompt"``; ``"predicting"`` (the prompt's last token and every generated one); token
        indices without padding, negative ones counted from the prompt's end.
    steps : int or sequence of int, optional
        All by default; -1 is the prompt, 0 the forward that reads the first generated token.
    name : str, optional
        For people; by default what it does.

    Returns
    -------
    Ablation
        A context manager; its `repr` says what it does.

    Raises
    ------
    BadArgument
        If an argument cannot be used; the message says what would be right.

    Notes
    -----
    Sato and Takagi 2025 (arXiv 2503.22941) set the activation of the found neurons to 0 at every
    position and generation step: the default. Mode "range" is that of Haider et al. 2025
    (arXiv 2502.06809).

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> ablate(model, {4: [1, 2], 5: [7]}, mode="scale", scale=-0.5)
    <ablation 'scale -0.5': 3 neurons in layers 4-5, scale -0.5>
    """
    if mode not in MODES:
        raise bad_argument("mode", mode, "one of " + ", ".join(map(repr, MODES)))
    scale = real_number("scale", scale)
    if mode in ("mean", "from_inpainted", "range") and reference is None:
        wanted = {
            "mean": "an array over (layer, neuron) or an activation store, for mode 'mean'",
            "from_inpainted": "the inpainted picture or its store, for mode 'from_inpainted'",
            "range": "low and high over (layer, neuron), for mode 'range'",
        }[mode]
        raise bad_argument("reference", None, wanted)
    rows = neuron_rows(model, neurons)
    selection = Selection.of(positions, steps)
    values: Reference | np.ndarray | None = None
    if mode == "mean":
        values = array_over_neurons(model, reference, "reference")
    elif mode == "range":
        values = _ends(model, reference)
    elif mode == "from_inpainted":
        values = read_reference(model, reference, rows)
    made = provenance(
        "ablate",
        mode=mode,
        scale=scale if mode == "scale" else None,
        n_neurons=count(rows),
        positions=selection.positions,
        steps=selection.steps,
        neurons=provenance_of(neurons),
    )
    shown = f"scale {scale:g}" if mode == "scale" else mode
    return Ablation(
        model, rows, selection, mode, scale, values, name=name or shown, provenance=made
    )


def _ends(model: MultimodalModel, reference: Any) -> np.ndarray:
    """Return the lower and upper ends of the neurons' ranges, (2, layer, neuron)."""
    wanted = "a dataset with 'low' and 'high' over (layer, neuron), or the two arrays"
    if hasattr(reference, "data_vars"):
        if not {"low", "high"} <= set(reference.data_vars):
            raise bad_argument("reference", list(reference.data_vars), wanted)
        low, high = reference["low"], reference["high"]
    else:
        try:
            low, high = reference
        except (TypeError, ValueError):
            raise bad_argument("reference", type(reference).__name__, wanted) from None
    ends = np.stack([array_over_neurons(model, one, "reference") for one in (low, high)])
    if (ends[0] > ends[1]).any():
        raise bad_argument("reference", "a low end above its high end", "low <= high everywhere")
    return ends

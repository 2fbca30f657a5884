"""What an intervention is: a named, counted, reversible change of activations or of weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ..core import NotSupported, count, describe_layers, html_card, leaving
from ..models import plain_torch
from .where import Selection, Where

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["ActivationIntervention", "Intervention", "WeightIntervention", "change"]


class Entered(Protocol):
    """What a stack gives to a ``with`` block that entered an intervention."""

    alive: bool


class Intervention:
    """A reversible change of a model; a context manager that makes it and undoes it.

    Entering pushes it on the model's `InterventionStack`, leaving removes exactly this entry,
    in whatever order contexts end. The same object can be entered again, also while entered.

    Attributes
    ----------
    name : str
        For people, unique only if the caller makes it so.
    kind : str
        Such as ``"ablation"``.
    rows : mapping of int to numpy.ndarray of int64
        Site row to the neurons touched there.
    provenance : dict
        What it was made with.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> silent = mmkn.interventions.ablate(model, {4: [1, 2]}, name="two")
    >>> with silent:
    ...     [one.name for one in model.interventions]
    ['two']
    >>> len(model.interventions)
    0
    """

    kind: ClassVar[str] = "intervention"
    on_weights: ClassVar[bool] = False

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        *,
        name: str,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.rows = dict(rows)
        self.name = name
        self.provenance = provenance or {}
        self._entered: list[tuple[int, Entered]] = []

    @property
    def n_neurons(self) -> int:
        """The number of neurons touched."""
        return count(self.rows)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers touched, from the first."""
        return tuple(sorted({int(self.model.sites[row].layer) for row in self.rows}))

    def __enter__(self) -> Self:
        stack = self.model.interventions
        mine = (threading.get_ident(), stack.entry(self))
        try:
            self._entered.append(mine)
            stack.enter(mine[1])
            return self
        except BaseException:
            self._leave(mine)
            raise

    @leaving
    def __exit__(self, *_: object) -> None:
        mine = self._last_entered()
        if mine is not None:
            self._leave(mine)

    def _last_entered(self) -> tuple[int, Entered] | None:
        here = threading.get_ident()
        alive = [pair for pair in self._entered if pair[1].alive]
        mine = [pair for pair in alive if pair[0] == here] or alive
        return mine[-1] if mine else None

    def _leave(self, mine: tuple[int, Entered]) -> None:
        entry: Any = mine[1]  # the stack's own kind, which stands above this file
        self.model.interventions.leave(entry)
        self._entered = [pair for pair in self._entered if pair is not mine]

    def __repr__(self) -> str:
        where = describe_layers(self.model, self.rows)
        neurons = "1 neuron" if self.n_neurons == 1 else f"{self.n_neurons} neurons"
        return f"<{self.kind} {self.name!r}: {neurons} in {where}{self._more()}>"

    def _repr_html_(self) -> str:
        active = any(one is self for one in self.model.interventions.active)
        return html_card(
            self.kind.capitalize(),
            [
                ("neurons", f"{self.n_neurons:,} in {describe_layers(self.model, self.rows)}"),
                ("how", self.how or None),
                ("changes", "weights" if self.on_weights else "activations"),
                ("now", "active on the model" if active else "not active"),
            ],
            about=repr(self.name),
        )

    @property
    def how(self) -> str:
        """What is done to the neurons, in words; empty where its kind says all."""
        return self._more().strip(" ,")

    def _more(self) -> str:
        return ""


class ActivationIntervention(Intervention):
    """A change of FFN activations, before they enter the down projection.

    Attributes
    ----------
    selection : Selection
        The positions and steps.
    needs_place : bool
        Whether `apply` must know where in the sequence the tokens stand.
    """

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        selection: Selection,
        *,
        name: str,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model, rows, name=name, provenance=provenance)
        self.selection = selection
        self.needs_place = not selection.everywhere
        with plain_torch(False):  # a graph may hold them
            self._index = {row: torch.as_tensor(index) for row, index in self.rows.items()}

    def asks(self, given: Tensor) -> bool:
        """Return whether it matters to `apply` where the tokens of what a site gets stand."""
        return self.needs_place or given.dim() != 3

    @property
    def silences(self) -> bool:
        """Whether every chosen neuron becomes 0, whatever it was."""
        return False

    def apply(self, row: int, activation: Tensor, where: Where | None) -> Tensor:
        """Return the changed activations of one site.

        Parameters
        ----------
        row : int
            The site's row.
        activation : Tensor, shape (batch, token, neuron)
            Or of any shape (..., neuron) when `where` is None.
        where : Where or None
            The tokens' places; never None when `needs_place`.

        Returns
        -------
        Tensor, same shape
            A new tensor: the given one is left as it is.
        """
        index = self._index[row]
        if index.device != activation.device:
            with plain_torch(False):
                index = self._index[row] = index.to(activation.device)
        everywhere = where is None or self.selection.everywhere
        if everywhere and self.silences:
            return activation.index_fill(-1, index, 0)
        before = activation.index_select(-1, index)
        after = self._change(row, before, where).to(before.dtype)
        if where is not None and (chosen := self.selection.mask(where)) is not None:
            after = torch.where(chosen.to(after.device)[..., None], after, before)
        return activation.index_copy(-1, index, after.expand_as(before))

    def _change(self, row: int, before: Tensor, where: Where | None) -> Tensor:
        """Return the new values of the chosen neurons, broadcastable to `before`."""
        raise NotImplementedError

    def _more(self) -> str:
        return f" {self.selection}".rstrip()


class WeightIntervention(Intervention):
    """A change of the columns with which neurons write (W_out)."""

    on_weights: ClassVar[bool] = True

    def changed(self, row: int, columns: Tensor) -> Tensor:
        """Return the new columns of one site.

        Parameters
        ----------
        row : int
            The site's row.
        columns : Tensor, shape (hidden, neuron)
            The columns of ``self.rows[row]`` as they are without this change, a copy.

        Returns
        -------
        Tensor, same shape and dtype
        """
        raise NotImplementedError


def change(
    acting: Sequence[ActivationIntervention],
    row: int,
    given: Tensor,
    where: Callable[[], Where | None],
) -> Tensor:
    """Apply interventions in order to what one site gets.

    Parameters
    ----------
    acting : sequence of ActivationIntervention
        Those that touch the site.
    row : int
        The site's row.
    given : Tensor, shape (batch, token, neuron) or (batch * token, neuron)
        The activations.
    where : callable
        Returns the places of the model's tokens in this forward, or None where they are not known.
        Called only where one must know: an intervention on every token of ordinary activations
        need not.

    Returns
    -------
    Tensor
        Of the given shape.

    Raises
    ------
    NotSupported
        If an intervention needs the tokens' places and the site does not see the model's tokens.
    """
    activation, places = given, None
    for intervention in acting:
        if intervention.asks(given):
            places = where()
            if places is not None and given.numel() == places.index.numel() * given.shape[-1]:
                activation = given.reshape(places.batch, places.length, given.shape[-1])
            else:
                places = None
            break
    for intervention in acting:
        if places is None and intervention.needs_place:
            raise NotSupported(
                f"{intervention!r} needs the tokens' places, and an input of shape "
                f"{tuple(given.shape)} is not the model's token sequence; use positions=None"
            )
        activation = intervention.apply(row, activation, places)
    return activation if places is None else activation.reshape(given.shape)

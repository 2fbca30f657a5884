"""What this Explorer has changed, with its own undo and redo, on the model's shared stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._choice import ids_to_mask

__all__ = ["Ablations", "Move", "Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """A set of neurons as it was at the click."""

    ids: tuple[int, ...]
    mode: str
    scale: float
    label: str


@dataclass(frozen=True, eq=False)
class Move:
    """A part of one scene's picture, put where a word of its caption is predicted.

    It belongs to that picture alone, so it is never on the shared stack: it acts while that
    picture's caption is written.
    """

    scene: int
    index: int
    object: str
    mask: np.ndarray
    label: str


class Ablations:
    """One own change at a time (an ablation, or a transplant), and the history of clicks.

    Parameters
    ----------
    model : ModelLike
    shape : tuple of int
        Of the score arrays: (layer, neuron).
    """

    def __init__(self, model: Any, shape: tuple[int, int]) -> None:
        self.model = model
        self.shape = shape
        self._own: Any = None
        self._past: list[Snapshot | Move | None] = []
        self._future: list[Snapshot | Move | None] = []
        self._now: Snapshot | Move | None = None

    @property
    def now(self) -> Snapshot | Move | None:
        """The change that was made last and not taken back, here or by another view."""
        if isinstance(self._now, Snapshot) and not self._acts():
            return None
        return self._now

    def _acts(self) -> bool:
        return any(item is self._own for item in self.model.interventions.active)

    def set(self, snapshot: Snapshot | Move | None, references: dict[str, Any]) -> None:
        """Make a snapshot the own ablation (None: nothing)."""
        if snapshot is None and self._now is None:
            return
        self._apply(snapshot, references)
        self._past.append(self._now)
        self._future.clear()
        self._now = snapshot

    def undo(self, references: dict[str, Any]) -> bool:
        """Go back one click; return whether there was one."""
        return self._travel(self._past, self._future, references)

    def fail(self, references: dict[str, Any]) -> None:
        """Go back one click that did not work, as if it had not been made."""
        future = list(self._future)
        if self.undo(references):
            self._future[:] = future

    def redo(self, references: dict[str, Any]) -> bool:
        """Go forth one click; return whether there was one."""
        return self._travel(self._future, self._past, references)

    def drop(self) -> None:
        """Take back the own ablation and forget the history."""
        self._pop()
        self._past.clear()
        self._future.clear()
        self._now = None

    def state(self) -> dict[str, Any]:
        """Return what the page shows: everything active on the model, whoever made it."""
        active = []
        for item in self.model.interventions.active:
            count = int(getattr(item, "n_neurons", 0))
            own = item is self._own
            active.append(
                {
                    "label": str(item.name),
                    "count": count,
                    "mode": str(getattr(item, "kind", "")),
                    "own": own,
                }
            )
        if isinstance(self._now, Move):
            moved = {"label": self._now.label, "count": 0, "mode": "transplant", "own": True}
            active.append(moved)
        return {"active": active, "can_undo": bool(self._past), "can_redo": bool(self._future)}

    def _travel(
        self,
        source: list[Snapshot | Move | None],
        target: list[Snapshot | Move | None],
        references: dict[str, Any],
    ) -> bool:
        if not source:
            return False
        snapshot = source[-1]
        self._apply(snapshot, references)
        source.pop()
        target.append(self._now)
        self._now = snapshot
        return True

    def _apply(self, snapshot: Snapshot | Move | None, references: dict[str, Any]) -> None:
        made = None
        if isinstance(snapshot, Snapshot):
            mask = ids_to_mask(np.asarray(snapshot.ids, np.int64), self.shape)
            options: dict[str, Any] = {"name": snapshot.label}
            if snapshot.mode == "scale":
                options["scale"] = snapshot.scale
            elif snapshot.mode in references:
                options["reference"] = references[snapshot.mode]
            made = self.model.ablate(mask, snapshot.mode, **options)
        self._pop()
        if made is not None:
            self._own = self.model.interventions.push(made)

    def _pop(self) -> None:
        own, self._own = self._own, None
        if own is not None and any(item is own for item in self.model.interventions.active):
            self.model.interventions.pop(own)

"""Tell views what changed, without letting a failing view stand in the way of an undo."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Intervention

__all__ = ["Observers", "StackEvent"]


@dataclass(frozen=True)
class StackEvent:
    """A change of a model's stack.

    Attributes
    ----------
    action : str
        One of ``"push"``, ``"pop"``, ``"undo"``, ``"redo"``, ``"clear"``, ``"enter"``, ``"exit"``
        (the last two by a ``with`` block).
    intervention : Intervention or None
        The one pushed, popped, entered or left.
    active : tuple of Intervention
        What is active after the change.
    """

    action: str
    intervention: Intervention | None
    active: tuple[Intervention, ...]


class Observers:
    """Functions to call after a change, in the order in which they were added."""

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[StackEvent], None], ...] = ()

    def add(self, callback: Callable[[StackEvent], None]) -> Callable[[], None]:
        """Add a function; return one that removes it (once; again is harmless)."""
        marker = _Observer(callback)
        self._callbacks = (*self._callbacks, marker)

        def remove() -> None:
            self._callbacks = tuple(c for c in self._callbacks if c is not marker)

        return remove

    def tell(self, event: StackEvent) -> None:
        """Call everyone; one that fails costs a warning and nothing else."""
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception as error:
                warnings.warn(
                    f"an observer of the intervention stack failed on {event.action!r}: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )


class _Observer:
    """One subscription, so that the same function can be added twice and removed once."""

    def __init__(self, callback: Callable[[StackEvent], None]) -> None:
        self._callback = callback

    def __call__(self, event: StackEvent) -> None:
        self._callback(event)

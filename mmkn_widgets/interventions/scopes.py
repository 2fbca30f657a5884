"""Inner scopes: what is pushed inside acts inside, for one thread or task, and then is gone."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from .frames import Frame

if TYPE_CHECKING:
    from .stack import InterventionStack

__all__ = ["Suspension", "innermost"]

#: The inner scopes of the current thread or task, outermost first (of all models).
_SCOPES: ContextVar[tuple[Frame, ...]] = ContextVar("mmkn_intervention_scopes", default=())


def innermost(owner: object, otherwise: Frame) -> Frame:
    """Return the innermost scope of a stack that the caller is in."""
    for frame in reversed(_SCOPES.get()):
        if frame.owner is owner and frame.alive:
            return frame
    return otherwise


class Suspension:
    """An inner scope; see `InterventionStack.suspended` and `InterventionStack.inner`."""

    def __init__(self, stack: InterventionStack, *, keep: bool = False) -> None:
        self._stack = stack
        self._keep = keep
        self._frames: list[Frame] = []

    def __enter__(self) -> InterventionStack:
        frame = Frame(self._stack)
        self._frames.append(frame)
        try:
            if self._keep:
                self._stack.inherit(frame)
            _SCOPES.set((*_SCOPES.get(), frame))
            self._stack.realise()
            return self._stack
        except BaseException:
            self._end(frame)
            raise

    def __exit__(self, *_: object) -> None:
        frame: Frame | None = None
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                frame = frame or self._frames[-1]
                self._end(frame)
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _end(self, frame: Frame) -> None:
        frame.alive = False
        _SCOPES.set(tuple(f for f in _SCOPES.get() if f.alive))
        self._stack.settle()
        self._frames = [one for one in self._frames if one is not frame]

"""Finish what must be finished although the user pressed Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Protocol

__all__ = ["Deferred", "Handles", "finish"]


class Deferred:
    """A context manager in which Ctrl-C waits; it acts when the block ends.

    Only the main thread gets interrupts, so in other threads there is nothing to do. Nor is there
    where Ctrl-C raises nothing in Python: in a process that ignores it (one started in the
    background), that it ends at once, or whose handler is not Python's.

    Examples
    --------
    >>> steps = []
    >>> own = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground
    >>> try:
    ...     with Deferred():
    ...         signal.raise_signal(signal.SIGINT)
    ...         steps.append("whole")
    ... except KeyboardInterrupt:
    ...     steps.append("interrupted")
    ... finally:
    ...     _ = signal.signal(signal.SIGINT, own)
    >>> steps
    ['whole', 'interrupted']
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._came: FrameType | bool | None = False

    def __enter__(self) -> Deferred:
        if threading.get_ident() == threading.main_thread().ident:
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # SIG_IGN, SIG_DFL and None are not
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, _: int, frame: FrameType | None) -> None:
        self._came = frame if frame is not None else True

    def __exit__(self, *_: object) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._came is not False:
            frame = None if self._came is True else self._came
            self._handler(signal.SIGINT, frame)


def finish(action: Callable[[], None]) -> None:
    """Do something to its end; an interrupt that arrives meanwhile is raised after.

    Parameters
    ----------
    action : callable
        Is begun again if an interrupt comes before it is protected: again must be harmless.

    Raises
    ------
    KeyboardInterrupt
        After the action has been done.
    """
    interrupt: KeyboardInterrupt | None = None
    done = False
    while not done:
        try:
            with Deferred():
                action()
                done = True
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


class Handle(Protocol):
    """What setting a hook returns."""

    def remove(self) -> None:
        """Take the hook off; again is harmless."""


class Handles:
    """Hooks for the length of a ``with`` block, gone after it wherever an interrupt comes.

    They are set when the block is entered, all or none; none is ever set and not noted.

    Parameters
    ----------
    hooks : iterable of handle
        Sets one hook at each step, a generator expression for instance; not begun before the
        block is entered.

    Examples
    --------
    >>> import torch
    >>> layers = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)]
    >>> shapes = []
    >>> def note(layer, given, made):
    ...     shapes.append(tuple(made.shape))
    >>> with Handles(layer.register_forward_hook(note) for layer in layers):
    ...     _ = torch.nn.Sequential(*layers)(torch.zeros(3, 2))
    >>> shapes, [len(layer._forward_hooks) for layer in layers]
    ([(3, 2), (3, 1)], [0, 0])
    """

    def __init__(self, hooks: Iterable[Handle]) -> None:
        self._hooks = hooks
        self._set: list[Handle] = []

    def __enter__(self) -> Handles:
        try:
            with Deferred():
                self._set.extend(self._hooks)
            return self
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Take off every hook, also where one of them fails to; again is harmless."""
        finish(self._remove)

    def _remove(self) -> None:
        failed: Exception | None = None
        while self._set:
            try:
                self._set[-1].remove()
            except Exception as error:  # noqa: BLE001 - the others must go all the same
                failed = failed or error
            self._set.pop()
        if failed is not None:
            raise failed

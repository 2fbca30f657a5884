"""Finish what must be finished although the user pressed Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Deferred", "finish"]


class Deferred:
    """A context manager in which Ctrl-C waits; it acts when the block ends.

    Only the main thread gets interrupts, so in other threads there is nothing to do.

    Examples
    --------
    >>> steps = []
    >>> try:
    ...     with Deferred():
    ...         signal.raise_signal(signal.SIGINT)
    ...         steps.append("whole")
    ... except KeyboardInterrupt:
    ...     steps.append("interrupted")
    >>> steps
    ['whole', 'interrupted']
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._came: FrameType | bool | None = False

    def __enter__(self) -> Deferred:
        if threading.get_ident() == threading.main_thread().ident:
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
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
    while True:
        try:
            with Deferred():
                action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt

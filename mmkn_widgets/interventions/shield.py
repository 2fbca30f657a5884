"""Finish what must be finished although the user pressed Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["shielded"]


def shielded(
    lock: threading.RLock | AbstractContextManager[Any],  # type: ignore[valid-type]
    action: Callable[[], None],
) -> None:
    """Do under a lock what can be repeated; an interrupt that arrives meanwhile is raised after.

    Parameters
    ----------
    lock : context manager
        Held while the action runs.
    action : callable
        Must give the same end state when it is begun again after being interrupted anywhere.

    Raises
    ------
    KeyboardInterrupt
        After the action has been done.

    Examples
    --------
    >>> import threading
    >>> done = []
    >>> shielded(threading.RLock(), lambda: done.append(1))
    >>> done
    [1]
    """
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            with lock:
                action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt

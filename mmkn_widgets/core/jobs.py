"""Progress and cancellation of long work, without any user interface."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Cancelled

__all__ = ["CancelToken", "Progress"]

#: Called as ``progress(stage, done, total)``; ``stage`` is a short phrase for people.
Progress = Callable[[str, int, int], None]


class CancelToken:
    """A flag that one thread sets and the working thread looks at between two steps.

    Examples
    --------
    >>> token = CancelToken()
    >>> token.cancelled
    False
    >>> token.cancel()
    >>> token.cancelled
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop at its next step."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when `cancel` was called."""
        if self._event.is_set():
            raise Cancelled("the work was cancelled")

"""One writer at a time: a lock on an open file, which ends with the process that holds it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["WriterLock"]


class WriterLock:
    """A lock that the operating system takes back when its process dies.

    Parameters
    ----------
    path : pathlib.Path
        Its file; made if there is none, never removed (removing would let two hold it).

    Raises
    ------
    OSError
        If the file cannot be made; `BlockingIOError` if another writer holds it.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            _lock(self._handle)
        except OSError as error:
            os.close(self._handle)
            raise BlockingIOError(error.errno, "another writer holds the lock") from error

    def release(self) -> None:
        """Let the next writer in; again is harmless."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

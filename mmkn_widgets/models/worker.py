"""One thread per model for long work, so that cells, callbacks and computing never share one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """A queue of jobs run in order by one daemon thread, started at the first job.

    Parameters
    ----------
    name : str
        The thread's name.

    Examples
    --------
    >>> Worker("example").submit(sum, [1, 2]).result()
    3
    """

    def __init__(self, name: str = "mmkn") -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Queue ``fn(*args, **kwargs)`` and return its future at once.

        A job that waits can still be cancelled with ``Future.cancel``; one that runs is cancelled
        by the `CancelToken` it was given. What a job raises is raised by ``Future.result``.
        """
        future: Future[T] = Future()
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this worker; waiting for its own jobs would never end."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        while True:
            future, job = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001  whoever waits gets it
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del future, job

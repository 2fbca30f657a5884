"""Make the next thing in another thread while this one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["made_ahead"]

T = TypeVar("T")
R = TypeVar("R")


def made_ahead(make: Callable[[T], R], items: Iterable[T], *, beside: bool = True) -> Generator[R]:
    """Yield ``make(item)`` in order, one made ahead while the caller works on the last.

    Parameters
    ----------
    make : callable
        Runs in one other thread, for one item at a time. What it raises is raised here, in the
        place of its item.
    items : iterable
        Read in this thread.
    beside : bool
        False makes each when it is asked for, in this thread.

    Yields
    ------
    what `make` returns

    Notes
    -----
    At most two results exist at once: the one that was yielded and the next. A caller that stops
    early waits for the one in the making, if any.

    Examples
    --------
    >>> list(made_ahead(lambda n: n * n, [1, 2, 3]))
    [1, 4, 9]
    """
    if not beside:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(1, "mmkn-ahead") as thread:
        waiting = None
        for item in items:
            ready, waiting = waiting, thread.submit(make, item)
            if ready is not None:
                yield ready.result()
                del ready
        if waiting is not None:
            yield waiting.result()

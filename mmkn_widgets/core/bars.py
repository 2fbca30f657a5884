"""A bar that says how far a long call has come: in a notebook a widget, in a terminal a line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .errors import bad_argument
from .jobs import Progress

__all__ = ["reporting", "set_progress"]

#: what takes less time than this, in seconds, shows no bar
_PATIENCE = 1.0

#: no rate and no time left: a step of one stage says nothing of the next
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"

_wanted = True
#: inside a call that has been asked already how it reports
_inside: ContextVar[bool] = ContextVar("mmkn_reporting", default=False)


def set_progress(on: bool) -> None:
    """Switch the progress bars of all later calls on (as they are at first) or off.

    A single call is silent with ``progress=False``; the environment variable ``TQDM_DISABLE=1``
    silences a whole process from outside.

    Parameters
    ----------
    on : bool

    Raises
    ------
    BadArgument
        If it is neither True nor False.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> mmkn.set_progress(False)
    >>> mmkn.set_progress(True)
    """
    global _wanted
    if not isinstance(on, bool):
        raise bad_argument("on", on, "True or False")
    _wanted = on


def _muted() -> bool:
    """Return whether the environment wants no bars; tqdm's own for notebooks does not look."""
    return os.environ.get("TQDM_DISABLE", "") not in ("", "0")


class _Bar:
    """A bar that appears when the work has taken a while, and goes when it ends."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._stage = ""
        self._bar: Any = None
        self._shown: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            if time.monotonic() - self._since < _PATIENCE:
                return
            self._open(total)
        if stage != self._stage or total != self._bar.total:
            self._stage = stage
            self._bar.reset(total)
            self._bar.set_description(stage)
        self._bar.update(done - self._bar.n)

    def _open(self, total: int) -> None:
        from tqdm.auto import tqdm

        options = {"total": total, "leave": False, "bar_format": _FORMAT}
        if not any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__):
            self._bar = tqdm(**options)
            return
        from IPython import display

        show: Any = display.display  # untyped
        # tqdm would leave a widget without a model in the notebook that is saved
        self._bar = tqdm(**options, display=False)
        self._shown = show(self._bar.container, display_id=True)
        self._bar.displayed = True

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._shown is not None:
            self._shown.update({"text/html": ""}, raw=True)


@contextmanager
def reporting(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Turn the argument `progress` of a public call into what its steps call, or None.

    The outermost call decides: what it calls in its turn shows no bar of its own.

    Parameters
    ----------
    progress : callable, bool or None
        A function called as ``progress(stage, done, total)``; False for silence; True for a bar;
        None for a bar unless `set_progress` has switched them off.

    Raises
    ------
    BadArgument
        If it is something else.

    Examples
    --------
    >>> with reporting(print) as step:
    ...     step("counting", 1, 2)
    counting 1 2
    >>> with reporting(False) as step:
    ...     step is None
    True
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise bad_argument("progress", progress, "a function of (stage, done, total), or a bool")
    if callable(progress):
        bar, step = None, progress
    elif progress is True or (progress is None and _wanted and not _inside.get() and not _muted()):
        bar = step = _Bar()
    else:
        bar = step = None
    token = _inside.set(True)
    try:
        yield step
    finally:
        _inside.reset(token)
        if bar is not None:
            bar.close()

"""What the package says of itself while it works, through Python's own logging."""

from __future__ import annotations

import logging

from .errors import bad_argument

__all__ = ["set_verbosity"]

_LEVELS = ("debug", "info", "warning", "error", "silent")
_LOG = logging.getLogger("mmkn_widgets")
_HANDLER = logging.StreamHandler()
_HANDLER.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))


def set_verbosity(level: str = "info") -> None:
    """Show on stderr what the package logs.

    The logger is the standard one of the name ``"mmkn_widgets"``: who has logging set up already
    (`logging.basicConfig`, a file) takes that instead.

    Parameters
    ----------
    level : {"debug", "info", "warning", "error", "silent"}
        "warning" is what holds without any call.

    Raises
    ------
    BadArgument
        If it is none of these.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> mmkn.set_verbosity("info")
    >>> mmkn.set_verbosity("warning")
    """
    if level not in _LEVELS:
        raise bad_argument("level", level, "one of " + ", ".join(_LEVELS))
    silent = level == "silent"
    _LOG.setLevel(logging.CRITICAL + 1 if silent else level.upper())
    if level in ("debug", "info") and not logging.getLogger().handlers:
        if _HANDLER not in _LOG.handlers:
            _LOG.addHandler(_HANDLER)
    else:
        _LOG.removeHandler(_HANDLER)

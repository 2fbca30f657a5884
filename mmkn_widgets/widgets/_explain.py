"""What failed, as words for people."""

from __future__ import annotations

import logging

from ..core import Cancelled, MmknError

__all__ = ["explain"]

_LOG = logging.getLogger("mmkn_widgets.widgets")


def explain(error: BaseException) -> tuple[str, str]:
    """Return an error as words for people, and what to do about it; log it when unexpected."""
    if isinstance(error, Cancelled):
        return "cancelled", "What you see is the last finished state."
    if isinstance(error, MmknError):
        return str(error), ""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "What you see is the last finished state."
    _LOG.error("a widget's work failed", exc_info=error)
    return (
        f"{type(error).__name__}: {error}",
        "The full trace is in the log of the kernel (logger mmkn_widgets.widgets).",
    )

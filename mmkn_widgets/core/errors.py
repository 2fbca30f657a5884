"""Errors that a user meets: one sentence that names the argument, what was given, what is right."""

from __future__ import annotations

__all__ = ["BadArgument", "Cancelled", "MmknError", "NotSupported", "bad_argument"]


class MmknError(Exception):
    """Base of every error this package raises on purpose."""


class BadArgument(MmknError, ValueError):
    """An argument has a value that cannot be used."""


class NotSupported(MmknError):
    """The model, data or environment cannot do what was asked; the message says why."""


class Cancelled(MmknError):
    """Long work was cancelled by its `CancelToken`; nothing half done is left."""


def bad_argument(name: str, given: object, wanted: str) -> BadArgument:
    """Return the error for a bad argument.

    Parameters
    ----------
    name : str
        The argument's name, as the caller wrote it.
    given : object
        What was given; long values are shortened.
    wanted : str
        What would be right, as the end of the sentence "expected ...".

    Examples
    --------
    >>> str(bad_argument("split", "dev", "one of 'train', 'val', 'test'"))
    "split: got 'dev', expected one of 'train', 'val', 'test'"
    """
    shown = repr(given)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return BadArgument(f"{name}: got {shown}, expected {wanted}")

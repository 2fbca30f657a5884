"""Look at folders and files without ever failing: what cannot be looked at is not there."""

from __future__ import annotations

import os
from pathlib import Path

from ..core import bad_argument

__all__ = ["expanded", "is_file", "is_folder", "names_in"]


def expanded(given: object, name: str, wanted: str) -> Path:
    """Return a path with ``~`` expanded, where there is such a home.

    Raises
    ------
    BadArgument
        If it is no path; `name` is the argument's, `wanted` what it should be.

    Examples
    --------
    >>> str(expanded("~nobody-of-this-name/a", "root", "a folder"))
    '~nobody-of-this-name/a'
    """
    try:
        path = Path(os.fsdecode(given))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise bad_argument(name, given, wanted) from None
    try:
        return path.expanduser()
    except RuntimeError:  # no home of that name: the file itself begins with ~
        return path


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False also where it may not be looked at."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    r"""Return whether a path is a file; False also where it may not be looked at.

    Examples
    --------
    >>> is_file(Path("x" * 5000)), is_file(Path("a\0b"))
    (False, False)
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, in no order; none where it may not be looked at."""
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []

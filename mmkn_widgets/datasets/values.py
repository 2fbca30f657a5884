"""Numbers and ids of annotation files, however a tool wrote them."""

from __future__ import annotations

import math
import re

__all__ = ["box_of", "id_of", "number", "whole"]

_WHOLE = re.compile(r"([+-]?\d{1,18})(?:\.0+)?", re.ASCII)


def _plain(value: object) -> object:
    """Return a number of numpy or torch as Python's."""
    item = None if isinstance(value, int | float | str) else getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "shape", None) == () else value


def whole(value: object) -> int | None:
    """Return a whole number however a tool wrote it: 640, 640.0, "640"; else None.

    Examples
    --------
    >>> whole(640.0), whole("640"), whole(640.5), whole(True), whole("dog")
    (640, 640, None, None, None)
    """
    value = _plain(value)
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        return int(found[1]) if found else None
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < 2**63 else None
    return value if type(value) is int and abs(value) < 2**63 else None


def id_of(value: object) -> int | str | None:
    """Return an id so that 1, 1.0 and "1" are one; a text otherwise; None where there is none.

    Examples
    --------
    >>> id_of("1"), id_of(1.0), id_of("img_7"), id_of(" "), id_of([1])
    (1, 1, 'img_7', None, None)
    """
    found = whole(value)
    if found is not None:
        return found
    return value if isinstance(value, str) and value.strip() else None


def number(value: object) -> float | None:
    """Return a finite number, or None where there is something else.

    Examples
    --------
    >>> number("2.5"), number(10**400), number(float("nan")), number(False)
    (2.5, None, None, None)
    """
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def box_of(given: object) -> tuple[float, float, float, float] | None:
    """Return four finite numbers, or None where there is something else.

    Examples
    --------
    >>> box_of([1, "2", 3.0, 4]), box_of([1, 2, 3]), box_of(None)
    ((1.0, 2.0, 3.0, 4.0), None, None)
    """
    given = given.tolist() if hasattr(given, "tolist") else given  # of numpy or torch
    if not isinstance(given, list | tuple):
        return None
    values = [number(one) for one in given]
    if len(values) != 4:
        return None
    x, y, width, height = values
    if x is None or y is None or width is None or height is None:
        return None
    return (x, y, width, height)

"""What counts as a whole number or a number where an argument wants one: one rule for everybody."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import bad_argument

__all__ = ["real_number", "real_numbers", "whole_number", "whole_numbers"]

_LEAST, _MOST = -(2**63), 2**63 - 1


def whole_numbers(
    name: str, values: Any, *, lowest: int | None = None, highest: int | None = None
) -> np.ndarray:
    """Return what a caller gave as whole numbers, or say which of them is none.

    A column of a table that once missed a value holds floats: 5.0 is the number 5 and is taken.
    3.7 is no number of a neuron, nor are NaN, True, "1" or what does not fit into 64 bits.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    values : array, sequence, iterable or one number
        numpy, torch, pandas and xarray arrays of one dimension, and whatever can be iterated.
    lowest, highest : int, optional
        The range, both ends included.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        Always a copy.

    Raises
    ------
    BadArgument
        Names the argument and the first value that is wrong.

    Examples
    --------
    >>> whole_numbers("index", [5.0, 3], lowest=0).tolist()
    [5, 3]
    >>> whole_numbers("index", [5.0, 3.7], lowest=0)
    Traceback (most recent call last):
    mmkn_widgets.core.errors.BadArgument: index: got 3.7, expected a whole number from 0
    """
    wanted = _wanted("a whole number", lowest, highest)
    given = _listed(name, values, wanted)
    if isinstance(given, list):
        found = _from_list(name, given, wanted)
    else:
        found = _from_array(name, given, wanted)
    low, high = _LEAST if lowest is None else lowest, _MOST if highest is None else highest
    if found.size and (int(found.min()) < low or int(found.max()) > high):
        raise bad_argument(name, int(found[(found < low) | (found > high)][0]), wanted)
    return found


def whole_number(
    name: str, value: Any, *, lowest: int | None = None, highest: int | None = None
) -> int:
    """Return one whole number by the rule of `whole_numbers`.

    Examples
    --------
    >>> whole_number("top", np.float64(5.0), lowest=1)
    5
    >>> whole_number("top", True, lowest=1)
    Traceback (most recent call last):
    mmkn_widgets.core.errors.BadArgument: top: got True, expected a whole number from 1
    """
    low, high = _LEAST if lowest is None else lowest, _MOST if highest is None else highest
    if type(value) is int and low <= value <= high:  # asked for once a neuron
        return value
    wanted = _wanted("a whole number", lowest, highest)
    found = _whole(name, value, wanted)
    if not low <= found <= high:
        raise bad_argument(name, value, wanted)
    return found


def real_numbers(name: str, values: Any, *, finite: bool = True) -> np.ndarray:
    """Return what a caller gave as numbers, or say which of them is none.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    values : array, sequence, iterable or one number
        As for `whole_numbers`; text, None and booleans are no numbers.
    finite : bool
        Whether NaN and infinity are refused.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Always a copy.

    Raises
    ------
    BadArgument
        Names the argument and the first value that is wrong.

    Examples
    --------
    >>> real_numbers("score", [1, 2.5]).tolist()
    [1.0, 2.5]
    """
    wanted = "a finite number" if finite else "a number"
    given = _listed(name, values, wanted)
    if isinstance(given, list):
        found = np.array([_real(name, value, wanted) for value in given], np.float64)
    elif given.dtype.kind == "O":
        found = np.array([_real(name, value, wanted) for value in given.tolist()], np.float64)
    elif given.dtype.kind in "iuf" or not given.size:
        found = np.array(given, np.float64)
    else:
        raise bad_argument(name, given[0].item(), wanted)
    if finite and not np.isfinite(found).all():
        raise bad_argument(name, float(found[~np.isfinite(found)][0]), wanted)
    return found


def real_number(
    name: str,
    value: Any,
    *,
    lowest: float | None = None,
    highest: float | None = None,
    finite: bool = True,
) -> float:
    """Return one number; NaN is none, whatever `finite` says of the two infinities.

    Examples
    --------
    >>> real_number("threshold_d", float("inf"), finite=False)
    inf
    >>> real_number("threshold_d", float("nan"), finite=False)
    Traceback (most recent call last):
    mmkn_widgets.core.errors.BadArgument: threshold_d: got nan, expected a number
    """
    wanted = _wanted("a finite number" if finite else "a number", lowest, highest)
    found = _real(name, value, wanted)
    if math.isnan(found) or (finite and math.isinf(found)):
        raise bad_argument(name, value, wanted)
    if (lowest is not None and found < lowest) or (highest is not None and found > highest):
        raise bad_argument(name, value, wanted)
    return found


def _wanted(what: str, lowest: float | None, highest: float | None) -> str:
    if lowest is None and highest is None:
        return what
    if highest is None:
        return f"{what} from {lowest}"
    return f"{what} up to {highest}" if lowest is None else f"{what} from {lowest} to {highest}"


def _listed(name: str, values: Any, wanted: str) -> list[Any] | np.ndarray:
    """Return an array of one dimension as it is, everything else as a list."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    if hasattr(values, "dtype") and hasattr(values, "shape"):
        array = np.asarray(values)
        if array.ndim > 1:
            raise bad_argument(name, f"an array of shape {array.shape}", f"{wanted} each, in a row")
        return array.reshape(-1)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return [values]
    return list(values)


def _from_list(name: str, given: list[Any], wanted: str) -> np.ndarray:
    if set(map(type, given)) <= {int}:
        try:
            return np.array(given, np.int64)
        except OverflowError:
            pass  # which of them it is, is found below
    return np.array([_whole(name, value, wanted) for value in given], np.int64)


def _from_array(name: str, given: np.ndarray, wanted: str) -> np.ndarray:
    if given.dtype.kind == "O":
        return _from_list(name, given.tolist(), wanted)
    if not given.size:
        return np.zeros(0, np.int64)
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            right = (given == np.floor(given)) & (given >= _LEAST) & (given < 2.0**63)
    elif given.dtype.kind in "iu":
        right = given <= _MOST
    else:
        right = np.zeros(given.shape, bool)
    if not right.all():
        raise bad_argument(name, given[~right][0].item(), wanted)
    return given.astype(np.int64)


def _whole(name: str, value: Any, wanted: str) -> int:
    if type(value) is not int:
        value = _item(value)
    if isinstance(value, bool):
        raise bad_argument(name, value, wanted)
    if isinstance(value, numbers.Integral) or (isinstance(value, float) and value.is_integer()):
        found = int(value)
        if _LEAST <= found <= _MOST:
            return found
        raise bad_argument(name, value, f"{wanted}, within 64 bits")
    raise bad_argument(name, value, wanted)


def _real(name: str, value: Any, wanted: str) -> float:
    value = _item(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise bad_argument(name, value, wanted)
    try:
        return float(value)
    except OverflowError:
        raise bad_argument(name, value, wanted) from None


def _item(value: Any) -> Any:
    """Return Python's own number of one that numpy, torch or xarray wraps."""
    if hasattr(value, "item") and hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value

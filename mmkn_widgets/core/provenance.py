"""What a result was made with: written into every result, so that it can be made again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

__all__ = ["provenance"]

_PACKAGES = ("mmkn_widgets", "torch", "transformers", "numpy", "xarray")


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        return value.item()
    return str(value)


def provenance(method: str, **arguments: Any) -> dict[str, Any]:
    """Return a JSON-able record of a method, its arguments and the package versions.

    Parameters
    ----------
    method : str
        The public name of the function that made the result.
    **arguments
        Every argument that shapes the result, defaults included. What JSON does not know becomes
        its `str`.

    Returns
    -------
    dict
        Keys ``method``, ``arguments``, ``versions``.

    Examples
    --------
    >>> provenance("two_stage", threshold_d=0.8)["arguments"]
    {'threshold_d': 0.8}
    """
    return {"method": method, "arguments": _plain(arguments), "versions": dict(_versions())}

"""Traits that travel, each with the name of its encoding in the contract with the page."""

from __future__ import annotations

from typing import Any

import traitlets as t

__all__ = ["boolean", "data", "flag_of", "integer", "json", "number", "text"]

_KIND = "wire"


def flag_of(trait: t.TraitType[Any, Any]) -> str | None:
    """Return the kind of a synced trait of ours, or None."""
    return trait.metadata.get(_KIND)


def number(value: float = 0.0, doc: str = "") -> t.Float:
    """A float64."""
    return t.Float(value, help=doc).tag(sync=True, wire="float")


def integer(value: int = 0, doc: str = "") -> t.Int:
    """A whole number."""
    return t.Int(value, help=doc).tag(sync=True, wire="int")


def boolean(value: bool = False, doc: str = "") -> t.Bool:
    """True or false."""
    return t.Bool(value, help=doc).tag(sync=True, wire="bool")


def text(value: str = "", doc: str = "") -> t.Unicode:
    """Plain text; the page never reads it as HTML."""
    return t.Unicode(value, help=doc).tag(sync=True, wire="text")


def data(doc: str = "") -> t.Bytes:
    """Bytes: little-endian arrays or an encoded picture; a binary buffer on the wire."""
    return t.Bytes(b"", help=doc).tag(sync=True, wire="bytes")


def json(value: Any, doc: str = "") -> t.Any:
    """Lists and dicts of JSON values (bytes inside travel as binary buffers)."""
    return t.Any(value, help=doc).tag(sync=True, wire="json")

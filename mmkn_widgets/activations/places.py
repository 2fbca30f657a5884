"""A picture's token geometry as text, so that a store on disk can paint without its model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import bad_argument
from ..models import Geometry, several

__all__ = ["geometries_from_text", "geometry_from_text", "geometry_to_text"]

_WANTED = "the geometry of a captured picture"


def geometry_to_text(geometry: Geometry | Sequence[Geometry]) -> str:
    """Return a geometry, or those of a prompt's pictures, as JSON.

    The cross-attention of learned queries is measured now, since it needs the model.

    Examples
    --------
    >>> from mmkn_widgets.models.geometry import Geometry
    >>> grid = Geometry.grid(1, 2, picture_size=(4, 8))
    >>> geometry_from_text(geometry_to_text(grid)).boxes.tolist() == grid.boxes.tolist()
    True
    """
    if not isinstance(geometry, Geometry):
        if len(geometry) == 1:
            return geometry_to_text(geometry[0])
        return json.dumps({"pictures": [json.loads(geometry_to_text(one)) for one in geometry]})
    described: dict[str, Any] = {
        "kind": geometry.kind,
        "shape": list(geometry.shape),
        "picture_size": list(geometry.picture_size),
        "boxes": _plain(geometry.boxes),
        "panels": [panel.tolist() for panel in geometry.panels],
        "approximate": geometry.approximate,
        "reason": geometry.reason,
    }
    if geometry.attention is not None:
        weights, box = geometry.attention()
        described["attention"] = {"weights": _plain(weights), "box": [float(v) for v in box]}
    return json.dumps(described)


def geometries_from_text(text: str) -> tuple[Geometry, ...]:
    """Read what `geometry_to_text` wrote of a prompt's pictures, one geometry for each.

    Examples
    --------
    >>> from mmkn_widgets.models.geometry import Geometry
    >>> grids = [Geometry.grid(1, 2, picture_size=(4, 8)), Geometry.grid(2, 2, picture_size=(4, 4))]
    >>> [grid.shape for grid in geometries_from_text(geometry_to_text(grids))]
    [(1, 2), (2, 2)]
    """
    try:
        held = json.loads(text)
        if "pictures" in held:
            return tuple(geometry_from_text(json.dumps(one)) for one in held["pictures"])
    except (ValueError, TypeError, RecursionError) as error:
        raise bad_argument("geometry", str(text)[:60], _WANTED) from error
    return (geometry_from_text(text),)


def geometry_from_text(text: str) -> Geometry:
    """Read what `geometry_to_text` wrote; of several pictures what stands for all.

    Raises
    ------
    BadArgument
        If the text describes no geometry.
    """
    try:
        held = json.loads(text)
        if "pictures" in held:
            return several(geometries_from_text(text))
        attention = None
        if "attention" in held:
            weights = _array(held["attention"]["weights"])
            box = tuple(float(v) for v in held["attention"]["box"])

            def attention() -> tuple[np.ndarray, tuple[float, ...]]:
                return weights, box

        boxes = _array(held["boxes"]).reshape(-1, 4)
        panels = tuple(np.asarray(panel, np.int64) for panel in held["panels"])
        if any(panel.ndim != 2 or panel.max(initial=-1) >= len(boxes) for panel in panels):
            raise ValueError("a panel with tokens that have no box")
        return Geometry(
            held["kind"],
            (int(held["shape"][0]), int(held["shape"][1])),
            boxes,
            (int(held["picture_size"][0]), int(held["picture_size"][1])),
            panels,
            bool(held["approximate"]),
            str(held["reason"]),
            attention,
        )
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise bad_argument("geometry", str(text)[:60], _WANTED) from error


def _plain(values: np.ndarray) -> Any:
    """Return nested lists; NaN, which JSON does not know, becomes null."""
    array = np.asarray(values, np.float64)
    if np.isfinite(array).all():
        return array.tolist()
    known = array.astype(object)
    known[~np.isfinite(array)] = None
    return known.tolist()


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)

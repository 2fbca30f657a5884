"""Local tiles and an overview that reach the model under two names, local ones first."""

from __future__ import annotations

import math
from typing import Any

from .geometry import GeometryKind
from .geometry_panels import Panel, raster
from .geometry_scene import Refused, Scene

__all__ = ["local_and_global"]


def local_and_global(scene: Scene) -> tuple[GeometryKind, list[Panel]] | None:
    """Local tiles first, then the overview: `pixel_values_local` (Step 3, Unlimited-OCR)."""
    overview = scene.frames("pixel_values")
    if scene.has_module("query", "view_separator") and not scene.has_module("image_newline"):
        raise Refused("learned queries and a separator: no raster, and no cross-attention to paint")
    if "pixel_values_local" not in scene.single and not scene.has_module("view_separator"):
        return None
    if len(overview) != 1 or overview[0] is None:
        return None
    local = scene.frames("pixel_values_local")
    patch = scene.patch_size
    newline, tail = int(scene.has_module("image_newline")), int(scene.has_module("view_separator"))
    whole = overview[0]
    for side in range(max(whole.height // patch, 1), 0, -1):
        rest = scene.n_tokens - side * (side + newline) - tail
        tiles = _local_panels(scene, local, rest, newline)
        if tiles is None:
            continue
        tokens = raster(side, side, rest, side + newline)
        return ("tiles" if tiles else "grid"), [*tiles, Panel(tokens, whole.whole)]
    raise Refused(f"{scene.n_tokens} image tokens fit no overview with {len(local)} tiles")


def _local_panels(scene: Scene, local: list[Any], rest: int, newline: int) -> list[Panel] | None:
    if not local:
        return [] if rest == 0 else None
    if rest <= 0:
        return None
    if not newline:
        side = math.isqrt(rest // len(local))
        if side * side * len(local) != rest:
            return None
        return [
            Panel(raster(side, side, index * side * side), frame.whole)
            for index, frame in enumerate(local)
            if frame is not None
        ]
    lefts = sorted({round(frame.x0) for frame in local})
    cols = len(lefts)
    rows = len(local) // cols

    def corner(index: int, side: int) -> int:
        return (index // cols) * side * (cols * side + 1) + (index % cols) * side

    for side in range(1, rest + 1):
        stride = cols * side + 1
        if rows * side * stride == rest:
            return [
                Panel(raster(side, side, corner(index, side), stride), frame.whole)
                for index, frame in enumerate(local)
            ]
    return None

"""AnyRes: an overview, then a mosaic of tiles without its padding, a newline behind every row."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from .geometry import GeometryKind
from .geometry_frames import Frame
from .geometry_panels import Panel, raster
from .geometry_scene import Refused, Scene, ints

__all__ = ["anyres"]


def anyres(scene: Scene) -> tuple[GeometryKind, list[Panel]] | None:
    """LLaVA-NeXT, LLaVA-OneVision, Granite Vision: `image_sizes` and `image_grid_pinpoints`."""
    pinpoints = getattr(scene.hf.config, "image_grid_pinpoints", None)
    sizes = ints(scene.single.get("image_sizes"))
    frames = scene.frames("pixel_values")
    if not pinpoints or sizes is None:
        return None
    if not frames:
        raise Refused("where the tiles lie is known only to the processor")
    height, width = (int(v) for v in sizes.reshape(-1, 2)[0])
    side_px = int(scene.setting("image_size") or frames[0].height if frames[0] else 0)
    overview = frames[0]
    if overview is None or side_px == 0:
        raise Refused("the overview shows nothing of the picture")
    most = side_px // scene.patch_size
    if len(frames) == 1:
        side = math.isqrt(scene.n_tokens)
        if scene.n_tokens - side * side in (0, 1):  # with its newline
            return "grid", [Panel(raster(side, side), overview.whole)]
        raise Refused(f"{scene.n_tokens} image tokens are no square overview")
    from transformers.image_processing_utils import select_best_resolution

    best = select_best_resolution((height, width), pinpoints)
    down, across = best[0] // side_px, best[1] // side_px
    ratio_limit = getattr(scene.hf.config, "vision_aspect_ratio", None)
    for side in range(most, 0, -1):
        rows, cols = _unpadded(down * side, across * side, height, width)
        cut_rows, cut_cols = _limited(rows, cols, side, ratio_limit)
        for newline in (1, 0):
            if side * side + cut_rows * (cut_cols + newline) != scene.n_tokens:
                continue
            tokens = raster(cut_rows, cut_cols, side * side, cut_cols + newline)
            mosaic = _mosaic(frames[1 : 1 + down * across], across)
            top, left = (down * side - rows) / 2, (across * side - cols) / 2
            cell_y, cell_x = side_px / side, side_px / side
            box = mosaic.box(
                left * cell_x, top * cell_y, (left + cols) * cell_x, (top + rows) * cell_y
            )
            return "tiles", [Panel(tokens, box), Panel(raster(side, side), overview.whole)]
    raise Refused(f"{scene.n_tokens} image tokens fit no mosaic of {down}x{across} tiles")


def _unpadded(rows: int, cols: int, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns left when the padding of a (height, width) picture is cut."""
    if width / height > cols / rows:
        kept = int(round(height * (cols / width), 7))
        return rows - 2 * ((rows - kept) // 2), cols
    kept = int(round(width * (rows / height), 7))
    return rows, cols - 2 * ((cols - kept) // 2)


def _limited(rows: int, cols: int, side: int, limit: Any) -> tuple[int, int]:
    """Return the grid after LLaVA-OneVision's bilinear shrinking ("anyres_max_9")."""
    if not isinstance(limit, str) or not limit.startswith("anyres_max_"):
        return rows, cols
    ratio = math.sqrt(rows * cols / (int(limit.removeprefix("anyres_max_")) * side**2))
    return (int(rows // ratio), int(cols // ratio)) if ratio > 1.1 else (rows, cols)


def _mosaic(tiles: list[Frame | None], across: int) -> Frame:
    """Return one frame for all tiles, in pixels from the first tile's corner."""
    known = [(index, tile) for index, tile in enumerate(tiles) if tile is not None]
    if not known:
        raise Refused("the tiles show nothing of the picture")
    step_x = median(tile.step_x for _, tile in known)
    step_y = median(tile.step_y for _, tile in known)
    x0 = median(tile.x0 - (index % across) * tile.width * step_x for index, tile in known)
    y0 = median(tile.y0 - (index // across) * tile.height * step_y for index, tile in known)
    height, width = known[0][1].height, known[0][1].width
    return Frame(height, width, x0, y0, step_x, step_y)

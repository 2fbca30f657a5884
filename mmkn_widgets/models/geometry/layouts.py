"""Which layout the image tokens have, told from the model's inputs rather than from its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_positions import patches_without_words
from .clues import Refused, Scene, ints, lattice_box
from .geometry import Geometry, GeometryKind, Panel, raster
from .origins import Box, Frame
from .queries import queries

__all__ = ["FAMILIES", "Refused", "Scene", "anyres", "local_and_global"]


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
        tiles = _local_panels(local, rest, newline)
        if tiles is None:
            continue
        tokens = raster(side, side, rest, side + newline)
        return ("tiles" if tiles else "grid"), [*tiles, Panel(tokens, whole.whole)]
    raise Refused(f"{scene.n_tokens} image tokens fit no overview with {len(local)} tiles")


def _local_panels(local: list[Any], rest: int, newline: int) -> list[Panel] | None:
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


Found = tuple[GeometryKind, list[Panel]] | Geometry | None


def place_grid(n_tokens: int, rows: int, cols: int, start: int = 0) -> NDArray[np.int64] | None:
    """Return the raster of a grid that may carry extra tokens, or None when the count differs.

    Known extras: one token in front (a class or pooled token), one newline behind every row, and
    with these one separator behind or one token at either end.

    Examples
    --------
    >>> place_grid(6, 2, 2).tolist()
    [[0, 1], [3, 4]]
    """
    row_ends = rows * (cols + 1)
    if n_tokens == rows * cols:
        return raster(rows, cols, start)
    if n_tokens == rows * cols + 1:
        return raster(rows, cols, start + 1)
    if n_tokens in (row_ends, row_ends + 1):
        return raster(rows, cols, start, cols + 1)
    if n_tokens == row_ends + 2:
        return raster(rows, cols, start + 1, cols + 1)
    return None


def merged_grid(scene: Scene) -> Found:
    """Patches flattened with their grid: `image_grid_thw` (Qwen and kin), `image_grid_hw`."""
    grid = ints(scene.single.get("image_grid_thw"))
    if grid is None:
        sides = ints(scene.single.get("image_grid_hw"))
        grid = None if sides is None else np.insert(sides.reshape(-1, 2), 0, 1, axis=1)
    if grid is None:
        return None
    grid = grid.reshape(-1, 3)
    if len(grid) > 1 or grid[0, 0] > 1:
        raise Refused(f"the picture became {len(grid)} grids of {grid[0, 0]} frames: a clip")
    _, height, width = (int(v) for v in grid[0])
    for merge in _merges(height, width):
        tokens = place_grid(scene.n_tokens, height // merge, width // merge)
        if tokens is not None:
            box = lattice_box(scene, height, width)
            return ("merged_grid" if merge > 1 else "grid"), [Panel(tokens, box)]
    raise Refused(f"{scene.n_tokens} image tokens do not fit the grid of {height}x{width} patches")


def _merges(height: int, width: int) -> Iterator[int]:
    return (m for m in range(1, min(height, width) + 1) if height % m == 0 and width % m == 0)


def slices(scene: Scene) -> Found:
    """Tiles of own sizes: `spatial_shapes` (LFM2-VL), `target_sizes` (MiniCPM)."""
    for key in ("spatial_shapes", "target_sizes"):
        sides = ints(scene.single.get(key))
        if sides is not None:
            break
    else:
        return None
    sides = sides.reshape(-1, 2)
    for factor in (1, 2, 4, 8):
        counts = [math.ceil(h / factor) * math.ceil(w / factor) for h, w in sides]
        if sum(counts) == scene.n_tokens:
            break
    else:
        raise Refused(f"{scene.n_tokens} image tokens do not fit the slices {sides.tolist()}")
    panels, start = [], 0
    for index, ((height, width), count) in enumerate(zip(sides.tolist(), counts, strict=True)):
        rows, cols = math.ceil(height / factor), math.ceil(width / factor)
        x0, y0, x1, y1 = _slice_box(scene, sides, index)
        # a last row or column may be a partial block: the raster still has whole cells
        box = (
            x0,
            y0,
            x0 + (x1 - x0) * cols * factor / width,
            y0 + (y1 - y0) * rows * factor / height,
        )
        panels.append(Panel(raster(rows, cols, start), box))
        start += count
    kind: GeometryKind = "tiles" if len(panels) > 1 else "merged_grid" if factor > 1 else "grid"
    return kind, panels


def _slice_box(scene: Scene, sides: NDArray[np.int64], index: int) -> Box:
    """Return what one slice shows: patches (slice, patch, element), or strips of all patches."""
    height, width = (int(v) for v in sides[index])
    before = int(np.prod(sides[:index], axis=1).sum())
    centres = scene.patch_centres()
    if len(centres) == len(sides) and len(centres[index]) >= height * width:
        points = centres[index][: height * width]
    else:
        strips = scene.strip_centres(int(np.prod(sides, axis=1).sum()))
        if strips is None:
            if len(sides) == 1 and scene.stretches:
                return scene.whole
            raise Refused("where the slices lie is known only to the processor")
        points = strips[before : before + height * width]
    return lattice_box(scene, height, width, points)


def positions(scene: Scene) -> Found:
    """Patches with their own (x, y): `image_position_ids`, pooled k x k (Gemma 4)."""
    for key in ("image_position_ids", "pixel_position_ids"):
        ids = ints(scene.single.get(key))
        if ids is not None and ids.shape[-1] == 2:
            break
    else:
        return None
    ids = ids.reshape(-1, 2)
    real = np.asarray((ids >= 0).all(axis=1))
    if not real.any():
        return None
    width, height = (int(v) + 1 for v in ids[real].max(axis=0))
    pool = round(math.sqrt(real.sum() / scene.n_tokens))
    if pool < 1 or (height // pool) * (width // pool) != scene.n_tokens:
        raise Refused(f"{scene.n_tokens} image tokens do not fit {height}x{width} patches")
    points = [c[real] for c in scene.patch_centres() if len(c) == len(real)]
    box = lattice_box(scene, height, width, points[0] if points else None)
    tokens = raster(height // pool, width // pool)
    return ("merged_grid" if pool > 1 else "grid"), [Panel(tokens, box)]


def pooling_map(scene: Scene) -> Found:
    """A map from tokens to patches among the inputs: `image_token_pooling` (Molmo 2)."""
    pooling, grids = (
        ints(scene.single.get("image_token_pooling")),
        ints(scene.single.get("image_grids")),
    )
    if pooling is None or grids is None:
        return None
    low_rows, low_cols, high_rows, high_cols = (int(v) for v in grids.reshape(-1, 4)[0])
    centres = scene.patch_centres()
    if not centres:
        raise Refused("where the crops lie is known only to the processor")
    points = np.concatenate(centres)
    chosen = np.where(pooling[..., None] >= 0, points[np.maximum(pooling, 0)], np.nan)
    with np.errstate(all="ignore"):
        centre = np.nanmean(chosen, axis=1)
    panels, start = [], 0
    for rows, cols in ((low_rows, low_cols), (high_rows, high_cols)):
        n = rows * cols
        if n:
            tokens = raster(rows, cols, start)
            panels.append(Panel(tokens, lattice_box(scene, rows, cols, centre[start : start + n])))
        start += n
    if start != scene.n_tokens:
        raise Refused(f"{scene.n_tokens} image tokens for {start} pooled ones")
    return "tiles" if len(panels) > 1 else "merged_grid", panels


def native(scene: Scene) -> Found:
    """One image of its own size, padded to the batch's largest: `image_sizes` (Pixtral, Emu3)."""
    sizes = ints(scene.single.get("image_sizes"))
    frames = scene.frames("pixel_values")
    if sizes is None or len(frames) != 1 or frames[0] is None:
        return None
    height, width = (int(v) for v in sizes.reshape(-1, 2)[0])
    frame = frames[0]
    for cell in scene.cell_sizes():
        rows, cols = height // cell, width // cell
        tokens = place_grid(scene.n_tokens, rows, cols) if rows and cols else None
        if tokens is not None and scene.n_tokens != rows * cols + 1:
            return "grid", [Panel(tokens, frame.box(0, 0, cols * cell, rows * cell))]
    return None


def patches_beside_words(scene: Scene) -> Found:
    """Patches behind the words; one that holds a word is added to that word's token (UDOP)."""
    boxes = scene.inputs.get("bbox")
    if boxes is None or "pixel_values" not in scene.inputs:
        return None
    side = int(scene.hf.config.image_size) // scene.patch_size
    free = patches_without_words(boxes[scene.row], side)
    if free.sum() != scene.n_tokens:
        raise Refused(f"{scene.n_tokens} image tokens for {free.sum()} patches without a word")
    tokens = np.where(free, np.cumsum(free).reshape(side, side) - 1, -1)
    return "grid", [Panel(tokens, lattice_box(scene, side, side))]


def tiles(scene: Scene) -> Found:
    """One fixed image, or several of one size, each a raster: LLaVA, InternVL, Idefics3."""
    frames = scene.frames("pixel_values") or scene.frames("pixel_values_images")
    known = [frame for frame in frames if frame is not None]
    if not known:
        return None
    for candidates in (frames, known):
        n, count = scene.n_tokens, len(candidates)
        if n % count and count > 1:
            continue
        each = n // count
        panels = []
        for index, frame in enumerate(candidates):
            if frame is None:
                continue
            grid = _tile_grid(scene, frame.height, frame.width, each)
            if grid is None:
                break
            rows, cols, high, wide, ahead = grid
            tokens = raster(rows, cols, index * each + ahead)
            panels.append(Panel(tokens, frame.box(0, 0, wide, high)))
        else:
            return ("tiles" if len(panels) > 1 else "grid"), panels
    return None


def _tile_grid(
    scene: Scene, height: int, width: int, n_tokens: int
) -> tuple[int, int, float, float, int] | None:
    """Return (rows, columns, covered height, covered width, tokens in front) of one tile."""
    patch = scene.patch_size
    down, across = max(height // patch, 1), max(width // patch, 1)
    for ahead in (0, 1):
        n = n_tokens - ahead
        rows = round(math.sqrt(n * height / width)) if n > 0 else 0
        if rows < 1 or n % rows or abs((n // rows) / rows - width / height) > 0.2 * width / height:
            continue
        cols = n // rows
        if rows > down or cols > across:
            continue
        # what the last, incomplete patch of a row would show is cut away by the convolution
        return rows, cols, float(down * patch), float(across * patch), ahead
    return None


def strips(scene: Scene) -> Found:
    """Neighbouring patches of a row laid side by side, as the config says (MiniGPT-4, Llama-2)."""
    grid = getattr(scene.hf.config, "image_token_grid", None)
    if not grid or grid[0] * grid[1] != scene.n_tokens:
        return None
    return "strips", [Panel(raster(*grid), lattice_box(scene, *grid))]


def patch_rows(scene: Scene) -> Found:
    """Patches in raster order without a grid among the inputs: their origins tell it (Fuyu)."""
    for centres in scene.patch_centres():
        points = centres[np.isfinite(centres).all(axis=1)]
        if len(points) < 2 or len(points) != scene.n_tokens:
            continue
        back = np.flatnonzero(np.diff(points[:, 0]) < 0)
        cols = int(back[0]) + 1 if len(back) else len(points)
        if len(points) % cols == 0:
            rows = len(points) // cols
            return "grid", [Panel(raster(rows, cols), lattice_box(scene, rows, cols, points))]
    return None


#: asked in order; the first that answers is believed
FAMILIES: tuple[Callable[[Scene], Found], ...] = (
    merged_grid,
    slices,
    positions,
    pooling_map,
    anyres,
    local_and_global,
    strips,
    queries,
    patches_beside_words,
    native,
    tiles,
    patch_rows,
)

"""Panels: rasters of tokens over a rectangle of the picture, and how tiles join to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry_frames import Box

__all__ = ["Panel", "merge_tiles", "raster"]


@dataclass(frozen=True, eq=False)
class Panel:
    """A raster of image tokens over a rectangle of the picture.

    Parameters
    ----------
    tokens : int array, (rows, columns)
        Indices into the image tokens, -1 where a cell has none.
    box : tuple of float
        The rectangle in pixels of the original picture.
    """

    tokens: NDArray[np.int64]
    box: Box

    @property
    def cell_area(self) -> float:
        """Area of one cell in square pixels of the picture."""
        x0, y0, x1, y1 = self.box
        return abs((x1 - x0) * (y1 - y0)) / self.tokens.size

    def write(self, boxes: NDArray[np.float64]) -> None:
        """Write the boxes of this panel's tokens into `boxes` (image token, 4)."""
        rows, cols = self.tokens.shape
        x0, y0, x1, y1 = self.box
        xs, ys = np.linspace(x0, x1, cols + 1), np.linspace(y0, y1, rows + 1)
        row, col = np.nonzero(self.tokens >= 0)
        token = self.tokens[row, col]
        boxes[token] = np.stack([xs[col], ys[row], xs[col + 1], ys[row + 1]], axis=1)


def raster(
    rows: int, cols: int, start: int = 0, row_stride: int | None = None
) -> NDArray[np.int64]:
    """Return token indices in raster order from `start`; `row_stride` skips tokens at row ends.

    Examples
    --------
    >>> raster(2, 2, start=1, row_stride=3).tolist()
    [[1, 2], [4, 5]]
    """
    stride = cols if row_stride is None else row_stride
    return start + np.arange(rows)[:, None] * stride + np.arange(cols)[None, :]


def merge_tiles(panels: list[Panel]) -> list[Panel]:
    """Join tiles that lie edge to edge in a regular mosaic; others stay as they are."""
    if len(panels) < 2:
        return panels
    sizes = np.array([(p.box[2] - p.box[0], p.box[3] - p.box[1]) for p in panels])
    groups: dict[int, list[Panel]] = {}
    for index, panel in enumerate(panels):
        near = np.all(np.abs(sizes[:index] - sizes[index]) < 0.05 * sizes[index], axis=1)
        same = [i for i in np.flatnonzero(near) if panels[i].tokens.shape == panel.tokens.shape]
        groups.setdefault(int(same[0]) if same else index, []).append(panel)
    out: list[Panel] = []
    for group in groups.values():
        out.extend(_mosaic(group))
    return out


def _mosaic(group: list[Panel]) -> list[Panel]:
    if len(group) == 1:
        return group
    boxes = np.array([panel.box for panel in group])
    wide = np.mean(boxes[:, 2] - boxes[:, 0])
    high = np.mean(boxes[:, 3] - boxes[:, 1])
    col = np.rint((boxes[:, 0] - boxes[:, 0].min()) / wide).astype(int)
    row = np.rint((boxes[:, 1] - boxes[:, 1].min()) / high).astype(int)
    cols, rows = int(col.max()) + 1, int(row.max()) + 1
    off_x = np.abs(boxes[:, 0] - boxes[:, 0].min() - col * wide) > 0.1 * wide
    off_y = np.abs(boxes[:, 1] - boxes[:, 1].min() - row * high) > 0.1 * high
    if off_x.any() or off_y.any() or len({*zip(row, col, strict=True)}) != len(group):
        return group
    if rows * cols != len(group):
        return group
    height, width = group[0].tokens.shape
    tokens = np.full((rows * height, cols * width), -1, dtype=np.int64)
    for panel, r, c in zip(group, row, col, strict=True):
        tokens[r * height : (r + 1) * height, c * width : (c + 1) * width] = panel.tokens
    box = (
        float(boxes[:, 0].min()),
        float(boxes[:, 1].min()),
        float(boxes[:, 2].max()),
        float(boxes[:, 3].max()),
    )
    return [Panel(tokens, box)]

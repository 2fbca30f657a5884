"""Whether a heatmap lies on the object: pointing game and intersection over union."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import bad_argument, real_number, whole_numbers

__all__ = ["heatmap_iou", "pointing", "upsample"]


def _map(values: Any, boxes: Any) -> tuple[np.ndarray, np.ndarray | None]:
    grid = np.asarray(values, dtype=np.float64)
    if boxes is None:
        if grid.ndim != 2 or not grid.size:
            raise bad_argument("values", f"shape {grid.shape}", "(rows, columns), or boxes beside")
        return grid, None
    places = np.asarray(boxes, dtype=np.float64)
    grid = grid.ravel()
    if places.shape != (grid.size, 4) or not grid.size:
        raise bad_argument("boxes", f"shape {places.shape}", f"({grid.size}, 4): x0, y0, x1, y1")
    return grid, places


def _mask(mask: Any) -> np.ndarray:
    covered = np.asarray(mask)
    if covered.ndim != 2 or not covered.size:
        raise bad_argument("mask", f"shape {covered.shape}", "(height, width)")
    if covered.dtype.kind not in "biuf" or (covered.dtype.kind == "f" and np.isnan(covered).any()):
        raise bad_argument("mask", f"{covered.dtype} or NaN", "yes or no for each pixel")
    return covered.astype(bool)


def pointing(values: Any, mask: Any, boxes: Any = None) -> bool:
    """Return whether the centre of the token with the largest value lies in the mask.

    Parameters
    ----------
    values : array, shape (rows, columns), or (tokens,) with `boxes`
        A heatmap over image tokens that tile the picture. NaN is never the largest; the first of
        equal ones counts; a constant map points at nothing.
    mask : array of bool, shape (height, width)
    boxes : array, shape (tokens, 4), optional
        Each token's x0, y0, x1, y1 in the picture's pixels, where tokens do not tile it.

    Examples
    --------
    >>> pointing([[0, 1], [0, 0]], [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    True
    """
    grid, places = _map(values, boxes)
    covered = _mask(mask)
    known = np.isfinite(grid)
    if not known.any() or (grid.size > 1 and np.ptp(grid[known]) == 0 and known.all()):
        return False
    best = int(np.argmax(np.where(known, grid, -np.inf)))
    height, width = covered.shape
    if places is None:
        row, column = divmod(best, grid.shape[1])
        x = (column + 0.5) * width / grid.shape[1]
        y = (row + 0.5) * height / grid.shape[0]
    else:
        x, y = (places[best, 0] + places[best, 2]) / 2, (places[best, 1] + places[best, 3]) / 2
    inside = 0 <= x < width and 0 <= y < height
    return bool(inside and covered[int(y), int(x)])


def upsample(values: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a grid of tokens as a map of the picture: bilinear, samples at the cells' centres.

    Parameters
    ----------
    values : array, shape (rows, columns)
    size : (int, int)
        The picture's (height, width).

    Returns
    -------
    numpy.ndarray of float64, shape (height, width)
        Beyond the outermost centres the border's value goes on.

    Examples
    --------
    >>> upsample([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    grid, _ = _map(values, None)
    wanted = whole_numbers("size", size, lowest=1).tolist()
    if len(wanted) != 2:
        raise bad_argument("size", size, "(height, width)")
    import torch

    painted = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=wanted, mode="bilinear", align_corners=False
    )
    return np.asarray(painted[0, 0])


def heatmap_iou(
    values: Any, mask: Any, boxes: Any = None, *, percentile: float = 95.0
) -> float | None:
    """Return the intersection over union of a mask and the hottest part of a heatmap.

    Parameters
    ----------
    values : array, shape (rows, columns), or (tokens,) with `boxes`
        A grid is brought to the mask's size by `upsample`; an array of the mask's size stays as
        it is; with `boxes` each token's box is painted, later ones over earlier ones.
    mask : array of bool, shape (height, width)
    boxes : array, shape (tokens, 4), optional
        As for `pointing`.
    percentile : float
        Pixels above this percentile of the map are its hottest part.

    Returns
    -------
    float or None
        Between 0 and 1; None when neither has a pixel.

    Examples
    --------
    >>> heatmap_iou([[0, 1], [0, 0]], [[0, 1], [0, 0]], percentile=75)
    1.0
    """
    grid, places = _map(values, boxes)
    covered = _mask(mask)
    percentile = real_number("percentile", percentile, lowest=0, highest=100)
    if places is not None:
        painted = np.full(covered.shape, np.nan)
        placed = np.isfinite(places).all(axis=1)  # a token without a place is nowhere
        corners = np.rint(places[placed]).astype(int)
        for value, (x0, y0, x1, y1) in zip(grid[placed], corners, strict=True):
            painted[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = value
    else:
        painted = grid if grid.shape == covered.shape else upsample(grid, covered.shape)
    known = painted[np.isfinite(painted)]
    hot = np.zeros(covered.shape, dtype=bool)
    if known.size:
        with np.errstate(invalid="ignore"):
            hot = painted > np.percentile(known, percentile)
    union = int((hot | covered).sum())
    return int((hot & covered).sum()) / union if union else None

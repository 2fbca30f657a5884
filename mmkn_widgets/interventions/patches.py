"""What a picture's patches hold: FFN activations averaged over the patches of one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import NotSupported, bad_argument
from .reference import record_values

__all__ = ["coverage", "patch_mean"]


def coverage(boxes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return which part of each box a mask covers.

    Parameters
    ----------
    boxes : numpy.ndarray, shape (box, 4)
        x0, y0, x1, y1 in pixels, as ``Geometry.boxes``; NaN for a token without a place.
    mask : numpy.ndarray of bool, shape (height, width)
        In the same pixels.

    Returns
    -------
    numpy.ndarray, shape (box,)
        0 to 1; of boxes that lie in part outside the picture, the whole box counts; 0 for NaN.

    Examples
    --------
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[:2, :2] = True
    >>> coverage(np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4.0]]), mask).tolist()
    [1.0, 0.5, 0.0]
    """
    height, width = mask.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = np.asarray(mask, dtype=np.float64).cumsum(0).cumsum(1)
    known = np.isfinite(boxes).all(axis=1)
    x0, y0, x1, y1 = np.where(known[:, None], boxes, 0.0).T
    inside = (
        _at(total, y1, x1) - _at(total, y0, x1) - _at(total, y1, x0) + _at(total, y0, x0)
    )  # the integral image, linear between pixel edges
    area = (x1 - x0) * (y1 - y0)
    return np.where(known & (area > 0), inside / np.where(area > 0, area, 1.0), 0.0)


def _at(total: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = np.clip(y, 0, total.shape[0] - 1)
    x = np.clip(x, 0, total.shape[1] - 1)
    top = np.minimum(y.astype(int), total.shape[0] - 2)
    left = np.minimum(x.astype(int), total.shape[1] - 2)
    down, right = y - top, x - left
    return (
        total[top, left] * (1 - down) * (1 - right)
        + total[top, left + 1] * (1 - down) * right
        + total[top + 1, left] * down * (1 - right)
        + total[top + 1, left + 1] * down * right
    )


def patch_mean(
    model: Any,
    image: Any,
    mask: np.ndarray | Sequence[np.ndarray],
    prompt: str | None = None,
    *,
    threshold: float = 0.4,
) -> np.ndarray:
    """Return the mean FFN activations over an object's patches, with nothing active.

    Parameters
    ----------
    model : MultimodalModel
        Its image tokens must have places on the picture.
    image : picture or list of pictures
        What ``model.prepare`` takes.
    mask : numpy.ndarray of bool, shape (height, width), or a list of them
        The object, in the picture's pixels; one for each picture.
    prompt : str, optional
        The model's own by default.
    threshold : float
        A patch belongs to the object when more than this part of it is covered.

    Returns
    -------
    numpy.ndarray of float32, shape (sites, neurons)
        For a list of pictures (picture, sites, neurons).

    Raises
    ------
    BadArgument
        If no patch is covered enough; the message says how much the best one is.
    NotSupported
        If the image tokens have no place on the picture; the message says why.
    """
    several = isinstance(image, list | tuple)
    masks = list(mask) if several else [mask]
    prepared = model.prepare(image, prompt)
    if len(masks) != len(prepared):
        raise bad_argument(
            "mask", f"{len(masks)} masks", f"one for each of {len(prepared)} pictures"
        )
    chosen = [
        _covered(tokens, np.asarray(one, dtype=bool), threshold)
        for tokens, one in zip(model.token_maps(prepared), masks, strict=True)
    ]
    recorded = record_values(model, prepared, range(len(model.sites)))
    means = np.zeros((len(masks), len(model.sites), model.n_neurons), dtype=np.float32)
    for number, (positions, values) in enumerate(zip(chosen, recorded, strict=True)):
        for row, value in values.items():
            means[number, row, : value.shape[-1]] = value[positions].float().mean(0).cpu().numpy()
    return means if several else means[0]


def _covered(tokens: Any, mask: np.ndarray, threshold: float) -> np.ndarray:
    """Return the positions of the image tokens that a mask covers."""
    geometry = tokens.geometry
    if geometry.kind in ("none", "queries"):
        raise NotSupported(
            f"transplant: the image tokens have no patches of their own ({geometry.reason})"
        )
    covered = coverage(np.asarray(geometry.boxes), mask)
    chosen = covered > threshold
    if not chosen.any():
        raise bad_argument(
            "threshold", threshold, f"less than {covered.max():.2f}, the best covered patch's part"
        )
    return np.asarray(tokens.image_positions)[chosen]

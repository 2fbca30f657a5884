"""From what is on screen to neurons: the same comparison in float32 as in the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import bad_argument

__all__ = ["default_thresholds", "ids_to_mask", "kept_ids", "quantile"]


def quantile(values: np.ndarray, q: float) -> float:
    """Return a quantile over the finite values: numpy's linear one in float64, then as float32."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return float(np.float32(np.quantile(finite, q))) if finite.size else 0.0


def default_thresholds(
    difference: np.ndarray, gradcam: np.ndarray, top: int = 60
) -> tuple[float, float]:
    """Return the pair that keeps the default set: top 5 % by stage 1, of these the 60 best."""
    threshold_d = quantile(difference, 0.95)
    inside = np.sort(gradcam[np.isfinite(gradcam) & (difference > np.float32(threshold_d))])[::-1]
    if not inside.size:
        return threshold_d, 0.0
    if inside.size <= top:
        return threshold_d, float(np.nextafter(inside[-1], np.float32(-np.inf), dtype=np.float32))
    middle = np.float32((float(inside[top - 1]) + float(inside[top])) / 2)
    return threshold_d, float(max(middle, inside[top]))


def kept_ids(
    difference: np.ndarray,
    gradcam: np.ndarray,
    threshold_d: float,
    threshold_g: float,
    rows_off: Any = (),
    unchecked: Any = (),
) -> np.ndarray:
    """Return flat ids of the checked survivors, best GradCAM first."""
    passes = (difference > np.float32(threshold_d)) & (gradcam > np.float32(threshold_g))
    for row in rows_off:
        passes[int(row)] = False
    ids = np.flatnonzero(passes)
    ids = ids[~np.isin(ids, np.asarray(list(unchecked), np.int64))]
    return ids[np.argsort(-gradcam.ravel()[ids], kind="stable")].astype(np.int32)


def ids_to_mask(ids: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return flat ids as a boolean array (layer, neuron).

    Raises
    ------
    BadArgument
        If an id lies outside.
    """
    mask = np.zeros(int(np.prod(shape)), bool)
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= mask.size):
        raise bad_argument("ids", int(ids.max()), f"flat ids from 0 to {mask.size - 1}")
    mask[ids] = True
    return mask.reshape(shape)

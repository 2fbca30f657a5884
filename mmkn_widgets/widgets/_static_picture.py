"""The shown picture with the mean map of a set of neurons on it, as the page paints it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ._encode import encode_picture

__all__ = ["with_map"]

_SIDE = 240
_INFERNO = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"


def _colors(values: np.ndarray) -> np.ndarray:
    """Return RGB of values from 0 to 1, float (..., 3)."""
    stops = np.asarray([[int(x[k : k + 2], 16) for k in (0, 2, 4)] for x in _INFERNO.split()])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, c]) for c in range(3)], -1)


def with_map(widget: Any, ids: np.ndarray, prefix: str = "") -> bytes:
    """Return an encoded picture; empty where there is no map of any of the neurons.

    Parameters
    ----------
    widget : Widget
        With the picture's traits, their names after `prefix`.
    ids : numpy.ndarray
        Flat ids; the mean is over those whose maps were prefetched.
    """
    from PIL import Image

    def trait(name: str) -> Any:
        return getattr(widget, prefix + name)

    known = np.frombuffer(widget.map_ids, "<i4")
    at = np.flatnonzero(np.isin(known, ids))
    rows, cols = (int(trait("grid")[name]) for name in ("rows", "cols"))
    if not len(at) or not rows or not trait("maps"):
        return b""
    grids = np.frombuffer(trait("maps"), np.uint8).reshape(len(known), rows, cols)[at]
    scale = np.frombuffer(trait("map_scale"), "<f4")[at]
    offset = np.frombuffer(trait("map_offset"), "<f4")[at]
    maps = offset[:, None, None] + scale[:, None, None] * grids.astype(np.float32)
    if widget.signed:
        maps = maps * np.frombuffer(trait("map_sign"), np.int8)[at, None, None]
    mean = maps.mean(0)
    if widget.signed:
        mean = np.maximum(mean, 0)
    span = float(mean.max() - mean.min())
    picture = Image.open(io.BytesIO(trait("picture"))).convert("RGB")
    picture = picture.resize((_SIDE, max(1, round(_SIDE * picture.height / picture.width))))
    share = Image.fromarray(((mean - mean.min()) / (span or 1)).astype(np.float32))
    x0, y0, x1, y1 = trait("grid")["extent"]
    box = [round(v * n) for v, n in zip((x0, y0, x1, y1), picture.size * 2, strict=True)]
    size = (max(1, box[2] - box[0]), max(1, box[3] - box[1]))
    values = np.asarray(share.resize(size, Image.Resampling.BILINEAR))
    opacity = 0.6 * (0.3 + 0.7 * values)[..., None]
    under = np.asarray(picture.crop(tuple(box)), float)  # type: ignore[arg-type]
    over = (under * (1 - opacity) + _colors(values) * opacity).round().astype(np.uint8)
    picture.paste(Image.fromarray(over), (box[0], box[1]))
    return encode_picture(picture)

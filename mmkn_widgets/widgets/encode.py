"""Arrays and pictures as the bytes that travel to the page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core import bad_argument

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Grids", "encode_grids", "encode_picture", "float32_bytes", "int32_array", "int32_bytes"]


class Grids(NamedTuple):
    """Maps as 8-bit grids: ``value = offset + scale * byte``."""

    grids: bytes
    scale: bytes
    offset: bytes


def float32_bytes(values: object) -> bytes:
    """Return an array as little-endian float32 bytes, in C order."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def int32_bytes(values: object) -> bytes:
    """Return whole numbers as little-endian int32 bytes."""
    return np.ascontiguousarray(values, dtype="<i4").tobytes()


def int32_array(data: bytes | memoryview) -> np.ndarray:
    """Return the int32 numbers that a page sent.

    Raises
    ------
    BadArgument
        If the bytes are no whole number of int32.
    """
    raw = bytes(data)
    if len(raw) % 4:
        raise bad_argument("buffer", f"{len(raw)} bytes", "a multiple of 4 (int32)")
    return np.frombuffer(raw, dtype="<i4")


def encode_grids(maps: np.ndarray) -> Grids:
    """Return maps as uint8 grids, each with its own scale and offset.

    Parameters
    ----------
    maps : numpy.ndarray, shape (neuron, row, column)
        Finite values; NaN becomes the map's smallest value.

    Returns
    -------
    Grids
        The error of a value is at most half a step, 1/510 of its map's range.

    Examples
    --------
    >>> made = encode_grids(np.array([[[0.0, 2.0]]]))
    >>> list(made.grids), np.frombuffer(made.scale, "<f4").round(5).tolist()
    ([0, 255], [0.00784])
    """
    given = np.asarray(maps, np.float32)
    values = given.reshape(len(given), int(np.prod(given.shape[1:])))
    if values.size == 0:
        return Grids(b"", b"", b"")
    finite = np.where(np.isfinite(values), values, np.nan)
    low = np.nan_to_num(np.nanmin(finite, axis=1, initial=np.inf, where=np.isfinite(values)))
    low = np.where(np.isfinite(low) & (np.abs(low) < 1e38), low, 0).astype(np.float32)
    filled = np.where(np.isfinite(values), values, low[:, None])
    scale = ((filled.max(1) - low) / 255).astype(np.float32)
    steps = np.where(scale > 0, scale, 1)[:, None]
    grids = np.clip(np.rint((filled - low[:, None]) / steps), 0, 255).astype(np.uint8)
    return Grids(grids.tobytes(), float32_bytes(scale), float32_bytes(low))


def encode_picture(image: Image, side: int | None = None) -> bytes:
    """Return a picture as PNG (small) or JPEG (large) bytes.

    Parameters
    ----------
    image : PIL.Image.Image
    side : int, optional
        Longest side in pixels; larger pictures are scaled down.
    """
    picture = image.convert("RGB")
    if side is not None and max(picture.size) > side:
        picture.thumbnail((side, side))
    out = io.BytesIO()
    if picture.width * picture.height <= 256 * 256:
        picture.save(out, "PNG")
    else:
        picture.save(out, "JPEG", quality=90)
    return out.getvalue()

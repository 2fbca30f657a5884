"""From the processed pixels back to the original picture, measured with ramps.

Image processors resize, crop, pad, tile and cut into patches, each in its own way and order.
Instead of repeating their arithmetic, four synthetic pictures of the same size go through the same
call: black, white, and two ramps that grow from left to right and from top to bottom. Black and
white give each output element's normalisation (and find the padding, where both are equal); the
ramps then say which column and row of the original picture that element was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Box", "Frame", "Origins", "identity_origins", "trace_origins"]

#: x0, y0, x1, y1 in pixels of the original picture
Box = tuple[float, float, float, float]
Process = Callable[["Image.Image"], Mapping[str, Any]]

_PIXEL_KEYS = (
    "pixel_values",
    "image_patches",
    "flattened_patches",
    "high_res_pixel_values",
    "pixel_values_images",
)
#: grey levels left free at both ends of a ramp, for its noise
_MARGIN = 8.0


@dataclass(frozen=True)
class Frame:
    """One processed image (a crop, a tile, the overview) and its affine map to the picture.

    A point (u, v) in pixels of the frame shows the point
    (x0 + u * step_x, y0 + v * step_y) of the original picture.
    """

    height: int
    width: int
    x0: float
    y0: float
    step_x: float
    step_y: float

    def box(self, u0: float, v0: float, u1: float, v1: float) -> Box:
        """Return the picture's rectangle that a rectangle of this frame shows."""
        return (
            self.x0 + u0 * self.step_x,
            self.y0 + v0 * self.step_y,
            self.x0 + u1 * self.step_x,
            self.y0 + v1 * self.step_y,
        )

    @property
    def whole(self) -> Box:
        """The picture's rectangle that the whole frame shows."""
        return self.box(0, 0, self.width, self.height)


@dataclass(frozen=True, eq=False)
class Origins:
    """Where every element of the processed pixels came from.

    Parameters
    ----------
    inputs : dict of arrays
        What the processor returned for a picture of this size (pixels without meaning).
    x, y : dict of arrays
        For each pixel key an array of its shape: column and row in the original picture, NaN on
        padding. Ragged outputs are lists of arrays.
    picture_size : tuple of int
        (height, width) of the original picture.
    """

    inputs: dict[str, Any]
    x: dict[str, list[NDArray[np.float64]]]
    y: dict[str, list[NDArray[np.float64]]]
    picture_size: tuple[int, int]

    def frames(self, key: str = "pixel_values") -> list[Frame | None]:
        """Return one frame per image of (…, channel, height, width) pixels; None: all padding."""
        frames: list[Frame | None] = []
        for xs, ys in zip(self.x.get(key, []), self.y.get(key, []), strict=True):
            if xs.ndim < 3:
                continue
            shape = (-1, *xs.shape[-3:])
            for x, y in zip(xs.reshape(shape), ys.reshape(shape), strict=True):
                frames.append(_fit_frame(_mean(x, 0), _mean(y, 0)))
        return frames

    def patches(self, key: str = "pixel_values") -> list[NDArray[np.float64]]:
        """Return the centres (patch, 2) of (…, patch, element) pixels, NaN for padding patches."""
        out = []
        for xs, ys in zip(self.x.get(key, []), self.y.get(key, []), strict=True):
            if xs.ndim < 2:
                continue
            shape = (-1, *xs.shape[-2:])
            for x, y in zip(xs.reshape(shape), ys.reshape(shape), strict=True):
                out.append(np.stack([_mean(x, 1), _mean(y, 1)], axis=1))
        return out


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def fit_line(n_cells: int, values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return (value at the first cell's edge, step) of the line through the cells' centres."""
    at = np.arange(n_cells, dtype=np.float64) + 0.5
    known = np.isfinite(values)
    if known.sum() >= 6:  # resampling bends a ramp in its outermost pixels
        ends = np.flatnonzero(known)
        known[ends[0]] = known[ends[-1]] = False
    if known.sum() < 2:
        return None
    step, start = np.polyfit(at[known], values[known], 1)
    return float(start), float(step)


def _fit_frame(x: NDArray[np.float64], y: NDArray[np.float64]) -> Frame | None:
    height, width = x.shape
    across = fit_line(width, _mean(x, 0))
    down = fit_line(height, _mean(y, 1))
    if across is None or down is None:
        return None
    return Frame(height, width, across[0], down[0], across[1], down[1])


def _arrays(value: Any) -> list[NDArray[np.float64]]:
    """Return the float arrays in a processor's output: a tensor, an array, or nested lists."""
    if hasattr(value, "detach"):
        value = value.detach().to("cpu").float().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value.astype(np.float64)]
    if isinstance(value, list | tuple | np.ndarray):
        return [array for item in value for array in _arrays(item)]
    return []


def _picture(levels: NDArray[np.float64], height: int, width: int) -> Image.Image:
    """Return a grey picture: a ramp from 0 to 1, or all black (0) or white (2)."""
    from PIL import Image

    if levels.size == 1:
        white = 255 if levels.item() else 0
        return Image.new("RGB", (width, height), (white, white, white))
    # noise keeps the rounding to 8 bits from lining up with the ramp's steps; means average it out
    rng = np.random.default_rng(0)
    pixels = np.empty((height, width), np.uint8)
    block = max(2**20 // width, 1)  # rows at a time: a photograph's pixels as floats are a gigabyte
    for top in range(0, height, block):
        rows = slice(top, min(top + block, height))
        noise = rng.uniform(-_MARGIN, _MARGIN, (rows.stop - rows.start, width))
        part = levels if len(levels) == 1 else levels[rows]
        pixels[rows] = np.rint(_MARGIN + (255.0 - 2 * _MARGIN) * part + noise)
    grey = Image.fromarray(pixels)
    return Image.merge("RGB", (grey, grey, grey))


def trace_origins(process: Process, picture_size: tuple[int, int]) -> Origins | None:
    """Measure where the processor's output comes from, for pictures of one size.

    Parameters
    ----------
    process : callable
        Takes one PIL picture, returns the model's inputs for it alone.
    picture_size : tuple of int
        (height, width).

    Returns
    -------
    Origins or None
        None when the four synthetic pictures give outputs of different shapes: the processor
        looks at the content, so nothing can be said from the size alone.
    """
    height, width = picture_size
    right = (np.arange(width) + 0.5) / width
    below = (np.arange(height) + 0.5)[:, None] / height
    grey = (np.zeros((1, 1)), np.full((1, 1), 2.0), right[None, :], below)
    runs = [process(_picture(levels, height, width)) for levels in grey]
    x: dict[str, list[NDArray[np.float64]]] = {}
    y: dict[str, list[NDArray[np.float64]]] = {}
    for key in _PIXEL_KEYS:
        if any(key not in run or run[key] is None for run in runs):
            continue
        black, white, wide, high = (_arrays(run[key]) for run in runs)
        shapes = [[array.shape for array in run] for run in (black, white, wide, high)]
        if any(shape != shapes[0] for shape in shapes):
            return None
        x[key] = [_origin(*arrays, width) for arrays in zip(black, white, wide, strict=True)]
        y[key] = [_origin(*arrays, height) for arrays in zip(black, white, high, strict=True)]
    return Origins(dict(runs[0]), x, y, picture_size) if x else None


def _origin(
    black: NDArray[np.float64],
    white: NDArray[np.float64],
    ramp: NDArray[np.float64],
    extent: int,
) -> NDArray[np.float64]:
    span = white - black
    known = np.abs(span) > 1e-3
    level = 255.0 * (ramp - black) / np.where(known, span, 1.0)
    return np.where(known, (level - _MARGIN) / (255.0 - 2 * _MARGIN) * extent, np.nan)


def identity_origins(inputs: Mapping[str, Any]) -> Origins | None:
    """Return the origins of ready-made pixels, taking the processed image itself as the picture.

    Only a single image of (…, channel, height, width) pixels has such a reading; of several, or
    of patches cut beforehand, the places cannot be known without the processor: None.
    """
    for key in ("pixel_values", "pixel_values_images"):
        arrays = _arrays(inputs.get(key))
        if len(arrays) == 1 and arrays[0].ndim >= 3 and int(np.prod(arrays[0].shape[:-3])) == 1:
            shape = arrays[0].shape
            height, width = shape[-2:]
            x = np.broadcast_to(np.arange(width) + 0.5, shape)
            y = np.broadcast_to((np.arange(height) + 0.5)[:, None], shape)
            return Origins(dict(inputs), {key: [x]}, {key: [y]}, (int(height), int(width)))
    return None

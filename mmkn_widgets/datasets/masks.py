"""Object masks from what people have: COCO polygons and run lengths, pictures, arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, bad_argument
from .base import ObjectInstance
from .paths import expanded

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decode_segmentation", "read_mask"]

#: Longest outline of one object in pixels: what is drawn along it takes 80 bytes a pixel.
_MOST_AROUND = 1_000_000

_WANTED = "a mask file, a Pillow image, an array, a COCO polygon or run lengths, or a list of these"


def read_mask(source: Any, size: tuple[int, int], *, name: str = "mask") -> np.ndarray:
    """Return a mask as a boolean array of a picture's size.

    In a mask file or image every pixel that is not black counts as object (in a JPEG: lighter
    than half); where it has transparency, only what is not transparent, and then black counts
    too if nothing else is drawn.

    Parameters
    ----------
    source : str, path, PIL.Image.Image, array, mapping, ObjectInstance or sequence
        The mask; a COCO annotation or its ``segmentation`` (polygons, run lengths compressed or
        not); or several of these, whose union is taken. Float arrays count from 0.5 up.
    size : tuple of int
        The picture's (width, height), Pillow's order.
    name : str
        What the errors call the mask.

    Returns
    -------
    numpy.ndarray of bool, shape (height, width)

    Raises
    ------
    BadArgument
        If there is none (``None``), if it has another size than the picture, or is unreadable.

    Examples
    --------
    >>> int(read_mask([[1, 1, 4, 1, 4, 3, 1, 3]], (6, 5)).sum())
    6
    """
    width, height = size
    mask = _as_mask(source, width, height, name)
    if mask.shape != (height, width):
        raise _other_size(name, (mask.shape[1], mask.shape[0]), size)
    return mask


def _other_size(name: str, given: tuple[int, int], size: tuple[int, int]) -> BadArgument:
    hint = ""
    if given == size[::-1] and given != size:
        hint = "; one of the two is turned: its EXIF tag turns a picture as viewers show it"
    return bad_argument(
        name,
        f"a mask of {given[0]} x {given[1]} pixels",
        f"the picture's size, {size[0]} x {size[1]}{hint}",
    )


def _as_mask(source: Any, width: int, height: int, name: str) -> np.ndarray:
    from PIL import Image

    if source is None:
        raise bad_argument(name, None, f"the object's mask: {_WANTED}")
    if isinstance(source, ObjectInstance):
        if source.mask is None:
            raise bad_argument(
                name, f"an object {source.category!r} that has a box and no mask", _WANTED
            )
        return np.asarray(source.mask, dtype=bool)
    if isinstance(source, Image.Image):
        if source.size not in ((width, height), (height, width)):
            raise _other_size(name, source.size, (width, height))
        return _from_image(source, name)
    if isinstance(source, str | os.PathLike | bytes):
        from .images import read_image, read_sizes

        if not isinstance(source, bytes) and read_sizes(source, name)[1] != (width, height):
            raise _other_size(name, read_sizes(source, name)[1], (width, height))  # read nothing
        read_image(source, name=name)  # every complaint about a file that is no whole picture
        if isinstance(source, bytes):
            import io

            return _from_image(Image.open(io.BytesIO(source)), name)
        return _from_image(Image.open(expanded(source, name, _WANTED)), name)
    if isinstance(source, Mapping) or _is_polygons(source):
        segmentation = source.get("segmentation", source) if isinstance(source, Mapping) else source
        try:
            return decode_segmentation(segmentation, height, width)
        except ValueError as error:
            raise BadArgument(f"{name}: {error}") from error
    if isinstance(source, Sequence):
        if not source:
            raise bad_argument(name, source, "at least one mask")
        masks = [read_mask(one, (width, height), name=name) for one in source]
        union: np.ndarray = np.logical_or.reduce(masks)
        return union
    if hasattr(source, "detach") or hasattr(source, "__array__"):
        return _from_array(source, name)
    raise bad_argument(name, source, _WANTED)


def _from_image(picture: Image, name: str) -> np.ndarray:
    from PIL import ImageOps

    lossy = picture.format == "JPEG"
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        return _from_array(np.asarray(picture) != 0, name)
    pixels = np.asarray(picture.convert("RGBA"))
    drawn: np.ndarray = pixels[..., :3].max(axis=-1) > (127 if lossy else 0)
    if picture.has_transparency_data:
        opaque: np.ndarray = pixels[..., 3] > 0
        if not opaque.all():
            return opaque & drawn if (opaque & drawn).any() else opaque
    return drawn


def _from_array(source: Any, name: str) -> np.ndarray:
    values = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    elif values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.dtype.kind not in "buif":
        shown = f"array of shape {np.shape(source)}, dtype {values.dtype}"
        raise bad_argument(name, shown, "numbers of shape (height, width)")
    return values >= 0.5 if values.dtype.kind == "f" else values != 0


def _is_polygons(source: Any) -> bool:
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(one, list | tuple) and one for one in source)
        and all(isinstance(v, int | float) for one in source for v in one)
    )


def bounding_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return COCO's box (x, y, width, height) of a mask; zeros when nothing is in it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0.0, 0.0, 0.0, 0.0)
    x, y = float(columns[0]), float(rows[0])
    return (x, y, float(columns[-1]) - x + 1, float(rows[-1]) - y + 1)


def has_segmentation(segmentation: Any) -> bool:
    """Return whether there is anything to decode: an object may have a box and nothing more.

    Examples
    --------
    >>> has_segmentation([[]]), has_segmentation(None), has_segmentation([[1, 1, 4, 1, 4, 3]])
    (False, False, True)
    """
    if isinstance(segmentation, list | tuple):
        return any(not isinstance(one, list | tuple) or one for one in segmentation)
    return segmentation is not None


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Raise ValueError, with the reason, if `decode_segmentation` could not decode it."""
    for part in _parts(segmentation):
        if isinstance(part, Mapping):
            _run_lengths(part, height, width)
    _check_polygons(
        [part for part in _parts(segmentation) if not isinstance(part, Mapping)], height, width
    )


def _parts(segmentation: Any) -> list[Any]:
    """Return the polygons and run lengths whose union the mask is."""
    if isinstance(segmentation, Mapping):
        return [segmentation]
    if not isinstance(segmentation, list | tuple) or not has_segmentation(segmentation):
        raise ValueError("no segmentation (neither polygons nor run lengths)")
    if isinstance(segmentation[0], int | float):  # one polygon that is in no list of polygons
        return [segmentation]
    return [part for part in segmentation if not (isinstance(part, list | tuple) and not part)]


def _check_polygons(polygons: Sequence[Any], height: int, width: int) -> None:
    span, around = max(width, height), 0.0
    for polygon in polygons:
        if not isinstance(polygon, list | tuple) or not set(map(type, polygon)) <= {int, float}:
            raise ValueError("a polygon holds something that is no number")
        try:
            points = np.asarray(polygon, dtype=float)
        except OverflowError:
            raise ValueError("a polygon lies far outside of the picture") from None
        if points.size < 6 or points.size % 2:
            raise ValueError("a polygon is no list x, y, x, y, ... of three points or more")
        if not (np.isfinite(points).all() and points.min() >= -span and points.max() <= 2 * span):
            raise ValueError("a polygon lies far outside of the picture")
        if points.size * 3 * span > _MOST_AROUND:  # else it cannot be too long
            corners = points.reshape(-1, 2)
            steps = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1)
            around += float(steps.sum())
            if around > _MOST_AROUND:
                raise ValueError("polygons whose outline is longer than any object's")


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Return the mask of a COCO ``segmentation``, as ``pycocotools`` decodes it.

    Run lengths are checked before they are expanded, so that a damaged annotation file raises
    instead of writing beyond the mask.

    Parameters
    ----------
    segmentation : list of list of float, mapping, or list of mapping
        Polygons ``[[x, y, x, y, ...], ...]`` or one ``[x, y, x, y, ...]``, or ``{"size": [h, w],
        "counts": ...}`` with the counts as a list or as COCO's compressed string, or a list of
        these.
    height, width : int
        The picture's size.

    Returns
    -------
    numpy.ndarray of bool, shape (height, width)

    Raises
    ------
    ValueError
        With the reason, if it is damaged or of another size.

    Examples
    --------
    >>> decode_segmentation({"size": [2, 2], "counts": [1, 2, 1]}, 2, 2).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    parts = _parts(segmentation)
    polygons = [part for part in parts if not isinstance(part, Mapping)]
    _check_polygons(polygons, height, width)
    runs = [_run_lengths(part, height, width) for part in parts if isinstance(part, Mapping)]
    if polygons:
        from pycocotools import mask as coco_mask

        drawn = [[float(v) for v in polygon] for polygon in polygons]
        merged = coco_mask.merge(coco_mask.frPyObjects(drawn, height, width))
        runs.append(_run_lengths(merged, height, width))
    inside: np.ndarray | None = None
    for one in runs:
        values = np.repeat(np.arange(len(one)) % 2 == 1, one)
        inside = values if inside is None else np.logical_or(inside, values, out=inside)
    assert inside is not None  # there is a part, or `_parts` had raised
    return np.ascontiguousarray(inside.reshape((width, height)).T)


def _run_lengths(segmentation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise ValueError(f"run lengths of size {size!r}, but the picture has {[height, width]}")
    if isinstance(counts, str | bytes):
        runs = _decompress(counts.encode() if isinstance(counts, str) else counts)
    elif isinstance(counts, list | tuple) and all(type(n) is int for n in counts):
        runs = list(counts)
    else:
        raise ValueError("run lengths without counts")
    if any(n < 0 for n in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths that do not sum to {height} x {width}")
    return np.asarray(runs, dtype=np.int64)


def _decompress(text: bytes) -> list[int]:
    """Undo COCO's compression: 5 bits a character, low first, differences to two runs before."""
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text) or not 48 <= text[at] < 112 or shift > 35:
                raise ValueError("run lengths with a damaged string of counts")
            code = text[at] - 48
            value |= (code & 31) << shift
            more = bool(code & 32)
            at += 1
            shift += 5
            if not more and code & 16:
                value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs

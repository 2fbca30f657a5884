"""Find the geometry of one row of a prepared batch, and say why when there is none."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ...core import MmknError
from ..image_positions import image_mask
from ..prepare import call_processor, pictures_of, prepare
from ..prompts import with_one_placeholder
from .geometry import Geometry, GeometryKind, Panel, merge_tiles
from .layouts import FAMILIES, Refused, Scene, anyres
from .origins import Origins, identity_origins, trace_origins
from .queries import attend

if TYPE_CHECKING:
    from ..parts import ModelParts
    from ..prepared import Prepared

__all__ = ["find_geometries", "find_geometry"]

#: measured origins by model, then by what shapes them
_measured: WeakKeyDictionary[Any, dict[Any, Origins | None]] = WeakKeyDictionary()


def find_geometries(
    model: ModelParts, prepared: Prepared, row: int, is_image: NDArray[np.bool_]
) -> tuple[Geometry, ...]:
    """Return the geometry of every picture of one row, in the order of its image tokens."""
    n_tokens = int(is_image.sum())
    pictures = pictures_of(prepared.images[row]) if row < len(prepared.images) else ()
    if len(pictures) < 2:
        return (find_geometry(model, prepared, row, n_tokens),)
    if not n_tokens:
        reason = find_geometry(model, prepared, row, 0).reason
        return tuple(
            Geometry.none(0, (picture.height, picture.width), reason) for picture in pictures
        )
    counts, singles = None, []
    with suppress(MmknError):  # a prompt that makes no sense with one picture
        singles = [_alone(model, prepared, row, picture) for picture in pictures]
        alone = [int(image_mask(model, single.inputs).sum()) for single in singles]
        counts = split_by_picture(is_image, alone)
    if counts is None and singles and n_tokens % len(singles) == 0:
        overviews = [_overview(model, single, n_tokens // len(singles)) for single in singles]
        if None not in overviews:
            return tuple(one for one in overviews if one is not None)
    if counts is None:
        reason = f"which of {n_tokens} image tokens belong to which picture is not known"
        sizes = [n_tokens] + [0] * (len(pictures) - 1)
        return tuple(
            Geometry.none(n, (picture.height, picture.width), reason)
            for n, picture in zip(sizes, pictures, strict=True)
        )
    return tuple(
        find_geometry(model, single, 0, n) for single, n in zip(singles, counts, strict=True)
    )


def split_by_picture(is_image: NDArray[np.bool_], alone: list[int]) -> list[int] | None:
    """Return how many of a row's image tokens each picture has, in order; None: not known.

    Parameters
    ----------
    is_image : array of bool, (token,)
        Where the row's image tokens are.
    alone : list of int
        How many each picture has in a prompt of its own.

    Examples
    --------
    >>> row = np.array([1, 1, 1, 0, 1, 1, 1], bool)
    >>> split_by_picture(row, [2, 4]), split_by_picture(row, [3, 3]), split_by_picture(row, [9, 9])
    ([2, 4], [3, 3], [3, 3])
    """
    if sum(alone) == is_image.sum():
        return alone
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_image.astype(np.int8), [0]])))
    runs = (edges[1::2] - edges[::2]).tolist()
    return runs if len(runs) == len(alone) else None


def _alone(model: ModelParts, prepared: Prepared, row: int, picture: Any) -> Prepared:
    """Return one of a row's pictures in a prompt of its own, the row's with one placeholder."""
    text = with_one_placeholder(model.processor, prepared.prompts[row] or "")
    return prepare(model, picture, text)


def _overview(model: ModelParts, single: Prepared, n_tokens: int) -> Geometry | None:
    """Return the geometry of a picture that is seen whole, not in tiles, beside others.

    LLaVA-OneVision cuts the picture of a prompt into tiles only where it is the only one.
    """
    origins = _origins(model, single, 0)
    scene = Scene(model.hf, model.processor, dict(single.inputs), origins, n_tokens, views=1)
    with suppress(Refused):
        if (found := anyres(scene)) is not None:
            return _assemble(scene, found, _size(single, 0))
    return None


def find_geometry(model: ModelParts, prepared: Prepared, row: int, n_tokens: int) -> Geometry:
    """Return the geometry of the `n_tokens` image tokens in one row with one picture."""
    origins = _origins(model, prepared, row) if n_tokens else None
    size = origins.picture_size if origins is not None else _size(prepared, row)
    if n_tokens == 0:
        reason = "no image tokens in the language model's sequence"
        if _attends_across(model):
            reason += "; it sees the picture through cross-attention"
        return Geometry.none(0, size, reason)
    scene = Scene(
        model.hf,
        model.processor,
        dict(prepared.inputs),
        origins,
        n_tokens,
        lambda count, views: attend(model, prepared.inputs, row, count, views),
        row,
    )
    try:
        for family in FAMILIES:
            found = family(scene)
            if found is not None:
                return found if isinstance(found, Geometry) else _assemble(scene, found, size)
    except Refused as refusal:
        return Geometry.none(n_tokens, size, str(refusal))
    return Geometry.none(
        n_tokens,
        size,
        f"no known layout gives {n_tokens} image tokens for these inputs "
        f"({', '.join(sorted(k for k in scene.inputs if 'ids' not in k))})",
    )


def _assemble(
    scene: Scene, found: tuple[GeometryKind, list[Panel]], size: tuple[int, int]
) -> Geometry:
    kind, panels = found
    boxes = np.full((scene.n_tokens, 4), np.nan)
    for panel in panels:
        panel.write(boxes)
    if len(panels) > 1:
        panels = merge_tiles(panels)
    panels = sorted(panels, key=lambda panel: panel.cell_area)
    rasters = tuple(panel.tokens for panel in panels)
    shape: tuple[int, int] = (int(rasters[0].shape[0]), int(rasters[0].shape[1]))
    return Geometry(kind, shape, boxes, size, rasters)


def _picture(prepared: Prepared, row: int) -> Any:
    pictures = pictures_of(prepared.images[row]) if row < len(prepared.images) else ()
    return pictures[0] if pictures else None


def _size(prepared: Prepared, row: int) -> tuple[int, int]:
    """Return (height, width) of the row's picture, else of its processed pixels."""
    picture = _picture(prepared, row)
    if picture is not None:
        return int(picture.height), int(picture.width)
    pixels = prepared.inputs.get("pixel_values")
    if pixels is not None and pixels.dim() >= 4:
        return int(pixels.shape[-2]), int(pixels.shape[-1])
    return 1, 1


def _origins(model: ModelParts, prepared: Prepared, row: int) -> Origins | None:
    picture = _picture(prepared, row)
    text = prepared.prompts[row] if row < len(prepared.prompts) else None
    if picture is None or model.processor is None:
        return identity_origins(prepared.inputs) if len(prepared) == 1 else None
    size = _size(prepared, row)
    cache = _measured.setdefault(model, {})
    if (size, text) not in cache:
        if len(cache) > 64:
            cache.clear()
        cache[size, text] = trace_origins(
            lambda image: call_processor(model.processor, image, text or ""), size
        )
    return cache[size, text]


def _attends_across(model: ModelParts) -> bool:
    names: NDArray[np.str_] = np.array([name for name, _ in model.hf.named_modules()])
    return bool(
        np.any(np.char.find(names, "cross_attn") >= 0)
        or np.any(np.char.find(names, "crossattention") >= 0)
        or np.any(np.char.find(names, "encoder_attn") >= 0)
        or np.any(np.char.find(names, "encoder_decoder_attention") >= 0)
    )

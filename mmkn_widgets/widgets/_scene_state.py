"""What the page needs to show one scene: pictures, captions, maps, masks, words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import NotSupported, bad_argument
from ._encode import encode_grids, encode_picture, int32_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from .protocols import StudyLike

__all__ = [
    "PREFETCHED",
    "best_neurons",
    "evidence_state",
    "mask_state",
    "patch_mask",
    "scene_state",
    "thumbnail",
    "thumbnails",
]

#: maps and words of so many neurons travel at once; the rest on request
PREFETCHED = 2000
_PICTURE, _THUMBNAIL, _MASK = 640, 96, 160
_WORDS_FIRST, _WORDS_SECONDS = 64, 0.4


def best_neurons(difference: np.ndarray, gradcam: np.ndarray, n: int = PREFETCHED) -> np.ndarray:
    """Return flat ids of the neurons that the tightest pairs of thresholds keep, best first.

    A neuron's rank is the worse of its two ranks, so that every corner of the plane that keeps
    few neurons is covered.
    """
    d, g = difference.ravel(), gradcam.ravel()
    valid = np.flatnonzero(np.isfinite(d) & np.isfinite(g))
    rank = np.empty((2, len(valid)), np.int64)
    for place, values in enumerate((d, g)):
        rank[place, np.argsort(-values[valid], kind="stable")] = np.arange(len(valid))
    order = np.lexsort((-g[valid], rank.max(0)))
    return valid[order[:n]].astype(np.int32)


def evidence_state(study: StudyLike) -> dict[str, Any]:
    """Return the traits of the scores, which all scenes share."""
    evidence = study.evidence
    difference = np.asarray(evidence["difference"].values, np.float32)
    options = study.options
    score = {"logit": "logit"}.get(str(options.get("target")), "log-probability")
    where = {"predicting": "the predicting position", "image": "image tokens", "all": "all tokens"}
    place = where.get(str(options.get("positions")), str(options.get("positions") or ""))
    signed = "signed " if options.get("difference") == "signed" else ""
    at = f" ({place})" if place else ""
    return {
        "shape": list(difference.shape),
        "rows": [[int(site.layer), int(getattr(site, "expert", -1))] for site in study.model.sites],
        "difference": np.ascontiguousarray(difference, "<f4").tobytes(),
        "gradcam": _float_bytes(evidence, "gradcam"),
        "gradient_sum": _float_bytes(evidence, "gradient_sum"),
        "labels": {
            "difference": f"{signed}activation difference{at}",
            "gradcam": f"GradCAM of the {score}",
            "activation": "activation",
            "score": score,
            "difference_map": "activation, " + ("signed" if signed else "absolute") + " change",
            "gradcam_map": f"{'logits' if score == 'logit' else 'nats'} of the {score}",
        },
    }


def _float_bytes(evidence: Any, name: str) -> bytes:
    if name not in evidence:
        return b""
    return np.ascontiguousarray(evidence[name].values, "<f4").tobytes()


def thumbnails(study: StudyLike) -> list[bytes]:
    """Return a small picture of every scene."""
    return [thumbnail(scene.image) for scene in study.scenes]


def thumbnail(image: Image) -> bytes:
    """Return a small picture for the strip."""
    return encode_picture(image, _THUMBNAIL)


def scene_state(study: StudyLike, scene: int, ids: np.ndarray) -> dict[str, Any]:
    """Return the traits of one scene.

    Parameters
    ----------
    study : StudyLike
    scene : int
    ids : numpy.ndarray of int32
        Flat ids of the neurons whose maps are wanted.
    """
    original, inpainted = study.pictures(scene)
    return {
        "picture": encode_picture(original, _PICTURE),
        "inpainted": encode_picture(inpainted, _PICTURE) if study.has_pair(scene) else b"",
        "caption_before": study.caption(scene),
        "references": [str(line) for line in study.references(scene)],
        "difference_map": b"",
        "gradcam_map": b"",
        "patch_words": [],
        **map_state(study, scene, ids),
        **mask_state(study, scene),
    }


def map_state(study: StudyLike, scene: int, ids: np.ndarray) -> dict[str, Any]:
    """Return the traits of the prefetched maps; without a token geometry the reason instead."""
    width = study.evidence["difference"].shape[1]
    empty = {"map_ids": int32_bytes(ids), "maps": b"", "map_scale": b"", "map_offset": b""}
    grid: dict[str, Any] = {
        "rows": 0,
        "cols": 0,
        "extent": [0.0, 0.0, 1.0, 1.0],
        "approximate": False,
        "reason": "",
    }
    if not len(ids):
        return {**empty, "map_sign": b"", "grid": grid}
    try:
        maps = np.asarray(study.maps(ids // width, ids % width, scene=scene), np.float32)
    except NotSupported as error:
        return {**empty, "map_sign": b"", "grid": {**grid, "reason": str(error)}}
    made = encode_grids(maps)
    signs = np.ones(len(ids), np.int8)
    if "activation" in study.evidence:
        activation = np.asarray(study.evidence["activation"].values).ravel()[ids]
        signs = np.where(activation < 0, -1, 1).astype(np.int8)
    geometry = getattr(study, "geometry", None)
    place = geometry(scene) if callable(geometry) else None
    grid.update(
        rows=int(maps.shape[1]),
        cols=int(maps.shape[2]),
        approximate=bool(getattr(place, "approximate", False)),
        reason=str(getattr(place, "reason", "") or ""),
    )
    return {
        "map_ids": int32_bytes(ids),
        "maps": made.grids,
        "map_scale": made.scale,
        "map_offset": made.offset,
        "map_sign": signs.tobytes(),
        "grid": grid,
    }


def mask_state(study: StudyLike, scene: int) -> dict[str, Any]:
    """Return the traits of the mask painter: the data set's masks at painting resolution."""
    chosen = study.scenes[scene]
    objects = tuple(getattr(chosen, "objects", ()) or ())
    width, height = chosen.image.size
    shape = painting_shape((width, height))
    names: dict[str, np.ndarray] = {}
    for item in objects:
        if item.mask is None:  # known to be there, and not where: nothing to fill in for it
            continue
        mask = np.asarray(item.mask, bool)
        names[item.category] = names.get(item.category, np.zeros_like(mask)) | mask
    named_in = getattr(study.concept, "named_in", None)
    chosen_mask = np.zeros((height, width), bool)
    for name, mask in names.items():
        if named_in is not None and named_in(name):
            chosen_mask |= mask
    return {
        "mask_shape": list(shape),
        "mask": shrink(chosen_mask, shape).tobytes(),
        "objects": [{"name": n, "area": float(np.mean(m))} for n, m in names.items()],
        "object_masks": [shrink(m, shape).tobytes() for m in names.values()],
    }


def painting_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the mask that is painted on a picture of (width, height)."""
    width, height = size
    scale = min(1.0, _MASK / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask as uint8 (0 or 255) of another shape; a cell is on when half of it is."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(mask, np.uint8) * 255)
    small = picture.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.where(np.asarray(small) >= 128, 255, 0).astype(np.uint8)


def first_words(study: StudyLike, ids: np.ndarray) -> list[list[str]]:
    """Return the words of the best neurons, of as many as half a second allows."""
    width = study.evidence["difference"].shape[1]
    started, words = time.monotonic(), []
    step = _WORDS_FIRST
    for begin in range(0, len(ids), step):
        part = ids[begin : begin + step]
        words += study.words(part // width, part % width)
        if time.monotonic() - started > _WORDS_SECONDS:
            break
    return [[str(word) for word in line] for line in words]


def patch_mask(cells: Any, grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return cells of the token grid as a mask of the picture.

    Parameters
    ----------
    cells : sequence of int
        ``row * columns + column``.
    grid : tuple of int
        Rows and columns.
    size : tuple of int
        Width and height of the picture.

    Returns
    -------
    numpy.ndarray of bool, shape (height, width)

    Raises
    ------
    BadArgument
        If there is none, or one lies outside the grid.
    """
    rows, cols = grid
    chosen = np.asarray(list(cells), np.int64)
    if not chosen.size:
        raise bad_argument("patches", "none", "an object, or at least one patch of the picture")
    if chosen.min() < 0 or chosen.max() >= rows * cols:
        raise bad_argument("patches", int(chosen.max()), f"cells from 0 to {rows * cols - 1}")
    marked = np.zeros(rows * cols, bool)
    marked[chosen] = True
    width, height = size
    row = ((np.arange(height) + 0.5) * rows / height).astype(int)
    col = ((np.arange(width) + 0.5) * cols / width).astype(int)
    return marked.reshape(rows, cols)[row][:, col]

"""Learned queries have no place of their own: they are painted through their cross-attention."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core import Handles, ending
from .clues import Refused, Scene
from .geometry import Geometry
from .origins import Box, Frame

__all__ = ["attend", "queries", "query_count"]

_COUNTS = ("num_query_tokens", "latent_query_num", "resampler_n_latents")


def query_count(scene: Scene) -> int | None:
    """Return how many learned queries stand for one view, by the config; None: no queries."""
    config = scene.hf.config
    holders = (config, getattr(config, "perceiver_config", None))
    for holder in holders:
        for name in _COUNTS:
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    table = getattr(config, "projector_patch_to_query_dict", None)
    if not isinstance(table, dict):
        return None
    views = max(len([frame for frame in scene.frames() if frame is not None]), 1)
    each = scene.n_tokens // views
    return each if each in table.values() else None


def queries(scene: Scene) -> Geometry | None:
    """Q-Former and resampler tokens (BLIP-2, InstructBLIP, Kosmos-2, Idefics2, Aria).

    A value is spread over the patches that its query attends to: at a patch the painted value is
    the mean over the queries, weighted by how much each attends there (mean over heads and
    cross-attention layers).
    """
    count = query_count(scene)
    if count is None or scene.n_tokens % count:
        return None
    frames = [frame for frame in scene.frames() if frame is not None]
    whole = f"{count} learned queries have no place of their own"
    views = scene.n_tokens // count
    if views > 1 and not _same_view(frames, views):
        raise Refused(f"{whole}, and {views} views of them cannot be told apart on one picture")
    grid, box = _patch_grid(scene)
    if scene.attend is None or grid is None:
        raise Refused(f"{whole}, and the grid of patches they attend to is not known")
    rows, cols = grid
    extent = box if box is not None else (frames[0].whole if frames else scene.whole)
    run = scene.attend

    @lru_cache(maxsize=1)
    def attention() -> tuple[NDArray[np.float64], Box]:
        return _over_patches(run(count, views), count, views, rows, cols), extent

    size = scene.origins.picture_size if scene.origins is not None else (1, 1)
    x0, y0, x1, y1 = extent
    boxes = np.tile(np.array([x0, y0, x1, y1], dtype=np.float64), (scene.n_tokens, 1))
    return Geometry(
        "queries",
        (rows, cols),
        boxes,
        size,
        approximate=True,
        reason=f"{whole}: painted through their cross-attention over {rows}x{cols} patches"
        + (f", in {views} frames of the same picture" if views > 1 else ""),
        attention=attention,
    )


def _same_view(frames: list[Frame], views: int) -> bool:
    """Return whether every view shows the same: a picture that a model for clips sees as one."""
    first = frames[0].whole if frames else ()
    return len(frames) == views and all(
        np.allclose(frame.whole, first, atol=0.5) for frame in frames
    )


def _patch_grid(scene: Scene) -> tuple[tuple[int, int] | None, Box | None]:
    frames = [frame for frame in scene.frames() if frame is not None]
    if frames and _same_view(frames, len(frames)):
        frame, patch = frames[0], scene.patch_size
        rows, cols = max(frame.height // patch, 1), max(frame.width // patch, 1)
        return (rows, cols), frame.box(0, 0, cols * patch, rows * patch)
    flat = scene.single.get("flattened_patches")
    if flat is not None:  # a patch starts with its row and column, from 1; resized, never cropped
        numbers = np.asarray(flat.detach().cpu() if hasattr(flat, "detach") else flat)
        rows, cols = (int(v) for v in numbers.reshape(-1, numbers.shape[-1])[:, :2].max(axis=0))
        return (rows, cols), scene.whole
    return None, None


def _over_patches(
    weights: list[NDArray[np.float64]], count: int, views: int, rows: int, cols: int
) -> NDArray[np.float64]:
    """Return (query of each view, row, column): the mean of all layers' weights, patches only."""
    n = rows * cols
    kept = []
    for layer in weights:
        extra = layer.shape[1] - n
        if extra in (0, count):  # patches, then (in resamplers) the queries themselves
            kept.append(layer[:, :n])
        elif extra in (1, 1 + count):  # a class token in front
            kept.append(layer[:, 1 : 1 + n])
        elif extra > 0:  # patches padded to a longest length
            kept.append(layer[:, :n])
    if not kept:
        shapes = ", ".join(str(layer.shape) for layer in weights) or "none"
        from ...core import NotSupported

        raise NotSupported(f"no cross-attention of {count} queries over {n} patches: {shapes}")
    mean: np.ndarray = np.mean(kept, axis=0)
    return mean.reshape(views * count, rows, cols)


def attend(
    model: Any, inputs: Any, row: int, count: int, views: int = 1
) -> list[NDArray[np.float64]]:
    """Run the model once with eager attention and return the queries' cross-attention weights.

    Returns
    -------
    list of array, each (query of each view, key)
        Mean over heads, one per cross-attention of `count` queries over something longer. Views of
        a row lie one after the other along the batch.
    """
    found: list[NDArray[np.float64]] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        if not isinstance(output, tuple) or len(output) < 2:
            return
        weights = output[1]
        if not isinstance(weights, torch.Tensor) or weights.dim() not in (3, 4):
            return
        own = slice(row * views, (row + 1) * views)
        if weights.shape[-2] == count != weights.shape[-1] and weights.shape[0] >= own.stop:
            mean = weights.detach().float().cpu()[own]
            mean = mean.mean(dim=1) if mean.dim() == 4 else mean
            found.append(mean.flatten(0, 1).double().numpy())

    blocks = set(model.blocks.modules())
    around = [module for module in model.hf.modules() if module not in blocks]
    configs = {id(m.config): m.config for m in model.hf.modules() if hasattr(m, "config")}
    before = [(c, getattr(c, "_attn_implementation", None)) for c in configs.values()]

    def again() -> None:
        for config, was in before:
            if was is not None:
                config._attn_implementation = was

    hooks = Handles(module.register_forward_hook(keep) for module in around)
    with model.lock, hooks, ending(again):
        for config, was in before:
            if was is not None:
                config._attn_implementation = "eager"
        model.forward(inputs)
    return found

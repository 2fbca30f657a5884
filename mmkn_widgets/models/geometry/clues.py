"""What a layout is told from: one picture's inputs, the model's config, and measured origins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .origins import Box, Frame, Origins, fit_line

__all__ = ["Refused", "Scene", "ints", "lattice_box"]


class Refused(Exception):
    """The family is known and cannot be painted; the message is the geometry's reason."""


def ints(value: Any) -> NDArray[np.int64] | None:
    """Return a tensor, array or nested list as an int array, None when it is missing or ragged."""
    if value is None:
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.int64) if array.dtype.kind in "iufb" and array.size else None


@dataclass(frozen=True, eq=False)
class Scene:
    """One row of a batch, as the layout families see it.

    Parameters
    ----------
    hf : PreTrainedModel
        The model; only its config and its modules' names are read.
    processor : object or None
        The processor.
    inputs : dict
        The batch's inputs.
    origins : Origins or None
        Where the processed pixels of this row's picture come from, None when unknown.
    n_tokens : int
        Number of image tokens in the row.
    attend : callable, optional
        Number of learned queries, and of views, to their cross-attention weights; runs the model
        once.
    row : int
        Which row of the batch.
    views : int, optional
        How many of the processed images are seen, from the first on; all by default.
    """

    hf: Any
    processor: Any
    inputs: dict[str, Any]
    origins: Origins | None
    n_tokens: int
    attend: Callable[[int, int], list[NDArray[np.float64]]] | None = field(default=None, repr=False)
    row: int = 0
    views: int | None = None

    @cached_property
    def single(self) -> dict[str, Any]:
        """The inputs for this picture alone."""
        return self.inputs if self.origins is None else self.origins.inputs

    @cached_property
    def stretches(self) -> bool:
        """True without measured origins: the processed image is taken as the picture."""
        return self.origins is None or not any(self.origins.x.values())

    @property
    def whole(self) -> Box:
        """The whole picture."""
        height, width = self.origins.picture_size if self.origins is not None else (1, 1)
        return (0.0, 0.0, float(width), float(height))

    def frames(self, key: str = "pixel_values") -> list[Frame | None]:
        """Return the processed images under `key`, each with its map to the picture."""
        return [] if self.origins is None else self.origins.frames(key)[: self.views]

    def patch_centres(self) -> list[NDArray[np.float64]]:
        """Return the centres (patch, 2) of pixels that the processor cut into patches."""
        if self.origins is None:
            return []
        found = []
        for key, arrays in self.origins.x.items():
            for index, array in enumerate(arrays):
                if array.ndim >= 2 and not (array.ndim >= 4 and array.shape[-3] in (1, 3)):
                    part = Origins({}, {key: [array]}, {key: [self.origins.y[key][index]]}, (0, 0))
                    found.extend(part.patches(key))
        return found

    def strip_centres(self, n_patches: int) -> NDArray[np.float64] | None:
        """Return the centres of patches that were laid side by side into one long image."""
        if self.origins is None:
            return None
        for key, arrays in self.origins.x.items():
            for x, y in zip(arrays, self.origins.y[key], strict=True):
                if x.ndim >= 3 and x.shape[-1] % n_patches == 0:
                    side = x.shape[-1] // n_patches
                    cut = (-1, x.shape[-2], n_patches, side)
                    return np.stack(
                        [np.nanmean(v.reshape(cut), axis=(0, 1, 3)) for v in (x, y)], axis=1
                    )
        return None

    @cached_property
    def _configs(self) -> list[Any]:
        config = self.hf.config
        names = ("vision_config", "vision_tower_config", "vit_config", "backbone_config")
        found = [getattr(config, name) for name in names if getattr(config, name, None) is not None]
        inner = [getattr(c, "vision_config", None) for c in (getattr(config, "vlm_config", None),)]
        return [*found, *[c for c in inner if c is not None], config]

    def setting(self, *names: str) -> Any:
        """Return the first setting of the vision config, else of the config, that has a value."""
        for holder in self._configs:
            for name in names:
                value = getattr(holder, name, None)
                if value is not None:
                    return value
        return None

    @cached_property
    def patch_size(self) -> int:
        """Side of a patch in pixels of the processed image; 1 when the config does not say."""
        value = self.setting("patch_size", "image_patch_size")
        if isinstance(value, list | tuple):
            value = value[0]
        return int(value) if isinstance(value, int | float) and value > 0 else 1

    def cell_sizes(self) -> Iterator[int]:
        """Yield sides of a token's cell in pixels: as the config merges patches, then others."""
        merge = self.hf.config
        for name in ("spatial_merge_size", "merge_size", "downsample_factor"):
            value = getattr(merge, name, None)
            if isinstance(value, int):
                yield self.patch_size * value
        yield from (self.patch_size * m for m in (1, 2, 3, 4, 8, 16))

    @cached_property
    def _names(self) -> str:
        names = [name for name, _ in self.hf.named_modules()]
        names += [name for name, _ in self.hf.named_parameters()]
        return "\n".join(name.lower() for name in names if ".layers." not in name)

    def has_module(self, *parts: str) -> bool:
        """Whether every part occurs in the name of some module or parameter outside of layers."""
        return all(part in self._names for part in parts)


def lattice_box(
    scene: Scene, rows: int, cols: int, points: NDArray[np.float64] | None = None
) -> Box:
    """Return the rectangle that `rows` x `cols` patches cover, whatever order they are listed in.

    `points` are the patches' centres on the picture; those of the scene's only patch list, when it
    has the right length, by default. Without any the grid is stretched over the whole picture.
    """
    if points is None:
        found = [c for c in scene.patch_centres() if len(c) == rows * cols]
        points = found[0] if found else None
    frames = [frame for frame in scene.frames() if frame is not None]
    if points is None:
        if len(frames) == 1:
            return frames[0].whole
        if scene.stretches:
            height, width = rows * scene.patch_size, cols * scene.patch_size
            return (0.0, 0.0, float(width), float(height))
        return scene.whole
    edges = []
    for axis, count in ((0, cols), (1, rows)):
        ordered = np.sort(points[:, axis])
        ordered = np.asarray(ordered.reshape(count, -1).mean(axis=1), np.float64)
        line = fit_line(count, ordered) if count > 1 else None
        if line is None:  # a single row or column: as deep as the picture that it shows
            edges.append((0.0, 2.0 * float(ordered[0])))
        else:
            edges.append((line[0], line[0] + line[1] * count))
    (x0, x1), (y0, y1) = edges
    return (x0, y0, x1, y1)

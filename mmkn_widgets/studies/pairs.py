"""Inpaint each scene once, however many ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution import scene_mask

if TYPE_CHECKING:
    from PIL.Image import Image

    from .._jobs import CancelToken, Progress
    from ..attribution import Concept
    from ..datasets import Scene
    from ..inpainting import Inpainter

__all__ = ["PairCache"]


def _key(scene: Scene, mask: np.ndarray) -> tuple[int | str, str]:
    return scene.id, np.packbits(mask).tobytes().hex()


class PairCache:
    """An inpainter that remembers what it painted.

    Parameters
    ----------
    inpainter : Inpainter
    """

    def __init__(self, inpainter: Inpainter) -> None:
        self.inpainter = inpainter
        self._painted: dict[tuple[int | str, str], Image] = {}

    @property
    def name(self) -> str:
        """The inpainter's name, for provenance."""
        return str(self.inpainter.name)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The inpainter's, for provenance."""
        return self.inpainter.parameters

    def __call__(self, image: Image, mask: np.ndarray, scene: Scene | None = None) -> Image:
        """Inpaint, or return what was painted for the same scene and mask."""
        if scene is None:
            return self.inpainter(image, mask, scene)
        key = _key(scene, mask)
        if key not in self._painted:
            self._painted[key] = self.inpainter(image, mask, scene)
        return self._painted[key]

    def batch(
        self,
        images: Sequence[Image],
        masks: Sequence[np.ndarray],
        scenes: Sequence[Scene] | None = None,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Image]:
        """Inpaint what is not there yet in one batch of the inpainter."""
        if scenes is None:
            return self.inpainter.batch(images, masks, progress=progress, cancel=cancel)
        keys = [_key(scene, mask) for scene, mask in zip(scenes, masks, strict=True)]
        new = [n for n, key in enumerate(keys) if key not in self._painted]
        painted = self.inpainter.batch(
            [images[n] for n in new],
            [masks[n] for n in new],
            [scenes[n] for n in new],
            progress=progress,
            cancel=cancel,
        )
        self._painted.update(zip([keys[n] for n in new], painted, strict=True))
        return [self._painted[key] for key in keys]

    def inpainted(self, scene: Scene, concept: Concept) -> Image:
        """Return the scene's picture without the concept."""
        return self(scene.image, scene_mask(scene, concept), scene)

    def keep(self, scene: Scene, mask: np.ndarray, image: Image) -> None:
        """Take a picture painted elsewhere (by hand, or read from a file) as the inpainted one."""
        self._painted[_key(scene, mask)] = image

"""Inpaint each scene once, however many ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution import scene_mask

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..attribution import Concept
    from ..datasets import Scene
    from ..inpainting import Inpainter

__all__ = ["PairCache"]


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

    def __call__(self, image: Image, mask: np.ndarray, scene: Scene | None = None) -> Image:
        """Inpaint, or return what was painted for the same scene and mask."""
        if scene is None:
            return self.inpainter(image, mask, scene)
        key = (scene.id, np.packbits(mask).tobytes().hex())
        if key not in self._painted:
            self._painted[key] = self.inpainter(image, mask, scene)
        return self._painted[key]

    def inpainted(self, scene: Scene, concept: Concept) -> Image:
        """Return the scene's picture without the concept."""
        return self(scene.image, scene_mask(scene, concept), scene)

    def keep(self, scene: Scene, mask: np.ndarray, image: Image) -> None:
        """Take a picture painted elsewhere (by hand, or read from a file) as the inpainted one."""
        self._painted[(scene.id, np.packbits(mask).tobytes().hex())] = image

    def describe(self) -> dict[str, Any]:
        """Return what provenance records of the inpainter."""
        return {"name": self.name}

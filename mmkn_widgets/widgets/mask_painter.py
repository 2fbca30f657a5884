"""Paint a mask on a picture, and the object away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from ..core import bad_argument
from . import _kinds as k
from ._base import Answer, Call, Widget, bundle, request
from ._encode import encode_picture
from .traits import MaskTraits

__all__ = ["MaskPainter"]


class MaskPainter(MaskTraits, Widget):
    """Paint a mask on a picture.

    Parameters
    ----------
    image : PIL.Image.Image
    objects : mapping of str to bool arrays (height, width)
        Masks to choose with one click.
    inpaint : callable, optional
        ``inpaint(image, mask) -> PIL.Image.Image``, called by the button.

    Attributes
    ----------
    painted : numpy.ndarray of bool
        The mask at painting resolution, after the button.
    """

    _esm: ClassVar[Any] = bundle("mask_painter")
    picture = k.data("the picture, PNG or JPEG")
    inpainted = k.data("the picture without the object, PNG or JPEG")
    painted = t.Any(None, help="the mask that was painted last, bool (height, width)")

    def __init__(
        self,
        image: Any,
        objects: Mapping[str, Any] | None = None,
        inpaint: Callable[[Any, np.ndarray], Any] | None = None,
    ) -> None:
        from ._scene_state import painting_shape, shrink

        self._image, self._paint = image, inpaint
        shape = painting_shape(image.size)
        masks = {str(n): np.asarray(m, bool) for n, m in (objects or {}).items()}
        super().__init__(
            picture=encode_picture(image, 640),
            inpainted=encode_picture(image, 640),
            mask_shape=list(shape),
            mask=bytes(shape[0] * shape[1]),
            objects=[{"name": n, "area": float(m.mean())} for n, m in masks.items()],
            object_masks=[shrink(m, shape).tobytes() for m in masks.values()],
        )

    @request("inpaint", worker=False)
    def _ask_inpaint(self, call: Call) -> Answer:
        from PIL import Image

        shape = tuple(int(n) for n in call.args.get("shape", ()))
        mask = np.frombuffer(call.buffers[0] if call.buffers else b"", np.uint8)
        if list(shape) != self.mask_shape or mask.size != shape[0] * shape[1] or not mask.any():
            raise bad_argument("mask", f"{mask.size} bytes", f"a painted mask of {self.mask_shape}")
        small = Image.fromarray(np.where(mask.reshape(shape) > 0, 255, 0).astype(np.uint8))
        full = np.asarray(small.resize(self._image.size, Image.Resampling.NEAREST)) > 127
        self.mask = mask.tobytes()
        if self._paint is not None:
            self.inpainted = encode_picture(self._paint(self._image, full), 640)
        self.painted = full
        return {}

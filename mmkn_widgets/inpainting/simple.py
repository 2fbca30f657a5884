"""Inpainters that need no model: OpenCV, the exact redraw, a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core import BadArgument, bad_argument
from ..datasets import Scene, read_image
from .base import OneByOne, blend, border, coverage, prepare

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ExactInpainter", "FunctionInpainter", "OpenCVInpainter"]


class OpenCVInpainter(OneByOne):
    """Continue the surroundings into the hole.

    Parameters
    ----------
    method : {"telea", "ns"}
        Telea's fast marching (2004) or Navier-Stokes (Bertalmio et al. 2001).
    radius : float
        How far, in pixels, a filled pixel looks around.
    dilate : int, optional
        By how many pixels the mask grows first, so that no rim of the object is left; by default
        1 at 96 pixels, 3 at 640.
    feather : int, optional
        Over how many pixels the fill fades into the picture beyond that; the same default.

    Examples
    --------
    >>> picture = np.full((32, 32, 3), 200, np.uint8)
    >>> picture[10:20, 10:20] = 0
    >>> mask = np.zeros((32, 32), bool)
    >>> mask[10:20, 10:20] = True
    >>> int(np.asarray(OpenCVInpainter("telea")(picture, mask)).min()) > 190
    True
    """

    def __init__(
        self,
        method: Literal["telea", "ns"] = "telea",
        *,
        radius: float = 3.0,
        dilate: int | None = None,
        feather: int | None = None,
    ) -> None:
        if method not in ("telea", "ns"):
            raise bad_argument("method", method, "'telea' or 'ns'")
        for name, value in (("dilate", dilate), ("feather", feather)):
            if value is not None and (type(value) is not int or value < 0):
                raise bad_argument(name, value, "a number of pixels, 0 or more")
        if not radius > 0:
            raise bad_argument("radius", radius, "more than 0 pixels")
        self.name: str = method
        self.parameters = {
            "method": method,
            "radius": radius,
            "dilate": "auto" if dilate is None else dilate,
            "feather": "auto" if feather is None else feather,
        }
        self._radius, self._dilate, self._feather = radius, dilate, feather

    def __call__(
        self, image: Any, mask: Any, scene: Scene | None = None  # noqa: ARG002  Inpainter's
    ) -> Image:  # fmt: skip
        """Return the picture without what the mask covers; `scene` is not looked at."""
        import cv2
        from PIL import Image

        picture, covered = prepare(image, mask)
        auto = border(picture.size)
        share = coverage(
            covered,
            auto if self._dilate is None else self._dilate,
            auto if self._feather is None else self._feather,
        )
        hole = share > 0
        if hole.all():
            raise BadArgument(
                "mask: got a mask that, dilated, covers the whole picture; expected one that leaves"
                " something around it (or give dilate=0, feather=0)"
            )
        flag = cv2.INPAINT_TELEA if self.name == "telea" else cv2.INPAINT_NS
        filled = cv2.inpaint(
            np.ascontiguousarray(picture), hole.astype(np.uint8) * 255, self._radius, flag
        )
        return blend(picture, Image.fromarray(filled), share)

    def __repr__(self) -> str:
        return f"OpenCVInpainter({self.parameters})"


class ExactInpainter(OneByOne):
    """Draw the scene again without the objects under the mask; only the pocket world can.

    All objects of a category go together; a category goes when more than half of the visible
    pixels of one of its objects are masked.

    Examples
    --------
    >>> from mmkn_widgets.datasets import pocket_world
    >>> scene = pocket_world("val", 1)[0]
    >>> ExactInpainter()(scene.image, scene.mask(scene.categories[0]), scene).size
    (96, 96)
    """

    name = "exact"

    def __init__(self) -> None:
        self.parameters = {"method": "exact redraw"}

    def __call__(self, image: Any, mask: Any, scene: Scene | None = None) -> Image:
        """Return the scene's picture without the objects under the mask."""
        if scene is None:
            raise bad_argument(
                "scene", None, "the scene of the picture: the exact redraw draws it anew"
            )
        _, covered = prepare(image, mask)
        categories = [
            one.category
            for one in scene.objects
            if one.mask is not None and one.mask.any() and covered[one.mask].mean() > 0.5
        ]
        if not categories:
            here = ", ".join(scene.categories) or "no object"
            raise BadArgument(f"mask: covers no object of scene {scene.id!r}, which shows {here}")
        return scene.without(*dict.fromkeys(categories))

    def __repr__(self) -> str:
        return "ExactInpainter()"


class FunctionInpainter(OneByOne):
    """A function of the user's as an inpainter; its result is taken as it is.

    Parameters
    ----------
    function : callable
        ``function(image, mask)`` or ``function(image, mask, scene)`` with an RGB Pillow image and
        a boolean array of shape (height, width); returns a picture of the same size.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> def grey(image, mask):
    ...     return np.where(mask[..., None], 128, np.asarray(image)).astype(np.uint8)
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[2:4, 1:5] = True
    >>> FunctionInpainter(grey)(Image.new("RGB", (8, 8)), mask).getpixel((1, 2))
    (128, 128, 128)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self.parameters = {"function": f"{getattr(function, '__module__', '?')}.{self.name}"}
        self._function = function
        try:
            inspect.signature(function).bind(None, None, None)
            self._takes_scene = True
        except (TypeError, ValueError):
            self._takes_scene = False

    def __call__(self, image: Any, mask: Any, scene: Scene | None = None) -> Image:
        """Return what the function makes of the picture and its mask."""
        picture, covered = prepare(image, mask)
        extra = (scene,) if self._takes_scene else ()
        result = read_image(
            self._function(picture, covered, *extra), name=f"result of inpainter {self.name!r}"
        )
        if result.size != picture.size:
            raise bad_argument(
                f"result of inpainter {self.name!r}",
                f"{result.size[0]} x {result.size[1]} pixels",
                f"the picture's size, {picture.size[0]} x {picture.size[1]}",
            )
        return result

    def __repr__(self) -> str:
        return f"FunctionInpainter({self.name})"

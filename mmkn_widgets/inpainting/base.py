"""What an inpainter is, and what all of them share: checking the mask, blending the result in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..core import BadArgument, CancelToken, Progress, bad_argument
from ..datasets import Scene, read_image, read_mask

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Inpainter", "blend", "coverage", "prepare"]


@runtime_checkable
class Inpainter(Protocol):
    """Paints an object away.

    Examples
    --------
    >>> from mmkn_widgets.inpainting import get_inpainter
    >>> isinstance(get_inpainter("telea"), Inpainter)
    True
    """

    @property
    def name(self) -> str:
        """Such as ``"telea"``; written into provenance."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything that shapes the result, JSON-able."""
        ...

    def __call__(self, image: Any, mask: Any, scene: Scene | None = None) -> Image:
        """Return the picture without what the mask covers.

        Parameters
        ----------
        image : anything `mmkn_widgets.datasets.read_image` reads
        mask : anything `mmkn_widgets.datasets.read_mask` reads
            True where the object is; several masks are united.
        scene : Scene, optional
            Where the picture comes from; only the exact redraw needs it.
        """
        ...

    def batch(
        self,
        images: Sequence[Any],
        masks: Sequence[Any],
        scenes: Sequence[Scene] | None = None,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Image]:
        """Return the pictures without what their masks cover, in the same order."""
        ...


class OneByOne:
    """`Inpainter.batch` for inpainters that gain nothing from batches."""

    def __call__(self, image: Any, mask: Any, scene: Scene | None = None) -> Image:
        """Return the picture without what the mask covers."""
        raise NotImplementedError

    def batch(
        self,
        images: Sequence[Any],
        masks: Sequence[Any],
        scenes: Sequence[Scene] | None = None,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Image]:
        """Return the pictures without what their masks cover, one after the other."""
        check_lengths(images, masks, scenes)
        done: list[Image] = []
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            if cancel is not None:
                cancel.raise_if_cancelled()
            done.append(self(image, mask, None if scenes is None else scenes[number]))
            if progress is not None:
                progress("inpainting", number + 1, len(images))
        return done


def check_lengths(
    images: Sequence[Any], masks: Sequence[Any], scenes: Sequence[Any] | None
) -> None:
    """Raise `BadArgument` unless there is one mask (and one scene, if any) for each picture."""
    if len(masks) != len(images):
        raise bad_argument("masks", f"{len(masks)} masks", f"one for each of {len(images)} images")
    if scenes is not None and len(scenes) != len(images):
        raise bad_argument(
            "scenes", f"{len(scenes)} scenes", f"one for each of {len(images)} images"
        )


def prepare(image: Any, mask: Any) -> tuple[Image, np.ndarray]:
    """Return the RGB picture and its boolean mask, or raise what is wrong with them.

    Raises
    ------
    BadArgument
        If there is no mask, if it is empty, covers the whole picture or has another size.

    Examples
    --------
    >>> prepare(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool))
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: mask: got an empty mask, expected ...
    """
    picture = read_image(image)
    covered = read_mask(mask, picture.size)
    if not covered.any():
        raise BadArgument(
            "mask: got an empty mask, expected at least one pixel of the object to remove"
        )
    if covered.all():
        raise BadArgument(
            "mask: got a mask of the whole picture, expected one that leaves something around it"
        )
    return picture, covered


def border(size: tuple[int, int]) -> int:
    """Return the default width of the dilated and of the feathered border: 1 at 96, 3 at 640."""
    return max(1, round(max(size) / 200))


def coverage(mask: np.ndarray, dilate: int, feather: int) -> np.ndarray:
    """Return how much of the inpainted picture is used at each pixel.

    1 on the mask and on `dilate` pixels around it, falling to 0 over the next `feather` pixels.

    Parameters
    ----------
    mask : numpy.ndarray of bool, shape (height, width)
    dilate, feather : int
        In pixels; 0 for none.

    Returns
    -------
    numpy.ndarray of float32, shape (height, width), between 0 and 1

    Examples
    --------
    >>> row = np.zeros((1, 7), bool); row[0, 0] = True
    >>> coverage(row, 1, 2).round(2).tolist()
    [[1.0, 1.0, 0.67, 0.33, 0.0, 0.0, 0.0]]
    """
    import cv2

    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    beyond = np.maximum(np.ceil(outside - 1e-4) - dilate, 0)
    cover: np.ndarray = np.clip(1 - beyond / (feather + 1), 0, 1)
    return cover.astype(np.float32)


def blend(original: Image, filled: Image, share: np.ndarray) -> Image:
    """Lay `filled` over `original`; where `share` is 0 the pixels stay bit for bit.

    Parameters
    ----------
    original, filled : PIL.Image.Image
        RGB, of one size.
    share : numpy.ndarray of float, shape (height, width)
        From `coverage`.
    """
    from PIL import Image

    before = np.asarray(original, dtype=np.float32)
    after = np.asarray(filled, dtype=np.float32)
    mixed = np.rint(before + (after - before) * share[..., None])
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))

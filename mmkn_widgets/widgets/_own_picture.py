"""A picture of one's own in the Explorer: read, shown, painted on, used for the concept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..core import bad_argument
from ._base import Answer, Call, Widget, request

if TYPE_CHECKING:
    from PIL.Image import Image

    from .protocols import StudyLike

__all__ = ["MOST_BYTES", "OwnPicture", "read_upload"]

#: a message from the page to the kernel holds no more (Jupyter's limit is 10 MiB)
MOST_BYTES = 8 * 2**20
_SIDE = 2048
_NAME = 60


def read_upload(data: bytes, name: str) -> tuple[Image, str, str]:
    """Read a picture that came from the page.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        Its name; only the last part is kept.

    Returns
    -------
    PIL.Image.Image
        RGB, at most 2,048 pixels on its longest side.
    str
        The name to show.
    str
        What was changed, empty when nothing.

    Raises
    ------
    BadArgument
        If the file is larger than 8 MB or no picture.
    """
    from ..datasets import read_image

    shown = PurePosixPath(name.replace("\\", "/")).name.strip()[:_NAME] or "own picture"
    if not data:
        raise bad_argument(
            "picture", "an empty file", "a PNG, JPEG, WebP, GIF, BMP or TIFF picture"
        )
    if len(data) > MOST_BYTES:
        size = f"{len(data) / 2**20:.1f} MB"
        raise bad_argument("picture", size, "at most 8 MB: save it smaller, or as a JPEG")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        image = read_image(data, name="picture")
    notes = [str(one.message) for one in said]
    if max(image.size) > _SIDE:
        width, height = image.size
        image.thumbnail((_SIDE, _SIDE))
        notes.append(f"scaled from {width} × {height} to {image.width} × {image.height} pixels")
    return image, shown, "; ".join(notes)


class OwnPicture(Widget):
    """A mixin of `Explorer`: pictures that its study was not made of."""

    study: StudyLike
    scenes: Any
    thumbnails: Any
    scene: Any
    _submit: Callable[..., Any]

    @request("upload", stage="reading the picture")
    def _ask_upload(self, call: Call) -> Answer:
        data = call.buffers[0] if call.buffers else b""
        image, name, note = read_upload(data, str(call.args.get("name", "")))
        return {"scene": self._add(image, name), "note": note}

    def add_picture(self, source: Any, name: str | None = None) -> int:
        """Show a picture of one's own, as the page's upload does; return its number.

        It can be captioned, painted on and, once the concept is painted on it, takes part in the
        next computation.

        Parameters
        ----------
        source : str, path, bytes, PIL.Image.Image or array
            Whatever `mmkn_widgets.datasets.read_image` reads.
        name : str, optional
            What the page calls it.
        """
        from ..datasets import read_image

        image = read_image(source, name="source")
        given = str(source) if isinstance(source, str) else "own picture"
        shown = PurePosixPath(name or given).name[:_NAME]
        return int(self._submit(lambda: self._add(image, shown)).result())

    def _add(self, image: Image, name: str) -> int:
        from ..datasets import Scene
        from ._scene_state import thumbnail

        known = {str(scene.id) for scene in self.study.scenes}
        unique, number = name, 1
        while unique in known:
            number += 1
            unique = f"{name} ({number})"
        self.study = self.study.with_scene(Scene(unique, image, source="own", categories=()))
        place = len(self.study.scenes) - 1
        with self.hold_sync():
            self.scenes = [*self.scenes, {"name": unique, "before": "", "after": ""}]
            self.thumbnails = [*self.thumbnails, thumbnail(image)]
        self.scene = place
        return place

    def _with_own_pictures(self, made: Any) -> Any:
        """Return a new study with the pictures of one's own that it was not made of."""
        scored = len(getattr(self.study, "scored", self.study.scenes))
        for scene in self.study.scenes[scored:]:
            if all(scene is not other for other in made.scenes):
                made = made.with_scene(scene)
        return made

"""Pictures of one's own as files, and the Python that reads them again."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..attribution import has_scene_mask, scene_mask
from ..core import write_whole
from ..datasets import OWN
from ._base import Answer, Call, request

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..datasets import Scene

__all__ = ["FOLDER", "OwnPictures", "is_own", "picture_code", "pictures_folder", "scene_code"]

#: where the pictures are written, in the folder in which the kernel works
FOLDER = "mmkn_pictures"


class HasPictures(Protocol):
    """What `OwnPictures` asks of its widget."""

    def own_scenes(self) -> Sequence[tuple[Any, Any]]:
        """Return the pictures of one's own that code speaks of, each with the concept."""


class OwnPictures:
    """Writes the pictures of one's own from which copied code reads them.

    Parameters
    ----------
    view : widget
    """

    def __init__(self, view: Any) -> None:
        self.view: HasPictures = view
        self.folder = pictures_folder()

    def write(self) -> list[Path]:
        """Write what is not there yet; return every file that the code reads."""
        files: dict[Path, None] = {}
        for scene, concept in self.view.own_scenes():
            for name, image in _files(scene, concept).items():
                file = self.folder / name
                files[file] = None
                if not file.is_file():  # its name tells the pixels
                    self.folder.mkdir(parents=True, exist_ok=True)
                    write_whole(file, _png(image))
        return list(files)

    @request("write_pictures", worker=False)
    def ask_write(self, _call: Call) -> Answer:
        """Write them, and say where."""
        return {"files": [str(file) for file in self.write()], "folder": str(self.folder)}


def pictures_folder() -> Path:
    """Return where the pictures are written by default."""
    return Path.cwd() / FOLDER


def is_own(scene: Scene) -> bool:
    """Return whether a scene is a picture of one's own."""
    return scene.source == OWN


def picture_code(scene: Scene, folder: Path) -> str:
    """Return the Python expression that reads a scene's picture."""
    return f"mmkn.datasets.read_image({str(folder / _picture_name(scene))!r})"


def scene_code(scene: Scene, concept: Any, folder: Path) -> str:
    """Return the Python expression that makes a scene again, with its mask where it has one."""
    file = str(folder / _picture_name(scene))
    if not has_scene_mask(scene, concept):
        picture = picture_code(scene, folder)
        return f"mmkn.datasets.Scene({str(scene.id)!r}, {picture}, source={OWN!r})"
    mask = str(folder / _mask_name(scene, concept))
    more = f"{str(concept.word)!r}, name={str(scene.id)!r}"
    return f"mmkn.datasets.single_scene({file!r}, {mask!r}, {more})"


def _files(scene: Scene, concept: Any) -> dict[str, Image]:
    """Return the files of a scene by name: its picture, and its mask where it has one."""
    from PIL import Image

    found = {_picture_name(scene): scene.image}
    if has_scene_mask(scene, concept):
        inside = np.asarray(scene_mask(scene, concept), np.uint8) * 255
        found[_mask_name(scene, concept)] = Image.fromarray(inside)
    return found


def _stem(name: str) -> str:
    kept = re.sub(r"\.[A-Za-z0-9]{2,4}$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", kept).strip("_")[:40] or "picture"


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()[:10]


def _picture_name(scene: Scene) -> str:
    return f"{_stem(str(scene.id))}-{_hash(np.asarray(scene.image))}.png"


def _mask_name(scene: Scene, concept: Any) -> str:
    mask = np.packbits(np.asarray(scene_mask(scene, concept), bool))
    return f"{_picture_name(scene)[:-4]}.{_stem(str(concept.word))}-{_hash(mask)}.png"


def _png(image: Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()

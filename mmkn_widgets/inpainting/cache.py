"""Inpainted pictures on disk, found by the content they were made from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, cache_folder, write_all

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PictureCache", "default_folder", "folder_hash"]


def default_folder() -> Path:
    """Return where pictures are kept: below ``MMKN_CACHE_DIR``, else the user's cache folder.

    Examples
    --------
    >>> default_folder().name
    'inpainting'
    """
    return cache_folder("inpainting")


def folder_hash(folder: Path) -> str:
    """Return a hash of a model folder: every file's name, size and both ends of its content."""
    seen = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        seen.update(f"{path.relative_to(folder).as_posix()}:{size}:".encode())
        with path.open("rb") as file:
            seen.update(file.read(1 << 20))
            if size > 1 << 20:
                file.seek(max(size - (1 << 20), 1 << 20))
                seen.update(file.read(1 << 20))
    return seen.hexdigest()


class PictureCache:
    """A folder of PNG files named by the hash of picture, mask and parameters.

    A file appears only when it is whole; one whose pixels are not those that were kept is as good
    as none.

    Parameters
    ----------
    folder : path
        Made when the first picture is kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def key(self, image: Image, mask: np.ndarray, parameters: Mapping[str, Any]) -> str:
        """Return the hash of everything that the result depends on."""
        seen = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode())
        seen.update(f"{image.size}".encode())
        seen.update(image.tobytes())
        seen.update(np.packbits(mask).tobytes())
        return seen.hexdigest()

    def get(self, key: str) -> Image | None:
        """Return the picture kept under a key, or None."""
        from PIL import Image

        from ..datasets import read_image

        try:
            raw = (self.folder / f"{key}.png").read_bytes()
            with Image.open(io.BytesIO(raw)) as opened:
                checksum = opened.text.get(_CHECKSUM)  # type: ignore[attr-defined]
            image = read_image(raw)
        except (BadArgument, OSError, ValueError, SyntaxError, AttributeError):
            return None
        return image if checksum == _checksum(image) else None

    def put(self, key: str, image: Image) -> None:
        """Keep a picture under a key.

        Raises
        ------
        BadArgument
            If the folder cannot be written.
        """
        from PIL.PngImagePlugin import PngInfo

        image = image.convert("RGB")
        described = PngInfo()
        described.add_text(_CHECKSUM, _checksum(image))
        file = io.BytesIO()
        image.save(file, "PNG", pnginfo=described)
        try:
            write_all(self.folder, {f"{key}.png": file.getvalue()}, "cache")
        except BadArgument as error:
            raise BadArgument(f"{error}, or give cache=False") from error


#: Name of the PNG's text that holds the checksum of its pixels.
_CHECKSUM = "mmkn_widgets"


def _checksum(image: Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()

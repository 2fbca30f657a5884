"""Read a picture from whatever the user has, as the RGB image that the user expects to see."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import warnings
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..core import BadArgument, bad_argument
from .base import Scene
from .paths import expanded

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_PIXELS", "is_address", "read_image", "read_sizes"]

#: Pictures with more pixels are refused (Pillow's own limit, 9,459 x 9,459).
MAX_PIXELS = 89_478_485

_PICTURE = "a PNG, JPEG, WebP, GIF, BMP or TIFF picture"
#: Pillow hands these to other programs, or only pretends to read them.
_NOT_READ = {"EPS", "WMF", "HDF5", "GRIB", "BUFR", "MPEG"}
#: What Pillow raises on files that are damaged in one way or another.
_DAMAGES = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, KeyError, TypeError,
    AttributeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
_URL = re.compile(r"^(data:|[A-Za-z][A-Za-z0-9+.\-]*://)")


def read_image(source: Any, *, orient: bool = True, name: str = "image") -> Image:
    """Return a picture as 8-bit RGB.

    EXIF orientation is applied, palettes and grey values are expanded, CMYK is converted, 16-bit
    values are scaled (not cut) to 8 bits, transparency is laid on white. Of an animation or a
    file of several pages the first frame is taken, with a warning that says so.

    Parameters
    ----------
    source : str, path, bytes, file, PIL.Image.Image, array or Scene
        A file's path, its content, an open binary file, a Pillow image, an array or tensor of
        shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4) with
        dtype bool, uint8, uint16 or float between 0 and 1, or a scene of a data set. Addresses
        of the network are refused: nothing is ever downloaded.
    orient : bool
        Whether to turn the picture as its EXIF tag asks.
    name : str
        What the errors call the picture.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, loaded, independent of the source.

    Raises
    ------
    BadArgument
        If there is no such file, if it is a folder, an address, no picture, truncated, or larger
        than `MAX_PIXELS`. The message says which and what to do.

    Examples
    --------
    >>> import numpy as np
    >>> read_image(np.zeros((2, 3), dtype=np.uint16)).size
    (3, 2)
    """
    from PIL import Image

    if isinstance(source, Scene):
        return source.image
    if isinstance(source, Image.Image):
        _check_size(source.size, name)
        return _decode(source, repr(source), orient, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open(io.BytesIO(bytes(source)), f"{len(source)} bytes", orient, name)
    if isinstance(source, str | os.PathLike):
        with _open_file(source, name) as file:  # read from there: a file may be very large
            return _open(file, os.fspath(source), orient, name)
    if hasattr(source, "read"):
        return _open(source, repr(source), orient, name)
    if hasattr(source, "detach") or hasattr(source, "__array__"):
        return _from_array(source, name)
    raise bad_argument(name, source, "a path, bytes, a Pillow image or an array of pixels")


def read_sizes(source: str | os.PathLike[str], name: str = "image") -> tuple[tuple[int, int], ...]:
    """Return a picture file's (width, height) as stored and as its EXIF tag turns it.

    Only the file's head is read, so that a size can be compared before anything is allocated.

    Raises
    ------
    BadArgument
        As `read_image`.
    """
    with _open_file(source, name) as file:
        picture = _opened(file, os.fspath(source), name)
        width, height = picture.size
        try:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        except _DAMAGES:
            turned = False
    return ((width, height), (height, width) if turned else (width, height))


def is_address(text: object) -> bool:
    """Return whether a text is an address of the network or a ``data:`` address.

    Examples
    --------
    >>> is_address("https://example.org/a.png"), is_address("pocket:val"), is_address("a.png")
    (True, False, False)
    """
    return isinstance(text, str) and _URL.match(text) is not None


def _instead(address: str) -> str:
    """Return what to do with an address, as nothing is downloaded."""
    if address.startswith("data:"):
        return "base64.b64decode(text.partition(',')[2]) makes the bytes that are read here"
    if address.startswith("file://"):
        return f"{address.removeprefix('file://')!r} is the path"
    shown = repr(address) if len(address) <= 100 else "the address"
    return f"urllib.request.urlretrieve({shown}, 'picture.jpg') saves one as 'picture.jpg'"


def _open_file(source: str | os.PathLike[str], name: str) -> BinaryIO:
    text: str | bytes = os.fspath(source)  # of a path of any kind
    if isinstance(text, str) and is_address(text):
        raise bad_argument(
            name,
            text,
            "a local file: nothing is downloaded, save the picture and give its path ("
            + _instead(text)
            + ")",
        )
    try:
        path = expanded(text, name, "a path")
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise bad_argument(
                name, text, "a file, not a folder (datasets.image_folder reads folders)"
            )
        if not stat.S_ISREG(kind):
            raise bad_argument(name, text, "an ordinary file")
        return path.open("rb")
    except FileNotFoundError:
        raise bad_argument(name, text, "the path of an existing file") from None
    except PermissionError:
        raise bad_argument(name, text, "a file that may be read (permission denied)") from None
    except BadArgument:
        raise
    except (OSError, ValueError) as error:
        raise bad_argument(name, text, f"a readable file ({error})") from error


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(kind for kind in Image.OPEN if kind not in _NOT_READ)


def _open(file: Any, shown: str, orient: bool, name: str) -> Image:
    return _decode(_opened(file, shown, name), shown, orient, name)


def _opened(file: Any, shown: str, name: str) -> Image:
    """Return a picture of which no pixel is read yet, and whose size is bearable."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(error, shown, name) from None
    except UnidentifiedImageError:
        raise bad_argument(name, shown, f"{_PICTURE}; this is none") from None
    except _DAMAGES as error:
        raise bad_argument(name, shown, f"{_PICTURE}; it cannot be read ({error})") from error
    _check_size(picture.size, name)
    return picture


def _bomb(error: Exception, shown: str, name: str) -> BadArgument:
    pixels = re.search(r"\d+", str(error))
    return _too_large(name, f"{int(pixels[0]):,} pixels" if pixels else shown)


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(name, f"{size[0]:,} x {size[1]:,} pixels")
    if 0 in size:
        raise bad_argument(name, f"{size[0]} x {size[1]} pixels", "at least one pixel")


def _too_large(name: str, given: str) -> BadArgument:
    return BadArgument(
        f"{name}: got a picture of {given}, expected at most {MAX_PIXELS:,}; scale it down first"
    )


def _decode(picture: Image, shown: str, orient: bool, name: str) -> Image:
    from PIL import Image, ImageOps

    try:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format != "MPO":
            warnings.warn(
                f"{name}: {shown} has {frames} frames; only the first one is used",
                UserWarning,
                stacklevel=4,
            )
            picture.seek(0)
        picture.load()
        if orient:
            picture = ImageOps.exif_transpose(picture)
        return _to_rgb(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(error, shown, name) from None
    except _DAMAGES as error:
        raise bad_argument(
            name, shown, f"a whole picture; this one is truncated or damaged ({error})"
        ) from error


def _to_rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data or picture.mode in ("La", "RGBa"):
        layer = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode == "RGB":
        return picture.copy()
    return picture.convert("RGB")


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Scale one channel of deep values to 0..255: by its range of 16 bits, 0..1 or its maximum."""
    deep = np.nan_to_num(values.astype(np.float64))
    top = deep.max(initial=0.0)
    if values.dtype.kind == "f":
        full = 1.0 if top <= 1 else 255.0 if top <= 255 else max(top, 65535.0)
    else:
        full = 65535.0 if values.dtype.itemsize == 2 or top <= 65535 else float(top)
    return np.clip(np.rint(deep * (255.0 / full)), 0, 255).astype(np.uint8)


def _from_array(source: Any, name: str) -> Image:
    from PIL import Image

    pixels = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    shape = "x".join(map(str, pixels.shape))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        hint = (
            "; move the channels last" if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) else ""
        )
        raise bad_argument(name, f"array of shape {shape}", f"(height, width[, 3 or 4]){hint}")
    _check_size((pixels.shape[1], pixels.shape[0]), name)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
    elif pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise bad_argument(name, f"float array of shape {shape}", "values between 0 and 1")
        pixels = np.rint(pixels * 255.0).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise bad_argument(
            name, f"array of dtype {pixels.dtype}", "bool, uint8, uint16, or float from 0 to 1"
        )
    return _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))

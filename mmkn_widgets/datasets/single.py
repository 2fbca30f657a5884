"""One picture of one's own with a mask, as a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .base import ObjectInstance, Scene
from .images import read_image
from .masks import read_mask

__all__ = ["single_scene"]


def single_scene(image: Any, mask: Any, concept: str, *, name: str | None = None) -> Scene:
    """Return a scene of one picture and one object.

    Parameters
    ----------
    image : str, path, PIL.Image.Image or array
        Whatever `read_image` reads.
    mask : str, path, PIL.Image.Image or array
        Whatever `read_mask` reads; white where the object is, of the picture's size.
    concept : str
        What the object is.
    name : str, optional
        The scene's id; the file's name by default.

    Returns
    -------
    Scene

    Raises
    ------
    BadArgument
        If one of them is unreadable, or the mask has another size.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.zeros((8, 8, 3), np.uint8)
    >>> single_scene(picture, np.eye(8, dtype=bool), "car").categories
    ('car',)
    """
    picture = read_image(image)
    inside = read_mask(mask, picture.size)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = (0.0, 0.0, 0.0, 0.0)
    if len(rows):
        x, y = int(columns[0]), int(rows[0])
        box = (float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y))
    given = Path(image).name if isinstance(image, str | Path) else "picture"
    return Scene(name or given, picture, (), (ObjectInstance(concept, inside, box),), source="own")

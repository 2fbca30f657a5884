"""One picture of one's own with a mask, as a scene."""

from __future__ import annotations

from typing import Any

from .base import OWN, ObjectInstance, Scene
from .images import read_image
from .masks import bounding_box, read_mask
from .table import picture_name

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
        The scene's id; by default the file's name, or one made from the pixels.

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
    return Scene(
        name or picture_name(image, picture),
        picture,
        (),
        (ObjectInstance(concept, inside, bounding_box(inside)),),
        source=OWN,
    )

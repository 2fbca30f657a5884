"""Where each image token looks on the picture: found from a model's inputs, measured, painted."""

from __future__ import annotations

from .find import find_geometries, find_geometry
from .geometry import Geometry, one_picture, several

__all__ = ["Geometry", "find_geometries", "find_geometry", "one_picture", "several"]

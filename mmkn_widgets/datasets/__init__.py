"""Pictures with captions and object masks: COCO 2017, the pocket world, a folder of images."""

from .base import ObjectInstance, Scene, SceneDataset
from .pocket import pocket_world

__all__ = ["ObjectInstance", "Scene", "SceneDataset", "pocket_world"]

"""Pictures with captions and object masks: COCO 2017, the pocket world, a folder of images."""

from .base import ObjectInstance, Scene, SceneDataset

__all__ = ["ObjectInstance", "Scene", "SceneDataset"]

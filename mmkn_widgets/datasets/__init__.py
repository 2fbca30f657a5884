"""Pictures with captions and object masks: COCO 2017, the pocket world, a folder of images."""

from .base import ObjectInstance, Scene, SceneDataset
from .coco import coco
from .folder import image_folder
from .images import read_image
from .masks import decode_segmentation, read_mask
from .pocket import pocket_world
from .problems import CheckedDataset, Problem
from .single import single_scene
from .spec import open_dataset

__all__ = [
    "CheckedDataset",
    "ObjectInstance",
    "Problem",
    "Scene",
    "SceneDataset",
    "coco",
    "decode_segmentation",
    "image_folder",
    "open_dataset",
    "pocket_world",
    "read_image",
    "read_mask",
    "single_scene",
]

"""Pictures with captions and object masks: COCO, the pocket world, folders, Hugging Face rows."""

from .base import OWN as OWN
from .base import ObjectInstance, Scene, SceneDataset
from .coco import coco
from .folder import image_folder
from .given import CHOOSING as CHOOSING
from .given import as_dataset as as_dataset
from .given import as_scenes
from .given import select as select
from .images import read_image
from .masks import decode_segmentation, read_mask
from .pocket import pocket_world
from .problems import CheckedDataset, Problem
from .single import single_scene
from .spec import open_dataset
from .table import hugging_face

__all__ = [
    "CheckedDataset",
    "ObjectInstance",
    "Problem",
    "Scene",
    "SceneDataset",
    "as_scenes",
    "coco",
    "decode_segmentation",
    "hugging_face",
    "image_folder",
    "open_dataset",
    "pocket_world",
    "read_image",
    "read_mask",
    "single_scene",
]

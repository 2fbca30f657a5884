"""Load any multimodal language model, find its FFN neurons, map its tokens, let it caption."""

from __future__ import annotations

from .batch_size import BatchSize as BatchSize
from .decode import decode as decode
from .decode import decode_rows as decode_rows
from .decode import logit_lens as logit_lens
from .generate import Generation as Generation
from .geometry.geometry import Geometry as Geometry
from .geometry.geometry import one_picture as one_picture
from .geometry.geometry import several as several
from .image_positions import image_mask as image_mask
from .image_positions import image_token_ids as image_token_ids
from .image_positions import inserted as inserted
from .inspect import inspect_model
from .load import load_model
from .memory import needed_bytes as needed_bytes
from .memory import readable as readable
from .minigpt4 import load_minigpt4
from .model import MultimodalModel
from .prepared import Prepared as Prepared
from .prompts import all_continuation_ids as all_continuation_ids
from .sites import Refusal as Refusal
from .sites import Site as Site
from .sites import find_sites as find_sites
from .state import UNCOMPILED as UNCOMPILED
from .state import plain_torch as plain_torch
from .state import uncompiled as uncompiled
from .tokens import TokenMap
from .weights import site_bias as site_bias
from .weights import site_device as site_device
from .worker import Worker as Worker

__all__ = [
    "MultimodalModel",
    "TokenMap",
    "inspect_model",
    "load_minigpt4",
    "load_model",
]

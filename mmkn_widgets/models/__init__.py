"""Load any multimodal language model, find its FFN neurons, map its tokens, let it caption."""

from __future__ import annotations

from .batch import Prepared
from .generate import Generation
from .inspect import inspect_model
from .load import load_model
from .minigpt4 import load_minigpt4
from .model import MultimodalModel
from .sites import Refusal, Site, find_sites
from .tokens import TokenMap
from .worker import Worker

__all__ = [
    "Generation",
    "MultimodalModel",
    "Prepared",
    "Refusal",
    "Site",
    "TokenMap",
    "Worker",
    "find_sites",
    "inspect_model",
    "load_minigpt4",
    "load_model",
]

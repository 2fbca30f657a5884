"""Capture FFN activations, keep them as an xarray store, read them as words and maps."""

from __future__ import annotations

from ..models import decode, logit_lens
from ..models import decode_rows as decode_rows
from .accessor import ArrayAccessor as ArrayAccessor
from .accessor import StoreAccessor as StoreAccessor
from .accessor import model_of as model_of
from .capture import capture
from .capture import image_activations as image_activations
from .labels import image_tokens as image_tokens
from .lens import patch_hidden as patch_hidden
from .lens import patch_lens
from .memory import needed_bytes
from .predicting import Prediction as Prediction
from .predicting import find_span as find_span
from .predicting import find_word as find_word
from .predicting import predictions as predictions
from .read_store import open_store
from .record import Recording as Recording
from .record import record
from .zarr_store import save

__all__ = [
    "capture",
    "decode",
    "logit_lens",
    "needed_bytes",
    "open_store",
    "patch_lens",
    "record",
    "save",
]

"""Capture FFN activations, keep them as an xarray store, read them as words and maps."""

from __future__ import annotations

from ..models import decode, decode_rows, logit_lens
from .accessor import ArrayAccessor, StoreAccessor
from .accessor import model_of as model_of
from .capture import capture, image_activations
from .lens import patch_hidden, patch_lens
from .memory import needed_bytes
from .predicting import Prediction as Prediction
from .predicting import find_span as find_span
from .predicting import find_word as find_word
from .predicting import predictions as predictions
from .read_store import open_store
from .record import Recording, record
from .zarr_store import save

__all__ = [
    "ArrayAccessor",
    "Recording",
    "StoreAccessor",
    "capture",
    "decode",
    "decode_rows",
    "image_activations",
    "logit_lens",
    "needed_bytes",
    "open_store",
    "patch_hidden",
    "patch_lens",
    "record",
    "save",
]

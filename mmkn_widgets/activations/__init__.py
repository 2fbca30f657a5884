"""Capture FFN activations, keep them as an xarray store, read them as words and maps."""

from .capture import capture, image_activations
from .decode import decode, logit_lens
from .record import Recording, record
from .zarr_store import open_store, save

__all__ = [
    "Recording",
    "capture",
    "decode",
    "image_activations",
    "logit_lens",
    "open_store",
    "record",
    "save",
]

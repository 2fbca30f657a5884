"""Which positions of the language model's sequence hold image embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .model import MultimodalModel

__all__ = ["image_mask", "image_token_ids", "inserted"]

_CONFIG_NAMES = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
_WRITTEN = ("<image>", "<|image_pad|>", "<|image|>", "<image_soft_token>", "[IMG]", "<IMG_CONTEXT>")


def image_token_ids(model: MultimodalModel) -> tuple[int, ...]:
    """Return the ids that stand for image embeddings, () when the model has none.

    The config is asked first, then the processor (some configs leave it empty), then the
    tokenizer's vocabulary for the usual spellings.
    """
    config, processor = model.hf.config, model.processor
    for holder in (config, processor, getattr(config, "vlm_config", None)):
        for name in _CONFIG_NAMES[:2]:
            value = getattr(holder, name, None)
            if isinstance(value, int) and value >= 0:
                return (value,)
    for name in _CONFIG_NAMES[2:]:  # a model for clips alone marks its one picture as a clip
        value = getattr(config, name, None)
        if isinstance(value, int) and value >= 0:
            return (value,)
    vocabulary = _vocabulary(model)
    token = getattr(processor, "image_token", None)
    for spelled in (getattr(token, "content", token), *_WRITTEN):
        if isinstance(spelled, str) and spelled in vocabulary:
            return (vocabulary[spelled],)
    return ()


def _vocabulary(model: MultimodalModel) -> Mapping[str, int]:
    get = getattr(model.tokenizer, "get_vocab", None)
    return get() if get is not None else {}


def image_mask(model: MultimodalModel, inputs: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return where the prompt's positions are image embeddings, (row, token).

    A mask that the processor wrote itself (Kosmos-2's `image_embeds_position_mask`) is believed
    before the ids are looked at.
    """
    ids = np.asarray(inputs["input_ids"].detach().cpu())
    written = inputs.get("image_embeds_position_mask")
    if written is not None and tuple(written.shape) == ids.shape:
        return np.asarray(written.detach().cpu()) > 0
    if not any("pixel" in key or "image" in key or "patches" in key for key in inputs):
        return np.zeros(ids.shape, bool)
    tokens = image_token_ids(model)
    if tokens:
        return np.isin(ids, tokens)
    kinds = inputs.get("mm_token_type_ids")
    if kinds is not None and tuple(kinds.shape) == ids.shape:
        return np.asarray(kinds.detach().cpu()) == 1
    return np.zeros(ids.shape, bool)


def inserted(model: MultimodalModel, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many image embeddings the model itself puts (before, behind) the ids.

    GIT puts its picture (class token and patches) in front of the text; UDOP's encoder appends
    the patches that hold no word behind the words.
    """
    kind = getattr(model.hf.config, "model_type", "")
    pixels = inputs.get("pixel_values")
    if kind == "git" and pixels is not None:
        vision = model.hf.config.vision_config
        return (
            (int(pixels.shape[-2]) // vision.patch_size)
            * (int(pixels.shape[-1]) // vision.patch_size)
            + 1
        ) * (int(pixels.shape[1]) if pixels.ndim == 5 else 1), 0
    return 0, 0

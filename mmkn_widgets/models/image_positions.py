"""Which positions of the language model's sequence hold image embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = ["image_mask", "image_token_ids", "inserted", "patches_without_words"]

_CONFIG_NAMES = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
#: inputs of models that see pictures through cross-attention alone (Mllama, IDEFICS)
_ACROSS = ("cross_attention_mask", "image_attention_mask")
_WRITTEN = ("<image>", "<|image_pad|>", "<|image|>", "<image_soft_token>", "[IMG]", "<IMG_CONTEXT>")


def image_token_ids(model: ModelParts) -> tuple[int, ...]:
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


def _vocabulary(model: ModelParts) -> Mapping[str, int]:
    get = getattr(model.tokenizer, "get_vocab", None)
    return get() if get is not None else {}


def image_mask(model: ModelParts, inputs: Mapping[str, Any]) -> NDArray[np.bool_]:
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
    if any(name in inputs for name in _ACROSS):  # its placeholder is a word like others
        return np.zeros(ids.shape, bool)
    tokens = image_token_ids(model)
    if tokens:
        return np.isin(ids, tokens)
    kinds = inputs.get("mm_token_type_ids")
    if kinds is not None and tuple(kinds.shape) == ids.shape:
        marked: NDArray[np.bool_] = np.asarray(kinds.detach().cpu()) == 1
        return marked
    return np.zeros(ids.shape, bool)


def inserted(model: ModelParts, inputs: Mapping[str, Any]) -> tuple[int, NDArray[np.bool_]]:
    """Return which image embeddings the model itself puts around the ids.

    GIT puts its picture (class token and patches) in front of the text; UDOP's encoder appends the
    patches that hold no word behind the words, and padding behind these.

    Returns
    -------
    before : int
        Embeddings in front, of every row.
    behind : array of bool, (row, token)
        Those behind: True for a patch, False for padding.
    """
    kind = getattr(model.hf.config, "model_type", "")
    pixels = inputs.get("pixel_values")
    none = np.zeros((len(inputs["input_ids"]), 0), bool)
    if kind == "git" and pixels is not None:
        vision = model.hf.config.vision_config
        return (
            (int(pixels.shape[-2]) // vision.patch_size)
            * (int(pixels.shape[-1]) // vision.patch_size)
            + 1
        ) * (int(pixels.shape[1]) if pixels.ndim == 5 else 1), none
    if kind == "udop" and pixels is not None and "bbox" in inputs:
        side = int(model.hf.config.image_size) // int(model.hf.config.patch_size)
        free = [patches_without_words(boxes, side).sum() for boxes in inputs["bbox"]]
        return 0, np.arange(side * side)[None, :] < np.array(free)[:, None]
    return 0, none


def patches_without_words(boxes: Any, side: int) -> NDArray[np.bool_]:
    """Return which patches of UDOP's `side` x `side` grid are tokens of their own, (row, column).

    The others are added to the word whose box's centre they hold; tokens without a place (end,
    padding) have the box 0, 0, 0, 0 and take the first patch.

    Examples
    --------
    >>> patches_without_words([[0.6, 0.1, 0.8, 0.3]], 2).tolist()
    [[True, False], [True, True]]
    """
    if hasattr(boxes, "detach"):
        boxes = boxes.detach().cpu().double().numpy()
    centres = np.asarray(boxes, np.float64).reshape(-1, 2, 2).mean(axis=1)
    cells = np.clip(np.floor(centres * side).astype(int), 0, side - 1)
    free = np.ones((side, side), bool)
    free[cells[:, 1], cells[:, 0]] = False
    return free

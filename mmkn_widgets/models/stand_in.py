"""Inputs for one square picture, to describe a model that has no processor."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from .batch import Prepared
from .geometry_scene import Scene
from .image_positions import image_token_ids

if TYPE_CHECKING:
    from .model import MultimodalModel

__all__ = ["stand_in"]

#: Words of the prompt that is assumed around the picture.
_WORDS = 8
#: Side of the picture where the model takes any size.
_SIDE = 336


def stand_in(model: MultimodalModel) -> Prepared | None:
    """Return inputs for a grey square picture and a short prompt, or None where none fit.

    Parameters
    ----------
    model : MultimodalModel
        Its config says the picture's size; its vision tower is asked how many image tokens it
        makes of that.

    Returns
    -------
    Prepared or None
        None where the pixels' layout is known to the processor alone.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> bare = mmkn.load_model(mmkn.load_model("pocket").hf)  # no processor
    >>> stand_in(bare).inputs["input_ids"].shape
    torch.Size([1, 72])
    """
    images = image_token_ids(model)
    if not images or model.input_names is None:
        return None
    for pixels in _pixels(model):
        try:
            n_tokens = _count(model, pixels)
        except Exception:  # this layout is not the model's: the next one is tried
            continue
        if n_tokens:
            ids = torch.tensor([[images[0]] * n_tokens + [5] * _WORDS])
            return model.prepare(
                {"input_ids": ids, "attention_mask": torch.ones_like(ids), **pixels}
            )
    return None


def _pixels(model: MultimodalModel) -> Iterator[dict[str, torch.Tensor]]:
    names = model.input_names or frozenset()
    scene = Scene(model.hf, None, {}, None, 0)
    patch = scene.patch_size
    if "image_grid_thw" in names:
        merge = scene.setting("spatial_merge_size", "merge_size", "merge_kernel_size") or 1
        merge = int(merge[0] if isinstance(merge, list | tuple) else merge)
        side = max(_SIDE // patch // merge, 1) * merge
        frames = int(scene.setting("temporal_patch_size", "patch_temporal") or 1)
        for elements in dict.fromkeys((3 * frames * patch * patch, 3 * patch * patch)):
            made = {
                "pixel_values": torch.zeros(side * side, elements),
                "image_grid_thw": torch.tensor([[1, side, side]]),
            }
            if "image_merge_sizes" in names:
                made["image_merge_sizes"] = torch.tensor([merge])
            yield made
        return
    size = scene.setting("image_size")
    size = size[0] if isinstance(size, list | tuple) and size else size
    side = size if isinstance(size, int) else _SIDE
    pixels = torch.full((1, 3, side, side), 0.1)  # all zeros would be padding to some
    sizes = {"image_sizes": torch.tensor([[side, side]])}
    if (pinpoints := getattr(model.hf.config, "image_grid_pinpoints", None)) is not None:
        from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

        views = image_size_to_num_patches((side, side), pinpoints, side)
        yield {"pixel_values": pixels.expand(views, -1, -1, -1)[None], **sizes}
    mask = torch.ones(1, 1, side, side, dtype=torch.bool)
    for made in (
        {"pixel_values": pixels},
        {"pixel_values": pixels[None]},
        {"pixel_values": pixels[None], "pixel_attention_mask": mask},
        {"pixel_values": pixels, **sizes},
    ):
        if made.keys() <= names:
            yield made


def _count(model: MultimodalModel, pixels: Mapping[str, torch.Tensor]) -> int:
    """Return how many image embeddings the model makes of these pixels."""
    hf: Any = model.hf
    holder = hf if hasattr(hf, "get_image_features") else hf.model
    taken = inspect.signature(holder.get_image_features).parameters
    if "qformer_input_ids" in taken:  # a Q-Former that reads the question too
        words = torch.full((1, _WORDS), 5)
        pixels = {**pixels, "qformer_input_ids": words, "qformer_attention_mask": words > 0}
    loose = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in taken.values())
    given = {
        key: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
        for key, value in pixels.items()
        if loose or key in taken
    }
    with model.lock, torch.no_grad():
        return _size(holder.get_image_features(**given))


def _size(features: Any) -> int:
    if isinstance(features, torch.Tensor):
        return features.numel() // features.shape[-1]
    if isinstance(features, list | tuple):
        return sum(_size(item) for item in features if item is not None)
    pooled = getattr(features, "pooler_output", None)
    return _size(pooled if pooled is not None else features.last_hidden_state)

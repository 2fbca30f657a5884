"""Pictures to pixel inputs for tiny models: the architecture's own image processor, made small.

Where transformers has one that works with Pillow alone it is used, with its sizes shrunk. The
others need torchvision; for them the patches are cut here, in the order that their model documents.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from cut_pixels import Maker, Pixels, makers, setting
from PIL import Image
from tiny import IMAGE, PATCH
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import (
    get_image_processor_class_from_name,
)

__all__ = ["pixel_maker"]


def pixel_maker(architecture: str, hf: Any) -> tuple[str, Maker]:
    """Return (what reads pictures, the function) for one model."""
    # gemma3n's 16 x 16 tokens want a picture of 256 pixels, of which its processor knows nothing
    own = None if architecture == "gemma3n" else _own_processor(architecture, hf)
    names = set(inspect.signature(hf.forward).parameters)
    if own is not None:
        probe = Image.new("RGB", (3 * IMAGE, 2 * IMAGE), (90, 120, 30))
        try:
            made = own(images=probe, return_tensors="pt")
            if made and _runs(hf, {k: v for k, v in made.items() if k in names}):
                return type(own).__name__, lambda picture: dict(
                    own(images=picture, return_tensors="pt")
                )
        except Exception:
            pass
    for maker in makers(architecture, hf, names):
        try:
            if _runs(hf, maker(Image.new("RGB", (3 * IMAGE, 2 * IMAGE), (90, 120, 30)))):
                return "pixels cut by the test", maker
        except Exception:
            continue
    raise ValueError(f"no pixel inputs fit {architecture}")


def _runs(hf: Any, pixels: Pixels) -> bool:
    """Whether the vision tower takes these pixels; True where it cannot be asked alone."""
    from prompts import count_features

    with torch.no_grad():
        return count_features(hf, pixels) != 0


def _own_processor(architecture: str, hf: Any) -> Any:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING  # noqa: F401

    named = {"qwen2_5_omni_thinker": "qwen2_5_omni", "qwen3_omni_moe_thinker": "qwen3_omni_moe"}
    entry = IMAGE_PROCESSOR_MAPPING_NAMES.get(named.get(architecture, architecture))
    entry = entry or {
        "llava": {"pil": "CLIPImageProcessorPil"},
        "pi0": {"pil": "SiglipImageProcessorPil"},
    }.get(architecture)
    if not entry or "pil" not in entry:
        return None
    kind = get_image_processor_class_from_name(entry["pil"])
    if kind is None:
        return None
    try:
        plain = kind()
        return kind(**_small(plain, hf.config))
    except Exception:
        return None


def _small(plain: Any, config: Any) -> dict[str, Any]:
    """Return the settings that make an image processor's output as small as the tiny model's."""
    out: dict[str, Any] = {}
    merge = setting(config, "spatial_merge_size", "merge_size") or 1
    patch = setting(config, "patch_size")
    patch = patch if isinstance(patch, int) else PATCH
    image = setting(config, "image_size")
    image = image if isinstance(image, int) else IMAGE
    size = getattr(plain, "size", None)
    keys = set(dict(size).keys()) if size is not None else set()
    if isinstance(size, dict) or hasattr(size, "keys"):
        keys = {k for k in keys if size[k] is not None}
    if keys >= {"height", "width"}:
        out["size"] = {"height": image, "width": image}
    elif keys == {"shortest_edge", "longest_edge"} and size["longest_edge"] > 4096:
        out["size"] = {"shortest_edge": (2 * patch * merge) ** 2, "longest_edge": 4096}
    elif keys == {"shortest_edge", "longest_edge"}:
        out["size"] = {"shortest_edge": image, "longest_edge": 2 * image}
    elif keys == {"shortest_edge"}:
        out["size"] = {"shortest_edge": image}
    elif keys == {"longest_edge"}:
        out["size"] = {"longest_edge": 2 * image}
    if getattr(plain, "crop_size", None) is not None:
        out["crop_size"] = {"height": image, "width": image}
    if hasattr(plain, "patch_size"):
        square = {"height": patch * merge, "width": patch * merge}
        out["patch_size"] = square if hasattr(plain.patch_size, "keys") else patch
        if "Pixtral" in type(plain).__name__:
            out["patch_size"] = patch * merge
    for name in ("merge_size", "spatial_merge_size"):
        if hasattr(plain, name):
            out[name] = merge
    if hasattr(plain, "temporal_patch_size"):
        out["temporal_patch_size"] = setting(config, "temporal_patch_size", "patch_temporal") or 1
    if hasattr(plain, "min_pixels") and getattr(plain, "min_pixels", None):
        out["min_pixels"], out["max_pixels"] = (2 * patch * merge) ** 2, 4096
    if getattr(plain, "max_patches", 0) and plain.max_patches > 64:
        out["max_patches"] = 48
    if getattr(config, "image_grid_pinpoints", None):
        out["image_grid_pinpoints"] = config.image_grid_pinpoints
    if hasattr(plain, "max_image_size"):
        out["max_image_size"] = {"longest_edge": image} if size is not None else image
    if hasattr(plain, "min_image_size"):
        out["min_image_size"] = image // 2
    if hasattr(plain, "scale_resolution"):
        out.update(scale_resolution=4 * patch, max_slice_nums=4)
    if hasattr(plain, "high_res_size"):
        out["high_res_size"] = {"height": 128, "width": 128}
    if hasattr(plain, "crop_to_patches"):
        out.update(crop_to_patches=True, min_patches=1, max_patches=6)
    return out

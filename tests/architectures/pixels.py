"""Pictures to pixel inputs for tiny models: the architecture's own image processor, made small.

Where transformers has one that works with Pillow alone it is used, with its sizes shrunk. The
others need torchvision; for them the patches are cut here, in the order that their model documents.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny import IMAGE, PATCH
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import (
    get_image_processor_class_from_name,
)

__all__ = ["pixel_maker"]

Pixels = dict[str, Any]
Maker = Callable[[Image.Image], Pixels]


def pixel_maker(architecture: str, hf: Any) -> tuple[str, Maker]:
    """Return (what reads pictures, the function) for one model."""
    own = _own_processor(architecture, hf)
    names = set(inspect.signature(hf.forward).parameters)
    if own is not None:
        probe = Image.new("RGB", (3 * IMAGE, 2 * IMAGE), (90, 120, 30))
        try:
            made = own(images=probe, return_tensors="pt")
            if made and _runs(hf, {k: v for k, v in made.items() if k in names}):
                return type(own).__name__, lambda picture: dict(
                    own(images=picture, return_tensors="pt")
                )
        except Exception:  # the next way is tried; which one was used is written in the results
            pass
    for maker in _makers(architecture, hf, names):
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


def _setting(config: Any, *names: str) -> Any:
    holders = [config]
    for inner in ("vision_config", "vlm_config"):
        part = getattr(config, inner, None)
        if part is not None:
            holders = [part, getattr(part, "vision_config", part), *holders]
    for holder in holders:
        for name in names:
            value = getattr(holder, name, None)
            if value is not None and not isinstance(value, dict):
                return value
    return None


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
    merge = _setting(config, "spatial_merge_size", "merge_size") or 1
    patch = _setting(config, "patch_size")
    patch = patch if isinstance(patch, int) else PATCH
    image = _setting(config, "image_size")
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
        out["temporal_patch_size"] = _setting(config, "temporal_patch_size", "patch_temporal") or 1
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


# -- pixels cut here ---------------------------------------------------------------------------


def canvas(picture: Image.Image, height: int, width: int) -> torch.Tensor:
    """Return (3, height, width) floats in [-1, 1]."""
    small = picture.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(small, np.float32).transpose(2, 0, 1) / 127.5 - 1.0
    return torch.from_numpy(array.copy())


def cut(pixels: torch.Tensor, patch: int, merge: int = 1) -> torch.Tensor:
    """Return (rows * columns, 3, patch, patch), blocks of merge x merge patches together."""
    _, height, width = pixels.shape
    rows, cols = height // (patch * merge), width // (patch * merge)
    cells = pixels.reshape(3, rows, merge, patch, cols, merge, patch)
    return cells.permute(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, patch, patch)


def _makers(architecture: str, hf: Any, names: set[str]) -> list[Maker]:
    config = hf.config
    patch = _setting(config, "patch_size", "model_patch_size")
    patch = patch if isinstance(patch, int) else PATCH
    merge = _setting(config, "spatial_merge_size", "merge_size") or 1
    merge = merge if isinstance(merge, int) else merge[0]
    kernel = _setting(config, "merge_kernel_size")
    merge = kernel[0] if isinstance(kernel, list | tuple) else merge
    frames = _setting(config, "temporal_patch_size", "patch_temporal") or 1
    image = _setting(config, "image_size")
    image = image if isinstance(image, int) else IMAGE
    rows, cols = 4, 8
    if "image_grid_thw" in names:
        order = 1 if architecture.startswith("muse") else merge  # Muse lists its patches by rows
        return _grid_makers(rows, cols, patch, merge, frames, order, "image_merge_sizes" in names)
    special = _SPECIAL.get(architecture)
    if special is not None:
        return [special(hf, patch, image)]
    sides = [image, 2 * image, 64, 128, 256, 512]
    shapes: list[tuple[int, ...]] = [(1,), (1, 1)]
    makers: list[Maker] = []
    for side in dict.fromkeys(sides):
        for lead in shapes:

            def maker(
                picture: Image.Image, side: int = side, lead: tuple[int, ...] = lead
            ) -> Pixels:
                square = canvas(picture, side, side)
                made: Pixels = {"pixel_values": square.reshape(*lead, 3, side, side)}
                if "image_sizes" in names:
                    made["image_sizes"] = torch.tensor([[side, side]])
                return made

            makers.append(maker)
    return makers


def _grid_makers(
    rows: int, cols: int, patch: int, merge: int, frames: int, order: int, merge_sizes: bool
) -> list[Maker]:
    def flat(repeat: int, order: int) -> Maker:
        def maker(picture: Image.Image) -> Pixels:
            cells = cut(canvas(picture, rows * patch, cols * patch), patch, order)
            cells = cells[:, :, None].expand(-1, -1, repeat, -1, -1)
            made: Pixels = {
                "pixel_values": cells.reshape(len(cells), -1),
                "image_grid_thw": torch.tensor([[1, rows, cols]]),
            }
            if merge_sizes:
                made["image_merge_sizes"] = torch.tensor([merge])
            return made

        return maker

    def square_cells(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, rows * patch, cols * patch), patch, 1)
        return {"pixel_values": cells, "image_grid_thw": torch.tensor([[1, rows, cols]])}

    def blocks(picture: Image.Image) -> Pixels:
        side = patch * merge
        cells = cut(canvas(picture, rows * side, cols * side), side, 1)
        return {
            "pixel_values": cells.permute(0, 2, 3, 1),
            "image_grid_thw": torch.tensor([[1, rows, cols]]),
        }

    return [flat(frames, order), flat(1, order), square_cells, blocks]


def _hw(hf: Any, patch: int, image: int) -> Maker:
    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, 4 * patch, 8 * patch), patch, 1)
        return {
            "pixel_values": cells.reshape(len(cells), -1),
            "image_grid_hw": torch.tensor([[4, 8]]),
        }

    return maker


def _naflex(hf: Any, patch: int, image: int) -> Maker:
    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, 4 * patch, 8 * patch), patch, 1).permute(0, 2, 3, 1)
        return {
            "pixel_values": cells.reshape(1, len(cells), -1),
            "spatial_shapes": torch.tensor([[4, 8]]),
            "pixel_attention_mask": torch.ones(1, len(cells), dtype=torch.long),
        }

    return maker


def _positions(hf: Any, patch: int, image: int) -> Maker:
    vision = getattr(hf.config, "vision_config", None)
    pool = int(getattr(vision, "pooling_kernel_size", 0) or 1)
    if hasattr(vision, "mm_posemb_size"):  # the unified model takes pooled blocks as its patches
        patch, pool = patch * pool, 1
    rows, cols = 2 * pool, 4 * pool
    where = torch.tensor([[c, r] for r in range(rows) for c in range(cols)])

    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, rows * patch, cols * patch), patch, 1).permute(0, 2, 3, 1)
        return {
            "pixel_values": cells.reshape(1, len(cells), -1) / 2 + 0.5,
            "image_position_ids": where[None],
        }

    return maker


def _strips(hf: Any, patch: int, image: int) -> Maker:
    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, 8 * patch, 8 * patch), patch, 1)
        return {
            "pixel_values": cells.permute(1, 2, 0, 3).reshape(1, 3, patch, -1),
            "target_sizes": torch.tensor([[8, 8]], dtype=torch.int32),
        }

    return maker


def _pooling(hf: Any, patch: int, image: int) -> Maker:
    """Molmo 2 without further crops: a low-resolution view alone, pooled 2 x 2."""
    grid = torch.arange(16).reshape(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)

    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, 4 * patch, 4 * patch), patch, 1).permute(0, 2, 3, 1)
        return {
            "pixel_values": cells.reshape(1, 16, -1),
            "image_token_pooling": grid,
            "image_grids": torch.tensor([[2, 2, 0, 0]]),
            "image_num_crops": torch.tensor([1]),
        }

    return maker


def _patch_list(key: str, lead: bool, ids: bool) -> Callable[[Any, int, int], Maker]:
    def make(hf: Any, patch: int, image: int) -> Maker:
        def maker(picture: Image.Image) -> Pixels:
            cells = cut(canvas(picture, 4 * patch, 6 * patch), patch, 1).permute(0, 2, 3, 1)
            flat = cells.reshape(len(cells), -1)
            if ids:
                where = [[r + 1.0, c + 1.0] for r in range(4) for c in range(6)]
                flat = torch.cat([torch.tensor(where), flat], dim=1)
            return {key: flat[None] if lead else flat}

        return maker

    return make


def _clips(hf: Any, patch: int, image: int) -> Maker:
    frames = int(getattr(hf.config, "num_frames", 0) or 4)

    def maker(picture: Image.Image) -> Pixels:
        square = canvas(picture, image, image)
        return {"pixel_values": square.expand(1, frames, -1, -1, -1).clone()}

    return maker


def _two_sizes(hf: Any, patch: int, image: int) -> Maker:
    high = int(hf.config.high_res_vision_config.image_size)
    low = int(hf.config.vision_config.image_size)

    def maker(picture: Image.Image) -> Pixels:
        return {
            "pixel_values": canvas(picture, low, low)[None],
            "high_res_pixel_values": canvas(picture, high, high)[None],
        }

    return maker


def _mllama(hf: Any, patch: int, image: int) -> Maker:
    tiles = int(hf.config.vision_config.max_num_tiles)

    def maker(picture: Image.Image) -> Pixels:
        pixels = torch.zeros(1, 1, tiles, 3, image, image)
        pixels[0, 0, 0] = canvas(picture, image, image)
        mask = torch.zeros(1, 1, tiles, dtype=torch.long)
        mask[..., 0] = 1
        return {
            "pixel_values": pixels,
            "aspect_ratio_ids": torch.ones(1, 1, dtype=torch.long),
            "aspect_ratio_mask": mask,
        }

    return maker


def _plain(lead: int) -> Callable[[Any, int, int], Maker]:
    def make(hf: Any, patch: int, image: int) -> Maker:
        side = image if math.isfinite(image) else IMAGE

        def maker(picture: Image.Image) -> Pixels:
            return {
                "pixel_values": canvas(picture, side, side).reshape((1,) * lead + (3, side, side))
            }

        return maker

    return make


def _volumes(hf: Any, patch: int, image: int) -> Maker:
    def maker(picture: Image.Image) -> Pixels:
        cells = cut(canvas(picture, 2 * patch, 3 * patch), patch, 1).permute(0, 2, 3, 1)
        return {"pixel_values": cells[:, None].expand(-1, 2, -1, -1, -1).clone()}

    return maker


_SPECIAL: dict[str, Callable[[Any, int, int], Maker]] = {
    "nemotron_h_omni": _hw,
    "lfm2_vl": _naflex,
    "gemma4": _positions,
    "gemma4_unified": _positions,
    "diffusion_gemma": _positions,
    "minicpm_ocr": _strips,
    "minicpmv4_6": _strips,
    "minicpmv4_7": _strips,
    "molmo2": _pooling,
    "inkling_mm_model": _volumes,
    "fuyu": _patch_list("pixel_values", True, False),
    "pix2struct": _patch_list("flattened_patches", True, True),
    "kosmos-2.5": _patch_list("flattened_patches", True, True),
    "instructblipvideo": _clips,
    "deepseek_vl_hybrid": _two_sizes,
    "mllama": _mllama,
    "idefics": _plain(2),
    "blip": _plain(1),
    "git": _plain(1),
    "vision-encoder-decoder": _plain(1),
    "udop": _plain(1),
    "unlimited_ocr": lambda hf, patch, image: _plain(1)(hf, patch, 256),
    "pi0": _plain(2),
    "kosmos-2": _plain(1),
}

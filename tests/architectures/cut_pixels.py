"""Pixels cut by the tests, for architectures whose own image processor needs torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny import IMAGE, PATCH

__all__ = ["Maker", "Pixels", "makers", "setting"]

Pixels = dict[str, Any]
Maker = Callable[[Image.Image], Pixels]


def setting(config: Any, *names: str) -> Any:
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


def makers(architecture: str, hf: Any, names: set[str]) -> list[Maker]:
    config = hf.config
    patch = setting(config, "patch_size", "model_patch_size")
    patch = patch if isinstance(patch, int) else PATCH
    merge = setting(config, "spatial_merge_size", "merge_size") or 1
    merge = merge if isinstance(merge, int) else merge[0]
    kernel = setting(config, "merge_kernel_size")
    merge = kernel[0] if isinstance(kernel, list | tuple) else merge
    frames = setting(config, "temporal_patch_size", "patch_temporal") or 1
    image = setting(config, "image_size")
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
    rows, cols = 4 * pool, 8 * pool
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
    "fast_vlm": lambda hf, patch, image: _plain(1)(hf, patch, 128),
    "gemma3n": lambda hf, patch, image: _plain(1)(hf, patch, 256),
    "kosmos-2": _plain(1),
}

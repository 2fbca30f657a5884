"""Where processed pixels come from, against image processors whose arithmetic is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmkn_widgets.models.geometry.origins import identity_origins, trace_origins

SIZES = [(96, 96), (200, 300), (480, 640), (97, 61)]


def _clip(**settings: Any) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(**settings)


@pytest.mark.parametrize("size", SIZES)
def test_resize_and_centre_crop(size: tuple[int, int]) -> None:
    processor = _clip(size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96})
    origins = trace_origins(lambda picture: processor(picture, return_tensors="pt"), size)
    assert origins is not None
    (frame,) = origins.frames()
    assert frame is not None
    height, width = size
    short = min(size)
    x0, y0 = (width - short) / 2, (height - short) / 2
    wanted = (x0, y0, x0 + short, y0 + short)
    # the processor rounds the resized side and the crop's corner to whole pixels of the 96
    np.testing.assert_allclose(frame.whole, wanted, atol=1.2 * short / 96)


@pytest.mark.parametrize("size", SIZES)
def test_padding_has_no_origin(size: tuple[int, int]) -> None:
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    processor = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    origins = trace_origins(lambda picture: processor(picture, return_tensors="pt"), size)
    assert origins is not None
    (frame,) = origins.frames()
    assert frame is not None
    long = max(size)
    middle_x, middle_y = size[1] / 2, size[0] / 2
    wanted = (middle_x - long / 2, middle_y - long / 2, middle_x + long / 2, middle_y + long / 2)
    np.testing.assert_allclose(frame.whole, wanted, atol=1.5 * long / 64)


def test_tiles_are_found_where_they_were_cut() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(
        size={"height": 48, "width": 48}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    origins = trace_origins(lambda picture: processor(picture, return_tensors="pt"), (120, 180))
    assert origins is not None
    frames = [frame.whole for frame in origins.frames() if frame is not None]
    assert len(frames) == 7  # 2 x 3 tiles, then the whole
    for index, box in enumerate(frames[:6]):
        row, col = divmod(index, 3)
        wanted = (60 * col, 60 * row, 60 * col + 60, 60 * row + 60)
        np.testing.assert_allclose(box, wanted, atol=1.5)
    np.testing.assert_allclose(frames[6], (0, 0, 180, 120), atol=1.5)


def test_flattened_patches_carry_their_centres() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 256, "longest_edge": 10000}
    )
    origins = trace_origins(lambda picture: processor(picture, return_tensors="pt"), (64, 96))
    assert origins is not None
    (centres,) = origins.patches()
    assert origins.inputs["image_grid_thw"].tolist() == [[1, 8, 12]]
    # blocks of 2 x 2 patches stand together
    wanted = [(4, 4), (12, 4), (4, 12), (12, 12), (20, 4)]
    np.testing.assert_allclose(centres[:5], wanted, atol=0.75)


def test_a_processor_that_looks_at_the_content_is_not_traced() -> None:
    def process(picture: Image.Image) -> dict[str, Any]:
        side = 16 if np.asarray(picture).mean() > 100 else 8
        return {"pixel_values": torch.zeros(1, 3, side, side)}

    assert trace_origins(process, (32, 32)) is None


def test_ready_made_pixels_are_their_own_picture() -> None:
    origins = identity_origins({"pixel_values": torch.zeros(1, 3, 12, 20)})
    assert origins is not None
    assert origins.picture_size == (12, 20)
    (frame,) = origins.frames()
    assert frame is not None
    np.testing.assert_allclose(frame.whole, (0, 0, 20, 12), atol=1e-9)
    assert identity_origins({"pixel_values": torch.zeros(2, 3, 12, 20)}) is None
    assert identity_origins({"pixel_values": torch.zeros(30, 192)}) is None

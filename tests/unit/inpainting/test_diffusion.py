"""A diffusers pipeline of tiny random parts, saved to a folder and loaded from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkn_widgets.core.errors import BadArgument, Cancelled, NotSupported
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.inpainting import DiffusersInpainter, get_inpainter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionInpaintPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    root = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    vocabulary = {
        t: i for i, t in enumerate(["<|startoftext|>", "<|endoftext|>", "a</w>", "x</w>"])
    }
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], unk_token="<|endoftext|>")
    tokenizer.model_max_length = 16
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=8,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    pipeline = StableDiffusionInpaintPipeline(
        vae,
        text,
        tokenizer,
        unet,
        DDIMScheduler(steps_offset=1),
        None,
        None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(root, safe_serialization=True)
    return root


@pytest.fixture
def pictures():
    noise = np.random.default_rng(1)
    images = [noise.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(3)]
    masks = []
    for at in range(3):
        mask = np.zeros((40, 50), bool)
        mask[10 + at : 22, 12:30] = True
        masks.append(mask)
    return images, masks


def test_from_a_folder_only_the_hole_changes(folder, pictures, tmp_path):
    images, masks = pictures
    inpainter = get_inpainter(f"diffusers:{folder}", steps=2, cache=tmp_path, batch_size=2)
    seen = []
    results = inpainter.batch(images, masks, progress=lambda *a: seen.append(a[1:]))
    assert seen == [(2, 3), (3, 3)]
    for image, mask, result in zip(images, masks, results, strict=True):
        after = np.asarray(result)
        assert np.array_equal(after[~mask], image[~mask])
        assert (after[mask] != image[mask]).mean() > 0.5


def test_same_seed_same_picture_whatever_the_batch(folder, pictures):
    images, masks = pictures
    one = DiffusersInpainter(folder, steps=2, cache=False, batch_size=3)
    two = DiffusersInpainter(folder, steps=2, cache=False, batch_size=1)
    other = DiffusersInpainter(folder, steps=2, cache=False, seed=5)
    together = one.batch(images, masks)
    for at in range(3):
        alone = np.asarray(two(images[at], masks[at])).astype(int)
        assert abs(alone - np.asarray(together[at])).max() <= 1  # float sums of another batch
        assert np.array_equal(np.asarray(two(images[at], masks[at])), alone)
    assert not np.array_equal(np.asarray(other(images[0], masks[0])), np.asarray(together[0]))


def test_the_cache_goes_by_content(folder, pictures, tmp_path):
    images, masks = pictures
    inpainter = DiffusersInpainter(folder, steps=2, cache=tmp_path)
    first = np.asarray(inpainter(images[0], masks[0]))
    kept = list(tmp_path.glob("*.png"))
    assert len(kept) == 1
    again = DiffusersInpainter(folder, steps=2, cache=tmp_path)
    again._load = lambda: pytest.fail("the pipeline was loaded although the picture is kept")
    assert np.array_equal(np.asarray(again(images[0].copy(), masks[0])), first)
    inpainter(images[0], masks[1])
    inpainter(images[1], masks[0])
    DiffusersInpainter(folder, steps=1, cache=tmp_path)(images[0], masks[0])
    assert len(list(tmp_path.glob("*.png"))) == 4
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    assert np.array_equal(np.asarray(inpainter(images[0], masks[0])), first)
    assert not list(tmp_path.glob("*.part"))


def test_cancelled_between_batches(folder, pictures, tmp_path):
    images, masks = pictures
    token = CancelToken()
    inpainter = DiffusersInpainter(folder, steps=1, cache=tmp_path, batch_size=1)
    with pytest.raises(Cancelled):
        inpainter.batch(images, masks, cancel=token, progress=lambda *a: token.cancel())
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_built_pipeline_is_used_as_it_is(folder, pictures):
    from diffusers import AutoPipelineForInpainting

    pipeline = AutoPipelineForInpainting.from_pretrained(str(folder), use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    inpainter = DiffusersInpainter(pipeline, steps=1)
    assert inpainter.cache is None
    assert inpainter.name == "diffusers:StableDiffusionInpaintPipeline"
    assert inpainter(pictures[0][0], pictures[1][0]).size == (50, 40)


def test_what_cannot_be_loaded_or_used(tmp_path, folder, pictures):
    images, masks = pictures
    with pytest.raises(NotSupported, match="diffusers cannot load an inpainting pipeline from"):
        DiffusersInpainter(tmp_path, cache=False)(images[0], masks[0])
    with pytest.raises(BadArgument, match="strength"):
        DiffusersInpainter(folder, strength=0)
    with pytest.raises(BadArgument, match="empty mask"):
        DiffusersInpainter(folder)(images[0], np.zeros((40, 50), bool))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BadArgument, match=r"cache: .*cannot be written.*cache=False"):
        DiffusersInpainter(folder, steps=1, cache=blocked / "x")(images[0], masks[0])

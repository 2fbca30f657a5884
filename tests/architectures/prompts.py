"""Token ids around a picture, for models without a tokenizer, and a processor made of both."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

__all__ = ["Reader", "count_features", "image_id"]

_BEFORE, _BEHIND = (3, 20, 21), (22, 23, 24, 25)


def image_id(config: Any) -> int | None:
    """Return the id that stands for a picture, as the model's config names it."""
    for holder in (config, getattr(config, "vlm_config", None)):
        for name in ("image_token_id", "image_token_index", "video_token_index", "image_patch_id"):
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    return None


def _accepted(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {key: value for key, value in given.items() if key in parameters}


def _size(features: Any) -> int:
    if isinstance(features, torch.Tensor):
        return int(features.numel() // features.shape[-1])
    if isinstance(features, list | tuple):
        return sum(_size(item) for item in features if item is not None)
    deep = getattr(features, "deepstack_features", None)
    if deep is not None and getattr(features, "pooler_output", None) is None:
        return _size(deep[0][1])  # (layer, features): every layer adds to the same positions
    pooled = getattr(features, "pooler_output", None)
    return _size(pooled if pooled is not None else features.last_hidden_state)


def count_features(hf: Any, pixels: Mapping[str, Any]) -> int | None:
    """Return how many image embeddings the model makes of these pixels; None: it does not say."""
    encoder = getattr(getattr(hf, "model", None), "encoder", None)
    for holder in (hf, getattr(hf, "model", None), encoder):
        function = getattr(holder, "get_image_features", None)
        if function is None:
            continue
        parameters = inspect.signature(function).parameters
        loose = any(p.kind == p.VAR_POSITIONAL for p in parameters.values())
        given = dict(pixels) if loose else _accepted(function, pixels)
        if "qformer_input_ids" in parameters:
            given["qformer_input_ids"] = torch.tensor([[1, 5, 6]])
            given["qformer_attention_mask"] = torch.ones(1, 3, dtype=torch.long)
        if "image_merge_sizes" in pixels and "image_merge_sizes" not in parameters and not loose:
            given["image_merge_sizes"] = pixels["image_merge_sizes"]
        with torch.no_grad():
            return _size(function(**given))
    return None


class Reader:
    """A processor for a tiny model: real pixels, made-up ids, no tokenizer.

    Parameters
    ----------
    hf : PreTrainedModel
    make : callable
        Picture to pixel inputs.
    n_image : int, optional
        Image tokens where the model cannot be asked.
    """

    def __init__(self, architecture: str, hf: Any, make: Any) -> None:
        self.architecture, self.hf, self.make = architecture, hf, make

    def __call__(self, images: Any, text: Any = None, **_: Any) -> dict[str, torch.Tensor]:
        """Return the model's inputs for one picture."""
        picture = images[0] if isinstance(images, list) else images
        assert isinstance(picture, Image.Image)
        made = {k: v for k, v in self.make(picture).items() if k in self.names}
        made = {k: _tensor(v) for k, v in made.items()}
        n = self.n_image(made)
        token = image_id(self.hf.config)
        middle = [] if token is None or not n else [token] * n
        ids = torch.tensor([[*_BEFORE, *middle, *_BEHIND]])
        is_image = torch.zeros_like(ids)
        is_image[0, len(_BEFORE) : len(_BEFORE) + len(middle)] = 1
        extra = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": is_image,
            "token_type_ids": is_image,
            "moe_mm_token_type_ids": is_image,
            **self.more(ids, made),
        }
        if self.architecture in ("pp_formulanet", "pix2struct", "vision-encoder-decoder"):
            return made  # the picture is the whole prompt
        return {**made, **{k: v for k, v in extra.items() if k in self.names}}

    @property
    def names(self) -> set[str]:
        """Inputs that the model's forward takes."""
        own = set(inspect.signature(self.hf.forward).parameters)
        if self.architecture == "diffusion_gemma":
            own |= {"pixel_values", "image_position_ids", "mm_token_type_ids"}
        return own | ({"image_sizes"} if self.architecture.startswith("llava_next") else set())

    def n_image(self, made: Mapping[str, torch.Tensor]) -> int:
        """Return the number of placeholders."""
        given = _FIXED.get(self.architecture)
        if given is not None:
            return given(self.hf.config, made)
        return count_features(self.hf, made) or 0

    def more(self, ids: torch.Tensor, made: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what single architectures want beside ids and pixels."""
        length = ids.shape[1]
        if self.architecture.startswith("instructblip"):
            return {
                "qformer_input_ids": torch.tensor([[1, 5, 6]]),
                "qformer_attention_mask": torch.ones(1, 3, dtype=torch.long),
            }
        if self.architecture.startswith("kosmos"):
            n = int(self.hf.config.latent_query_num)
            ids = torch.tensor([[*_BEFORE, *[9] * n, *_BEHIND]])
            mask = torch.zeros_like(ids)
            mask[0, len(_BEFORE) : len(_BEFORE) + n] = 1
            return {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "image_embeds_position_mask": mask,
            }
        if self.architecture == "mllama":
            tiles = int(self.hf.config.vision_config.max_num_tiles)
            mask = torch.zeros(1, length, 1, tiles, dtype=torch.long)
            mask[..., 0] = 1
            return {"cross_attention_mask": mask}
        if self.architecture == "idefics":
            return {"image_attention_mask": torch.ones(1, length, 1, dtype=torch.long)}
        if self.architecture == "udop":
            return {"bbox": torch.full((1, length, 4), 0.1)}
        if self.architecture == "pi0":
            return {
                "state": torch.zeros(1, int(self.hf.config.max_state_dim)),
                "pixel_attention_mask": torch.ones(1, 1, dtype=torch.bool),
            }
        return {}


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


_FIXED: dict[str, Any] = {
    "emu3": lambda config, made: _vq_tokens(made, config),
    "fuyu": lambda config, made: made["pixel_values"].shape[1],
    "instructblipvideo": lambda config, made: config.num_query_tokens * 4,
    "pi0": lambda config, made: (made["pixel_values"].shape[-1] // 8) ** 2,
    "blip": lambda config, made: 0,
    "git": lambda config, made: 0,
    "idefics": lambda config, made: 0,
    "mllama": lambda config, made: 0,
    "udop": lambda config, made: 0,
    "mistral4": lambda config, made: 0,
    "vision-encoder-decoder": lambda config, made: 0,
    "pix2struct": lambda config, made: 0,
    "pp_formulanet": lambda config, made: 0,
}


def _vq_tokens(made: Mapping[str, torch.Tensor], config: Any) -> int:
    scale = 2 ** (len(config.vq_config.channel_multiplier) - 1)
    height, width = made["pixel_values"].shape[-2] // scale, made["pixel_values"].shape[-1] // scale
    return height * (width + 1)

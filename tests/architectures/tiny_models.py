"""Build a tiny random model of any architecture from its config class."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import torch
import transformers
from special import SETTINGS, TIMM
from tiny import FIRST_SPECIAL, IMAGE, LAYERS, tiny_dict
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

#: the first layer of vision towers, and VQ tokenizers
_FIRST = re.compile(
    r"patch_?embed(?!.*norm)|patchif|convs\.\d\.conv|patch_conv|patch_proj|patch_dense|\.conv1\."
)
_TOWER = re.compile(r"vision_(tower|model)|visual\.")
_MIXED = re.compile(r"vision_tower\..*post_(attention|feedforward)_layernorm\.weight$")
_CODES = re.compile(r"vq_?model\.")

__all__ = ["ARCHITECTURES", "tiny_config", "tiny_model", "without_timm"]

#: every architecture of transformers' image-text-to-text mapping
ARCHITECTURES: tuple[str, ...] = tuple(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def without_timm(architecture: str) -> bool:
    """Return whether an architecture cannot be built because timm is not here."""
    return architecture in TIMM and importlib.util.find_spec("timm") is None


def tiny_config(architecture: str) -> Any:
    """Return the small config of an architecture."""
    kind = CONFIG_MAPPING[architecture]
    defaults = kind().to_dict()
    for name, part in kind.sub_configs.items():
        if "vision" in name and defaults.get(name, 0) is None and isinstance(part, type):
            defaults[name] = part().to_dict()
    settings = tiny_dict(defaults)
    _per_layer(settings)
    for path, value in SETTINGS.get(architecture, {}).items():
        *parents, name = path.split(".")
        holder = settings
        for parent in parents:
            holder = holder[parent]
        merged = "rope" not in name and "per_layer" not in name
        if isinstance(value, dict) and isinstance(holder.get(name), dict) and merged:
            holder[name].update(value)
        else:
            holder[name] = value
    config = kind.from_dict(settings)
    for name in ("image_token_id", "image_token_index", "video_token_index"):
        if name in settings and getattr(config, name) is None:
            setattr(config, name, FIRST_SPECIAL)
    return config


def _per_layer(settings: dict[str, Any]) -> None:
    """Cut settings given per layer index, and indices of layers, to the layers that are left."""
    for key, value in list(settings.items()):
        if key == "per_layer_config" and isinstance(value, dict):
            settings[key] = {k: v for k, v in value.items() if int(k) < LAYERS}
        elif key == "deepstack_visual_indexes" and isinstance(value, list):
            settings[key] = list(range(min(len(value), LAYERS - 1)))
        elif key in ("global_attn_indexes", "fullatt_block_indexes", "full_attn_idxs"):
            settings[key] = [LAYERS - 1]
        elif key == "image_grid_pinpoints":
            settings[key] = [[IMAGE, 2 * IMAGE], [2 * IMAGE, IMAGE], [2 * IMAGE, 2 * IMAGE]]
        elif isinstance(value, dict):
            _per_layer(value)


def tiny_model(architecture: str, seed: int = 0) -> Any:
    """Return a random model of the architecture, ready to save.

    Biases are made non-zero, so that what a bias writes can be told from nothing.
    """
    torch.manual_seed(seed)
    config = tiny_config(architecture)
    if type(config) in AutoModelForImageTextToText._model_mapping:
        model = AutoModelForImageTextToText.from_config(config)
    else:  # evolla, whose name is in the mapping's table and whose config is not
        name = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[architecture]
        model = getattr(transformers, name)(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point():
                continue
            if parameter.numel() == 1 and "gate" in name and float(parameter) == 0:
                parameter.fill_(0.5)  # a closed gate would hide the layer behind it
            if name.endswith("bias") or not torch.isfinite(parameter).all():
                parameter.normal_(0, 0.02)
            elif parameter.dim() >= 2 and float(parameter.std()) < 1e-6:
                parameter.normal_(0, 0.02)  # some classes leave new weights at zero
            if _FIRST.search(name) and parameter.dim() >= 2:
                # what a patch shows must outweigh what attention mixes in from the others
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            elif _MIXED.search(name):
                parameter.mul_(0.1)  # a norm behind attention makes its mixing as large as the rest
            elif _TOWER.search(name) and parameter.dim() == 2 and float(parameter.std()) > 0.03:
                parameter.normal_(0, 0.02)
            elif _CODES.search(name) and re.search(r"attn.*(proj_out|out_proj)|block.*conv2", name):
                parameter.mul_(1e-3)
            elif "timm_model" in name and parameter.dim() == 4:
                parameter.normal_(0, (1e-3 if "attn" in name else 1.0) * parameter.shape[1] ** -0.5)
            elif _CODES.search(name) and parameter.dim() >= 2:
                parameter.normal_(0, 1.0 if "quantize" in name else parameter[0].numel() ** -0.5)
        _keep_places(model)
    return model.eval()


def _keep_places(model: nn.Module) -> None:
    """Let wide kernels see one pixel most: a stack of them would smear a mark over the tokens.

    Kernels of stride 2 would always take a corner pixel of a cell: the last one of a stack takes
    that in the middle instead.
    """
    kinds = (nn.Conv2d, nn.Conv3d)
    named = [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]
    timm = any("timm_model" in name for name, _ in named)
    wide = [
        module
        for name, module in named
        if module.weight.shape[-1] == 3 or ("timm_model" in name and module.weight.shape[-1] > 1)
        if "high_res" not in name
    ]
    halving = [m for m in wide if m.stride[-1] == 2 and (m.padding[-1] == 0 or timm)]
    halving = [m for n, m in named if m in halving and "attn" not in n]
    for module in wide:
        weight = module.weight
        middle = weight.shape[-1] // 2
        kept = weight[..., middle, middle].clone()
        weight.mul_(0.01 if timm else 0.05 if halving else 0.2)
        if halving and module.padding[-1] == 0 and module in halving[:-1]:
            middle = (weight.shape[-1] - 2) // 2  # padded more behind than in front
        if timm and module in halving[-2:]:
            middle += 1
        weight[..., middle, middle] = kept

"""Say what was found in a model: layers, neurons, geometry, memory, and what cannot be done."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

import torch

from ..core import MmknError
from .geometry.clues import Scene
from .image_positions import image_token_ids
from .load import load_model
from .memory import needed_bytes
from .model import MultimodalModel
from .prepared import Prepared
from .state import plain_torch

__all__ = ["inspect_model", "stand_in"]

#: Words of the prompt that is assumed around the picture.
_WORDS = 8
#: Side of the picture where the model takes any size.
_SIDE = 336


@plain_torch(False)
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
        except Exception:  # noqa: BLE001  this layout is not the model's: the next one is tried
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
    with model.measuring():
        return _size(holder.get_image_features(**given))


def _size(features: Any) -> int:
    if isinstance(features, torch.Tensor):
        return features.numel() // features.shape[-1]
    if isinstance(features, list | tuple):
        return sum(_size(item) for item in features if item is not None)
    pooled = getattr(features, "pooler_output", None)
    return _size(pooled if pooled is not None else features.last_hidden_state)


#: Everything a model may be used for, in the order it is shown.
CAPABILITIES = ("caption", "capture", "gradients", "ablate", "decode", "edit", "paint")


def inspect_model(model: str | PathLike[str] | MultimodalModel, **options: Any) -> dict[str, Any]:
    """Return what is known about a model, as a JSON-able dict.

    Parameters
    ----------
    model : str, path or MultimodalModel
        Anything `load_model` takes, with or without a processor.
    **options
        Passed to `load_model`.

    Returns
    -------
    dict
        ``model``, ``architecture``, ``layers``, ``neurons`` (of a layer's FFN, the widest),
        ``site`` (module names), ``gated``, ``moe`` (None, or experts and routed layers), ``dtype``,
        ``image_geometry``, ``bytes_per_image`` (a store of every neuron for one picture and its
        prompt), ``supported`` (list of str), ``refused`` (list of {what, reason}); and ``devices``,
        ``stack``, ``behind`` (what follows the projections), ``checked``. Without a processor the
        geometry is that of a picture as the vision tower takes it, ``assumed`` says which; where
        that is not known either, it and ``bytes_per_image`` are None.

    Examples
    --------
    >>> found = inspect_model("pocket")
    >>> found["layers"], found["neurons"], found["gated"], found["image_geometry"]["kind"]
    (6, 512, True, 'grid')
    """
    loaded = model if isinstance(model, MultimodalModel) else load_model(model, **options)
    refused: list[dict[str, str]] = [
        {"what": f"layer {r.layer}: {r.name}", "reason": r.reason} for r in loaded.refused
    ]
    supported = ["capture", "gradients", "ablate"]
    geometry, n_tokens = _geometry(loaded, refused)
    if loaded.cannot_write:
        refused.append({"what": "caption", "reason": loaded.cannot_write})
    elif loaded.processor is not None:
        supported.append("caption")
    else:
        refused.append(
            {"what": "caption", "reason": "there is no processor; ready-made inputs work"}
        )
    if loaded.quantised:
        refused.append({"what": "edit", "reason": "the weights are packed (8-bit or 4-bit)"})
    else:
        supported.append("edit")
    try:
        loaded.unembedding  # noqa: B018
        if loaded.tokenizer is not None:
            supported.append("decode")
        else:
            refused.append({"what": "decode", "reason": "there is no tokenizer"})
    except MmknError as error:
        refused.append({"what": "decode", "reason": str(error)})
    if loaded.processor is not None and geometry is not None and geometry["kind"] != "none":
        supported.append("paint")
    else:
        known = geometry is not None and loaded.processor is not None
        reason = (
            geometry["reason"]
            if known and geometry
            else ("there is no processor to read a picture")
        )
        refused.append({"what": "paint", "reason": reason})
    return {
        "model": loaded.name,
        "architecture": type(loaded.hf).__name__,
        "layers": loaded.n_layers,
        "neurons": loaded.n_neurons,
        "site": sorted({_pattern(site.module_name) for site in loaded.sites}),
        "gated": any(site.gated for site in loaded.sites),
        "moe": _moe(loaded),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "devices": list(loaded.devices),
        "stack": loaded.stack,
        "behind": sorted({step for check in loaded.checks for step in check.behind}),
        "checked": bool(loaded.checks),
        "image_geometry": geometry,
        "tokens_per_image": n_tokens,
        "bytes_per_image": (
            None if n_tokens is None else needed_bytes(loaded, n_tokens, on_disk=True)
        ),
        "supported": [name for name in CAPABILITIES if name in supported],
        "refused": refused,
    }


def _pattern(module_name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in module_name.split("."))


def _moe(model: MultimodalModel) -> dict[str, Any] | None:
    """Return the routed experts, those that cannot be reached included."""
    routed = [site for site in model.sites if site.expert >= 0]
    refused = [r for r in model.refused if "expert" in r.name]
    if not routed and not refused:
        return None
    layers = {site.layer for site in routed} | {r.layer for r in refused}
    counts = [site.expert + 1 for site in routed] + [r.count for r in refused]
    return {
        "experts": max(counts),
        "layers": sorted(layers),
        "neurons": max([site.width for site in routed] + [r.width for r in refused]),
        "shared": any(site.expert < 0 and site.layer in layers for site in model.sites),
        "reached": sorted({site.layer for site in routed}),
    }


def _geometry(
    model: MultimodalModel, refused: list[dict[str, str]]
) -> tuple[dict[str, Any] | None, int | None]:
    """Return the geometry of a grey picture's tokens and the length of its prompt."""
    from PIL import Image

    assumed = ""
    try:
        if model.processor is not None:
            prepared = model.prepare(Image.new("RGB", (336, 336), (127, 127, 127)))
        elif (made := stand_in(model)) is not None:
            prepared = made
            shape = tuple(made.inputs["pixel_values"].shape)
            assumed = f"pixel_values of shape {shape}, a prompt of a few words"
        else:
            return None, None
        token_map = model.token_maps(prepared)[0]
    except MmknError as error:
        refused.append({"what": "token map", "reason": str(error)})
        return None, None
    found = token_map.geometry
    return {
        "kind": found.kind,
        "rows": int(found.shape[0]),
        "columns": int(found.shape[1]),
        "image_tokens": int(found.n_tokens),
        "approximate": bool(found.approximate),
        "reason": found.reason,
        "assumed": assumed,
    }, len(token_map)

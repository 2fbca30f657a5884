"""Say what was found in a model: layers, neurons, geometry, memory, and what cannot be done."""

from __future__ import annotations

from os import PathLike
from typing import Any

from .._errors import MmknError
from .load import load_model
from .model import MultimodalModel
from .stand_in import stand_in

__all__ = ["inspect_model"]

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
    from ..activations import needed_bytes

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

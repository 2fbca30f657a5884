"""The weights that neurons write with: W_out, unembedding, final norm, and their fingerprint."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch
from torch import nn

from ..core import NotSupported
from .experts import expert_bias, expert_down
from .sites import Site
from .wrappers import active_part, has_adapter, wrapped_bias, wrapped_size, wrapped_weight

__all__ = [
    "final_norm",
    "hash_weights",
    "is_quantised",
    "site_bias",
    "site_device",
    "site_weight",
    "unembedding",
]

_NOT_FINAL = re.compile(r"norm_emb|embed_norm|emb_norm")
_NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "layernorm", "layer_norm")


def is_quantised(module: nn.Module) -> bool:
    """Return whether a projection's weight is packed, so that its columns cannot be edited."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and not weight.is_floating_point()


def dense_weight(module: Any) -> torch.Tensor:
    """Return a projection's weight as floating point, in its own layout.

    8-bit and 4-bit weights of bitsandbytes are dequantised (a copy); float weights are returned as
    they are. Weights that accelerate keeps on disk or in another memory are fetched.
    """
    module = active_part(module)
    if has_adapter(module):
        return wrapped_weight(module, module.in_features)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor):
        raise NotSupported(f"weights: {type(module).__name__} has no weight tensor")
    if weight.device.type == "meta":
        return _offloaded(module)
    if weight.is_floating_point():
        return weight.detach()
    kind = type(weight).__name__
    if kind == "Int8Params":
        scale, packed = getattr(weight, "SCB", None), getattr(weight, "CB", None)
        scale = module.state.SCB if scale is None else scale
        packed = weight.data if packed is None else packed
        whole: torch.Tensor = packed.to(torch.float32) * (scale.to(torch.float32) / 127).unsqueeze(
            1
        )
        return whole
    if kind == "Params4bit":
        from bitsandbytes.functional import dequantize_4bit

        made: torch.Tensor = dequantize_4bit(weight.data, getattr(weight, "quant_state", None))
        return made
    raise NotSupported(f"weights: {kind} weights of {type(module).__name__} cannot be read")


def _offloaded(module: nn.Module) -> torch.Tensor:
    hook = getattr(module, "_hf_hook", None)
    stored = getattr(hook, "weights_map", None)
    if stored is None:
        raise NotSupported("weights: the weights are on the meta device and were never loaded")
    weight: torch.Tensor = stored["weight"]
    return weight.detach()


def site_weight(site: Site) -> torch.Tensor:
    """Return W_out of a site, (hidden, neuron): a neuron writes with its column.

    Live, but of packed weights and of a projection with an adapter a copy.
    """
    if site.kind == "routed":
        return expert_down(site.module, site.expert - site.first_expert).detach()
    if site.kind == "wrapped":
        return wrapped_weight(site.module, site.width)
    weight = dense_weight(site.module)
    return weight.T if site.kind == "conv1d" else weight


def hidden_size(site: Site) -> int:
    """Return how long a neuron's column is."""
    if site.kind == "wrapped":
        return wrapped_size(site.module, site.width)
    return int(site_weight(site).shape[0])


def site_bias(site: Site) -> torch.Tensor | None:
    """Return the down projection's bias, (hidden,), or None."""
    if site.kind == "wrapped":
        return wrapped_bias(site.module, site.width)
    if site.kind == "routed":
        bias = expert_bias(site.module, site.expert - site.first_expert)
    else:
        bias = getattr(site.module, "bias", None)
    return None if bias is None else bias.detach()


def site_device(hf: nn.Module, site: Site) -> torch.device:
    """Return where a site's neurons are computed: its parameters' device.

    Parameters that accelerate fetches from elsewhere are computed on its execution device.
    """
    for module in (site.module, *site.module.modules()):
        where = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if where is not None:
            return torch.device(where)
    held = [p.device for p in (*site.module.parameters(), *hf.parameters())]
    return next((device for device in held if device.type != "meta"), torch.device("cpu"))


def unembedding(hf: Any) -> tuple[str, nn.Module] | None:
    """Return (name, module) of the language model's head whose weight is (vocabulary, hidden)."""
    head = None
    if hasattr(hf, "get_output_embeddings"):
        head = hf.get_output_embeddings()
    if head is None or not isinstance(getattr(head, "weight", None), torch.Tensor):
        named = [
            (n, m)
            for n, m in hf.named_modules()
            if n.rpartition(".")[2] in ("lm_head", "embed_out", "output_projection", "proj_out")
            and isinstance(m, nn.Linear)
        ]
        if named:
            return named[-1]
        decoder = [
            (n, m)
            for n, m in hf.named_modules()
            if n.endswith(("predictions.decoder", "output")) and isinstance(m, nn.Linear)
            and m.out_features == getattr(hf.config.get_text_config(), "vocab_size", -1)
        ]  # fmt: skip
        return decoder[-1] if decoder else None
    name = next((n for n, m in hf.named_modules() if m is head), "")
    return name, head


def final_norm(hf: nn.Module, blocks: nn.ModuleList) -> nn.Module | None:
    """Return the norm between the last decoder block and the unembedding, or None.

    It stands beside the list of blocks, behind it; post-norm models (BERT-like decoders) have none.
    """
    parent = next((m for m in hf.modules() if any(child is blocks for child in m.children())), None)
    if parent is None:
        return None
    children = list(parent.named_children())
    place = next(i for i, (_, child) in enumerate(children) if child is blocks)
    for name, child in [*children[place + 1 :], *(c for c in children[:place] if "final" in c[0])]:
        inside = active_part(child)  # what PEFT trained in its place
        if any(True for _ in inside.children()):
            continue
        named = any(key in name for key in _NORM_NAMES) and not _NOT_FINAL.search(name)
        if named and "norm" in type(inside).__name__.lower():
            return child
    return None


def sample(hf: nn.Module, leave_out: set[nn.Module]) -> tuple[Any, ...]:
    """Return a few values of every parameter, to see that they are others than before.

    Parameters
    ----------
    hf : torch.nn.Module
        The model.
    leave_out : set of torch.nn.Module
        Whose parameters interventions change.
    """
    kinds: list[torch.dtype] = []
    values: dict[torch.device, list[torch.Tensor]] = {}
    for module in hf.modules():
        if module in leave_out:
            continue
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            kinds.append(parameter.dtype)
            if not parameter.is_meta and parameter.numel():
                first = parameter.detach()
                while first.dim() > 1:
                    first = first[0]
                values.setdefault(parameter.device, []).append(first.reshape(-1)[:4].double())
    return (*kinds, *(tuple(torch.cat(some).tolist()) for some in values.values()))


def hash_weights(hf: nn.Module) -> str:
    """Return the SHA-256 of every parameter: names, types, shapes and bytes, sorted by name.

    Tied parameters count once, under their first name. Buffers do not count.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(hf.named_parameters(), key=lambda item: item[0]):
        tensor = parameter.detach()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.device.type == "meta":
            module = hf.get_submodule(name.rpartition(".")[0])
            tensor = _offloaded(module) if name.endswith(".weight") else tensor
        if tensor.device.type == "meta":
            continue
        flat = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(flat.numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()

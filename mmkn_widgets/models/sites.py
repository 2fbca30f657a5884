"""Find the FFN neurons of any decoder by one rule over modules and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .._errors import NotSupported, bad_argument
from .find_experts import find_experts
from .site import Refusal, Site

__all__ = ["SiteSearch", "find_sites"]

#: Path components that never hold a decoder block's FFN.
_NOT_FFN = re.compile(
    r"attn|attention|router|indexer|conv|mamba|ssm|adapter|laurel|altup|per_layer|lora|"
    r"pre_expert|post_expert|expert_proj|q_?former|resampler|perceiver"
)
#: Path components of towers that are not the language model.
_NOT_LANGUAGE = re.compile(
    r"vision|visual|image|audio|speech|sound|vit\b|q_?former|resampler|perceiver|projector|connector|"
    r"patch_embed|protein|action|adapter|aligner|abstractor|mtp|vqmodel|sam_|generation_"
)
_DOWN_NAMES = re.compile(r"down|^fc2$|^wo$|^w2$|dense_4h_to_h|c_proj|^output$|^dense$|lin2|linear2")


@dataclass(frozen=True)
class SiteSearch:
    """What `find_sites` found.

    Attributes
    ----------
    sites : tuple of Site
        Sorted by (layer, expert).
    refused : tuple of Refusal
        FFNs seen but out of reach.
    blocks : torch.nn.ModuleList
        The decoder's layers.
    blocks_name : str
        Their name in the model.
    """

    sites: tuple[Site, ...]
    refused: tuple[Refusal, ...]
    blocks: nn.ModuleList
    blocks_name: str


def projection_shape(module: Any) -> tuple[int, int] | None:
    """Return (out, in) of a Linear or Conv1D projection, else None.

    8-bit Linears are subclasses of Linear whose weight may be packed: their sizes are attributes.
    """
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return int(module.nf), int(module.weight.shape[0])
    return None


def _inside(module: nn.Module, leave_out: re.Pattern[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield (dotted name, module) below `module`, not entering children whose name matches."""
    stack = [("", module)]
    while stack:
        prefix, current = stack.pop()
        for name, child in current.named_children():
            if leave_out.search(name.lower()):
                continue
            path = f"{prefix}.{name}" if prefix else name
            yield path, child
            stack.append((path, child))


@dataclass(frozen=True)
class _Down:
    path: str
    module: nn.Module
    width: int
    gated: bool


def _down_projections(block: nn.Module, hidden: int) -> list[_Down]:
    """Return the down projections of a block: F -> hidden beside hidden -> F or hidden -> 2F."""
    shapes: list[tuple[str, nn.Module, int, int]] = []
    for path, module in _inside(block, _NOT_FFN):
        shape = projection_shape(module)
        if shape is not None:
            shapes.append((path, module, *shape))
    found = []
    for path, module, out, width in shapes:
        if out != hidden:
            continue
        parent = path.rpartition(".")[0]
        ups = [
            other
            for other, _, up_out, up_in in shapes
            if other != path and up_in == hidden and up_out in (width, 2 * width)
        ]
        beside = [other for other in ups if other.rpartition(".")[0] == parent]
        ups = beside or ups
        name = path.rpartition(".")[2] if path.rpartition(".")[2] != "dense" else parent
        if not ups or (width == hidden and not _DOWN_NAMES.search(name.rpartition(".")[2])):
            continue
        if width == hidden:
            ups = [u for u in ups if not _DOWN_NAMES.search(u.rpartition(".")[2])]
        fused = any(out_u == 2 * width for p, _, out_u, _ in shapes if p in ups)
        found.append(_Down(path, module, width, fused or len(ups) >= 2))
    return found


def _act_module(block: nn.Module, down_path: str, width: int) -> nn.Module | None:
    """Return the parameterless activation module beside the down projection, if there is one."""
    parent_path = down_path.rpartition(".")[0]
    parent = block.get_submodule(parent_path) if parent_path else block
    candidates = [
        child
        for name, child in parent.named_children()
        if re.search(r"act", name) and not any(True for _ in child.parameters())
    ]
    if not candidates and parent is not block:  # BERT: intermediate.intermediate_act_fn
        candidates = [
            module
            for path, module in _inside(block, _NOT_FFN)
            if re.search(r"act", path.rpartition(".")[2])
            and not any(True for _ in module.parameters())
            and "expert" not in path
        ]
    return candidates[0] if len(candidates) == 1 else None


def _block_lists(root: nn.Module) -> list[tuple[str, nn.ModuleList]]:
    """Return the outermost ModuleLists below `root` that belong to the language model."""
    found: list[tuple[str, nn.ModuleList]] = []
    stack = [("", root)]
    while stack:
        prefix, current = stack.pop()
        for name, child in current.named_children():
            if _NOT_LANGUAGE.search(name.lower()):
                continue
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(child, nn.ModuleList):
                found.append((path, child))
            else:
                stack.append((path, child))
    return found


def _search(root: nn.Module, prefix: str, config: Any) -> SiteSearch | None:
    scored = []
    for path, blocks in _block_lists(root):
        hidden = hidden_size(root, path, config)
        if hidden is None:
            continue
        n_with_site = sum(
            bool(_down_projections(block, hidden) or find_experts(block, hidden))
            for block in blocks
        )
        if n_with_site:
            scored.append((n_with_site, path, blocks, hidden))
    if not scored:
        return None
    _, path, blocks, hidden = max(scored, key=lambda item: item[0])
    name = f"{prefix}.{path}" if prefix else path
    sites: list[Site] = []
    refused: list[Refusal] = []
    for layer, block in enumerate(blocks):
        downs = _down_projections(block, hidden)
        if len(downs) > 1:
            refused += [
                Refusal(layer, f"{name}.{layer}.{d.path}", "more than one dense FFN in this layer")
                for d in downs[1:]
            ]
        for down in downs[:1]:
            kind = "linear" if isinstance(down.module, nn.Linear) else "conv1d"
            sites.append(
                Site(
                    0, layer, -1, down.module, f"{name}.{layer}.{down.path}", down.width,
                    down.gated, kind, block, _act_module(block, down.path, down.width),
                )
            )  # fmt: skip
        first = 0
        for experts in find_experts(block, hidden):
            where = f"{name}.{layer}.{experts.path}"
            if experts.reason:
                refused.append(Refusal(layer, where, experts.reason, experts.count, experts.width))
                continue
            for expert in range(experts.count):
                sites.append(
                    Site(
                        0, layer, first + expert, experts.module, where, experts.width,
                        experts.gated, "routed", block, None, first,
                    )
                )  # fmt: skip
            first += experts.count
    ordered = sorted(sites, key=lambda site: (site.layer, site.expert))
    numbered = tuple(replace(site, row=row) for row, site in enumerate(ordered))
    return SiteSearch(numbered, tuple(refused), blocks, name)


def hidden_size(root: nn.Module, path: str, config: Any) -> int | None:
    """Return the size of the residual stream of the blocks at `path` below `root`, or None.

    The nearest configuration that says it decides: of the modules around the blocks, from the
    inside out, then the whole model's.
    """
    steps = path.split(".")
    around = [root.get_submodule(".".join(steps[:n])) for n in range(len(steps) - 1, 0, -1)]
    for holder in [*(getattr(m, "config", None) for m in [*around, root]), config]:
        if holder is None:
            continue
        text = (
            holder.get_text_config(decoder=True) if hasattr(holder, "get_text_config") else holder
        )
        for name in ("hidden_size", "d_model", "n_embd", "embed_dim", "dim"):
            value = getattr(text, name, None)
            if isinstance(value, int):
                return value
    return None


def stack_root(hf: nn.Module, stack: str) -> tuple[str, nn.Module]:
    """Return (name, module) under which the decoder blocks are looked for."""
    module: Any
    if stack == "encoder":
        module = hf.get_encoder()  # type: ignore[operator]
    else:
        try:
            module = hf.get_decoder()  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            module = hf
    if not isinstance(module, nn.Module):
        module = hf
    name = next((n for n, m in hf.named_modules() if m is module), "")
    return name, module


def find_sites(hf: Any, stack: str = "decoder") -> SiteSearch:
    """Find the FFN neurons of a language model from its modules and its configuration alone.

    Parameters
    ----------
    hf : transformers.PreTrainedModel
        Any model with a language model inside.
    stack : {"decoder", "encoder"}
        For encoder-decoders: which of the two.

    Returns
    -------
    SiteSearch
        Every layer's neurons, and what was seen but cannot be reached.

    Raises
    ------
    NotSupported
        If no decoder layer with an FFN is found; the message says where it looked.

    Notes
    -----
    The rule: below ``get_decoder()`` take the list of blocks with the most FFNs; in a block, leave
    out attention, routers and adapters; the down projection is the one from F to the hidden size
    that stands beside one from the hidden size to F (two of them, or one to 2F: gated). Where F
    equals the hidden size the names decide. A 3-D parameter named ``down...`` holds routed experts.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> llama = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=48, vocab_size=20,
    ...     num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2))
    >>> [(site.layer, site.width, site.gated) for site in find_sites(llama).sites]
    [(0, 48, True), (1, 48, True)]
    """
    if stack not in ("decoder", "encoder"):
        raise bad_argument("stack", stack, "'decoder' or 'encoder'")
    name, root = stack_root(hf, stack)
    found = _search(root, name, hf.config)
    if found is None and root is not hf:
        found = _search(hf, "", hf.config)
    if found is None or not (found.sites or found.refused):
        raise NotSupported(
            f"model: no decoder layer with an FFN was found in {type(hf).__name__} below "
            f"{name or 'the model'!r}: expected blocks with a projection from the neurons to the "
            "hidden size"
        )
    if not found.sites:
        reasons = "; ".join(str(r) for r in found.refused[:3])
        raise NotSupported(f"model: none of the FFNs of {type(hf).__name__} can be read: {reasons}")
    return found

"""Find the FFN neurons of any decoder by one rule over modules and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..core import NotSupported, bad_argument
from .experts import find_experts, hook_expert
from .wrappers import has_adapter_above, has_own_adapter, outermost

__all__ = ["Hook", "Refusal", "Site", "SiteSearch", "find_sites"]

#: Gets an activation; what it returns, if not None, replaces it.
Hook = Callable[[torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True)
class Refusal:
    """A group of neurons that cannot be reached, and why.

    Attributes
    ----------
    layer : int
        The decoder layer.
    name : str
        The module's name in the model.
    reason : str
        One clause.
    count, width : int
        Experts and neurons of each, where they are experts.
    """

    layer: int
    name: str
    reason: str
    count: int = 0
    width: int = 0

    def __str__(self) -> str:
        return f"layer {self.layer}, {self.name}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Site:
    """The input of one FFN's second projection: where a layer's neurons can be read and changed.

    Attributes
    ----------
    row : int
        Position in the store's layer dimension.
    layer : int
        The decoder layer, from 0.
    expert : int
        The routed expert, or -1 for a dense or shared FFN.
    module : torch.nn.Module
        The down projection, with an adapter that is round it (for a routed expert: the module that
        holds all experts).
    module_name : str
        Its name in the model.
    width : int
        The number of neurons.
    gated : bool
        Whether the activation is ``act(gate(x)) * up(x)``.
    kind : str
        ``"linear"``, ``"conv1d"``, ``"routed"``, or ``"wrapped"``: a projection with an adapter
        round it (LoRA), whose input is the neurons and whose output is all that they write.
    block : torch.nn.Module
        The decoder layer's module.
    act_module : torch.nn.Module or None
        The activation function's module, for ``at="act"``; None where the model calls a plain
        function.
    first_expert : int
        Index of the module's first expert among the layer's, where a layer has several modules.
    ffn : torch.nn.Module or None
        The module that holds this projection and those before it; None where that is the block.
    """

    row: int
    layer: int
    expert: int
    module: nn.Module
    module_name: str
    width: int
    gated: bool
    kind: str
    block: nn.Module = field(repr=False)
    act_module: nn.Module | None = field(default=None, repr=False)
    first_expert: int = 0
    ffn: nn.Module | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Return ``"L4"`` or, for a routed expert, ``"L4.E2"``."""
        return f"L{self.layer}" if self.expert < 0 else f"L{self.layer}.E{self.expert}"

    def hook(self, fn: Hook, *, at: str = "input", prepend: bool = False) -> RemovableHandle:
        """Call ``fn(activation)`` at every forward; what it returns replaces the activation.

        Parameters
        ----------
        fn : callable
            Gets the activation, a tensor (batch, token, neuron) or, where the model flattens its
            tokens, (batch * token, neuron), batch-major. Returns a tensor of the same shape, or
            None to leave it. For a routed expert, rows of tokens that are not routed to it are
            zero, and changes of those rows have no effect.
        at : {"input", "act"}
            ``"input"`` is the input of the down projection (for a gated FFN ``act(gate) * up``),
            ``"act"`` the output of the activation function.
        prepend : bool
            Run before the hooks that are there already.

        Returns
        -------
        torch.utils.hooks.RemovableHandle

        Raises
        ------
        NotSupported
            For ``at="act"`` where the activation function is not a module of its own.
        """
        if at == "input":
            if self.kind == "routed":
                index = self.expert - self.first_expert
                return hook_expert(self.module, index, fn, prepend=prepend)
            return self.module.register_forward_pre_hook(_on_input(fn), prepend=prepend)
        if at != "act":
            raise bad_argument("site", at, "'input' or 'act'")
        if self.act_module is None:
            raise NotSupported(
                f"site='act': the activation function of {self.module_name} is not a module of its "
                "own; use site='input'"
            )
        return self.act_module.register_forward_hook(_on_output(fn), prepend=prepend)


def _on_input(fn: Hook) -> Callable[..., Any]:
    def pre_hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        changed = fn(args[0])
        return None if changed is None else (changed, *args[1:])

    return pre_hook


def _on_output(fn: Hook) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor) -> Any:
        return fn(output)

    return hook


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
    kind: str
    ffn: str


@dataclass(frozen=True)
class _Projection:
    path: str
    module: nn.Module
    out: int
    width: int
    kind: str


def _projections(block: nn.Module) -> list[_Projection]:
    """Return the projections of a block, each with what is wrapped round it."""
    found: dict[str, _Projection] = {}
    for path, module in _inside(block, _NOT_FFN):
        shape = projection_shape(module)
        if shape is None:
            continue
        outer, whole = outermost(block, path, *shape)
        kind = "linear" if isinstance(module, nn.Linear) else "conv1d"
        if whole is not module or has_own_adapter(module):
            kind = "wrapped"
        found.setdefault(outer, _Projection(outer, whole, *shape, kind))
    return list(found.values())


def _down_projections(block: nn.Module, hidden: int) -> list[_Down]:
    """Return the down projections of a block: F -> hidden beside hidden -> F or hidden -> 2F."""
    projections = _projections(block)
    found = []
    for down in projections:
        if down.out != hidden:
            continue
        path, width = down.path, down.width
        parent = path.rpartition(".")[0]
        ups = [
            other.path
            for other in projections
            if other.path != path and other.width == hidden and other.out in (width, 2 * width)
        ]
        beside = [other for other in ups if other.rpartition(".")[0] == parent]
        ups = beside or ups
        name = path.rpartition(".")[2] if path.rpartition(".")[2] != "dense" else parent
        if not ups or (width == hidden and not _DOWN_NAMES.search(name.rpartition(".")[2])):
            continue
        if width == hidden:
            ups = [u for u in ups if not _DOWN_NAMES.search(u.rpartition(".")[2])]
        fused = any(other.out == 2 * width for other in projections if other.path in ups)
        gated = fused or len(ups) >= 2
        found.append(_Down(path, down.module, width, gated, down.kind, _shared_path([path, *ups])))
    return found


def _shared_path(paths: Sequence[str]) -> str:
    """Return the name of the innermost module that holds all of some; "" for the block itself."""
    split = [path.split(".")[:-1] for path in paths]
    shared = []
    for steps in zip(*split, strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return ".".join(shared)


def _act_module(block: nn.Module, down_path: str) -> nn.Module | None:
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
            sites.append(
                Site(
                    0, layer, -1, down.module, f"{name}.{layer}.{down.path}", down.width,
                    down.gated, down.kind, block, _act_module(block, down.path),
                    ffn=block.get_submodule(down.ffn) if down.ffn else None,
                )
            )  # fmt: skip
        first = 0
        for experts in find_experts(block, hidden):
            where = f"{name}.{layer}.{experts.path}"
            reason = experts.reason
            if not reason and has_adapter_above(block, experts.path):
                reason = "adapters over routed experts; merge them into the weights first"
            if reason:
                refused.append(Refusal(layer, where, reason, experts.count, experts.width))
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


def stack_root(hf: Any, stack: str) -> tuple[str, nn.Module]:
    """Return (name, module) under which the decoder blocks are looked for."""
    module: Any
    if stack == "encoder":
        module = hf.get_encoder()
    else:
        try:
            module = hf.get_decoder()
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

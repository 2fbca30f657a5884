"""Routed experts, whose weights are one 3-D parameter: find them, reach their neurons."""

from __future__ import annotations

import inspect
import re
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

__all__ = [
    "Experts",
    "expert_bias",
    "expert_down",
    "find_experts",
    "hook_expert",
    "remember_parting",
    "routed_places",
]

NAME = "mmkn"
Hook = Callable[[torch.Tensor], "torch.Tensor | None"]

#: experts module -> {expert: hooks in order}
_HOOKS: weakref.WeakKeyDictionary[nn.Module, dict[int, OrderedDict[int, Hook]]] = (
    weakref.WeakKeyDictionary()
)
#: experts that get the tokens of one modality only -> (the module that parts them, is it vision)
_PARTED: weakref.WeakKeyDictionary[nn.Module, tuple[weakref.ref[nn.Module], bool]] = (
    weakref.WeakKeyDictionary()
)
#: the same -> (its tokens' places, number of all tokens), while it has hooks
_PLACES: weakref.WeakKeyDictionary[nn.Module, tuple[torch.Tensor, int]] = (
    weakref.WeakKeyDictionary()
)
_PARTED_HANDLES: weakref.WeakKeyDictionary[nn.Module, RemovableHandle] = weakref.WeakKeyDictionary()
_PARTS_BY = "moe_mm_token_type_ids"
#: config of an experts module with hooks -> (number of hooked modules, implementation before)
_SWITCHED: dict[int, tuple[int, str | None]] = {}


def remember_parting(block: nn.Module, path: str, module: nn.Module) -> None:
    """Note the module that sends text and image tokens to experts of their own (ERNIE 4.5 VL)."""
    steps = path.split(".")
    for n in range(len(steps) - 1, 0, -1):
        parent = block.get_submodule(".".join(steps[:n]))
        if _PARTS_BY in inspect.signature(parent.forward).parameters:
            _PARTED[module] = (weakref.ref(parent), "vision" in path)


def _follow_parting(module: nn.Module) -> None:
    reference, vision = _PARTED[module]
    parent = reference()
    if parent is None:
        return

    def note(_parent: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kinds = args[1] if len(args) > 1 else kwargs.get(_PARTS_BY)
        _PLACES.pop(module, None)
        if kinds is not None and bool(kinds.any()):
            places = (kinds.bool().reshape(-1) == vision).nonzero().squeeze(-1)
            _PLACES[module] = (places, kinds.numel())

    _PARTED_HANDLES[module] = parent.register_forward_pre_hook(note, with_kwargs=True)


def routed_places(module: nn.Module) -> torch.Tensor | None:
    """Return which tokens (batch * token) a hooked module was given; None: all of them."""
    found = _PLACES.get(module)
    return None if found is None else found[0]


def expert_down(module: Any, expert: int) -> torch.Tensor:
    """Return one expert's down projection, (hidden, neuron), as a view of the live weights."""
    weight: torch.Tensor = module.down_proj[expert]
    return weight.T if module.is_transposed else weight


def expert_bias(module: Any, expert: int) -> torch.Tensor | None:
    """Return one expert's down projection bias, (hidden,), or None."""
    return module.down_proj_bias[expert] if getattr(module, "has_bias", False) else None


def hook_expert(
    module: nn.Module, expert: int, fn: Hook, *, prepend: bool = False
) -> RemovableHandle:
    """Call ``fn(activation)`` with one expert's activations at every forward.

    Parameters
    ----------
    module : torch.nn.Module
        A module from `find_experts`.
    expert : int
        The expert's index in it.
    fn : callable
        Gets (batch * token, neuron), zero where the token is not routed to this expert; what it
        returns, if not None, replaces the routed rows.
    prepend : bool
        Run before the hooks that are there already.

    Returns
    -------
    torch.utils.hooks.RemovableHandle
        Removing the last one of a model restores its own experts implementation.
    """
    per_expert = _HOOKS.setdefault(module, {})
    if not per_expert:
        _switch_on(module)
    hooks = per_expert.setdefault(expert, OrderedDict())
    handle = _Handle(module, expert, hooks)
    hooks[handle.id] = fn
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class _Handle(RemovableHandle):
    """A handle that switches our implementation off with the module's last hook."""

    def __init__(self, module: nn.Module, expert: int, hooks: OrderedDict[int, Hook]) -> None:
        super().__init__(hooks)
        self._module = weakref.ref(module)
        self._expert = expert

    def remove(self) -> None:
        super().remove()
        module = self._module()
        per_expert = _HOOKS.get(module) if module is not None else None
        if module is None or per_expert is None or per_expert.get(self._expert):
            return
        if per_expert.pop(self._expert, None) is not None and not per_expert:
            del _HOOKS[module]
            _switch_off(module)


def _switch_on(module: Any) -> None:
    register()
    if module in _PARTED:
        _follow_parting(module)
    config = module.config
    count, before = _SWITCHED.get(id(config), (0, config._experts_implementation))
    _SWITCHED[id(config)] = (count + 1, before)
    config._experts_implementation_internal = NAME


def _switch_off(module: Any) -> None:
    if (handle := _PARTED_HANDLES.pop(module, None)) is not None:
        handle.remove()
        _PLACES.pop(module, None)
    config = module.config
    count, before = _SWITCHED[id(config)]
    if count > 1:
        _SWITCHED[id(config)] = (count - 1, before)
        return
    del _SWITCHED[id(config)]
    config._experts_implementation_internal = before


def register() -> None:
    """Register our implementation with transformers, once."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if NAME not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(NAME, hooked_experts_forward)


def _own_forward(module: Any) -> Callable[..., torch.Tensor]:
    """Return the implementation the model had before ours."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    _, before = _SWITCHED.get(id(module.config), (0, None))
    original = type(module).forward.__wrapped__
    own: Callable[..., torch.Tensor] = ALL_EXPERTS_FUNCTIONS.get_interface(
        before or "eager", original
    )
    return own


def hooked_experts_forward(
    self: Any,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """Compute routed experts one by one and show each hooked expert's activations to its hooks.

    Parameters
    ----------
    self : torch.nn.Module
        The experts module.
    hidden_states : torch.Tensor, shape (token, hidden)
        Tokens of all sequences, batch-major.
    top_k_index, top_k_weights : torch.Tensor, shape (token, k)
        The router's choice and weights.

    Returns
    -------
    torch.Tensor, shape (token, hidden)
    """
    per_expert = _HOOKS.get(self)
    if not per_expert:
        return _own_forward(self)(self, hidden_states, top_k_index, top_k_weights, *args, **kwargs)
    n_tokens, k = hidden_states.shape[0], top_k_index.shape[-1]
    places, n_all = _PLACES.get(self, (None, n_tokens))
    chosen = top_k_index.reshape(-1)
    slots, outputs = [], []
    for expert in range(self.num_experts):
        slot = (chosen == expert).nonzero().squeeze(-1)
        hooks = per_expert.get(expert)
        if slot.numel() == 0 and not hooks:
            continue
        token = slot // k
        place = token if places is None else places[token]
        neurons = _neurons(self, hidden_states[token], expert)
        for fn in list(hooks.values()) if hooks else ():
            everywhere = neurons.new_zeros(n_all, neurons.shape[-1])
            everywhere = everywhere.index_copy(0, place, neurons)
            changed = fn(everywhere)
            neurons = (everywhere if changed is None else changed)[place]
        output = functional.linear(neurons, expert_down(self, expert), expert_bias(self, expert))
        if getattr(self, "has_post_expert_norm", False):
            output = self.post_expert_norm(output)
        slots.append(slot)
        outputs.append(output)
    order = torch.argsort(torch.cat(slots))
    weighted = torch.cat(outputs)[order] * top_k_weights.reshape(-1, 1)
    return weighted.view(n_tokens, k, -1).sum(dim=1).to(hidden_states.dtype)


def _neurons(module: Any, rows: torch.Tensor, expert: int) -> torch.Tensor:
    """Return the activations (row, neuron) of one expert, as transformers computes them."""
    name = "gate_up_proj" if module.has_gate else "up_proj"
    weight = getattr(module, name)[expert]
    bias = getattr(module, f"{name}_bias")[expert] if module.has_bias else None
    hidden = functional.linear(rows, weight.T if module.is_transposed else weight, bias)
    made: torch.Tensor = module._apply_gate(hidden) if module.has_gate else module.act_fn(hidden)
    return made


_NOT_EXPERTS = re.compile(r"attn|attention|router|indexer|mamba|conv")


@dataclass(frozen=True)
class Experts:
    """A module of routed experts.

    Attributes
    ----------
    path : str
        Its name inside the decoder block.
    module : torch.nn.Module
        The module.
    count, width : int
        Number of experts; neurons of each.
    gated : bool
        Whether the activation is ``act(gate(x)) * up(x)``.
    reason : str
        Why its neurons cannot be reached; empty when they can.
    """

    path: str
    module: nn.Module
    count: int
    width: int
    gated: bool
    reason: str


def find_experts(block: nn.Module, hidden: int) -> list[Experts]:
    """Return the modules of a decoder block that hold a 3-D down projection.

    Parameters
    ----------
    block : torch.nn.Module
        A decoder layer.
    hidden : int
        Size of the residual stream.

    Returns
    -------
    list of Experts
        In the order of the modules; those outside the registry carry a reason.
    """
    found = []
    for path, module in block.named_modules():
        if _NOT_EXPERTS.search(path.lower()):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and "down" in name and "bias" not in name:
                registered = hasattr(module, "is_transposed") and hasattr(module, "_apply_gate")
                if registered:
                    transposed = bool(module.is_transposed)
                else:
                    transposed = parameter.shape[2] == hidden and parameter.shape[1] != hidden
                reason = ""
                if not registered:
                    reason = "experts outside transformers' experts registry"
                elif getattr(module, "_is_expert_parallel", False):
                    reason = "experts spread over several processes"
                gated = bool(getattr(module, "has_gate", True))
                width = int(parameter.shape[1 if transposed else 2])
                remember_parting(block, path, module)
                found.append(Experts(path, module, parameter.shape[0], width, gated, reason))
                break
    return found

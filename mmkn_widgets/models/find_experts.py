"""Find routed experts, whose weights are one 3-D parameter, in a decoder block."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from .experts import remember_parting

__all__ = ["Experts", "find_experts"]

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

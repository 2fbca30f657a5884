"""A place where a layer's neurons can be read and changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from .._errors import NotSupported, bad_argument
from .experts import hook_expert

__all__ = ["Hook", "Refusal", "Site"]

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
        The down projection (for a routed expert: the module that holds all experts).
    module_name : str
        Its name in the model.
    width : int
        The number of neurons.
    gated : bool
        Whether the activation is ``act(gate(x)) * up(x)``.
    kind : str
        ``"linear"``, ``"conv1d"`` or ``"routed"``.
    block : torch.nn.Module
        The decoder layer's module.
    act_module : torch.nn.Module or None
        The activation function's module, for ``at="act"``; None where the model calls a plain
        function.
    first_expert : int
        Index of the module's first expert among the layer's, where a layer has several modules.
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

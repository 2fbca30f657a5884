"""Name what an architecture puts between an FFN's projection and the residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

__all__ = ["Residual", "what_follows"]


def _first_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor):
        return value[0].detach()
    return None


class Residual:
    """What one decoder block's residual stream and norms carried in one forward.

    Parameters
    ----------
    block : torch.nn.Module
        The decoder layer.

    Attributes
    ----------
    before, after : torch.Tensor or None
        The block's input and output.
    norms : list of (str, torch.Tensor, torch.Tensor)
        Name, input and output of every norm, in the order they ran.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.before: torch.Tensor | None = None
        self.after: torch.Tensor | None = None
        self.norms: list[tuple[str, torch.Tensor, torch.Tensor]] = []
        self.attention: list[torch.Tensor] = []
        self.gates: list[str] = []

    def attach(self, stack: ExitStack) -> None:
        """Set the hooks; they go when `stack` is left."""
        stack.callback(
            self.block.register_forward_hook(self._on_block, with_kwargs=True).remove
        )  # fmt: skip
        for name, module in self.block.named_modules():
            kind = type(module).__name__.lower()
            if "norm" in kind and not any(True for _ in module.children()):
                stack.callback(module.register_forward_hook(self._on_norm(name)).remove)
            elif isinstance(module, nn.Linear) and module.out_features == 1:
                self.gates.append(name)
        for name, module in self.block.named_children():
            if "attn" in name or "attention" in name:
                stack.callback(module.register_forward_hook(self._on_attention).remove)

    def _on_block(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        given = args[0] if args else kwargs.get("hidden_states")
        self.before, self.after = _first_tensor(given), _first_tensor(output)

    def _on_attention(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if (made := _first_tensor(output)) is not None:
            self.attention.append(made)

    def _on_norm(self, name: str) -> Any:
        def record(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            given = _first_tensor(args)
            made = _first_tensor(output)
            if given is not None and made is not None:
                self.norms.append((name, given, made))

        return record


def _same(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    scale = b.abs().max().clamp_min(1e-12)
    return bool((a - b).abs().max() <= 2 * tolerance * scale)


def what_follows(
    seen: Residual, output: torch.Tensor, tolerance: float, *, routed: bool
) -> tuple[str, ...]:
    """Return the steps between a projection's output and the block's output.

    Parameters
    ----------
    seen : Residual
        The block's tensors of the same forward.
    output : torch.Tensor
        What the projection (or all routed experts together) gave.
    tolerance : float
        Relative to the largest entry.
    routed : bool
        Whether the layer mixes experts.

    Returns
    -------
    tuple of str
        Empty when the block adds `output` to its residual stream as it is.
    """
    if seen.after is None or seen.after.shape[-1] != output.shape[-1]:
        return ("not followed: the block returns more than one residual stream",)
    hidden = output.shape[-1]
    added = output.reshape(-1, hidden).double()
    after = seen.after.reshape(-1, hidden).double().to(added.device)
    if after.shape != added.shape:
        return ("not followed: the block returns more than one residual stream",)

    def rows(tensor: torch.Tensor) -> torch.Tensor:
        """Return (batch * token, hidden) where the output is: a spread model's input may not be."""
        return tensor.reshape(-1, hidden).double().to(added.device)

    flat = [
        (name, rows(given), rows(made))
        for name, given, made in seen.norms
        if given.shape[-1] == hidden and given.numel() == after.numel()
    ]
    streams = [given for _, given, _ in flat]
    if seen.before is not None and seen.before.numel() == after.numel():
        before = rows(seen.before)
        streams.append(before)
        for made in seen.attention:  # attention and FFN side by side (Cohere)
            if made.numel() == after.numel():
                streams.append(before + rows(made))
    streams += [made for _, _, made in flat]
    steps: list[str] = []
    for name, given, made in flat:
        if _same(given, added, tolerance):
            steps.append(f"norm {name}")
            added = made
    for name, given, made in flat:
        summed = any(
            _same(given, stream + added, tolerance) for stream in streams if stream is not given
        )
        if summed and _same(made, after, tolerance):
            return (*steps, f"norm {name} over the sum")
    for stream in streams:
        rest = after - stream
        if _same(rest, added, 10 * tolerance):
            return tuple(steps)
        if bool((rest == 0).all()):
            return (*steps, "scale 0")
        factor = float((rest * added).sum() / (added * added).sum().clamp_min(1e-30))
        if abs(factor) > 1e-3 and _same(rest, factor * added, 10 * tolerance):
            return (*steps, f"scale {factor:.4g}")
    if routed:
        return (*steps, "router", *(f"gate {name}" for name in seen.gates))
    return (*steps, *(f"gate {name}" for name in seen.gates)) or ("not followed",)

"""A second way to compute what interventions do, and looks at a model's hooks and bits."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from mmkn_widgets.models import MultimodalModel

END = 38


def logits(model: MultimodalModel, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the logits of one forward."""
    with torch.no_grad():
        return model.hf(**inputs).logits.numpy()


def greedy(model: MultimodalModel, inputs: dict[str, torch.Tensor], n: int = 8) -> list[list[int]]:
    """Return what the model writes, through the library's own generate."""
    return model.generate(model.prepare(inputs), max_new_tokens=n).token_ids


def by_hand(
    model: MultimodalModel,
    inputs: dict[str, torch.Tensor],
    n: int,
    change: Callable[[int, torch.Tensor, int], torch.Tensor],
) -> list[int]:
    """Decode one row greedily without a cache, a module of our own in front of each projection.

    ``change(row, activation (token, neuron), prompt length)`` sees the whole sequence each time.
    """
    twin = copy.deepcopy(model.hf)
    prompt = inputs["input_ids"].shape[1]

    class Changed(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module, row: int) -> None:
            super().__init__()
            self.inner, self.row = inner, row

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = x.reshape(-1, x.shape[-1]).clone()
            return self.inner(change(self.row, flat, prompt).reshape(x.shape))

    for site in model.sites:
        parent, _, name = site.module_name.rpartition(".")
        holder = twin.get_submodule(parent)
        setattr(holder, name, Changed(getattr(holder, name), site.row))
    ids, made = inputs["input_ids"], []
    for _ in range(n):
        step = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            token = int(twin(**step, use_cache=False).logits[0, -1].argmax())
        if token == END:
            break
        made.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return made


def n_hooks(model: MultimodalModel) -> int:
    """Return the number of hooks that ours could be among (transformers' own recorders apart)."""
    whole = model.hf
    return (
        sum(len(site.module._forward_pre_hooks) for site in model.sites)
        + len(whole._forward_pre_hooks)
        + sum("after" in getattr(hook, "__name__", "") for hook in whole._forward_hooks.values())
    )


def snapshot(model: MultimodalModel) -> dict[str, torch.Tensor]:
    """Return a copy of every parameter."""
    return {name: p.detach().clone() for name, p in model.hf.named_parameters()}


def same_bits(model: MultimodalModel, before: dict[str, torch.Tensor]) -> bool:
    """Return whether every parameter has the bits it had."""
    return all(
        torch.equal(p.detach().view(torch.uint8), before[name].view(torch.uint8))
        for name, p in model.hf.named_parameters()
    )

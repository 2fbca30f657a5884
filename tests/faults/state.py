"""What must be as before after every trial: weights bit for bit, hooks, the lock, torch's modes."""

from __future__ import annotations

from typing import Any

import torch

import mmkn_widgets as mmkn
from tests.process_modes import ProcessModes

__all__ = ["ModelState", "warm_pocket"]


def warm_pocket() -> Any:
    """Return a model on which what an architecture sets once and keeps is set."""
    model = mmkn.load_model("pocket")
    with model.ablate({0: [0]}):
        pass
    mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image, gradients=5)
    return model


def hooks_of(model: Any) -> list[tuple[int, ...]]:
    """Return the ids of every hook of every module."""
    return [
        tuple(held)
        for module in model.hf.modules()
        for held in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    ]


def _bits(values: torch.Tensor) -> torch.Tensor:
    return values.detach().reshape(-1).view(torch.uint8)


class ModelState:
    """A copy of a model's weights and flags, of which hooks it has, and of torch's modes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.hooks = hooks_of(model)
        self.held = dict(model.hf.named_parameters())
        self.bits = {name: p.detach().clone() for name, p in self.held.items()}
        self.flags = [m.training for m in model.hf.modules()]
        self.configs = [vars(m).get("generation_config") for m in model.hf.modules()]
        self.modes = ProcessModes()

    def check(self) -> None:
        """Raise an AssertionError that names what is not as it was."""
        changed = self.modes.changed()
        if changed:
            self.modes.put_back()
        assert not changed, "; ".join(changed)
        assert hooks_of(self.model) == self.hooks, "hooks stay"
        now = dict(self.model.hf.named_parameters())
        assert now.keys() == self.held.keys(), "parameters come or go"
        for name, p in now.items():
            assert p is self.held[name], f"{name} is another parameter"
            assert torch.equal(_bits(p), _bits(self.bits[name])), f"{name} has other bits"
        assert [m.training for m in self.model.hf.modules()] == self.flags, "modes are others"
        configs = [vars(m).get("generation_config") for m in self.model.hf.modules()]
        assert all(a is b for a, b in zip(configs, self.configs, strict=True)), "how it writes"
        assert not self.model.interventions.active, f"{self.model.interventions.active} act"
        assert self.model.lock.acquire(blocking=False), "the lock is held"
        self.model.lock.release()

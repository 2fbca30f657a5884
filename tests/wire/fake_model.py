"""A model without weights: the real stack over sites that nobody hooks, and a forgetful caption."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mmkn_widgets.interventions import Ablation, InterventionStack, ablate
from mmkn_widgets.models.worker import Worker


class FakeSite(SimpleNamespace):
    """A row of neurons; what is hooked is called by `FakeModel.forward`."""

    def hook(self, function: Any, prepend: bool = False) -> Any:
        self.hooks.append(function)
        return SimpleNamespace(remove=lambda: self.hooks.remove(function))


class FakeHf:
    """The whole model; its hooks are never called."""

    def register_forward_pre_hook(self, hook: Any, **_: Any) -> Any:
        return SimpleNamespace(remove=lambda: None)

    register_forward_hook = register_forward_pre_hook


class FakeModel:
    """Writes the concept's word unless at least `enough` neurons are off."""

    def __init__(self, layers: int, neurons: int, word: str, enough: int = 5) -> None:
        self.name, self.knows = "fake-llava", ""
        self.sites = [
            FakeSite(layer=k, expert=-1, row=k, width=neurons, hooks=[]) for k in range(layers)
        ]
        self.n_layers, self.n_neurons, self.device = layers, neurons, "cpu"
        self.weights_hash = f"fake {id(self)}"
        self.worker = Worker("fake")
        self.lock = threading.RLock()
        self.hf = FakeHf()
        self.interventions = InterventionStack(self)
        self.tokenizer = SimpleNamespace(tokenize=lambda text: [text])
        self.word, self.enough = word, enough
        self.written = 0

    def site(self, layer: int, expert: int = -1) -> Any:
        return self.sites[layer]

    def neuron_words(
        self, rows: Any, indices: Any, *, k: int = 10, norm: bool = False, signs: Any = None
    ) -> list[list[str]]:
        return [[f"w{row}"] * k for row in rows]

    def prepare(self, images: Any, prompt: Any = None) -> Any:
        return SimpleNamespace(lengths=[3])

    def forward(self, prepared: Any, **_: Any) -> None:
        for site in self.sites:
            for hook in list(site.hooks):
                hook(torch.zeros(1, 3, site.width))

    def ablate(self, neurons: Any, mode: str = "zero", **options: Any) -> Ablation:
        return ablate(self, neurons, mode, **options)

    def caption(
        self, images: Any, prompt: Any = None, *, on_token: Any = None, cancel: Any = None
    ) -> str:
        self.written += 1
        off = sum(item.n_neurons for item in self.interventions.active)
        word = "bus" if off >= self.enough else self.word
        text = f"a red {word} next to a big green tree on the grass"
        for piece in text.split():
            if cancel is not None:
                cancel.raise_if_cancelled()
            if on_token is not None:
                on_token(piece + " ", 0)
        return text


def off(item: Any, width: int = 512) -> list[int]:
    """Return the flat ids that an intervention touches."""
    return sorted(int(row) * width + int(i) for row, at in item.rows.items() for i in at)


def mask(item: Any) -> np.ndarray:
    """Return the neurons that an intervention touches, bool (layer, neuron)."""
    found = np.zeros((item.model.n_layers, item.model.n_neurons), bool)
    for row, at in item.rows.items():
        found[row, at] = True
    return found

"""A model without weights: a stack that only remembers, and a caption that forgets a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmkn_widgets.models.worker import Worker


class FakeStack:
    """Remembers what is pushed; no model is changed."""

    def __init__(self) -> None:
        self.active: tuple[Any, ...] = ()
        self.observers: list[Any] = []

    def push(self, item: Any) -> Any:
        self.active = (*self.active, item)
        self._tell("push")
        return item

    def pop(self, item: Any) -> Any:
        self.active = tuple(other for other in self.active if other is not item)
        self._tell("pop")
        return item

    def clear(self) -> None:
        self.active = ()
        self._tell("clear")

    @contextmanager
    def suspended(self) -> Iterator[None]:
        was, self.active = self.active, ()
        try:
            yield
        finally:
            self.active = was

    def observe(self, callback: Any) -> Any:
        self.observers.append(callback)
        return lambda: callback in self.observers and self.observers.remove(callback)

    def _tell(self, action: str) -> None:
        for callback in list(self.observers):
            callback(SimpleNamespace(action=action))


class FakeAblation(SimpleNamespace):
    """What `FakeModel.ablate` makes; as a context it is active inside, quietly."""

    def __enter__(self) -> FakeAblation:
        self.stack.active = (*self.stack.active, self)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.active = tuple(other for other in self.stack.active if other is not self)


class FakeModel:
    """Writes the concept's word unless at least `enough` neurons are off."""

    def __init__(self, layers: int, neurons: int, word: str, enough: int = 5) -> None:
        self.name = "fake-llava"
        self.sites = [
            SimpleNamespace(layer=k, expert=-1, row=k, width=neurons) for k in range(layers)
        ]
        self.n_layers, self.n_neurons, self.device = layers, neurons, "cpu"
        self.worker = Worker("fake")
        self.interventions = FakeStack()
        self.tokenizer = SimpleNamespace(tokenize=lambda text: [text])
        self.word, self.enough = word, enough

    def site(self, layer: int, expert: int = -1) -> Any:
        return self.sites[layer]

    def ablate(self, neurons: Any, mode: str = "zero", **options: Any) -> FakeAblation:
        mask = neurons if isinstance(neurons, np.ndarray) else neurons.mask(self)
        assert mask.dtype == bool
        assert mask.shape == (self.n_layers, self.n_neurons)
        name = options.get("name", "ablation")
        return FakeAblation(
            stack=self.interventions,
            name=name,
            kind="ablation",
            n_neurons=int(mask.sum()),
            mask=mask,
            mode=mode,
        )

    def caption(
        self, image: Any, prompt: Any = None, on_token: Any = None, cancel: Any = None
    ) -> str:
        off = sum(item.n_neurons for item in self.interventions.active)
        word = "bus" if off >= self.enough else self.word
        text = f"a red {word} next to a big green tree on the grass"
        for piece in text.split():
            if cancel is not None:
                cancel.raise_if_cancelled()
            if on_token is not None:
                on_token(piece + " ", 0)
        return text

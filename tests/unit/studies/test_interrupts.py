"""Ctrl-C at any hook that is set or removed leaves the model as it was."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.hooks import RemovableHandle

import mmkn_widgets as mmkn
from mmkn_widgets.activations.lens import patch_lens
from mmkn_widgets.attribution import integrated_gradients
from mmkn_widgets.evaluation.first_naming import FirstNaming
from mmkn_widgets.interventions import Goal, edit
from mmkn_widgets.interventions.reference import record_values
from mmkn_widgets.models.geometry.queries import attend
from mmkn_widgets.models.probe import verify

NEURONS = {3: [1, 2], 4: [5]}


@pytest.fixture(autouse=True)
def _foreground() -> Iterator[None]:
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, own)


@pytest.fixture(scope="module")
def model() -> mmkn.MultimodalModel:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def scenes() -> Any:
    return mmkn.datasets.pocket_world("val").with_concept("car", 2)


def _edit(model: Any, scenes: Any) -> Any:
    made = edit(model, NEURONS, "car", "dog", scenes=scenes, method="optimised", goal=Goal(steps=1))
    with made:
        model.caption(scenes[0].image)


def _naming(model: Any, scenes: Any) -> Any:
    images = [scene.image for scene in scenes]
    FirstNaming(model, scenes, model.caption(images), "car", starts=[2])


TASKS: dict[str, Callable[[Any, Any], Any]] = {
    "capture": lambda m, s: mmkn.capture(m, s[0].image, gradients=5),
    "generate": lambda m, s: mmkn.capture(m, s[0].image, generate=True, max_new_tokens=2),
    "study": lambda m, s: mmkn.study(m, "car", s),
    "integrated": lambda m, s: integrated_gradients(m, "car", s[:1], steps=2),
    "edit": _edit,
    "find": lambda m, s: mmkn.studies.find(m, "car", s[:1], top=3, n_random=1),
    "lens": lambda m, s: patch_lens(m, s[0].image),
    "naming": _naming,
    "reference": lambda m, s: record_values(m, m.prepare(s[0].image), [0, 1]),
    "attention": lambda m, s: attend(m, m.prepare(s[0].image).inputs, 0, 4),
    "check": lambda m, s: verify(m),
}


def _state(model: Any) -> Any:
    """Return the hooks of every module, and the identity and bits of every parameter."""
    hooks = [
        tuple(held)
        for module in model.hf.modules()
        for held in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    ]
    return hooks, [(id(p), p._version) for p in model.hf.parameters()]


class _Events:
    """Counts hooks as they are set and removed; Ctrl-C comes at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n, self.at = 0, 0
        set_one, remove = RemovableHandle.__init__, RemovableHandle.remove

        def counted_set(handle: Any, *args: Any, **kwargs: Any) -> None:
            set_one(handle, *args, **kwargs)
            self.event()

        def counted_remove(handle: Any) -> None:
            self.event()
            remove(handle)
            self.event()

        monkeypatch.setattr(RemovableHandle, "__init__", counted_set)
        monkeypatch.setattr(RemovableHandle, "remove", counted_remove)

    def event(self) -> None:
        self.n += 1
        if self.n == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("task", TASKS)
def test_no_hook_stays(model: Any, scenes: Any, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    TASKS[task](model, scenes)  # what an architecture sets once and keeps is set now
    before = _state(model)
    events = _Events(monkeypatch)
    TASKS[task](model, scenes)
    total, found = events.n, 0
    assert total > 0
    chosen = sorted({round(1 + (total - 1) * share / 7) for share in range(8)})
    for at in chosen:
        events.n, events.at = 0, at
        with pytest.raises(KeyboardInterrupt):
            TASKS[task](model, scenes)
        found += 1
        assert _state(model)[0] == before[0], f"hooks stay after an interrupt at event {at}"
        assert [one for one, _ in _state(model)[1]] == [one for one, _ in before[1]]
        assert not model.interventions.active
        assert model.lock.acquire(blocking=False)
        model.lock.release()
    assert found == len(chosen)


def test_weights_that_an_edit_learns_with_are_taken_out_again(
    model: Any, scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changed weights stand in the modules during a forward; Ctrl-C comes inside it."""
    before = {name: p for name, p in model.hf.named_parameters()}
    calls = iter(range(1000))
    handle = model.sites[4].module.register_forward_hook(
        lambda *_: (
            signal.raise_signal(signal.SIGINT)
            if type(model.sites[4].module.weight) is torch.Tensor and next(calls) == 1
            else None
        )
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            _edit(model, scenes)
    finally:
        handle.remove()
    after = dict(model.hf.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)

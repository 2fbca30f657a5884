"""Whatever the caller did to torch or the model, every number is the same, and so is his state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import integrated_gradients
from mmkn_widgets.interventions import Goal, ablate_rows, edit, perturb, transplant
from mmkn_widgets.studies import find

NEURONS = {3: [1, 2], 4: [5]}


@pytest.fixture(scope="module")
def model() -> mmkn.MultimodalModel:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def scenes() -> Any:
    return mmkn.datasets.pocket_world("val").with_concept("car", 2)


@contextmanager
def _set(value: bool) -> Iterator[None]:
    torch.set_grad_enabled(value)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


@contextmanager
def _default_type(kind: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


#: On "meta" every tensor that is made without saying where would be lost.
MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: _set(False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default type": lambda: _default_type(torch.bfloat16),
}


def _study(model: Any, scenes: Any) -> Any:
    study = mmkn.study(model, "car", scenes)
    where = [4, 4, 5], [1, 9, 11]
    change = study.measured_change(0, *where)
    with model.ablate(study.neurons()):
        after = study.measured_change(0, *where).measured
    return (
        study.evidence["gradcam"].values,
        study.patch_scores(*where, scene=0).gradcam,
        np.array([change.predicted, after]),
    )


def _capture(model: Any, scenes: Any) -> Any:
    """Capture under every kind of change, each of which brings tensors of its own."""
    mean = np.full((len(model.sites), model.n_neurons), 0.1, np.float32)
    with (
        model.ablate({2: [1, 2]}, "mean", reference=mean),
        model.ablate({1: [5]}, "from_inpainted", reference=scenes[1].image),
        transplant(model, mean, NEURONS, positions=None),
        ablate_rows(model, [{1: [3]}], scale=0.3),
        perturb(model, {0: [1, 2]}, 0.5),
    ):
        return (mmkn.capture(model, scenes[0].image, gradients=5)["gradient"].values,)


def _edit(model: Any, scenes: Any) -> Any:
    made = edit(model, NEURONS, "car", "dog", scenes=scenes, method="optimised", goal=Goal(steps=2))
    with made:
        return (*(delta.numpy() for delta in made.deltas.values()), model.caption(scenes[0].image))


def _integrated(model: Any, scenes: Any) -> Any:
    return (integrated_gradients(model, "car", scenes[:1], steps=2).values,)


def _find(model: Any, scenes: Any) -> Any:
    found = find(model, "car", scenes, top=5, n_random=1).neurons
    return (np.array([(one.layer, one.index) for one in found]),)


TASKS = [_study, _capture, _edit, _integrated, _find]
_PLAIN: dict[Any, Any] = {}


def _same(a: Any, b: Any) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        if isinstance(one, str):
            assert one == other
        else:
            assert np.abs(np.nan_to_num(one)).max() > 0
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_number_does_not_depend_on_what_is_switched_on(
    model: Any, scenes: Any, task: Any, mode: str
) -> None:
    if task not in _PLAIN:
        _PLAIN[task] = task(model, scenes)
    with MODES[mode]():
        before = _caller()
        made = task(model, scenes)
        assert _caller() == before
    _same(_PLAIN[task], made)


def _caller() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        torch.get_default_dtype(),
    )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_model_that_is_being_trained_is_measured_in_evaluation_mode(
    model: Any, scenes: Any, task: Any
) -> None:
    if task not in _PLAIN:
        _PLAIN[task] = task(model, scenes)
    hf = model.hf
    drop = torch.nn.Dropout(0.5)
    handle = model.blocks[2].register_forward_hook(lambda _m, _a, output: drop(output))
    model.blocks[2].add_module("dropped", drop)
    hf.train()
    hf.model.vision_tower.eval()  # a part of it only
    hf.requires_grad_(True)
    hf.gradient_checkpointing_enable()
    hf.enable_input_require_grads()
    hf.config.use_cache = False
    flags = [module.training for module in hf.modules()]
    try:
        made = task(model, scenes)
        assert [module.training for module in hf.modules()] == flags
        assert hf.is_gradient_checkpointing
        assert hf.config.use_cache is False
        assert all(p.grad is None and p.requires_grad for p in hf.parameters())
    finally:
        handle.remove()
        del model.blocks[2].dropped
        hf.disable_input_require_grads()
        hf.gradient_checkpointing_disable()
        hf.requires_grad_(False).eval()
        hf.config.use_cache = True
    _same(_PLAIN[task], made)


def test_flags_come_back_also_after_an_error(model: Any, scenes: Any) -> None:
    model.hf.model.language_model.train()
    flags = [module.training for module in model.hf.modules()]

    def fails(_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.sites[2].hook(fails)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.caption(scenes[0].image)
        assert [module.training for module in model.hf.modules()] == flags
    finally:
        handle.remove()
        model.hf.eval()

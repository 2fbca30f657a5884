"""Models that others compiled, wrapped or moved: the same numbers, hooks that fire, or a word."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mmkn_widgets as mmkn
from mmkn_widgets.core import BadArgument, NotSupported
from mmkn_widgets.interventions import perturb

NEURONS = {2: list(range(200)), 4: list(range(512))}


@pytest.fixture(scope="module", autouse=True)
def _none_of_before() -> None:
    gc.collect()  # models of other tests on which something acts


@pytest.fixture(scope="module")
def picture() -> Any:
    return mmkn.datasets.pocket_world("val")[0].image


@pytest.fixture(scope="module")
def wanted(pocket: Any, picture: Any) -> tuple[Any, ...]:
    return _numbers(pocket, picture)


def _numbers(model: Any, picture: Any) -> tuple[Any, ...]:
    """Return a caption, activations and gradients, and a caption under an ablation."""
    store = mmkn.capture(model, picture, gradients=5)
    with model.ablate(NEURONS):
        without = model.caption(picture)
    return model.caption(picture), without, store["activation"].values, store["gradient"].values


def _compiled(module: Any) -> Any:
    return torch.compile(module, backend="eager")


def _in_place(hf: Any) -> Any:
    hf.compile(backend="eager")
    hf(input_ids=torch.tensor([[5, 6, 7]]))  # compiled now, without any hook
    return hf


def _forward(hf: Any) -> Any:
    hf.forward = _compiled(hf.forward)
    return hf


def _layers(hf: Any) -> Any:
    layers = hf.model.language_model.layers
    for number, layer in enumerate(layers):
        layers[number] = _compiled(layer)
    return hf


def _mlp_forwards(hf: Any) -> Any:
    for layer in hf.model.language_model.layers:
        layer.mlp.forward = _compiled(layer.mlp.forward)
    return hf


def _offloaded(hf: Any) -> Any:
    from accelerate import cpu_offload

    return cpu_offload(hf, execution_device="cpu")


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "compiled": _compiled,
    "parallel": nn.DataParallel,
    "nested": lambda hf: _compiled(nn.DataParallel(_compiled(hf))),
    "compiled in place": _in_place,
    "compiled forward": _forward,
    "compiled layers": _layers,
    "compiled FFNs": _mlp_forwards,
    "offloaded": _offloaded,
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.filterwarnings("ignore")
def test_the_numbers_are_those_of_the_plain_model(
    pocket: Any, picture: Any, wanted: tuple[Any, ...], kind: str
) -> None:
    model = mmkn.load_model(WRAPPED[kind](copy.deepcopy(pocket.hf)), pocket.processor)
    assert "pixel_values" in model.prepare(picture).inputs
    found = _numbers(model, picture)
    assert found[:2] == wanted[:2]
    assert wanted[0] != wanted[1]
    for one, other in zip(found[2:], wanted[2:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.w_out(3), pocket.w_out(3))
    assert torch._dynamo.eval_frame._stance.stance == "default"
    torch.compiler.reset()


@pytest.mark.parametrize("kind", ["compiled", *(k for k in WRAPPED if k.startswith("compiled "))])
@pytest.mark.filterwarnings("ignore")
def test_a_users_own_call_of_what_is_compiled_is_changed_and_recorded(
    pocket: Any, picture: Any, kind: str
) -> None:
    own = WRAPPED[kind](copy.deepcopy(pocket.hf))
    model = mmkn.load_model(own, pocket.processor)
    inputs = model.prepare(picture).inputs
    later = torch.compile(model.hf, backend="eager")
    ways = [model.hf, own, later]
    with torch.no_grad():
        plain = [way(**inputs).logits for way in ways]  # compiled now, without any hook
        with model.ablate({2: range(400), 4: range(400)}):
            changed = [way(**inputs).logits for way in ways]
            with mmkn.activations.record(model) as seen:
                own(**inputs)
        again = [way(**inputs).logits for way in ways]
    wanted = pocket.forward(pocket.prepare(picture)).logits
    with pocket.ablate({2: range(400), 4: range(400)}):
        other = pocket.forward(pocket.prepare(picture)).logits
    assert not torch.allclose(wanted, other, atol=1e-2)
    for found, right in ((plain, wanted), (changed, other), (again, wanted)):
        for one in found:
            torch.testing.assert_close(one, right, rtol=1e-4, atol=1e-4)
    assert (seen.values[2][..., :400] == 0).all()
    assert torch._dynamo.eval_frame._stance.stance == "default"
    torch.compiler.reset()


def test_columns_that_are_not_in_memory_are_not_edited(pocket: Any) -> None:
    model = mmkn.load_model(_offloaded(copy.deepcopy(pocket.hf)), pocket.processor)
    with pytest.raises(NotSupported, match="not in memory"):
        perturb(model, {2: [1]}).__enter__()


def test_what_holds_no_whole_model_is_named(pocket: Any) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = pocket.hf

    with pytest.raises(BadArgument, match=r"Holder without a transformers.*\.inside"):
        mmkn.load_model(Holder())
    sharded = type("FullyShardedDataParallel", (Holder,), {})()
    with pytest.raises(NotSupported, match="spread over processes"):
        mmkn.load_model(sharded)
    for other in (nn.Linear(2, 2), _compiled(nn.Linear(2, 2)), nn.DataParallel(nn.Linear(2, 2))):
        with pytest.raises(BadArgument, match="without a transformers configuration"):
            mmkn.load_model(other)


def test_a_model_that_is_gone_lets_compiled_code_run_again() -> None:
    _compiled(nn.Linear(2, 2))(torch.zeros(1, 2))  # torch can compile from here on
    model = mmkn.load_model("pocket")
    model.interventions.push(model.ablate(NEURONS))
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    del model
    gc.collect()
    assert torch._dynamo.eval_frame._stance.stance == "default"

"""The state of torch and of the model in a measurement: made right, and put back as it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.activations import record
from mmkn_widgets.core import BadArgument, NotSupported
from mmkn_widgets.models.state import loading, make_ordinary, plain_torch
from tests.faults.points import stopped_everywhere
from tests.process_modes import ProcessModes


@pytest.fixture
def loaded(llama: Callable[..., Any]) -> mmkn.MultimodalModel:
    """Return a tiny language model of its own."""
    return mmkn.load_model(llama())


def _inputs() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor([[5, 6, 7, 8]]), "attention_mask": torch.ones(1, 4).long()}


def _gradients(model: mmkn.MultimodalModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with record(model, gradients=True) as seen:
        output = model.forward(model.prepare(inputs), grad=True)
    with torch.inference_mode(False), torch.enable_grad():
        found = seen.gradients(output.logits[0, -1, 3])
    return torch.stack([found[row] for row in sorted(found)])


def test_a_model_and_inputs_made_in_inference_mode_have_gradients(
    loaded: mmkn.MultimodalModel, llama: Callable[..., Any]
) -> None:
    wanted = _gradients(loaded, _inputs())
    with torch.inference_mode():
        inside = llama()
        inputs = _inputs()
        assert all(p.is_inference() for p in inside.parameters())
        model = mmkn.load_model(inside)
        assert torch.equal(_gradients(model, inputs), wanted)
    assert torch.equal(_gradients(model, inputs), wanted)
    assert not any(p.is_inference() for p in inside.parameters())
    assert inside.get_output_embeddings().weight is model.unembedding or torch.equal(
        inside.get_output_embeddings().weight, model.unembedding
    )


def test_ties_stay_ties_and_ordinary_parameters_the_objects_they_are(
    llama: Callable[..., Any],
) -> None:
    with torch.inference_mode():
        hf = llama(tie_word_embeddings=True)
    before = {name: p.clone() for name, p in hf.named_parameters()}
    assert make_ordinary(hf)
    assert all(torch.equal(p, before[name]) for name, p in hf.named_parameters())
    assert hf.get_output_embeddings().weight is hf.get_input_embeddings().weight
    assert not any(p._version is None for p in hf.parameters())
    parameters = list(hf.parameters())
    assert not make_ordinary(hf)
    with torch.inference_mode():
        hf.to(torch.bfloat16)
    assert make_ordinary(hf)
    assert all(a is b for a, b in zip(parameters, hf.parameters(), strict=True))


def test_a_cast_in_inference_mode_leaves_gradients_possible(loaded: mmkn.MultimodalModel) -> None:
    loaded.hf.to(torch.bfloat16)
    wanted = _gradients(loaded, _inputs())
    loaded.hf.to(torch.float32)
    with torch.inference_mode():
        loaded.hf.to(torch.bfloat16)
    assert torch.equal(_gradients(loaded, _inputs()), wanted)
    assert wanted.abs().max() > 0


def test_gradients_that_were_cut_off_on_the_way_are_an_error_not_zero(
    loaded: mmkn.MultimodalModel,
) -> None:
    prepared = loaded.prepare(_inputs())
    with record(loaded, gradients=True) as seen:
        logits = loaded.forward(prepared, grad=True).logits
    with torch.no_grad(), pytest.raises(BadArgument, match="gradients were off"):
        seen.gradients(logits.exp().sum())
    with torch.no_grad():
        view = logits[:, -1]
    with pytest.raises(BadArgument, match="gradients were off"):
        seen.gradients(view.exp().sum())
    with pytest.raises(BadArgument, match="without gradients"):
        seen.gradients(view)


def test_gradients_of_several_forwards_stand_side_by_side(loaded: mmkn.MultimodalModel) -> None:
    first, second = _inputs(), {**_inputs(), "input_ids": torch.tensor([[9, 10, 11, 12]])}
    with record(loaded, gradients=True) as seen:
        y = sum(
            loaded.forward(loaded.prepare(one), grad=True).logits[0, -1, 3]
            for one in (first, second)
        )
    found = torch.stack(list(seen.gradients(y).values()))
    assert torch.equal(found, torch.cat([_gradients(loaded, first), _gradients(loaded, second)], 2))


def test_a_replaced_projection_is_named(loaded: mmkn.MultimodalModel) -> None:
    mlp = loaded.blocks[1].mlp
    mlp.down_proj = torch.nn.Sequential(mlp.down_proj)
    with pytest.raises(NotSupported, match=r"layers\.1\.mlp\.down_proj.*Sequential.*load_model"):
        loaded.forward(_inputs())
    with pytest.raises(NotSupported, match="down_proj"):  # not only the first time
        loaded.forward(_inputs())


def test_modules_added_later_rest_too(loaded: mmkn.MultimodalModel) -> None:
    want = loaded.forward(_inputs()).logits
    drop = torch.nn.Dropout(0.5)
    loaded.blocks[0].add_module("late", drop)
    handle = loaded.blocks[0].register_forward_hook(lambda _m, _a, output: drop(output))
    assert drop.training
    assert torch.equal(loaded.forward(_inputs()).logits, want)
    assert drop.training
    handle.remove()


MODES: dict[str, Callable[[], Any]] = {
    "as torch starts": ExitStack,
    "gradients off": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "another device": lambda: torch.device("meta"),
}


def _plain(_: mmkn.MultimodalModel) -> None:
    with plain_torch(False), plain_torch():
        assert torch.is_grad_enabled()


def _careless(_: mmkn.MultimodalModel) -> None:
    """Leave inside what transformers leaves where it is interrupted."""
    with plain_torch(False):
        torch.set_grad_enabled(True)
        torch.autocast("cpu", dtype=torch.float16).__enter__()
        if torch.overrides._get_current_function_mode_stack():
            torch.overrides._pop_mode()


def _loads(_: mmkn.MultimodalModel) -> None:
    with loading():
        torch.set_default_dtype(torch.float64)


def _measured(model: mmkn.MultimodalModel) -> None:
    with model.measuring(grad=True):
        assert torch.is_grad_enabled()
        assert not any(module.training for module in model.hf.modules())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("work", [_plain, _careless, _loads, _measured])
def test_modes_come_back_wherever_the_interrupt_comes(
    loaded: mmkn.MultimodalModel, mode: str, work: Callable[[mmkn.MultimodalModel], None]
) -> None:
    loaded.hf.model.layers[0].train()
    flags = [module.training for module in loaded.hf.modules()]
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    kept = []
    try:
        with MODES[mode]():
            modes = ProcessModes()
            for where, raised in stopped_everywhere(lambda: work(loaded)):
                assert modes.changed() == [], where
                assert [module.training for module in loaded.hf.modules()] == flags, where
                assert not loaded.lock._is_owned(), where
                kept.append(raised)
    finally:
        signal.signal(signal.SIGINT, own)
    assert sum(raised is not None for raised in kept) > 20


def test_a_load_in_another_thread_changes_no_default_type_for_good() -> None:
    """Its own thread puts the type back; a block here that began meanwhile must not."""
    entered, go_on = threading.Event(), threading.Event()

    def load() -> None:
        with loading():
            torch.set_default_dtype(torch.float16)
            entered.set()
            go_on.wait(10)

    other = threading.Thread(target=load)
    other.start()
    assert entered.wait(10)
    with plain_torch():
        go_on.set()
        other.join()
    assert torch.get_default_dtype() == torch.float32


def test_the_head_gets_its_rows_together(pocket: Any) -> None:
    """As a view of a batch its weight would be copied for every picture."""
    scenes = mmkn.datasets.pocket_world("val", 3)
    prepared = pocket.prepare([scene.image for scene in scenes])
    got: list[bool] = []
    watch = pocket.head.register_forward_hook(lambda _, given, __: got.append(_whole(given)))
    before = len(pocket.head._forward_pre_hooks)
    with watch:
        kept = pocket.forward(prepared, logits_to_keep=2).logits
        pocket.generate(prepared, max_new_tokens=2)
        assert len(got) == 3 and all(got)
        with torch.no_grad():
            plain = pocket.hf(**prepared.inputs, logits_to_keep=2).logits
        assert not got[-1]  # transformers' own way, with nothing of ours left behind
    assert len(pocket.head._forward_pre_hooks) == before
    torch.testing.assert_close(kept, plain)


def _whole(given: Any) -> bool:
    return bool(given[0].is_contiguous())

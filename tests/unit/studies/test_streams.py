"""Patching whole parts of layers: against plain hooks, and what must hold of a residual stream."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, Cancelled, NotSupported
from mmkn_widgets.studies import measure_streams, streams


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def study(pocket: Any) -> Any:
    val = mmkn.datasets.pocket_world("val")
    return mmkn.study(pocket, "car", val.with_concept("car", 4), target="logit")


@pytest.fixture(scope="module")
def held() -> Any:
    return mmkn.datasets.pocket_world("test").with_concept("car", 3)


def _patched(model: Any, inputs: Any, token: int, module: Any, values: Any, at: Any) -> float:
    def run(_m: Any, _a: Any, output: Any) -> Any:
        whole = output[0] if isinstance(output, tuple) else output
        made = whole.clone()
        made[:, at] = values[:, at]
        return (made, *output[1:]) if isinstance(output, tuple) else made

    handle = module.register_forward_hook(run)
    with torch.no_grad():
        logits = model.hf(**inputs).logits[0, -1]
    handle.remove()
    return float(logits[token])


def _output(model: Any, inputs: Any, module: Any) -> Any:
    seen: list[Any] = []
    handle = module.register_forward_hook(lambda _m, _a, output: seen.append(output))
    with torch.no_grad():
        logits = model.hf(**inputs).logits[0, -1]
    handle.remove()
    value = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return value, logits


def test_each_cell_is_that_of_a_plain_hook(pocket: Any, study: Any, held: Any) -> None:
    found = measure_streams(study, held, layers=[1, 4])
    layers = pocket.hf.model.language_model.layers
    modules = {
        "residual": lambda n: layers[n],
        "attention": lambda n: layers[n].self_attn,
        "ffn": lambda n: layers[n].mlp,
    }
    for part, position in [("residual", "image"), ("attention", "predicting"), ("ffn", "image")]:
        for layer in (1, 4):
            lost = gained = gap = 0.0
            for scene in held:
                ids = pocket.generate(pocket.prepare(scene.image)).token_ids[0]
                place = [pocket.tokenizer.decode([i]) for i in ids].index("car")
                gone = study.pairs.inpainted(scene, study.concept)
                prefix = [list(ids[:place])]
                one = pocket.prepare([scene.image], continuation=prefix).inputs
                two = pocket.prepare([gone], continuation=prefix).inputs
                picture = (one["input_ids"][0] == pocket.hf.config.image_token_id).nonzero()[:, 0]
                at = picture if position == "image" else torch.tensor([-1])
                module, token = modules[part](layer), ids[place]
                (values, y), (other, y_gone) = (_output(pocket, i, module) for i in (one, two))
                lost += float(y[token]) - _patched(pocket, one, token, module, other, at)
                gained += _patched(pocket, two, token, module, values, at) - float(y_gone[token])
                gap += float(y[token] - y_gone[token])
            cell = found.sel(part=part, position=position, layer=layer)
            assert float(cell["noising"]) == pytest.approx(lost / gap, abs=1e-3)
            assert float(cell["denoising"]) == pytest.approx(gained / gap, abs=1e-3)


def test_the_word_is_in_the_stream_at_the_end_and_in_the_picture_at_the_start(
    study: Any, held: Any
) -> None:
    """The last layer's stream at the last token is all there is; the first one's picture nearly."""
    found = study.streams(held, parts=["residual"])
    last = found.sel(part="residual", position="predicting", layer=5)
    np.testing.assert_allclose([last["noising"], last["denoising"]], 1, atol=1e-4)
    none = found.sel(part="residual", position="image", layer=5)
    np.testing.assert_allclose([none["noising"], none["denoising"]], 0, atol=1e-4)
    first = found.sel(part="residual", position="image", layer=0)
    assert float(first["noising"]) > 0.9 and float(first["denoising"]) > 0.9
    assert found.attrs["units"] == "logits"


def test_a_forward_of_another_thread_is_left_alone(pocket: Any, held: Any) -> None:
    inputs = pocket.prepare(held[0].image)
    before = pocket.forward(inputs).logits
    block = pocket.blocks[2]
    other = torch.full((1, inputs.n_tokens, pocket.hf.config.text_config.hidden_size), 3.0)
    with streams._put(block, other, np.asarray([-1])), ThreadPoolExecutor(1) as own:
        assert not torch.equal(pocket.forward(inputs).logits, before)
        assert torch.equal(own.submit(pocket.forward, inputs).result().logits, before)
    assert torch.equal(pocket.forward(inputs).logits, before)


def test_what_cannot_be_patched_is_said_and_nothing_stays(
    pocket: Any, study: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = [len(module._forward_hooks) for module in pocket.hf.modules()]
    with pytest.raises(BadArgument, match="layers: got 6"):
        measure_streams(study, held, layers=[6])
    with pytest.raises(BadArgument, match="layers: got .*at least one layer"):
        measure_streams(study, held, layers=[])
    with pytest.raises(BadArgument, match="parts: got .*'mlp'.*'residual', 'attention', 'ffn'"):
        measure_streams(study, held, parts=["mlp"])
    with pytest.raises(BadArgument, match="positions: got"):
        measure_streams(study, held, positions=[])
    with pytest.raises(BadArgument, match="with_concept"):
        measure_streams(study, [])
    cancel = mmkn.core.CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        measure_streams(study, held, cancel=cancel)
    assert [len(module._forward_hooks) for module in pocket.hf.modules()] == hooks
    monkeypatch.setattr(pocket, "blocks", torch.nn.ModuleList([torch.nn.Linear(2, 2)]))
    with pytest.raises(NotSupported, match=r"layer 0 of pocket \(Linear\) has no attention"):
        measure_streams(study, held, parts=["attention"])

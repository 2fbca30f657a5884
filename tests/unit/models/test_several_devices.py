"""A model whose layers are on several devices gives what one on a single device gives.

The devices are pretended (see tests/devices.py): the wrong one is refused as a card refuses it,
what is computed is the CPU's. accelerate spreads the layers in an order that no one would choose:
the last layer beside the first, the final norm away from the head. What a real card adds (streams,
memory, its own rounding) is not tested here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.activations import patch_lens, record
from mmkn_widgets.attribution.scoring import fitting_batch
from mmkn_widgets.core import NotSupported
from mmkn_widgets.evaluation.captioning import Captioner
from mmkn_widgets.interventions import Goal, MaskGoal, caption_rows
from mmkn_widgets.models import site_device
from tests import devices

_LAYERS = "model.language_model.layers."
_CARDS = {
    "model.vision_tower": "lazy:2",
    "model.multi_modal_projector": "lazy:1",
    "model.language_model.embed_tokens": "lazy:0",
    "model.language_model.rotary_emb": "lazy:1",
    "model.language_model.norm": "lazy:2",
    "lm_head": "lazy:1",
    **{f"{_LAYERS}{layer}": f"lazy:{card}" for layer, card in enumerate((0, 0, 2, 1, 1, 0))},
}
_DISK = {
    name: "disk" if name in ("lm_head", "model.language_model.norm", f"{_LAYERS}3") else "cpu"
    for name in _CARDS
}
_ON_CARDS = pytest.mark.parametrize("spread", ["cards"], indirect=True)
#: neurons of layers on all three cards
_SOME = {1: range(0, 512, 3), 2: range(9), 4: range(0, 512, 2), 5: range(0, 512, 2)}


@pytest.fixture(scope="module")
def plain() -> Any:
    """Return the pocket model in one place."""
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module", params=["cards", "disk"])
def spread(request: pytest.FixtureRequest, plain: Any, tmp_path_factory: Any) -> Any:
    """Return the same model over three cards, or with layers fetched from disk."""
    hf = copy.deepcopy(plain.hf)
    if request.param == "cards":
        hf = accelerate.dispatch_model(hf, _CARDS, force_hooks=True)
    else:
        folder = tmp_path_factory.mktemp("weights")
        hf = accelerate.dispatch_model(hf, _DISK, main_device="cpu", offload_dir=folder)
    return mmkn.load_model(hf, processor=plain.processor)


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    """Return three scenes with a car."""
    return list(mmkn.datasets.pocket_world("val").with_concept("car", 3))


def test_pretended_devices_refuse_each_other() -> None:
    """Or the tests below would prove nothing."""
    one, other = torch.ones(2, device="lazy:0"), torch.ones(2, device="lazy:1")
    assert isinstance(one, devices.Pretended)
    for wrong in (other, torch.ones(2)):
        with pytest.raises(RuntimeError, match="same device"):
            one + wrong
    with pytest.raises((TypeError, RuntimeError)):
        one.numpy()
    assert (one.to("lazy:1") + other).cpu().tolist() == [2, 2]
    given = torch.tensor([1.0, 2.0], device="lazy:1", requires_grad=True)
    (gradient,) = torch.autograd.grad((given.to("lazy:0") ** 2).cpu().sum(), [given])
    assert gradient.device == torch.device("lazy:1")
    assert gradient.tolist() == [2, 4]


@_ON_CARDS
def test_each_layer_is_recorded_where_it_is(spread: Any, plain: Any, scenes: list[Any]) -> None:
    prepared = spread.prepare(scenes[0].image)
    with record(spread, gradients=True) as seen:
        logits = spread.forward(prepared, grad=True).logits
    found = seen.gradients(torch.log_softmax(logits[:, -1], -1)[:, 5])
    wanted = [_CARDS[f"{_LAYERS}{layer}"] for layer in range(6)]
    assert [str(site_device(spread.hf, site)) for site in spread.sites] == wanted
    assert [str(seen.values[row].device) for row in range(6)] == wanted
    assert [str(found[row].device) for row in range(6)] == wanted
    with record(plain) as whole:
        plain.forward(plain.prepare(scenes[0].image))
    torch.testing.assert_close(seen.stack().detach().cpu(), whole.stack(), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"generate": True}, {"gradients": "car"}])
def test_capture(spread: Any, plain: Any, scenes: list[Any], options: dict[str, Any]) -> None:
    found, wanted = (mmkn.capture(m, scenes[0].image, **options) for m in (spread, plain))
    for name in [n for n in ("activation", "gradient") if n in wanted]:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=2e-4)
    assert found.attrs["weights"] == wanted.attrs["weights"]


@pytest.mark.parametrize(
    "options",
    [{}, {"positions": "image"}, {"positions": "all", "reduce": "mean", "tokens": "all"}],
)
def test_evidence(spread: Any, plain: Any, scenes: list[Any], options: dict[str, Any]) -> None:
    found, wanted = (mmkn.attribution.collect(m, "car", scenes, **options) for m in (spread, plain))
    for name in wanted.data_vars:  # the contribution among them
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-4)


def test_integrated_gradients(spread: Any, plain: Any, scenes: list[Any]) -> None:
    found, wanted = (
        mmkn.attribution.integrated_gradients(m, "car", scenes[:1], steps=3)
        for m in (spread, plain)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "zero": lambda m: m.ablate(_SOME),
    "scale": lambda m: m.ablate(_SOME, "scale", scale=-0.5),
    "image": lambda m: m.ablate({layer: range(512) for layer in range(6)}, positions="image"),
    "transplant": lambda m: mmkn.interventions.transplant(m, np.ones((6, 512)), _SOME),
}
_OF_WEIGHTS: dict[str, Callable[[Any], Any]] = {
    "perturb": lambda m: mmkn.interventions.perturb(m, _SOME, sigma=3.0, seed=1),
    "edit": lambda m: mmkn.interventions.edit(
        m, {4: range(40), 5: range(40)}, "car", "boat", activation=np.ones((6, 512)), alpha=9.0,
        top=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", _CHANGES)
def test_interventions(spread: Any, plain: Any, scenes: list[Any], change: str) -> None:
    said = []
    for model in (spread, plain):
        with _CHANGES[change](model):
            said.append(model.caption(scenes[0].image))
    assert said[0] == said[1] != plain.caption(scenes[0].image)
    assert spread.caption(scenes[0].image) == plain.caption(scenes[0].image)


@pytest.mark.parametrize("change", _OF_WEIGHTS)
def test_weights(spread: Any, plain: Any, scenes: list[Any], change: str) -> None:
    if "meta" in spread.devices:
        spread = mmkn.load_model(spread.hf, processor=plain.processor)
        with pytest.raises(NotSupported, match="on one device"):  # the columns are not in memory
            mmkn.interventions.perturb(spread, {3: [1]}, sigma=3.0)
        return
    said = []
    for model in (spread, plain):
        with _OF_WEIGHTS[change](model):
            said.append(model.caption(scenes[0].image))
    assert said[0] == said[1] != plain.caption(scenes[0].image)
    assert spread.weights_hash == plain.weights_hash


@_ON_CARDS
def test_learned_changes(spread: Any, plain: Any, scenes: list[Any]) -> None:
    some = {layer: range(6) for layer in range(6)}
    others = list(mmkn.datasets.pocket_world("val", 2))
    deltas, masks = [], []
    for model in (spread, plain):
        made = mmkn.interventions.edit(
            model, some, "car", "boat", method="optimised", scenes=[*scenes[:1], *others],
            goal=Goal(steps=1), top=None,
        )  # fmt: skip
        deltas.append(torch.cat([made.deltas[row] for row in sorted(made.deltas)]))
        mask = mmkn.interventions.learn_mask(
            model, "car", scenes[:2], others, candidates=some, size=4, goal=MaskGoal(steps=2)
        )
        masks.append([(n.layer, n.index) for n in mask])
    torch.testing.assert_close(deltas[0], deltas[1], rtol=1e-2, atol=1e-4)
    assert masks[0] == masks[1]


def test_many_rows_and_drafts(spread: Any, plain: Any, scenes: list[Any]) -> None:
    said = [
        caption_rows(m, scenes[0].image, [None, _SOME, {4: range(512)}]) for m in (spread, plain)
    ]
    assert said[0] == said[1]
    sets = [mmkn.attribution.random_uniform(plain, 900, seed) for seed in range(2)]
    held = []
    for model in (spread, plain):
        writer = Captioner(model)
        held.append(writer.named_under(scenes[:2], writer.before(scenes[:2]), sets, "car"))
    assert held[0] == held[1]


def test_words(spread: Any, plain: Any, scenes: list[Any]) -> None:
    for norm in (False, True):
        found, wanted = (m.neuron_words([0, 4], [3, 5], norm=norm) for m in (spread, plain))
        assert found == wanted
    assert patch_lens(spread, scenes[0].image)[0] == patch_lens(plain, scenes[0].image)[0]


def test_a_store_on_disk_has_no_trace_of_the_devices(
    spread: Any, plain: Any, scenes: list[Any], tmp_path: Path
) -> None:
    mmkn.capture(spread, [scenes[0].image], layers=[5], out=tmp_path / "store")
    more = [scene.image for scene in scenes[:2]]
    store = mmkn.capture(plain, more, layers=[5], out=tmp_path / "store")  # goes on with it
    assert store.sizes["image"] == 2


@_ON_CARDS
def test_the_fullest_card_decides_how_many_pairs_fit(
    spread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three layers lie on lazy:0, two on lazy:1: room for ten pairs there is the least."""
    pair = 8 * 100 * spread.n_neurons * 4
    rooms = {"lazy:0": 30 * pair, "lazy:1": 21 * pair, "lazy:2": 40 * pair}
    monkeypatch.setattr(
        "mmkn_widgets.attribution.scoring.room_on", lambda device: rooms[str(device)]
    )
    assert fitting_batch(spread, 100) == 10
    rooms["lazy:2"] = 3 * pair
    assert fitting_batch(spread, 100) == 3
    rooms["lazy:2"] = pair // 2
    assert fitting_batch(spread, 100) == 1

"""Flattened tokens, routed experts and narrow layers: the store is labelled all the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import mmkn_widgets as mmkn
from mmkn_widgets.activations import Recording, open_store, record
from mmkn_widgets.core.errors import BadArgument

_SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 3, 2, 5, 4]])
ONE = {"input_ids": IDS[:1], "attention_mask": torch.ones_like(IDS[:1])}


def _opt() -> Any:
    torch.manual_seed(0)
    config = transformers.OPTConfig(**_SMALL, ffn_dim=48, word_embed_proj_dim=32)
    return mmkn.load_model(transformers.OPTForCausalLM(config).eval())


def _moe() -> Any:
    torch.manual_seed(0)
    config = transformers.Qwen3MoeConfig(
        **_SMALL, intermediate_size=40, moe_intermediate_size=24, num_experts=4,
        num_experts_per_tok=2, num_key_value_heads=4, mlp_only_layers=[0], head_dim=8,
    )  # fmt: skip
    return mmkn.load_model(transformers.Qwen3MoeForCausalLM(config).eval())


def test_flattened_tokens_are_unfolded_row_by_row() -> None:
    model = _opt()
    with record(model) as whole:
        model.forward({"input_ids": IDS})
    for row in range(2):
        with record(model) as alone:
            model.forward({"input_ids": IDS[row : row + 1]})
        for site in model.sites:
            assert whole.values[site.row].shape == (2, 5, 48)
            torch.testing.assert_close(whole.values[site.row][row], alone.values[site.row][0])


def test_flattened_tokens_have_gradients_of_their_own_rows() -> None:
    model = _opt()

    def gradients(ids: torch.Tensor) -> dict[int, torch.Tensor]:
        with record(model, gradients=True) as seen:
            logits = model.forward({"input_ids": ids}, grad=True).logits
        return seen.gradients(torch.log_softmax(logits[:, -1], -1)[:, 7])

    both = gradients(IDS)
    for row in range(2):
        alone = gradients(IDS[row : row + 1])
        for site in model.sites:
            torch.testing.assert_close(both[site.row][row], alone[site.row][0])
    seen: list[torch.Tensor] = []
    handle = model.sites[1].module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model.forward({"input_ids": IDS})
    handle.remove()
    assert seen[0].dim() == 2  # the model really flattens


def test_experts_are_rows_of_their_own(tmp_path: Path) -> None:
    model = _moe()
    store = mmkn.capture(model, ONE)
    assert store["layer"].values.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert store["expert"].values.tolist() == [-1, 0, 1, 2, 3, 0, 1, 2, 3]
    assert store.sizes["neuron"] == 40
    assert not store.activation[1:, :, 24:].values.any()  # narrow layers are padded with 0
    routed = np.abs(store.activation.values[1:5]).sum(-1) > 0
    assert (routed.sum(0) <= 2).all()  # two experts a token
    held = mmkn.capture(model, ONE, out=tmp_path / "s")
    assert np.array_equal(held.activation.values, store.activation.values)
    assert open_store(tmp_path / "s")["expert"].values.tolist() == store["expert"].values.tolist()
    one = held.activation.mmkn.one(layer=1, expert=2, neuron=3)
    assert np.array_equal(one.values, store.activation.values[3, :, 3])
    with pytest.raises(BadArgument, match="expert= too"):
        held.activation.mmkn.one(layer=1, neuron=3)
    best = held.mmkn.top(3)
    assert best.mask(model)[1:, 24:].sum() == 0


def test_gradients_of_experts_are_those_of_the_routed_tokens() -> None:
    model = _moe()
    store = mmkn.capture(model, ONE, gradients=7)
    values, grads = store.activation.values, store["gradient"].values
    assert grads.shape == values.shape
    unrouted = (values == 0).all(-1)
    assert unrouted.any()
    assert not grads[unrouted].any()
    assert grads[1:5].any()


def test_without_pictures_there_is_nothing_to_paint() -> None:
    store = mmkn.capture(_opt(), ONE)
    with pytest.raises(mmkn.MmknError):
        store.mmkn.patch_map(3, 1)


def test_gradients_do_not_depend_on_who_cuts_the_logits() -> None:
    """Models without ``logits_to_keep``: the cut is ours, and must stay in the graph."""
    model = _opt()
    wanted = mmkn.capture(model, ONE, gradients=7)["gradient"].values
    assert np.abs(wanted).max(axis=(1, 2)).min() > 0
    model.__dict__["_forward_names"] = model._forward_names - {"logits_to_keep"}
    with torch.no_grad():
        found = mmkn.capture(model, ONE, gradients=7)["gradient"].values
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    with record(model, gradients=True) as seen:
        logits = model.forward(ONE, grad=True).logits
    with torch.no_grad():
        cut = logits[:, -1]
    with pytest.raises(BadArgument, match="without gradients"):
        seen.gradients(cut)


@pytest.mark.parametrize("pack", [None, 0, 9])
@pytest.mark.parametrize("runs", [(0, 2), (1,), (0,), (2,), (0, 1, 2)])
def test_experts_that_a_forward_left_out_hold_zeros_there(
    pack: int | None, runs: tuple[int, ...]
) -> None:
    kinds = [SimpleNamespace(kind=k, width=2, module_name=k) for k in ("linear", "routed")]
    model = SimpleNamespace(sites=kinds)
    seen = Recording([0, 1], None, pack)
    lengths, at = (3, 1, 1), 0
    wanted = torch.zeros(1, 5, 2)
    for number, n in enumerate(lengths):
        seen.lengths.append(n)
        for row in (0, 1) if number in runs else (0,):
            value = torch.randn(1, n, 2)
            seen.fired[row] = seen.fired.get(row, 0) + 1
            seen.keep(model, row, value)
            if row:
                wanted[:, at : at + n] = value
        at += n
    seen.close(model)
    assert torch.equal(seen.values[1], wanted)
    assert torch.equal(seen.stack()[:, 1], wanted)


def test_a_dense_layer_left_out_by_a_forward_is_an_error() -> None:
    kinds = [SimpleNamespace(kind="linear", width=2, module_name=f"m{i}") for i in range(2)]
    model = SimpleNamespace(sites=kinds)
    seen = Recording([0, 1], None, None)
    for rows in ((0, 1), (0,)):
        seen.lengths.append(1)
        for row in rows:
            seen.fired[row] = seen.fired.get(row, 0) + 1
            seen.keep(model, row, torch.ones(1, 1, 2))
    with pytest.raises(mmkn.MmknError, match="did not run through their module"):
        seen.close(model)

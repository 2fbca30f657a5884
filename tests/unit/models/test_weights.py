"""W_out, unembedding, final norm and fingerprint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.models.weights import dense_weight, final_norm, hash_weights, unembedding


def test_w_out_is_a_view_of_the_live_weights() -> None:
    model = mmkn.load_model("pocket")
    column = model.w_out(2)[:, 7]
    own = model.hf.model.language_model.layers[2].mlp.down_proj.weight
    assert column.data_ptr() == own[:, 7].data_ptr()
    assert not model.w_out(2).requires_grad
    with torch.no_grad():
        own[:, 7] = 3.0
    assert column.tolist() == [3.0] * 128


def test_conv1d_keeps_neurons_in_columns(llama: Any) -> None:
    from mmkn_widgets.models.sites import find_sites
    from mmkn_widgets.models.weights import site_bias, site_weight

    model = llama("GPT2", n_embd=32, n_layer=1, n_head=4, n_inner=80, n_positions=64)
    site = find_sites(model).sites[0]
    x = torch.randn(5, 80)
    written = x @ site_weight(site).T + site_bias(site)
    assert site_weight(site).shape == (32, 80)
    assert torch.allclose(site.module(x), written, atol=1e-5)


def test_the_last_norm_and_the_head_give_the_logits(pocket: Any, pictures: Any) -> None:
    ready = pocket.prepare(pictures[0])
    states: list[torch.Tensor] = []
    handle = pocket.blocks[-1].register_forward_hook(
        lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out)
    )
    logits = pocket.forward(ready).logits
    handle.remove()
    lens = pocket.final_norm(states[0]) @ pocket.unembedding.T
    assert torch.allclose(lens, logits, atol=1e-5)
    assert pocket.unembedding.shape == (59, 128)


@pytest.mark.parametrize(
    ("name", "settings", "norm"),
    [
        ("Llama", {"tie_word_embeddings": True}, "model.norm"),
        ("Llama", {"tie_word_embeddings": False}, "model.norm"),
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "transformer.ln_f"),
        ("OPT", {"ffn_dim": 80, "word_embed_proj_dim": 32}, "model.decoder.final_layer_norm"),
        ("Bert", {"is_decoder": True}, None),
    ],
)
def test_heads_and_norms_of_other_families(
    llama: Any, name: str, settings: dict[str, Any], norm: str | None
) -> None:
    from mmkn_widgets.models.sites import find_sites

    model = llama(name, **settings)
    found = unembedding(model)
    assert found is not None
    assert found[1].weight.shape == (60, 32)
    chosen = final_norm(model, find_sites(model).blocks)
    assert chosen is (None if norm is None else model.get_submodule(norm))


def test_the_hash_tells_weights_apart_and_nothing_else() -> None:
    model, same = mmkn.load_model("pocket"), mmkn.load_model("pocket", dtype="float32")
    first = hash_weights(model.hf)
    assert first == same.weights_hash == model.weights_hash
    with torch.no_grad():
        same.hf.lm_head.weight[3, 4] += 1e-6
    assert hash_weights(same.hf) != first
    assert mmkn.load_model("pocket", dtype="bfloat16").weights_hash != first


def test_eight_bit_weights_are_read_back() -> None:
    torch.manual_seed(0)
    weight = torch.randn(16, 24)
    scale = weight.abs().amax(dim=1)
    packed = torch.round(weight / scale[:, None] * 127).to(torch.int8)

    class Int8Params(torch.Tensor):
        """What bitsandbytes keeps: rows of int8 and one scale each."""

    inner = packed.as_subclass(Int8Params)
    inner.SCB = scale  # type: ignore[attr-defined]
    holder = type("Linear8bitLt", (), {"weight": inner})()
    read = dense_weight(holder)
    assert float((read - weight).abs().max()) <= float(scale.max()) / 127


def test_layers_and_experts_that_are_not_there(pocket: Any) -> None:
    with pytest.raises(BadArgument, match="layer: got 6, expected 0 to 5"):
        pocket.w_out(6)
    with pytest.raises(BadArgument, match="expert: got 2, expected one of -1 in layer 0"):
        pocket.w_out(0, 2)
    stripped = mmkn.load_model("pocket")
    stripped.hf.get_output_embeddings = lambda: None
    del stripped.hf.lm_head
    with pytest.raises(NotSupported, match="has no head over words"):
        _ = stripped.unembedding

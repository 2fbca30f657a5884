"""Contribution scores behind a norm: against what the FFN really adds to the residual stream."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import collect, through, unaccounted
from mmkn_widgets.attribution.direct import _norm
from mmkn_widgets.studies.elsewhere import word_shares

KINDS = {
    "Gemma2": {},
    "Gemma3Text": {"layer_types": ["full_attention"] * 3},
    "Gemma4Text": {"layer_types": ["full_attention"] * 3, "global_head_dim": 16,
                   "num_global_key_value_heads": 2, "num_kv_shared_layers": 0,
                   "hidden_size_per_layer_input": 0},
    "Granite": {"residual_multiplier": 0.22},
    "Llama": {"mlp_bias": True},
}  # fmt: skip
#: What Gemma 4 multiplies its whole residual stream with, behind each layer.
SCALES = (0.6, 1.7, 0.45)


def with_language_model(pocket: Any, kind: str) -> mmkn.MultimodalModel:
    """Return a random LLaVA that reads the pocket world's tokens with another language model."""
    torch.manual_seed(5)
    config = transformers.LlavaConfig.from_dict(pocket.hf.config.to_dict())
    config.text_config = getattr(transformers, f"{kind}Config")(
        vocab_size=pocket.hf.config.text_config.vocab_size, hidden_size=32, intermediate_size=48,
        num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2, head_dim=16,
        max_position_embeddings=192, pad_token_id=0, bos_token_id=1, eos_token_id=2, **KINDS[kind],
    )  # fmt: skip
    hf = transformers.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in hf.model.language_model.named_parameters():
            if "norm" in name:
                parameter.normal_(0.3, 1)  # gains of either sign
            elif name.endswith("bias"):
                parameter.normal_(0, 0.3)
        if kind == "Gemma4Text":
            for layer, scale in zip(hf.model.language_model.layers, SCALES, strict=True):
                layer.layer_scalar.fill_(scale)
    return mmkn.load_model(hf, pocket.processor)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layers_scores_sum_to_what_its_ffn_adds(pocket: Any, cars: list[Any], kind: str) -> None:
    model = with_language_model(pocket, kind)
    behind = {step for check in model.checks for step in check.behind}
    wanted_behind = {"Gemma2": {"norm post_feedforward_layernorm"}, "Granite": {"scale 0.22"},
                     "Gemma3Text": {"norm post_feedforward_layernorm"}, "Llama": set(),
                     "Gemma4Text": {"norm post_feedforward_layernorm",
                                    *(f"stream scale {scale}" for scale in SCALES)}}  # fmt: skip
    assert behind == wanted_behind[kind]
    found = collect(model, "car", cars[:1], caption="reference", batch_size=1)
    token = int(found["token"][0])
    caption = next(c for c in cars[0].captions if "car" in c.split())
    prefix = model.tokenizer(caption, add_special_tokens=False)["input_ids"]
    prefix = prefix[: prefix.index(token)]
    added: list[Any] = []
    layers = model.hf.model.language_model.layers
    for layer in layers:
        last = getattr(layer, "post_feedforward_layernorm", layer.mlp)
        last.register_forward_hook(lambda _m, _a, out: added.append(out[0, -1].detach()))
    with torch.no_grad():
        model.forward(model.prepare([cars[0].image], continuation=[prefix]))
    for row, layer in enumerate(layers):
        factor = KINDS[kind].get("residual_multiplier", 1.0)
        if kind == "Gemma4Text":
            factor = float(np.prod(SCALES[row:]))
        of_bias = torch.zeros(32)
        if layer.mlp.down_proj.bias is not None:
            of_bias = layer.mlp.down_proj.bias.detach()
        wanted = float(model.unembedding[token] @ (added[row] - of_bias)) * factor
        scores = found["contribution"].values[row]
        assert float(scores.sum()) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert np.abs(scores).max() > 0
    assert json.loads(found["contribution"].attrs["leaves_out"]) == {}


def test_a_term_beside_the_ffn_and_a_scaled_stream_are_followed(
    pocket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma 4's per-layer inputs add a term of their own; what is no sum at all is said to be."""
    more = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 64}
    monkeypatch.setitem(KINDS, "Gemma4Text", {**KINDS["Gemma4Text"], **more})
    model = with_language_model(pocket, "Gemma4Text")
    norm = "norm post_feedforward_layernorm"
    assert [check.behind for check in model.checks] == [
        (norm, f"stream scale {scale}") for scale in SCALES
    ]
    one, word = model.unembedding[:1], torch.ones(1, 48)
    held = [through(model, site, word, one) for site in model.sites]
    for layer in model.hf.model.language_model.layers:
        layer.layer_scalar.fill_(1)
    plain = mmkn.load_model(model.hf, pocket.processor)
    assert [check.behind for check in plain.checks] == [(norm,)] * 3
    for site, scaled, whole in zip(plain.sites, held, (0.459, 0.765, 0.45), strict=True):
        assert torch.allclose(through(plain, site, word, one) * whole, scaled, rtol=1e-4)

    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(100 * x)

    plain.blocks[0].post_per_layer_input_norm = Odd()
    odd = mmkn.load_model(plain.hf, pocket.processor)
    assert odd.checks[0].behind == (norm, "not followed")
    assert unaccounted(odd) == {"0": ["not followed"]}


def test_a_norm_is_linear_with_its_scale_held() -> None:
    """Against autograd: the derivative with the size taken out of the graph."""
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(8)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    value = torch.randn(3, 8, requires_grad=True)
    made, gain, centred = _norm(norm, value.detach())
    assert torch.allclose(made, norm(value), atol=1e-6)
    assert centred
    size = (value.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
    held = (value - value.mean(-1, keepdim=True)) / size * norm.weight.detach()
    word = torch.randn(8)
    (wanted,) = torch.autograd.grad((held @ word).sum(), value)
    found = word * gain
    assert torch.allclose(found - found.mean(-1, keepdim=True), wanted, atol=1e-6)


def test_what_cannot_be_counted_is_named(pocket: Any, cars: list[Any]) -> None:
    model = with_language_model(pocket, "Gemma2")

    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(x, dim=-1) + x.abs()

    model.blocks[1].post_feedforward_layernorm = Odd()
    left = {"1": ["norm post_feedforward_layernorm (Odd)"]}
    assert unaccounted(model) == left
    found = collect(model, "car", cars[:1], caption="reference")
    assert json.loads(found["contribution"].attrs["leaves_out"]) == left
    activation, words = torch.ones(1, 48), model.unembedding[:1]
    assert torch.equal(through(model, model.sites[1], activation, words), words)
    assert not torch.equal(through(model, model.sites[0], activation, words), words)
    shares = word_shares(pocket, cars[:1], ["car"])
    assert shares.attrs["leaves_out"] == "{}"

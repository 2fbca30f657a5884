"""The rule finds each family's neurons; the places are written down by hand from the model code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.models import find_sites

_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 80, "n_positions": 64}
_OPT = {"ffn_dim": 80, "word_embed_proj_dim": 32}
CASES = [
    ("Llama", {}, "model.layers.{}.mlp.down_proj", 48, True),
    ("GPT2", _GPT2, "transformer.h.{}.mlp.c_proj", 80, False),
    ("OPT", _OPT, "model.decoder.layers.{}.fc2", 80, False),
    ("Phi3", {"pad_token_id": 0}, "model.layers.{}.mlp.down_proj", 48, True),
    ("Falcon", {"ffn_hidden_size": 80}, "transformer.h.{}.mlp.dense_4h_to_h", 80, False),
    ("GPTNeoX", {}, "gpt_neox.layers.{}.mlp.dense_4h_to_h", 48, False),
    ("Bert", {"is_decoder": True}, "bert.encoder.layer.{}.output.dense", 48, False),
    ("Qwen3", {"head_dim": 8}, "model.layers.{}.mlp.down_proj", 48, True),
    ("Gemma2", {"head_dim": 8}, "model.layers.{}.mlp.down_proj", 48, True),
    ("Bart", {"d_model": 32, "decoder_ffn_dim": 80, "decoder_layers": 2,
              "decoder_attention_heads": 4, "is_decoder": True},
     "model.decoder.layers.{}.fc2", 80, False),
    # as many neurons as hidden units: only the names can tell in from out
    ("Llama", {"intermediate_size": 32}, "model.layers.{}.mlp.down_proj", 32, True),
    ("OPT", {**_OPT, "ffn_dim": 32}, "model.decoder.layers.{}.fc2", 32, False),
    ("Bert", {"is_decoder": True, "intermediate_size": 32},
     "bert.encoder.layer.{}.output.dense", 32, False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "where", "width", "gated"), CASES)
def test_the_down_projection_of_each_layer_is_found(
    llama: Callable[..., Any],
    name: str,
    settings: dict[str, Any],
    where: str,
    width: int,
    gated: bool,
) -> None:
    model = llama(name, **settings)
    found = find_sites(model)
    layers = range(len(found.blocks))
    assert [s.module_name for s in found.sites] == [where.format(layer) for layer in layers]
    assert [s.row for s in found.sites] == list(layers)
    assert all(s.module is model.get_submodule(s.module_name) for s in found.sites)
    assert {(s.width, s.gated, s.expert) for s in found.sites} == {(width, gated, -1)}


@pytest.mark.parametrize("case", ["Llama", "GPT2", "OPT"])
def test_the_hook_reads_what_the_module_gets_and_can_change_it(
    llama: Callable[..., Any], case: str
) -> None:
    model = llama(case, **{"GPT2": _GPT2, "OPT": _OPT}.get(case, {}))
    site = find_sites(model).sites[1]
    oracle: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    site.module.register_forward_pre_hook(lambda _, args: oracle.append(args[0]))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model(ids).logits
        with_reader = site.hook(lambda value: seen.append(value))
        model(ids)
        with_reader.remove()
        changer = site.hook(lambda value: torch.zeros_like(value), prepend=True)
        changed = model(ids).logits
        changer.remove()
        after = model(ids).logits
    assert torch.equal(seen[0], oracle[0])
    assert float(oracle[2].abs().max()) == 0.0
    assert not torch.equal(before, changed)
    assert torch.equal(before, after)


def test_the_activation_function_is_a_site_of_its_own(llama: Callable[..., Any]) -> None:
    model = llama()
    site = find_sites(model).sites[0]
    act: list[torch.Tensor] = []
    full: list[torch.Tensor] = []
    up: list[torch.Tensor] = []
    site.hook(lambda value: act.append(value), at="act")
    site.hook(lambda value: full.append(value))
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda *args: up.append(args[2]))
    with torch.no_grad():
        model(torch.tensor([[5, 6]]))
    assert torch.equal(act[0] * up[0], full[0])
    with pytest.raises(BadArgument, match="'input' or 'act'"):
        site.hook(lambda value: None, at="output")


def test_two_stacks_of_an_encoder_decoder_can_be_chosen() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(
        T5Config(d_model=32, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4, d_kv=8,
                 vocab_size=40)
    )  # fmt: skip
    decoder, encoder = find_sites(model, "decoder"), find_sites(model, "encoder")
    assert [s.module_name for s in decoder.sites] == [
        f"decoder.block.{i}.layer.2.DenseReluDense.wo" for i in range(3)
    ]
    assert [s.module_name for s in encoder.sites] == [
        f"encoder.block.{i}.layer.1.DenseReluDense.wo" for i in range(2)
    ]
    with pytest.raises(BadArgument, match=r"stack: got 'both'"):
        find_sites(model, "both")


def test_a_model_without_decoder_layers_is_refused_with_the_reason() -> None:
    from transformers import ResNetConfig, ResNetModel

    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]))
    with pytest.raises(NotSupported, match="no decoder layer with an FFN was found in ResNetModel"):
        find_sites(model)


def test_vision_and_attention_are_never_taken_for_the_language_model(pocket: Any) -> None:
    names = [site.module_name for site in pocket.sites]
    assert names == [f"model.language_model.layers.{i}.mlp.down_proj" for i in range(6)]


def test_two_dense_ffns_in_one_layer_are_named(llama: Callable[..., Any]) -> None:
    model = llama()
    extra = nn.Module()
    extra.up_proj, extra.down_proj = nn.Linear(32, 20), nn.Linear(20, 32)
    model.model.layers[1].second = extra
    found = find_sites(model)
    assert len(found.sites) == 3
    assert [(r.layer, r.reason) for r in found.refused] == [
        (1, "more than one dense FFN in this layer")
    ]

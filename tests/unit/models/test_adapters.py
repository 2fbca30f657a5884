"""Adapters round the second projection: neurons, W_out and edits are those of what really runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mmkn_widgets as mmkn
from mmkn_widgets.core import NotSupported
from mmkn_widgets.interventions import perturb
from mmkn_widgets.models.sites import find_sites
from mmkn_widgets.models.weights import final_norm

INPUTS = {"input_ids": torch.tensor([[5, 6, 7, 8, 9]]), "attention_mask": torch.ones(1, 5).long()}
NEURONS = {0: [1, 5, 9], 2: list(range(48))}


class LowRank(nn.Module):
    """``y = W x + B A x * s``, as many a notebook has it."""

    def __init__(self, inner: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.linear = inner
        self.a = nn.Parameter(0.3 * torch.randn(rank, inner.in_features))
        self.b = nn.Parameter(0.3 * torch.randn(inner.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + 0.5 * (x @ self.a.T) @ self.b.T


class LowRankLinear(nn.Linear):
    """The same as a class of `Linear` of its own, with dropout before A (loralib)."""

    def __init__(self, inner: nn.Linear, rank: int = 4) -> None:
        super().__init__(inner.in_features, inner.out_features, bias=True)
        self.load_state_dict({"weight": inner.weight, "bias": torch.randn(inner.out_features)})
        self.lora_a = nn.Parameter(0.3 * torch.randn(rank, inner.in_features))
        self.lora_b = nn.Parameter(0.3 * torch.randn(inner.out_features, rank))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.drop(x) @ self.lora_a.T @ self.lora_b.T


class Deep(nn.Module):
    """An adapter of two modules in one more shell."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.shell = nn.ModuleDict({"own": inner})
        self.down = nn.Linear(inner.in_features, 3, bias=False)
        self.up = nn.Linear(3, inner.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shell["own"](x) + self.up(self.down(x))


def _wrap(hf: Any, make: Callable[[Any], nn.Module]) -> Any:
    torch.manual_seed(3)
    for layer in hf.model.layers:
        layer.mlp.down_proj = make(layer.mlp.down_proj)
    return hf


def _by_hand(module: nn.Module, width: int) -> torch.Tensor:
    """Return W_out by the definition: what one neuron alone adds, one after the other."""
    module.eval()
    with torch.no_grad():
        none = module(torch.zeros(1, 1, width))
        alone = [module(one[None, None]) - none for one in torch.eye(width)]
        return torch.cat(alone, 1)[0].T


def _check(model: mmkn.MultimodalModel) -> None:
    """W_out is what runs, and without its neurons an FFN writes the same at every token."""
    for site in model.sites:
        torch.testing.assert_close(
            model.w_out(site.layer), _by_hand(site.module, site.width), rtol=1e-4, atol=1e-5
        )
        assert site.width == 48
        assert site.gated
    written: list[torch.Tensor] = []
    handle = model.blocks[2].mlp.register_forward_hook(lambda _m, _a, out: written.append(out))
    with model.ablate(NEURONS):
        model.forward(INPUTS)
    handle.remove()
    assert torch.allclose(written[0], written[0][:, :1].expand_as(written[0]), atol=1e-6)
    store = mmkn.capture(model, INPUTS, gradients=7)
    assert np.isfinite(store["gradient"]).all()
    with pytest.raises(NotSupported, match="adapter round it.*merge"):
        perturb(model, {0: [1]}).__enter__()


@pytest.mark.parametrize("make", [LowRank, LowRankLinear, Deep])
def test_an_adapter_by_hand_is_part_of_the_projection(
    llama: Callable[..., Any], make: Callable[[Any], nn.Module]
) -> None:
    hf = _wrap(llama(), make)
    model = mmkn.load_model(hf)
    assert [site.module_name for site in model.sites] == [
        f"model.layers.{n}.mlp.down_proj" for n in range(3)
    ]
    assert all(site.kind == "wrapped" for site in model.sites)
    _check(model)
    hf.train()  # dropout is no part of W_out
    first = model.w_out(1)
    assert torch.equal(first, model.w_out(1))
    assert all(module.training for module in hf.modules())


def test_an_adapter_beside_the_projection_that_no_hook_sees_is_refused(
    llama: Callable[..., Any],
) -> None:
    hf = llama()
    mlp = hf.model.layers[1].mlp
    mlp.lora_a, mlp.lora_b = nn.Linear(48, 3, bias=False), nn.Linear(3, 32, bias=False)

    def forward(x: torch.Tensor) -> torch.Tensor:
        hidden = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
        return mlp.down_proj(hidden) + mlp.lora_b(mlp.lora_a(hidden))

    mlp.forward = forward
    with pytest.raises(NotSupported, match=r"layer 1: with all neurons .*off.*adapter"):
        mmkn.load_model(hf)
    mlp.lora_b.weight.data.zero_()  # nothing is written beside it
    mmkn.load_model(hf)


def test_a_bend_inside_the_wrapper_is_refused(llama: Callable[..., Any]) -> None:
    class Bent(LowRank):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + torch.relu(x @ self.a.T) @ self.b.T

    with pytest.raises(NotSupported, match="what the neurons write differs"):
        mmkn.load_model(_wrap(llama(), Bent))


def test_weights_that_are_computed_are_read_and_not_edited(llama: Callable[..., Any]) -> None:
    hf = _wrap(llama(), lambda inner: nn.utils.parametrizations.weight_norm(inner))
    model = mmkn.load_model(hf)
    _by = _by_hand(model.sites[0].module, 48)
    torch.testing.assert_close(model.w_out(0), _by, rtol=1e-4, atol=1e-5)
    with pytest.raises(NotSupported, match=r"adapter|computed anew"):
        perturb(model, {0: [1]}).__enter__()


# -- PEFT's own ----------------------------------------------------------------------------------

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "lora_alpha": 9, "init_lora_weights": False}),
    "dropout": ("LoraConfig", {"r": 4, "init_lora_weights": False, "lora_dropout": 0.5}),
    "rslora": ("LoraConfig", {"r": 4, "init_lora_weights": False, "use_rslora": True}),
    "bias": ("LoraConfig", {"r": 4, "init_lora_weights": False, "lora_bias": True}),
    "dora": ("LoraConfig", {"r": 4, "init_lora_weights": False, "use_dora": True}),
    "fresh": ("LoraConfig", {"r": 4}),
    "loha": ("LoHaConfig", {"r": 4, "init_weights": False}),
    "lokr": ("LoKrConfig", {"r": 4, "init_weights": False}),
    "ia3": ("IA3Config", {"init_ia3_weights": False}),
    "hra": ("HRAConfig", {"r": 4, "init_weights": False}),
    "vera": ("VeraConfig", {"r": 4, "init_weights": False}),
}


def _peft(llama: Callable[..., Any], kind: str, targets: list[str] | None = None) -> Any:
    peft = import_module("peft")
    name, settings = KINDS[kind]
    targets = targets or ["down_proj"]
    if kind == "ia3":
        settings = {**settings, "feedforward_modules": targets}
    torch.manual_seed(4)
    return peft.get_peft_model(
        llama(mlp_bias=kind == "bias"), getattr(peft, name)(target_modules=targets, **settings)
    ).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_peft_is_what_merging_it_gives(llama: Callable[..., Any], kind: str) -> None:
    wrapped = _peft(llama, kind)
    merged = mmkn.load_model(copy.deepcopy(wrapped).merge_and_unload())
    model = mmkn.load_model(wrapped)
    _check(model)
    for layer in range(3):
        torch.testing.assert_close(model.w_out(layer), merged.w_out(layer), rtol=1e-4, atol=1e-5)
    for neurons in ({}, NEURONS):
        with model.ablate(neurons), merged.ablate(neurons):
            torch.testing.assert_close(
                model.forward(INPUTS).logits, merged.forward(INPUTS).logits, rtol=1e-3, atol=1e-4
            )


def test_every_projection_may_have_one(llama: Callable[..., Any]) -> None:
    targets = ["down_proj", "up_proj", "gate_proj", "q_proj", "lm_head"]
    wrapped = _peft(llama, "lora", targets)
    merged = mmkn.load_model(copy.deepcopy(wrapped).merge_and_unload())
    model = mmkn.load_model(wrapped)
    _check(model)
    torch.testing.assert_close(model.unembedding, merged.unembedding, rtol=1e-4, atol=1e-5)


def test_w_out_follows_the_adapters_that_are_active(llama: Callable[..., Any]) -> None:
    peft = import_module("peft")
    wrapped = _peft(llama, "lora")
    wrapped.add_adapter(
        "second", peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["down_proj"])
    )
    model = mmkn.load_model(wrapped)

    def check() -> torch.Tensor:
        _check(model)
        return model.w_out(1)

    first = check()
    wrapped.set_adapter("second")
    second = check()
    wrapped.base_model.set_adapter(["default", "second"])
    both = check()
    with wrapped.disable_adapter():
        plain = check()
    torch.testing.assert_close(both - plain, first + second - 2 * plain, rtol=1e-4, atol=1e-5)
    assert min((first - plain).abs().max(), (second - plain).abs().max()) > 0.01
    wrapped.merge_adapter()
    torch.testing.assert_close(check(), both, rtol=1e-4, atol=1e-5)
    wrapped.unmerge_adapter()
    torch.testing.assert_close(check(), both, rtol=1e-4, atol=1e-5)


def test_parts_that_are_trained_whole(llama: Callable[..., Any]) -> None:
    peft = import_module("peft")
    wrapped = peft.get_peft_model(
        llama(),
        peft.LoraConfig(
            r=2, target_modules=["q_proj"], modules_to_save=["down_proj", "norm", "lm_head"]
        ),
    )
    base = wrapped.get_base_model()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model = mmkn.load_model(wrapped)
    _check(model)
    assert model.sites[1].module is base.model.layers[1].mlp.down_proj
    saved = base.lm_head.modules_to_save["default"].weight
    assert torch.equal(model.unembedding, saved)
    assert model.final_norm is base.model.norm
    assert final_norm(base, find_sites(base).blocks) is base.model.norm
    hidden = torch.randn(1, 32)
    with torch.no_grad():
        trained = base.model.norm.modules_to_save["default"](hidden)
    assert torch.equal(model.final_norm(hidden), trained)


def test_adapters_added_after_loading_are_named(llama: Callable[..., Any]) -> None:
    peft = import_module("peft")
    hf = llama()
    model = mmkn.load_model(hf)
    wrapped = peft.get_peft_model(hf, peft.LoraConfig(r=2, target_modules=["down_proj"]))
    with pytest.raises(NotSupported, match=r"down_proj.*a Linear.*load_model"):
        model.forward(INPUTS)
    _check(mmkn.load_model(wrapped))


def test_eight_bit_bases(llama: Callable[..., Any]) -> None:
    peft, bnb = import_module("peft"), import_module("bitsandbytes")

    def packed(inner: nn.Linear) -> nn.Module:
        made = bnb.nn.Linear8bitLt(48, 32, bias=False, has_fp16_weights=False)
        made.weight = bnb.nn.Int8Params(
            inner.weight.data, has_fp16_weights=False, requires_grad=False
        )
        return made.to("cpu")

    wrapped = peft.get_peft_model(
        _wrap(llama(), packed),
        peft.LoraConfig(r=4, init_lora_weights=False, target_modules=["down_proj"]),
    )
    model = mmkn.load_model(wrapped)
    assert model.w_out(0).shape == (32, 48)
    with pytest.raises(NotSupported, match="merge"):
        perturb(model, {0: [1]}).__enter__()


def test_tokens_of_a_wrappers_own_are_refused(llama: Callable[..., Any]) -> None:
    peft = import_module("peft")
    prompt = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    with pytest.raises(NotSupported, match="PROMPT_TUNING puts tokens of its own"):
        mmkn.load_model(peft.get_peft_model(llama(), prompt))


def test_adapters_over_experts_are_refused_by_name(llama: Callable[..., Any]) -> None:
    peft = import_module("peft")
    hf = llama(
        "Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8
    )
    wrapped = peft.get_peft_model(
        hf, peft.LoraConfig(r=2, target_modules=[], target_parameters=["mlp.experts.down_proj"])
    )
    with pytest.raises(NotSupported, match="adapters over routed experts; merge"):
        mmkn.load_model(wrapped)


def test_a_picture_is_captioned_with_its_adapter(pocket: Any, pictures: list[Any]) -> None:
    peft = import_module("peft")
    torch.manual_seed(5)
    wrapped = peft.get_peft_model(
        copy.deepcopy(pocket.hf),
        peft.LoraConfig(r=4, init_lora_weights=False, target_modules=["down_proj", "q_proj"]),
    )
    merged = mmkn.load_model(copy.deepcopy(wrapped).merge_and_unload(), pocket.processor)
    model = mmkn.load_model(wrapped, pocket.processor)
    assert model.caption(pictures) == merged.caption(pictures)
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    if any("car" in text for text in model.caption([scene.image for scene in scenes])):
        one, other = (mmkn.study(m, "car", scenes).evidence for m in (model, merged))
        for name in ("gradcam", "difference", "contribution"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-4)

"""Routed experts: the same output, every expert's rows, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmkn_widgets.models import find_sites

_MOE = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
_OSS = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "layer_types": None}
IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 3, 2, 5, 4]])


@pytest.fixture(params=["eager", "grouped_mm", "batched_mm"])
def moe(request: pytest.FixtureRequest, llama: Callable[..., Any]) -> Any:
    model = llama("Qwen3Moe", **_MOE)
    model.set_experts_implementation(request.param)
    return model


def _run(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def test_reading_leaves_the_output_and_the_implementation(moe: Any) -> None:
    found = find_sites(moe)
    assert [(s.layer, s.expert) for s in found.sites] == [
        (layer, expert) for layer in range(3) for expert in range(4)
    ]
    before, own = _run(moe), moe.config._experts_implementation
    seen: dict[int, torch.Tensor] = {}
    handles = [
        s.hook(lambda v, row=s.row: seen.__setitem__(row, v))  # type: ignore[misc]
        for s in found.sites
    ]
    assert moe.config._experts_implementation == "mmkn"
    during = _run(moe)
    for handle in handles:
        handle.remove()
        handle.remove()  # a second time does nothing
    assert moe.config._experts_implementation == own
    assert torch.equal(_run(moe), before)
    assert float((during - before).abs().max()) < 1e-5
    assert sorted(seen) == list(range(12))
    assert {tuple(value.shape) for value in seen.values()} == {(10, 24)}


def test_activations_are_those_of_the_routed_tokens(moe: Any) -> None:
    block = moe.model.layers[1].mlp
    entered: list[Any] = []
    block.experts.register_forward_pre_hook(lambda _, args: entered.append(args))
    sites = [s for s in find_sites(moe).sites if s.layer == 1]
    seen: dict[int, torch.Tensor] = {}
    for site in sites:
        site.hook(lambda v, e=site.expert: seen.__setitem__(e, v))  # type: ignore[misc]
    _run(moe)
    hidden, chosen, _ = entered[0]
    for site in sites:
        routed = (chosen == site.expert).any(dim=-1)
        gate, up = (hidden @ block.experts.gate_up_proj[site.expert].T).chunk(2, dim=-1)
        wanted = torch.nn.functional.silu(gate) * up
        assert torch.allclose(seen[site.expert][routed], wanted[routed], atol=1e-6)
        assert float(seen[site.expert][~routed].abs().sum()) == 0.0


def test_silencing_one_expert_equals_zeroing_its_weights(moe: Any) -> None:
    site = next(s for s in find_sites(moe).sites if (s.layer, s.expert) == (0, 2))
    handle = site.hook(torch.zeros_like)
    silenced = _run(moe)
    handle.remove()
    before = _run(moe)
    with torch.no_grad():
        site.module.down_proj[2].zero_()  # type: ignore[index,operator]
    assert not torch.equal(before, silenced)
    assert torch.allclose(_run(moe), silenced, atol=1e-6)


def test_transposed_experts_with_bias(llama: Callable[..., Any]) -> None:
    model = llama("GptOss", **_OSS)
    before = _run(model)
    found = find_sites(model)
    handles = [s.hook(lambda v: None) for s in found.sites]
    during = _run(model)
    for handle in handles:
        handle.remove()
    assert len(found.sites) == 12
    assert float((during - before).abs().max()) < 1e-5


def test_gradients_flow_through_the_activations(moe: Any) -> None:
    moe.requires_grad_(False)
    seen: list[torch.Tensor] = []

    def keep(value: torch.Tensor) -> torch.Tensor:
        value = value.detach().requires_grad_()
        seen.append(value)
        return value

    site = next(s for s in find_sites(moe).sites if s.layer == 2)
    handle = site.hook(keep)
    (gradient,) = torch.autograd.grad(moe(IDS).logits.sum(), seen[:1])
    handle.remove()
    shift = 1e-2 * torch.randn_like(gradient) * (seen[0] != 0)
    handle = site.hook(lambda value: value + shift)
    moved = _run(moe).double().sum()
    handle.remove()
    handle = site.hook(lambda value: value - shift)
    back = _run(moe).double().sum()
    handle.remove()
    assert float((moved - back) / 2) == pytest.approx(float((gradient * shift).sum()), rel=2e-2)

"""The check at load: what it proves, what it names, what it refuses."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

import mmkn_widgets as mmkn
from mmkn_widgets.core import Handles
from mmkn_widgets.core.errors import NotSupported
from mmkn_widgets.models.probe import TOLERANCE, Residual, what_follows


@pytest.fixture
def hf() -> Any:
    return AutoModelForImageTextToText.from_pretrained(mmkn.pocket.path(), dtype=torch.float32)


def test_every_site_is_checked_and_nothing_stays(hf: Any) -> None:
    model = mmkn.load_model(hf)
    assert [check.row for check in model.checks] == list(range(6))
    assert all(check.error <= TOLERANCE[torch.float32] for check in model.checks)
    assert {(check.rank, check.behind) for check in model.checks} == {(3, ())}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())


def test_an_ffn_that_goes_around_its_module_is_refused_by_layer_and_name(hf: Any) -> None:
    mlp = hf.model.language_model.layers[4].mlp

    def around(self: Any, x: torch.Tensor) -> torch.Tensor:
        inner = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        return torch.nn.functional.linear(inner, self.down_proj.weight)

    mlp.forward = types.MethodType(around, mlp)
    with pytest.raises(NotSupported, match=r"layer 4, .*mlp\.down_proj: the hook fired 0 times"):
        mmkn.load_model(hf, _processor())


def test_an_ffn_that_runs_twice_is_refused(hf: Any) -> None:
    mlp = hf.model.language_model.layers[0].mlp
    once = mlp.forward
    mlp.forward = lambda x: (once(x) + once(x)) / 2
    with pytest.raises(NotSupported, match="layer 0, .* the hook fired 2 times"):
        mmkn.load_model(hf, _processor())


def test_a_projection_that_writes_something_else_is_refused(hf: Any) -> None:
    down = hf.model.language_model.layers[2].mlp.down_proj
    linear = down.forward
    down.forward = lambda x: linear(x) * 1.01
    with pytest.raises(NotSupported, match=r"layer 2, .*differs from the projection's output"):
        mmkn.load_model(hf, _processor())


def test_without_any_input_the_first_forward_is_checked(hf: Any) -> None:
    forward = hf.forward

    def picky(input_ids: Any = None, pixel_values: Any = None, **kwargs: Any) -> Any:
        if pixel_values is None and input_ids.shape[1] < 50:
            raise ValueError("this model needs a picture")
        return forward(input_ids=input_ids, pixel_values=pixel_values, **kwargs)

    hf.forward = picky
    model = mmkn.load_model(hf)
    assert model.checks == ()
    ready = mmkn.load_model("pocket").prepare(mmkn.datasets.pocket_world("val")[0].image)
    model.forward(dict(ready.inputs))
    assert len(model.checks) == 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_within_its_own_tolerance(dtype: torch.dtype) -> None:
    model = mmkn.load_model("pocket", dtype=dtype)
    assert model.dtype is dtype
    assert {check.tolerance for check in model.checks} == {TOLERANCE[dtype]}


class _Block(torch.nn.Module):
    """A decoder block with a choice of what stands behind its FFN."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.pre_norm, self.post_norm = torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)
        self.up, self.down = torch.nn.Linear(8, 12), torch.nn.Linear(12, 8)
        with torch.no_grad():
            self.post_norm.weight.mul_(1.5).add_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "over the sum":
            return self.post_norm(x + self.down(self.up(x).relu()))
        y = self.down(self.up(self.pre_norm(x)).relu())
        y = self.post_norm(y) if self.kind == "norm" else y
        y = y * 0.22 if self.kind == "scale" else y
        y = y.tanh() if self.kind == "unknown" else y
        return x + y


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("plain", ()),
        ("norm", ("norm post_norm",)),
        ("over the sum", ("norm post_norm over the sum",)),
        ("scale", ("scale 0.22",)),
        ("unknown", ("not followed",)),
    ],
)
def test_what_stands_behind_the_projection_is_named(kind: str, named: tuple[str, ...]) -> None:
    block, written = _Block(kind), []
    block.down.register_forward_hook(lambda *args: written.append(args[2]))
    watcher = Residual(block)
    with Handles(watcher.hooks()), torch.no_grad():
        block(torch.randn(2, 3, 8))
    assert what_follows(watcher, written[0], 1e-4, routed=False) == named


def _processor() -> Any:
    return mmkn.load_model("pocket").processor

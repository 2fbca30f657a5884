"""Captured values against nnsight, gradients against captum: two libraries nobody here wrote."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from roundtrip import load, picture

from mmkn_widgets.activations import record

SHAPES = ("llava", "blip-2", "qwen2_vl")


@pytest.fixture(scope="module", params=SHAPES)
def loaded(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    model, _, problem = load(request.param)
    assert not problem
    return model, model.prepare(picture())


def test_captured_values_are_nnsights_to_the_last_bit(loaded: tuple[Any, Any]) -> None:
    from nnsight import NNsight

    model, prepared = loaded
    with record(model, batch=1) as ours:
        model.forward(prepared)
    inputs = {**prepared.inputs, "use_cache": False}
    for site in model.sites:
        traced = NNsight(model.hf)
        envoy: Any = traced
        for part in site.module_name.split("."):
            envoy = envoy[int(part)] if part.isdigit() else getattr(envoy, part)
        with torch.no_grad(), traced.trace(**inputs):
            theirs = envoy.input.save()
        assert torch.equal(ours.values[site.row].reshape(theirs.shape), theirs)


def test_gradients_are_captums_to_the_last_bit(loaded: tuple[Any, Any]) -> None:
    from captum.attr import LayerGradientXActivation

    model, prepared = loaded
    inputs = dict(prepared.inputs)
    pixels = inputs.pop("pixel_values")

    def score(values: torch.Tensor) -> torch.Tensor:
        output = model.hf(pixel_values=values, **inputs, use_cache=False)
        return output.logits[:, -1].log_softmax(dim=-1)[:, 7]

    modules = [site.module for site in model.sites]
    captum = LayerGradientXActivation(score, modules, multiply_by_inputs=False)
    theirs = captum.attribute(pixels.requires_grad_(True), attribute_to_layer_input=True)
    pixels.requires_grad_(False)
    with record(model, gradients=True, batch=1) as seen:
        output = model.forward(prepared, grad=True)
    ours = seen.gradients(output.logits[:, -1].log_softmax(dim=-1)[:, 7])
    for site, wanted in zip(model.sites, theirs, strict=True):
        found = ours[site.row]
        value = wanted[0] if isinstance(wanted, tuple) else wanted
        assert found.abs().max() > 0
        assert torch.equal(found.reshape(value.shape), value)

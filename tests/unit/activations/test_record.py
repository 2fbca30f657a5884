"""What is captured equals what an independent hook sees; gradients equal captum's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradientXActivation

import mmkn_widgets as mmkn
from mmkn_widgets.activations import record
from mmkn_widgets.core.errors import BadArgument, MmknError


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def inputs(model):
    scenes = mmkn.datasets.pocket_world("val", 2)
    return model.prepare([scene.image for scene in scenes])


def test_values_are_those_of_an_independent_hook(model, inputs) -> None:
    seen: dict[int, torch.Tensor] = {}
    handles = [
        site.module.register_forward_pre_hook(
            lambda _m, args, row=site.row: seen.__setitem__(row, args[0].detach().clone())
        )
        for site in model.sites
    ]
    with torch.no_grad(), record(model) as ours:
        model.forward(inputs)
    for handle in handles:
        handle.remove()
    for row, value in ours.values.items():
        assert torch.equal(value, seen[row])
    assert ours.stack().shape == (2, len(model.sites), inputs.n_tokens, model.n_neurons)


def test_hooks_are_gone_whatever_happens(model, inputs) -> None:
    before = [len(site.module._forward_pre_hooks) for site in model.sites]
    with pytest.raises(RuntimeError, match="stop"), record(model):
        raise RuntimeError("stop")
    assert [len(site.module._forward_pre_hooks) for site in model.sites] == before


def test_a_projection_that_is_bypassed_is_an_error(model) -> None:
    with pytest.raises(MmknError, match="did not run"), record(model):
        pass


def test_what_hangs_on_no_neuron_has_no_gradient_and_no_graph_is_an_error(model, inputs) -> None:
    with record(model, gradients=True) as seen:
        logits = model.forward(inputs, logits_to_keep=1, grad=True).logits
    assert not any(bool(g.any()) for g in seen.gradients(torch.ones(2)).values())
    with record(model, gradients=True) as seen:
        logits = model.forward(inputs, logits_to_keep=1).logits
    with pytest.raises(BadArgument, match="grad=True"):
        seen.gradients(logits[:, -1, 9])


def test_gradient_x_activation_is_captums(model, inputs) -> None:
    token = 9
    with record(model, gradients=True) as ours:
        logits = model.forward(inputs, logits_to_keep=1, grad=True).logits
    grads = ours.gradients(logits[:, -1, token])

    def target(ids: torch.Tensor) -> torch.Tensor:
        return model.hf(**{**inputs.inputs, "input_ids": ids}).logits[:, -1, token]

    oracle = LayerGradientXActivation(
        target, [site.module for site in model.sites], multiply_by_inputs=True
    )
    theirs = oracle.attribute(inputs.inputs["input_ids"], attribute_to_layer_input=True)
    for site, expected in zip(model.sites, theirs, strict=True):
        value = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(
            ours.values[site.row].detach() * grads[site.row], value.detach(), rtol=1e-5, atol=1e-8
        )


def test_integrated_gradients_are_captums(model) -> None:
    from mmkn_widgets.attribution.integrated import scaled_rows

    scene = mmkn.datasets.pocket_world("val", 1)[0]
    steps, token, site = 8, 11, model.sites[4]
    many = model.prepare([scene.image] * steps)

    def run() -> torch.Tensor:
        return model.forward(many, logits_to_keep=1, grad=True).logits[:, -1]

    ours = scaled_rows(model, [site.row], steps, run, token)[site.row]
    one = model.prepare([scene.image])
    with torch.no_grad(), record(model) as seen:
        model.forward(one)
    value = seen.values[site.row]

    def from_neurons(last: torch.Tensor) -> torch.Tensor:
        def put(_module, args):
            full = value.expand(len(last), -1, -1).clone()
            return (torch.cat([full[:, :-1], last[:, None]], 1),)

        handle = site.module.register_forward_pre_hook(put)
        try:
            repeated = {k: v.expand(len(last), *v.shape[1:]) for k, v in one.inputs.items()}
            logits = model.hf(**repeated).logits[:, -1]
        finally:
            handle.remove()
        return torch.log_softmax(logits.float(), -1)[:, token]

    theirs = IntegratedGradients(from_neurons).attribute(
        value[:, -1], n_steps=steps, method="riemann_right"
    )
    np.testing.assert_allclose(ours, theirs[0].detach().numpy(), rtol=1e-4, atol=1e-6)

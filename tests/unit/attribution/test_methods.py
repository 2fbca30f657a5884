"""Ten methods by one signature; integrated gradients against captum and their own axiom."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from torch import nn

from mmkn_widgets import NotSupported
from mmkn_widgets.activations.predicting import predictions
from mmkn_widgets.attribution import (
    METHODS,
    collect,
    integrated_gradients,
    random_like,
    random_uniform,
    score,
    top_neurons,
    two_stage,
)
from mmkn_widgets.attribution import integrated as last_token
from mmkn_widgets.core.errors import BadArgument


@pytest.fixture(scope="module")
def evidence(pocket: Any, cars: Any) -> Any:
    return collect(pocket, "car", cars)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_scores_of_neurons(
    pocket: Any, cars: Any, evidence: Any, method: str
) -> None:
    options = {"steps": 2} if method == "integrated_gradients" else {}
    found = score(pocket, method, "car", cars[:2], evidence=evidence, **options)
    assert found.dims == ("layer", "neuron")
    assert found.shape == (6, 512)
    assert found.dtype == np.float32
    assert found.name == method
    assert json.loads(found.attrs["provenance"])["method"]
    best = top_neurons(found, 10)
    assert len(best) == 10
    assert np.all(np.diff(best.score) <= 0)


def test_scores_come_from_evidence_alone(evidence: Any) -> None:
    assert np.array_equal(score(evidence, "gradcam"), evidence["gradcam"])
    assert np.array_equal(score(evidence, "activation"), np.abs(evidence["activation"]))
    assert np.array_equal(score(evidence, "activation_difference"), evidence["difference"])
    for method in ("random", "gradient", "integrated_gradients", "random_like"):
        with pytest.raises(BadArgument, match="the model too"):
            score(evidence, method)
    older = evidence.drop_vars("attribution_patching")
    with pytest.raises(BadArgument, match="a study without attribution_patching.*made anew"):
        score(older, "attribution_patching")
    with pytest.raises(BadArgument, match="method: got 'saliency'"):
        score(evidence, "saliency")


def test_two_stage_scores_and_two_stage_sets_agree(evidence: Any) -> None:
    scores = score(evidence, "two_stage", candidates=0.1)
    assert top_neurons(scores, 40).places == two_stage(evidence, candidates=0.1, top=40).places
    assert int(scores.notnull().sum()) == np.ceil(0.1 * 6 * 512)


def test_the_default_is_that_of_the_command_line(evidence: Any) -> None:
    found = two_stage(evidence)
    d, g = evidence["difference"].values, evidence["gradcam"].values
    inside = np.argsort(-d, axis=None)[: round(0.05 * d.size)]
    wanted = inside[np.argsort(-g.ravel()[inside], kind="stable")][:60]
    wanted = wanted[g.ravel()[wanted] > 0]  # a negative score speaks against the concept
    places = [(layer, -1, index) for layer, index in (divmod(int(i), 512) for i in wanted)]
    assert found.places == places
    assert found.sign is not None
    assert found.sign.tolist() == [
        int(np.sign(evidence["activation"].values[p[0], p[2]])) for p in places
    ]
    with pytest.raises(BadArgument, match="candidates"):
        two_stage(evidence, candidates=0.1, quantile_d=0.9)
    with pytest.raises(BadArgument, match="candidates"):
        two_stage(evidence, candidates=0)


def test_gradient_is_stage_2_at_image_tokens(pocket: Any, cars: Any) -> None:
    image = collect(pocket, "car", cars[:2], positions="image")
    found = score(pocket, "gradient", "car", cars[:2])
    assert np.array_equal(found, image["gradcam"])


def test_random_sets_are_seeded_and_keep_the_layers(pocket: Any, evidence: Any) -> None:
    chosen = two_stage(evidence)
    drawn = random_like(pocket, chosen, 5)
    assert drawn.layer_histogram() == chosen.layer_histogram()
    assert not len(drawn & chosen)
    assert drawn == random_like(pocket, chosen, 5)
    assert drawn != random_like(pocket, chosen, 6)
    assert len(random_uniform(pocket, 60, 1)) == 60
    assert random_uniform(pocket, 60, 1) == random_uniform(pocket, 60, 1)
    with pytest.raises(BadArgument, match="top: got"):
        random_uniform(pocket, 10**6)
    scores = score(pocket, "random_like", evidence=evidence, concept="car", scenes=[], top=30)
    assert top_neurons(scores, 30).layer_histogram() == chosen.top(30).layer_histogram()


def test_integrated_gradients_are_captums_layer_by_layer(pocket: Any, cars: Any) -> None:
    """`LayerIntegratedGradients` over a module through which a layer's activations pass."""
    steps, site = 6, pocket.sites[4]
    ours = integrated_gradients(pocket, "car", cars[:1], steps=steps)
    (item,), _ = predictions(pocket, _car(), cars[:1])
    one = pocket.prepare([cars[0].image], continuation=[list(item.prefix)]).inputs

    class FromNeurons(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neurons = nn.Identity()

        def forward(self, last: torch.Tensor) -> torch.Tensor:
            value = self.neurons(last)

            def put(_module: nn.Module, args: Any) -> Any:
                return (torch.cat([args[0][:, :-1], value[:, None]], 1),)

            handle = site.module.register_forward_pre_hook(put)
            try:
                repeated = {k: v.expand(len(value), *v.shape[1:]) for k, v in one.items()}
                logits = pocket.hf(**repeated).logits[:, -1]
            finally:
                handle.remove()
            return torch.log_softmax(logits, -1)[:, item.token]

    seen: list[torch.Tensor] = []
    handle = site.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0][:, -1]))
    with torch.no_grad():
        pocket.hf(**one)
    handle.remove()
    whole = FromNeurons()
    theirs = LayerIntegratedGradients(whole, whole.neurons).attribute(
        seen[0].detach(), n_steps=steps, method="riemann_right"
    )
    np.testing.assert_allclose(
        ours.sel(layer=4).values, theirs[0].detach().numpy(), rtol=1e-3, atol=1e-5
    )


def test_integrated_gradients_add_up_to_the_change(pocket: Any, cars: Any) -> None:
    """Completeness: over a layer they sum to y at the activations minus y at zero."""
    found = integrated_gradients(pocket, "car", cars[:1], steps=400, target="logit")
    (item,), _ = predictions(pocket, _car(), cars[:1])
    prepared = pocket.prepare([cars[0].image], continuation=[list(item.prefix)])

    def zero(activation: torch.Tensor) -> torch.Tensor:
        changed = activation.clone()
        changed[:, -1] = 0
        return changed

    for site in (pocket.sites[2], pocket.sites[5]):
        with torch.no_grad():
            whole = pocket.hf(**prepared.inputs).logits[0, -1, item.token]
            handle = site.hook(zero)
            without = pocket.hf(**prepared.inputs).logits[0, -1, item.token]
            handle.remove()
        total = float(found.sel(layer=site.layer).sum())
        assert total == pytest.approx(float(whole - without), rel=0.03, abs=0.02)


@pytest.mark.parametrize("kept", [True, False])
def test_a_layer_that_gradients_do_not_reach_is_named(
    pocket: Any, cars: Any, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing gradient is not 0, "this layer does nothing"."""
    if not kept:
        monkeypatch.setattr(last_token.LastToken, "prepare", lambda *_: False)
    handle = pocket.sites[3].module.register_forward_hook(lambda _m, _a, made: made.detach())
    try:
        with pytest.raises(NotSupported, match="layer 3: what they give is not used, or is used w"):
            integrated_gradients(pocket, "car", cars[:1], steps=2)
    finally:
        handle.remove()
    handle = pocket.final_norm.register_forward_hook(lambda _m, _a, made: made.detach())
    try:
        with pytest.raises(NotSupported, match="layer 0: what they give"):
            integrated_gradients(pocket, "car", cars[:1], steps=2)
    finally:
        handle.remove()


def test_kept_keys_and_values_change_nothing(
    pocket: Any, cars: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = integrated_gradients(pocket, "car", cars[:2], steps=3)
    monkeypatch.setattr(last_token.LastToken, "prepare", lambda *_: False)
    slow = integrated_gradients(pocket, "car", cars[:2], steps=3)
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-5)


def test_a_model_whose_cache_lies_is_run_whole(
    pocket: Any, cars: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = last_token.LastToken.logits
    monkeypatch.setattr(last_token.LastToken, "logits", lambda self, n: whole(self, n) + 1.0)
    last = last_token.LastToken(pocket)
    assert last.prepare(cars[0].image, None, [5, 6]) is False
    assert last.prepare(cars[0].image, None, [5, 6]) is False  # for good


def _car() -> Any:
    from mmkn_widgets.attribution import Concept

    return Concept("car")

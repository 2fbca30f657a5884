"""Changes of W_out columns: what is written, and that every bit comes back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.interventions import ablate, perturb
from tests.unit.interventions.helpers import logits, same_bits, snapshot

NEURONS = {0: [1, 5, 7], 2: [0, 3]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("maker", ["model", "opt", "moe"])
def test_restored_bit_for_bit(maker: str, dtype: Any, request: Any) -> None:
    model = request.getfixturevalue(maker)
    model.hf.to(dtype)
    model.w_out(model.sites[0].layer, model.sites[0].expert)[0, 0] = -0.0
    before = snapshot(model)
    neurons = [(site.layer, site.expert, n) for site in model.sites for n in (0, 3)]
    with perturb(model, neurons, 5), perturb(model, neurons[:2], 1, seed=3):
        changed = {
            name for name, p in model.hf.named_parameters() if not torch.equal(p, before[name])
        }
        assert changed == {f"{site.module_name}.{_weight(site)}" for site in model.sites}
    assert same_bits(model, before)


def _weight(site: Any) -> str:
    return "down_proj" if site.expert >= 0 else "weight"


def test_only_the_chosen_columns_change_and_by_the_formula(model: Any) -> None:
    before = model.w_out(0).clone()
    with perturb(model, NEURONS, 0.5, seed=11):
        after = model.w_out(0).clone()
    others = [n for n in range(24) if n not in NEURONS[0]]
    assert torch.equal(after[:, others], before[:, others])
    hidden = before.shape[0]
    for neuron in NEURONS[0]:
        noise = np.random.default_rng([11, 0, 0, neuron]).standard_normal(hidden)
        expected = before[:, neuron] + 0.5 * before[:, neuron].norm() * torch.from_numpy(
            noise.astype(np.float32)
        ) / math.sqrt(hidden)
        torch.testing.assert_close(after[:, neuron], expected)


def test_noise_is_as_long_as_the_column_and_seeded(model: Any) -> None:
    everything = {layer: range(24) for layer in range(3)}
    before = torch.cat([model.w_out(layer) for layer in range(3)], 1).clone()

    def noisy(neurons: Any, seed: int) -> torch.Tensor:
        with perturb(model, neurons, 1.0, seed=seed):
            return torch.cat([model.w_out(layer) for layer in range(3)], 1).clone()

    first = noisy(everything, 1)
    ratio = (first - before).norm(dim=0) / before.norm(dim=0)
    assert ratio.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(noisy(everything, 1), first)
    assert not torch.equal(noisy(everything, 2), first)
    assert torch.equal(noisy({1: [4]}, 1)[:, 28], first[:, 28])


def test_weights_and_activations_compose(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    with ablate(model, NEURONS):
        zeroed = logits(model, batch)
        with perturb(model, NEURONS, 3):  # what is silent writes nothing, whatever its column
            np.testing.assert_array_equal(logits(model, batch), zeroed)
        with perturb(model, {0: [2]}, 3):
            assert np.abs(logits(model, batch) - zeroed).max() > 1e-3


def test_originals_are_seen_under_a_change(model: Any) -> None:
    before = model.w_out(2).clone()
    with perturb(model, NEURONS, 2):
        seen = model.interventions.original_columns(2, np.array([0, 1, 3]))
        assert torch.equal(seen, before[:, [0, 1, 3]])
        assert not torch.equal(model.w_out(2), before)


def test_the_hash_is_that_of_the_unchanged_model(model: Any, request: Any) -> None:
    with perturb(model, NEURONS, 2):
        under = model.weights_hash
    del model.__dict__["weights_hash"]
    assert model.weights_hash == under


def test_quantised_and_offloaded_weights_are_refused(model: Any) -> None:
    module = model.sites[0].module
    kept = module.weight
    module.weight = torch.nn.Parameter(kept.to(torch.int8), requires_grad=False)
    with pytest.raises(NotSupported, match="quantised"):
        perturb(model, NEURONS)
    module.weight = torch.nn.Parameter(kept.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(NotSupported, match="quantised"):
        perturb(model, NEURONS)
    module.weight = torch.nn.Parameter(kept.to("meta"), requires_grad=False)
    with pytest.raises(NotSupported, match="not in memory"):
        perturb(model, NEURONS)
    module.weight = kept
    with ablate(model, NEURONS):
        assert len(model.interventions) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [(dict(sigma=float("inf")), "sigma"), (dict(seed=-1), "seed"), (dict(seed=1.5), "seed")],
)
def test_bad_arguments(model: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadArgument, match=says):
        perturb(model, NEURONS, **options)

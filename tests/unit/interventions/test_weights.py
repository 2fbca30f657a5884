"""Changes of W_out columns: what is written, and that every bit comes back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.interventions import ablate, ablate_rows, perturb, transplant
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
    model._hashed = None
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


@pytest.mark.parametrize("maker", ["model", "opt", "moe"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_inside_leaves_what_a_cast_outside_gives(
    maker: str, dtype: torch.dtype, request: Any
) -> None:
    model = request.getfixturevalue(maker)
    site = model.sites[0]
    first, second = (
        [(site.layer, site.expert, 0), (site.layer, site.expert, 3)],
        [(one.layer, one.expert, 3) for one in model.sites],
    )
    clean = {name: p.to(dtype) for name, p in snapshot(model).items()}
    outer = perturb(model, first, 2)
    with outer, perturb(model, second, 2, seed=1):
        model.hf.to(dtype)
        with perturb(model, second, 3, seed=2):  # entered after it
            assert not same_bits(model, clean)
    assert same_bits(model, clean)
    assert model.w_out(site.layer, site.expert).dtype == dtype


def test_casts_there_and_back_with_forwards_between(model: Any, inputs: Any) -> None:
    before = {name: p.bfloat16().float() for name, p in snapshot(model).items()}
    with perturb(model, NEURONS, 2), model.interventions.inner():
        model.hf.to(torch.bfloat16)
        with model.interventions.suspended():
            logits16 = model.forward(inputs(1)).logits
        model.hf.to(torch.float32)
    assert logits16.dtype == torch.bfloat16
    assert same_bits(model, before)


def test_activation_changes_keep_their_numbers_over_casts(model: Any, inputs: Any) -> None:
    values = np.full((3, 24), 1 / 3, np.float32)
    changes = [
        ablate(model, NEURONS, "mean", reference=values),
        transplant(model, values, NEURONS, positions=None),
        ablate_rows(model, [NEURONS], scale=1 / 3),
    ]
    for change in changes:
        with change:
            before = logits(model, inputs(1))
            model.hf.to(torch.bfloat16)
            model.forward(inputs(1))
            model.hf.to(torch.float32)
        torch.testing.assert_close(
            torch.tensor(before), torch.tensor(_under(model, change, inputs)), rtol=0.1, atol=0.1
        )
    kept = [changes[0]._parts, changes[1]._values, changes[2]._factors]
    assert all(
        bool((one.float() == torch.tensor(1 / 3)).all()) for held in kept for one in held.values()
    )


def _under(model: Any, change: Any, inputs: Any) -> np.ndarray:
    with change:
        return logits(model, inputs(1))


def test_weights_that_are_gone_are_named_and_the_others_put_back(model: Any) -> None:
    before = snapshot(model)
    module = model.sites[0].module
    own = module.weight
    told = pytest.warns(RuntimeWarning, match="3 changed columns could not be put back.*layer 0")
    with told, perturb(model, NEURONS, 2):
        module.weight = torch.nn.Parameter(own.to("meta"), requires_grad=False)
    module.weight = torch.nn.Parameter(before[f"{model.sites[0].module_name}.weight"])
    assert same_bits(model, before)
    with perturb(model, NEURONS, 2):  # the stack goes on working
        assert not same_bits(model, before)
    assert same_bits(model, before)


def _assign(model: Any, how: str, new: Any) -> None:
    """Give a model other weights in one of the ways there are."""
    if how in ("loaded", "the same"):
        model.hf.load_state_dict(new, strict=False)
        return
    for site in model.sites:
        if how == "assigned":
            site.module.weight = torch.nn.Parameter(site.module.weight.detach() + 1, False)
        else:
            with torch.no_grad():
                site.module.weight.mul_(0.5)


@pytest.mark.parametrize("how", ["loaded", "assigned", "trained", "the same"])
def test_weights_that_are_assigned_anew_inside_are_never_put_over(model: Any, how: str) -> None:
    before = snapshot(model)
    new = {name: value + (how == "loaded") for name, value in before.items()}
    told = pytest.warns(RuntimeWarning, match="assigned anew")
    with told as said, perturb(model, NEURONS, 2):
        _assign(model, how, new)
        wanted = snapshot(model)
    assert same_bits(model, wanted)
    assert same_bits(model, before) == (how == "the same")
    assert len(said) == len(NEURONS)
    assert "layer 0" in str(said[0].message)
    with perturb(model, NEURONS, 2):  # from the new ones on, all is as ever
        assert not same_bits(model, wanted)
    assert same_bits(model, wanted)


def test_an_edit_made_after_other_weights_were_loaded_starts_from_them(model: Any) -> None:
    new = {name: value + 1 for name, value in snapshot(model).items()}
    with perturb(model, NEURONS, 2):
        model.hf.load_state_dict(new, strict=False)
        with pytest.warns(RuntimeWarning, match="assigned anew"), perturb(model, {2: [5]}, 3):
            pass
    assert same_bits(model, new)


def test_one_layer_of_other_weights_leaves_the_others_restored(model: Any) -> None:
    before = snapshot(model)
    name = f"{model.sites[0].module_name}.weight"
    with pytest.warns(RuntimeWarning, match="layer 0") as told, perturb(model, NEURONS, 2):
        model.hf.load_state_dict({name: before[name] + 1}, strict=False)
    assert len(told) == 1
    assert same_bits(model, {**before, name: before[name] + 1})


def test_the_hash_follows_a_cast_and_other_weights_and_not_a_change(model: Any) -> None:
    first = model.weights_hash
    with perturb(model, NEURONS, 2), ablate(model, NEURONS):
        assert model.weights_hash == first
    model.hf.to(torch.bfloat16)
    cast = model.weights_hash
    assert cast != first
    model.hf.to(torch.float32)
    assert model.weights_hash not in (first, cast)  # its values are rounded
    with torch.no_grad():
        model.hf.get_input_embeddings().weight += 1
    assert model.weights_hash not in (first, cast)

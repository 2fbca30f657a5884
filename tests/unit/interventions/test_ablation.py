"""What ablation computes, against weights zeroed in a copy and a decoder without a cache."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from mmkn_widgets import NeuronSet
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.interventions import ablate
from tests.unit.interventions.helpers import by_hand, greedy, logits, n_hooks

CHOSEN = {0: [1, 5], 2: [0, 3, 23]}


def columns_scaled(model: Any, neurons: dict[int, list[int]], factor: float) -> Any:
    """Return a copy of the model whose W_out columns are scaled: the same function, by weights."""
    twin = copy.deepcopy(model)
    for layer, index in neurons.items():
        twin.sites[layer].module.weight.data[:, index] *= factor
    return twin


@pytest.mark.parametrize("factor", [0.0, -0.5, 3.0])
def test_scaling_a_neuron_is_scaling_its_column(model: Any, inputs: Any, factor: float) -> None:
    batch = inputs(2)
    plain = logits(model, batch)
    expected = logits(columns_scaled(model, CHOSEN, factor), batch)
    with ablate(model, CHOSEN, "scale", scale=factor):
        got = logits(model, batch)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(got - plain).max() > 1e-2
    assert (logits(model, batch) == plain).all()
    assert n_hooks(model) == 0


def test_zero_holds_through_generation_with_a_cache(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    twin = columns_scaled(model, CHOSEN, 0.0)
    expected = twin.hf.generate(**batch, max_new_tokens=8, do_sample=False)[0, 10:].tolist()
    plain = greedy(model, batch)[0]
    with model.ablate(CHOSEN):
        written = greedy(model, batch)[0]
    assert written == [token for token in expected if token != 38]
    assert written != plain
    assert greedy(model, batch)[0] == plain


@pytest.mark.parametrize("maker", ["opt", "moe"])
def test_flattened_and_routed_sites(maker: str, request: Any, inputs: Any) -> None:
    model = request.getfixturevalue(maker)
    batch = inputs(2, pictures=False)
    neurons = [(site.layer, site.expert, 3) for site in model.sites]
    plain = logits(model, batch)
    twin = copy.deepcopy(model.hf)
    for site in model.sites:
        module = twin.get_submodule(site.module_name)
        if site.expert >= 0:
            module.down_proj.data[site.expert, :, 3] = 0
        else:
            module.weight.data[:, 3] = 0
    with torch.no_grad():
        expected = twin(**batch).logits.numpy()
    with ablate(model, neurons):
        got = logits(model, batch)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(got - plain).max() > 1e-2
    np.testing.assert_allclose(logits(model, batch), plain, rtol=1e-5, atol=1e-6)


def zeroed(rows: dict[int, list[int]], at: Any) -> Any:
    def change(row: int, activation: torch.Tensor, prompt: int) -> torch.Tensor:
        for place in range(len(activation)):
            if row in rows and at(place, prompt):
                activation[place, rows[row]] = 0
        return activation

    return change


PLACES = {
    "image": (dict(positions="image"), lambda p, n: 1 <= p <= 4),
    "text": (dict(positions="text"), lambda p, n: p < n and not 1 <= p <= 4),
    "generated": (dict(positions="generated"), lambda p, n: p >= n),
    "prompt": (dict(positions="prompt"), lambda p, n: p < n),
    "predicting": (dict(positions="predicting"), lambda p, n: p >= n - 1),
    "an index": (dict(positions=7), lambda p, n: p == 7),
    "from the end": (dict(positions=[-1, 12]), lambda p, n: p in (n - 1, 12)),
    "step 0 and 2": (dict(steps=[0, 2]), lambda p, n: p in (n, n + 2)),
    "the prefill": (dict(steps=-1), lambda p, n: p < n),
    "both": (dict(positions=["image", "generated"], steps=[-1, 1]),
             lambda p, n: 1 <= p <= 4 or p == n + 1),
}  # fmt: skip
MANY = {0: list(range(0, 24, 2)), 1: list(range(12)), 2: list(range(24))}


@pytest.mark.parametrize("case", PLACES)
def test_positions_and_steps_across_prefill_and_cache(model: Any, inputs: Any, case: str) -> None:
    options, at = PLACES[case]
    batch = inputs(1)
    expected = by_hand(model, batch, 8, zeroed(MANY, at))
    with ablate(model, MANY, **options):
        assert greedy(model, batch)[0] == expected
    if case not in ("step 0 and 2", "an index"):  # which may leave the words as they are
        assert expected != greedy(model, batch)[0]


@pytest.mark.parametrize("positions", ["image", 7, -1, "predicting", "generated"])
def test_left_padding_moves_no_position(model: Any, inputs: Any, positions: Any) -> None:
    padded = inputs(2, padding=(0, 3))
    padded["input_ids"][0, 10:] = padded["input_ids"][0, 10:]
    with ablate(model, MANY, positions=positions):
        single = {key: value[1:, 3:] if key != "pixel_values" else value[1:]
                  for key, value in padded.items()}  # fmt: skip
        alone = logits(model, single)[0]
        together = logits(model, padded)[1, 3:]
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)


def test_flattened_inputs_know_their_positions(opt: Any, inputs: Any) -> None:
    batch = inputs(2, pictures=False)
    with ablate(opt, {0: list(range(24)), 1: list(range(24))}, positions=4):
        got = logits(opt, batch)
    plain = logits(opt, batch)
    np.testing.assert_allclose(got[:, :4], plain[:, :4], rtol=1e-5, atol=1e-6)
    assert np.abs(got[:, 4] - plain[:, 4]).max() > 1e-2


def test_prompt_length_of_a_teacher_forced_caption(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    continued = dict(batch)
    continued["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([[4, 9, 11]])], 1)
    continued["attention_mask"] = torch.ones(1, 13, dtype=torch.long)
    forced = model.prepare(batch, continuation=[[4, 9, 11]])
    with ablate(model, MANY, positions="generated"):
        with torch.no_grad(), model.interventions.running([10]):
            told = model.hf(**continued).logits.numpy()
        taken_for_prompt = logits(model, continued)
        through_the_library = model.forward(forced).logits.detach().numpy()
    plain = logits(model, continued)
    np.testing.assert_array_equal(told[:, :10], plain[:, :10])
    assert np.abs(told[:, 10:] - plain[:, 10:]).max() > 1e-2
    np.testing.assert_array_equal(taken_for_prompt, plain)
    np.testing.assert_array_equal(through_the_library, told)


def test_mean_from_an_array_and_from_a_store(model: Any, inputs: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, 5, 24)).astype(np.float32)
    valid = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=bool)
    store = xr.Dataset(
        {
            "activation": (("image", "layer", "token", "neuron"), values),
            "valid": (("image", "token"), valid),
        }
    )
    means = np.concatenate([values[0], values[1, :, :3]], axis=1).mean(axis=1)

    def change(row: int, activation: torch.Tensor, prompt: int) -> torch.Tensor:
        if row in CHOSEN:
            activation[:, CHOSEN[row]] = torch.from_numpy(means[row, CHOSEN[row]])
        return activation

    batch = inputs(1)
    expected = by_hand(model, batch, 8, change)
    for reference in (means, xr.DataArray(means, dims=("layer", "neuron")), store):
        with ablate(model, CHOSEN, "mean", reference=reference):
            assert greedy(model, batch)[0] == expected


def test_a_range_silences_a_neuron_only_inside(model: Any, inputs: Any) -> None:
    rng = np.random.default_rng(1)
    low = rng.normal(-0.3, 0.2, (3, 24)).astype(np.float32)
    high = low + np.abs(rng.normal(0.4, 0.2, (3, 24))).astype(np.float32)
    acted = [0, 0]

    def change(row: int, activation: torch.Tensor, prompt: int) -> torch.Tensor:
        for index in CHOSEN.get(row, ()):
            own = activation[:, index]
            inside = (own >= float(low[row, index])) & (own <= float(high[row, index]))
            acted[0] += int(inside.sum())
            acted[1] += int((~inside).sum())
            activation[:, index] = torch.where(inside, 0.0, own)
        return activation

    batch = inputs(1)
    expected = by_hand(model, batch, 8, change)
    assert min(acted) > 0
    dims = ("layer", "neuron")
    labelled = xr.Dataset({"low": (dims, low), "high": (dims, high)})
    for reference in ((low, high), labelled):
        with ablate(model, CHOSEN, "range", reference=reference) as made:
            assert greedy(model, batch)[0] == expected
            assert made.how == "range"


def test_from_inpainted_takes_the_value_at_the_same_token(model: Any, inputs: Any) -> None:
    original, other = inputs(1), inputs(1)
    other["pixel_values"] = -other["pixel_values"]
    seen: dict[int, torch.Tensor] = {}
    handles = [
        site.hook(lambda x, row=site.row: seen.__setitem__(row, x.clone())) for site in model.sites
    ]
    logits(model, other)
    for handle in handles:
        handle.remove()

    def change(row: int, activation: torch.Tensor, prompt: int) -> torch.Tensor:
        if row in CHOSEN:
            activation[:prompt, CHOSEN[row]] = seen[row][0][:, CHOSEN[row]]
        return activation

    expected = by_hand(model, original, 8, change)
    stacked = np.stack([seen[row][0].numpy() for row in range(3)])
    store = xr.Dataset({"activation": (("layer", "token", "neuron"), stacked)})
    for reference in (other, store):
        with ablate(model, CHOSEN, "from_inpainted", reference=reference):
            assert greedy(model, original)[0] == expected


def test_from_inpainted_of_a_batch_gives_each_row_its_own(model: Any, inputs: Any) -> None:
    """A batch as the reference is one picture a row, not its first row for all."""
    original, other = inputs(2), inputs(2)
    other["pixel_values"] = -other["pixel_values"]
    rows = [{name: value[k : k + 1] for name, value in other.items()} for k in range(2)]
    with ablate(model, CHOSEN, "from_inpainted", reference=rows):
        expected = logits(model, original)
    with ablate(model, CHOSEN, "from_inpainted", reference=other):
        np.testing.assert_allclose(logits(model, original), expected, atol=1e-5)


def test_every_neuron_from_the_other_picture_is_the_other_pictures_ffn(
    model: Any, inputs: Any
) -> None:
    everything = {layer: range(24) for layer in range(3)}
    batch = inputs(1)
    with ablate(model, everything, "from_inpainted", reference=batch):
        np.testing.assert_allclose(logits(model, batch), logits(model, batch))
        inside = logits(model, batch)
    np.testing.assert_array_equal(inside, logits(model, batch))


def test_no_neuron_is_an_ordinary_input(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    plain = logits(model, batch)
    for nothing in ([], {}, np.zeros((3, 24), bool)):
        with model.ablate(nothing):
            assert len(model.interventions) == 1
            assert (logits(model, batch) == plain).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(neurons={0: [24]}), "neurons 0 to 23"),
        (dict(neurons={0: [-1]}), "neurons 0 to 23"),
        (dict(neurons={7: [1]}), r"layer: got 7.*\[0, 1, 2\]"),
        (dict(neurons="car"), "a NeuronSet"),
        (dict(neurons=np.zeros((2, 24), bool)), r"shape \(3, 24\)"),
        (dict(neurons=np.zeros((3, 24))), "boolean"),
        (dict(neurons={0: [1]}, mode="off"), "'zero', 'mean', 'scale', 'from_inpainted'"),
        (dict(neurons={0: [1]}, mode="mean"), "reference"),
        (dict(neurons={0: [1]}, mode="from_inpainted"), "inpainted picture"),
        (dict(neurons={0: [1]}, mode="mean", reference=np.zeros((1, 2))), r"shape \(3, 24\)"),
        (dict(neurons={0: [1]}, mode="range"), "low and high over .layer, neuron."),
        (dict(neurons={0: [1]}, mode="range", reference=3), "a dataset with 'low' and 'high'"),
        (
            dict(neurons={0: [1]}, mode="range", reference=(np.ones((3, 24)), np.zeros((3, 24)))),
            "low <= high",
        ),
        (
            dict(neurons={0: [1]}, mode="range", reference=xr.Dataset({"mean": 1})),
            "a dataset with 'low' and 'high'",
        ),
        (dict(neurons={0: [1]}, mode="scale", scale=float("nan")), "a finite number"),
        (dict(neurons={0: [1]}, positions="object"), "'predicting'"),
        (dict(neurons={0: [1]}, positions=1.5), "token indices"),
        (dict(neurons={0: [1]}, steps=-2), "-1 for the prompt"),
    ],
)
def test_bad_arguments_are_named(model: Any, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(BadArgument, match=says):
        ablate(model, **arguments)


def test_places_that_cannot_be_known_are_refused(model: Any, inputs: Any) -> None:
    embedded = model.hf.get_input_embeddings()(inputs(1, pictures=False)["input_ids"])
    with ablate(model, CHOSEN, positions="image"), pytest.raises(NotSupported, match="indices"):
        model.hf(inputs_embeds=embedded)
    with ablate(model, CHOSEN, positions=2), pytest.raises(NotSupported, match="positions=None"):
        model.hf.get_submodule(model.sites[0].module_name)(torch.ones(5, 24))
    assert n_hooks(model) == 0


def test_the_repr_says_what_it_does(model: Any) -> None:
    made = ablate(model, CHOSEN, "scale", scale=2, positions="image", name="dogs")
    assert repr(made) == "<ablation 'dogs': 5 neurons in layers 0, 2, scale 2 at image>"
    assert made.provenance["arguments"]["scale"] == 2


def test_what_is_ablated_says_where_its_neurons_come_from(model: Any) -> None:
    chosen = np.zeros((len(model.sites), model.n_neurons), bool)
    chosen[2, [1, 2]] = True
    labels = {"layer": range(len(chosen)), "neuron": range(chosen.shape[1])}
    marked = xr.DataArray(chosen, labels, ("layer", "neuron"), attrs={"provenance": "by hand"})
    made = {"method": "looked at"}
    given = (NeuronSet([2, 2], [1, 2], provenance=made), marked, chosen, {2: [1, 2]})
    said = [ablate(model, one).provenance["arguments"]["neurons"] for one in given]
    assert said == [made, "by hand", None, None]

"""What is a whole number, and what a NaN is: one answer, whoever is asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.activations import capture, record
from mmkn_widgets.attribution import (
    automatic_thresholds,
    otsu,
    passes,
    permutation_threshold,
    quantile_threshold,
    random_like,
    random_uniform,
    score,
    top_neurons,
    two_stage,
)
from mmkn_widgets.core import (
    BadArgument,
    NeuronIndex,
    NeuronSet,
    array_over_neurons,
    neuron_rows,
    real_number,
    real_numbers,
    whole_number,
    whole_numbers,
)
from mmkn_widgets.interventions import ablate, edit, perturb, transplant

NONE = [3.7, -0.5, "1", b"1", True, np.True_, None, math.nan, math.inf, 2**70, -(2**70), 1e99,
        [1], Fraction(5, 2), pd.NA, np.datetime64("2020"), 1j]  # fmt: skip
NONE_BUT_DENSE = -1
SAME = [5, 5.0, np.int8(5), np.uint64(5), np.float16(5), np.array(5), torch.tensor(5),
        torch.tensor(5.0), xr.DataArray(5)]  # fmt: skip


@pytest.mark.parametrize("value", NONE, ids=repr)
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(BadArgument, match="x: got .*, expected a whole number"):
        whole_number("x", value)
    with pytest.raises(BadArgument, match="x: got .*, expected a whole number"):
        whole_numbers("x", [4, value])


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_what_is_the_number_5(value: Any) -> None:
    assert whole_number("x", value, lowest=5, highest=5) == 5
    assert type(whole_number("x", value)) is int
    assert whole_numbers("x", [value, 1]).tolist() == [5, 1]
    for low, high in ((6, None), (None, 4)):
        with pytest.raises(BadArgument, match="a whole number"):
            whole_number("x", value, lowest=low, highest=high)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-(2**64), 2**64), st.floats(), st.booleans()), max_size=6))
def test_arrays_and_lists_agree_with_python(values: list[Any]) -> None:
    def whole(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        return (isinstance(value, int) or value.is_integer()) and -(2**63) <= value < 2**63

    if all(map(whole, values)):
        assert whole_numbers("x", values).tolist() == [int(value) for value in values]
        assert whole_numbers("x", iter(values)).tolist() == [int(value) for value in values]
    else:
        with pytest.raises(BadArgument, match="x: got"):
            whole_numbers("x", values)
    floats = np.array([value for value in values if isinstance(value, float)], np.float64)
    if all(map(whole, floats.tolist())):
        assert whole_numbers("x", floats).tolist() == [int(value) for value in floats]
    else:
        with pytest.raises(BadArgument, match="x: got"):
            whole_numbers("x", floats)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, 3.7]), np.array([1, np.nan]), np.array([True, False]), np.array(["1", "2"]),
        np.array([1, 2**63], np.uint64), np.array([[1, 2]]), np.array([1, None]),
        pd.Series([1, 2.5]), pd.Series([1, None]), pd.Series([1, pd.NA], dtype="Int64"),
        torch.tensor([1.0, 2.5]), torch.tensor([True]), xr.DataArray([1.5]), "12", {"1": 2},
    ],
    ids=repr,
)  # fmt: skip
def test_arrays_that_are_no_indices(array: Any) -> None:
    with pytest.raises(BadArgument, match="^x: got"):
        whole_numbers("x", array)


def test_columns_that_are_indices() -> None:
    for column in (
        pd.Series([3.0, 5.0]), pd.Series([3, 5], dtype="Int64"), pd.Index([3, 5]),
        torch.tensor([3, 5], dtype=torch.int32), np.array([3, 5], ">i2"), xr.DataArray([3, 5]),
        (n for n in (3, 5.0)), range(3, 6, 2), np.array([3, 5], object),
    ):  # fmt: skip
        assert whole_numbers("x", column).tolist() == [3, 5]
    assert whole_numbers("x", 7).tolist() == [7]
    assert whole_numbers("x", []).tolist() == []
    given = np.array([1, 2])
    whole_numbers("x", given)[0] = 9
    assert given.tolist() == [1, 2]


def test_real_numbers() -> None:
    assert real_number("x", np.float32(0.5)) == 0.5
    assert real_number("x", -math.inf, finite=False) == -math.inf
    for wrong in ("1", None, True, 1j, math.nan, 10**400, [1.0]):
        with pytest.raises(BadArgument, match="x: got .*expected a number"):
            real_number("x", wrong, finite=False)
    with pytest.raises(BadArgument, match="from 0 to 1"):
        real_number("x", 1.0000001, lowest=0, highest=1)
    for end in (0, 1, 0.0, np.float64(1)):
        assert real_number("x", end, lowest=0, highest=1) == end
    for wrong in ([1, "2"], [1, None], np.array([True]), [math.inf], np.array(["1"]), "12"):
        with pytest.raises(BadArgument, match="x: got .*expected a finite number"):
            real_numbers("x", wrong)
    assert real_numbers("x", torch.tensor([1.5], dtype=torch.bfloat16)).tolist() == [1.5]


# -- neuron sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NONE, NONE_BUT_DENSE], ids=repr)
def test_a_neuron_set_takes_numbers_only(value: Any) -> None:
    for column in ("layer", "index", "expert"):
        columns: dict[str, Any] = {"layer": [5, 6], "index": [1, 2], "expert": [0, 0]}
        if column == "expert" and value is NONE_BUT_DENSE:
            continue  # a dense layer
        with pytest.raises(BadArgument, match=f"{column}: got"):
            NeuronSet(**{**columns, column: [4, value]})


def test_the_columns_of_a_neuron_set() -> None:
    with pytest.raises(BadArgument, match="index: got 3.7"):
        NeuronSet([5.0], [3.7])
    assert NeuronSet([5.0], [3.0]).places == [(5, -1, 3)]
    table = pd.DataFrame({"layer": [5.0, 4.0], "index": [3, 2]})
    assert NeuronSet(table["layer"], table["index"]).places == [(5, -1, 3), (4, -1, 2)]
    assert NeuronSet(iter([5]), iter([3])).places == [(5, -1, 3)]
    for name, wrong in (
        ("expert", [-2]), ("score", ["0.5"]), ("score", [True]), ("score", [math.nan]),
        ("score", [1e39]), ("score", [None]), ("score", [0.1, 0.2]), ("sign", [math.nan]),
        ("sign", ["1"]), ("sign", [1, 1]), ("words", ["car"]), ("words", "car"), ("words", [3]),
        ("words", [["car"], ["bus"]]), ("provenance", {(1, 2): 3}), ("provenance", "mine"),
    ):  # fmt: skip
        with pytest.raises(BadArgument, match=f"{name}: got"):
            NeuronSet([5], [3], **{name: wrong})


def test_taking_neurons_out_of_a_set() -> None:
    neurons = NeuronSet([1, 2, 3], [4, 5, 6])
    assert neurons.take([True, False, True]).layer.tolist() == [1, 3]
    assert neurons.take([-1, 0.0]).layer.tolist() == [3, 1]
    assert neurons.take([]).places == []
    for wrong in ([3], [-4], [0.5], ["0"], [True], [2**70]):
        with pytest.raises(BadArgument, match="which: got"):
            neurons.take(wrong)
    assert neurons.top(2.0).layer.tolist() == [1, 2]
    assert len(neurons.top(3)) == len(neurons.top(99)) == 3
    for wrong in (-1, 1.5, True, math.nan, "2", 2**70):
        with pytest.raises(BadArgument, match="n: got"):
            neurons.top(wrong)
    assert neurons.filter(lambda n: np.bool_(n.layer > 1)).layer.tolist() == [2, 3]


def test_being_in_a_set() -> None:
    neurons = NeuronSet([1, 2], [4, 5], [-1, 7])
    for inside in ((1, 4), [1, 4], np.array([1, 4]), (1, -1, 4), (2, 7, 5), neurons[0], (1.0, 4.0)):
        assert inside in neurons
    for outside in ((1, 4.5), (2, 5), (1,), 4, "14", None, ([1], 4), {}, (math.nan, 4), (2**70, 1)):
        assert outside not in neurons


def described(*neurons: dict[str, Any], **more: Any) -> str:
    found = {"format": "mmkn-neuron-set", "version": 1, "neurons": list(neurons), "provenance": {}}
    return json.dumps({**found, **more})


ONE = {"layer": 5, "index": 3, "score": 0.5}


def test_the_json_of_a_set_says_what_is_wrong() -> None:
    assert NeuronSet.from_json(described(ONE)).places == [(5, -1, 3)]
    assert NeuronSet.from_json(described({**ONE, "layer": 5.0})).places == [(5, -1, 3)]
    wrong: list[Any] = [
        described({**ONE, key: value})
        for key in ("layer", "index", "expert")
        for value in (True, 3.7, 1e99, 2**70, "5", None, [5], {}, -2, math.nan)
    ]
    wrong += [described({**ONE, "score": value}) for value in (True, "1", None, math.nan, 1e39, [])]
    wrong += [described({**ONE, "words": value}) for value in ("car", [1], None, {"a": 1}, [["a"]])]
    wrong += [described({**ONE, "sign": value}) for value in (2, 0.5, True, "1", None)]
    wrong += [described({k: v for k, v in ONE.items() if k != gone}) for gone in ONE]
    wrong += [
        described(ONE, ONE), described(ONE, {**ONE, "index": 4, "words": ["a"]}),
        described(ONE, {**ONE, "index": 4, "sign": 1}), described(neurons={"0": ONE}),
        described(neurons="all"), described(neurons=[[5, 3]]), described(neurons=None),
        described(ONE, version=True), described(ONE, version="1"), described(ONE, version=2),
        described(ONE, provenance=[1]), described(ONE, provenance="x"), described(ONE, format="x"),
        described(ONE).replace('"layer": 5', '"layer": 5, "layer": 4'),
        "[" * 200_000, "[]", "5", "null", '"text"', "", "\ufeff{}", None, 5, b"\xff", ["a"],
        described(ONE).replace('"index": 3', '"index": ' + "9" * 5000),
    ]  # fmt: skip
    for text in wrong:
        with pytest.raises(BadArgument, match="^text: "):
            NeuronSet.from_json(text)


def test_a_long_list_is_read() -> None:
    many = [{"layer": n // 500, "index": n % 500, "score": 0.0} for n in range(50_000)]
    assert len(NeuronSet.from_json(described(*many))) == 50_000


# -- "these neurons" of a model --------------------------------------------------------------------


def test_every_way_to_name_neurons_names_the_same(pocket: Any) -> None:
    neurons = NeuronSet([4, 5, 4], [7, 511, 2])
    wanted = {4: [2, 7], 5: [511]}
    table = neurons.to_dataframe()
    shuffled = table.iloc[[2, 0, 1]].set_index(pd.Index([33, 44, 55]))
    mask = neurons.mask(pocket)
    labels = {"layer": range(6), "neuron": range(512)}
    labelled = xr.DataArray(mask, labels, ("layer", "neuron"))
    ways: list[Any] = [
        neurons, list(neurons), {4: [7, 2], 5: 511}, {4.0: (7.0, 2), np.int64(5): {511}},
        [(4, 7), (5, 511), (4, 2)], [(4, -1, 7), [5, 511], np.array([4, 2])],
        ((n.layer, n.index) for n in neurons), np.array([[4, 7], [5, 511], [4, 2]]),
        np.array([[4.0, 7], [5, 511], [4, 2]]), np.array([[4, -1, 7], [5, -1, 511], [4, -1, 2]]),
        table, shuffled, table.astype({"layer": float}), table[["index", "layer"]],
        [row for _, row in table.iterrows()], list(table.itertuples()), table.to_dict("records"),
        mask, torch.from_numpy(mask), labelled, labelled.transpose("neuron", "layer"),
        labelled.isel(layer=slice(None, None, -1), neuron=slice(None, None, -1)),
        labelled.isel(layer=[5, 4]), labelled.isel(neuron=[511, 7, 2, 9]),
    ]  # fmt: skip
    for way in ways:
        found = neuron_rows(pocket, way)
        assert {row: index.tolist() for row, index in found.items()} == wanted, way
    assert neuron_rows(pocket, neurons[0])[4].tolist() == [7]
    for empty in ([], {}, np.zeros((0, 2)), NeuronSet([], []), table.iloc[:0]):
        assert neuron_rows(pocket, empty) == {}


@pytest.mark.parametrize("value", NONE, ids=repr)
def test_no_neuron_is_named_by_what_is_no_number(pocket: Any, value: Any) -> None:
    ways: list[Any] = [[(4, value)], [(value, 4)], [(4, value, 1)], {4: [1, value]}]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        ways += [pd.DataFrame({"layer": [4], "index": [value]}), [{"layer": value, "index": 3}]]
    if value.__hash__ is not None:
        ways.append({value: [1]})
    for way in ways:
        with pytest.raises(BadArgument):
            neuron_rows(pocket, way)


def test_what_names_no_neuron(pocket: Any) -> None:
    for wrong in (
        5, "12", ["12"], [(4,)], [(4, 1, 2, 3)], [4, 7], (4, 7), np.array([4, 7]),
        {4: [True] * 512}, {4: [[1, 2]]}, {"4": [1]}, pd.DataFrame({"layer": [4]}),
        pd.DataFrame({"layer": [4], "index": [None]}), np.zeros((6, 512)), np.zeros((6, 5), bool),
        xr.DataArray(np.zeros((2, 512), bool), dims=("layer", "neuron")), [{"layer": 4}], object(),
        torch.zeros(6, 512),
    ):  # fmt: skip
        with pytest.raises(BadArgument):
            neuron_rows(pocket, wrong)


def test_the_last_neuron_is_there_and_the_next_is_not(pocket: Any) -> None:
    width, layers = 512, 6
    index = NeuronIndex.of(pocket)
    labelled = xr.Dataset({"x": (("layer", "neuron"), np.zeros((2, 3)))}, {"layer": [0, 5]})
    asked: list[tuple[Callable[[int], Any], int]] = [
        (lambda n: neuron_rows(pocket, [(5, n)]), width - 1),
        (lambda n: neuron_rows(pocket, {5: [0, n]}), width - 1),
        (lambda n: neuron_rows(pocket, [(n, 3)]), layers - 1),
        (lambda n: NeuronSet([5], [n]).rows(pocket), width - 1),
        (lambda n: NeuronSet([n], [5]).mask(pocket), layers - 1),
        (lambda n: NeuronSet([5], [n]).with_words(pocket, k=1), width - 1),
        (lambda n: index.flat(5, n), width - 1),
        (lambda n: index.row(n), layers - 1),
        (lambda n: index.place(n), layers * width - 1),
        (lambda n: index.mask([n]), layers * width - 1),
        (lambda n: index.join([0], [n]), width - 1),
        (lambda n: index.join([n], [0]), layers - 1),
        (lambda n: NeuronIndex.of_labelled(labelled).flat(5, n), 2),
        (lambda n: NeuronSet([1, 2], [3, 4]).take([n]), 1),
        (lambda n: ablate(pocket, {n: [1]}), layers - 1),
        (lambda n: ablate(pocket, [(2, n)]), width - 1),
        (lambda n: perturb(pocket, [(2, n)]), width - 1),
        (lambda n: capture_layers(pocket, [n]), layers - 1),
        (lambda n: record(pocket, rows=[n]).__enter__(), layers - 1),
        (lambda n: pocket.site(n), layers - 1),
        (lambda n: pocket.neuron_words([5], [n], k=1), width - 1),
        (lambda n: random_uniform(pocket, n), layers * width),
    ]
    for ask, last in asked:
        ask(last)
        for wrong in (last + 1, last - 0.5, 2**70, math.nan):
            with pytest.raises(BadArgument):
                ask(wrong)
    for ask, _ in asked[:-1]:  # -1 of them
        if ask is not asked[13][0]:  # places of a sequence count from its end
            with pytest.raises(BadArgument):
                ask(-1)


def capture_layers(model: Any, layers: Any) -> list[int]:
    from mmkn_widgets.activations.record import site_rows

    return site_rows(model, layers)


def test_the_layers_of_a_capture(pocket: Any) -> None:
    assert capture_layers(pocket, 5) == capture_layers(pocket, [5.0]) == [5]
    assert capture_layers(pocket, range(2, 4)) == [2, 3]
    picture = np.zeros((8, 8, 3), np.uint8)
    for wrong in ([1.5], ["1"], [True], [math.nan], [2**70], [-1], [6], [], "1", [[1]]):
        with pytest.raises(BadArgument, match="layers: got"):
            capture(pocket, picture, layers=wrong)


def test_an_index_by_number(pocket: Any) -> None:
    index = NeuronIndex([4, 5], 3, neuron=[10, 30, 20])
    assert index.place(4) == (5, -1, 30)
    assert index.flat(5, 20) == 5
    assert index.neurons([5, 0]).places == [(5, -1, 20), (4, -1, 10)]
    assert index.ids(index.neurons([3, 1])).tolist() == [3, 1]
    assert index != NeuronIndex([4, 5], 3)
    with pytest.raises(BadArgument, match="among 10, 20, 30"):
        index.flat(5, 1)
    for wrong in ({"layer": [4, 4]}, {"layer": [1.5, 2]}, {"neuron": [1, 1, 2]},
                  {"neuron": [1]}, {"width": 2.5}, {"width": True}, {"expert": [0]},
                  {"neuron": [0.5, 1, 2]}):  # fmt: skip
        with pytest.raises(BadArgument):
            NeuronIndex(**{"layer": [4, 5], "width": 3, **wrong})
    for ask in (index.row, lambda v: index.flat(4, v), lambda v: index.flat(4, 10, v),
                lambda v: index.place(v), lambda v: index.split([v])):  # fmt: skip
        for wrong in (0.5, True, "0", None, math.nan, 2**70):
            with pytest.raises(BadArgument):
                ask(wrong)


def test_reference_values_follow_their_labels(pocket: Any) -> None:
    rng = np.random.default_rng(0)
    values = xr.DataArray(
        rng.random((6, 512), np.float32), {"layer": range(6), "neuron": range(512)},
        ("layer", "neuron"),
    )  # fmt: skip
    order = {"layer": rng.permutation(6), "neuron": rng.permutation(512)}
    for way in (values, values.T, values.isel(order), values.isel(order).expand_dims(run=[1])):
        np.testing.assert_array_equal(array_over_neurons(pocket, way, "reference"), values.values)
    for wrong in (values.isel(layer=[0]), values.assign_coords(neuron=range(1, 513))):
        with pytest.raises(BadArgument, match="reference: got"):
            array_over_neurons(pocket, wrong, "reference")


def test_what_interventions_refuse(pocket: Any) -> None:
    one = {4: [1]}
    values = np.zeros((6, 512))
    for wrong in (math.nan, math.inf, -math.inf, "1", True, None, 10**400, [1.0]):
        with pytest.raises(BadArgument, match="scale: got"):
            ablate(pocket, one, "scale", scale=wrong)
        with pytest.raises(BadArgument, match="sigma: got"):
            perturb(pocket, one, wrong)
        if wrong is not None:
            with pytest.raises(BadArgument, match="alpha: got"):
                edit(pocket, one, "car", "boat", activation=values + 1, alpha=wrong)
    for wrong in (1.5, True, math.nan, 2**70, None, [1]):
        for argument in ("positions", "steps"):
            with pytest.raises(BadArgument, match=f"{argument}: got"):
                ablate(pocket, one, **{argument: [0, wrong]})
        with pytest.raises(BadArgument, match="layers: got"):
            transplant(pocket, values, layers=[wrong])
        if wrong is not None:
            with pytest.raises(BadArgument, match="top: got"):
                edit(pocket, one, "car", "boat", activation=values, top=wrong)
        with pytest.raises(BadArgument, match="leave_out_last: got"):
            edit(pocket, one, "car", "boat", activation=values, leave_out_last=wrong)
        with pytest.raises(BadArgument, match="seed: got"):
            perturb(pocket, one, seed=wrong)
    many = np.stack([values, values])
    for wrong in ([0, 1.5], [0, -1], [0, True], [0, math.nan], [0]):
        with pytest.raises(BadArgument, match="positions: got"):
            transplant(pocket, many, positions=wrong)
    made = ablate(pocket, one, "scale", scale=np.float32(0.5), positions=[np.int64(3), "image"])
    assert made.scale == 0.5
    assert made.selection.positions == (3, "image")
    assert ablate(pocket, one, steps=np.array([-1, 2])).selection.steps == (-1, 2)
    with pytest.raises(BadArgument, match="steps"):
        ablate(pocket, one, steps=-2)


def test_how_many_random_neurons(pocket: Any) -> None:
    assert len(random_uniform(pocket, 6 * 512)) == 6 * 512
    some = random_uniform(pocket, 3.0, 1)
    for wrong in (1.5, True, math.nan, "1", -1, 2**70, 6 * 512 + 1):
        with pytest.raises(BadArgument, match="top: got"):
            random_uniform(pocket, wrong)
    for wrong in (1.5, True, math.nan, "1", -1, 2**70, None):
        with pytest.raises(BadArgument, match="seed: got"):
            random_uniform(pocket, 1, wrong)
        with pytest.raises(BadArgument, match="seed: got"):
            random_like(pocket, some, wrong)
        with pytest.raises(BadArgument, match="seed: got"):
            score(pocket, "random", seed=wrong)


# -- NaN and infinity in scores and thresholds -----------------------------------------------------


def evidence(d: Any, g: Any, **more: Any) -> xr.Dataset:
    dims = ("layer", "neuron")
    d, g = np.asarray(d, np.float32), np.asarray(g, np.float32)
    labels = {"layer": np.arange(len(d)), "neuron": np.arange(d.shape[1])}
    return xr.Dataset({"difference": (dims, d), "gradcam": (dims, g), **more}, labels)


D = [[0.9, math.nan, 0.1, 0.5], [0.7, 0.2, math.nan, -0.3]]
G = [[0.4, 0.9, 0.3, math.nan], [0.1, 0.2, math.nan, -0.5]]


def kept(neurons: NeuronSet) -> set[tuple[int, int]]:
    return {(n.layer, n.index) for n in neurons}


def test_a_score_of_nan_never_passes_and_a_threshold_of_nan_is_refused() -> None:
    data = evidence(D, G)
    known = {(0, 0), (0, 2), (1, 0), (1, 1), (1, 3)}
    low, high, nan = -math.inf, math.inf, math.nan
    assert kept(two_stage(data, threshold_d=low, threshold_g=low)) == known
    assert kept(two_stage(data, threshold_d=low)) == known
    assert kept(two_stage(data, candidates=1)) == known
    for nothing in ({"threshold_d": high}, {"threshold_g": high}, {"threshold_d": 1e300}):
        found = two_stage(data, **nothing)
        assert len(found) == 0
        json.loads(found.to_json(), parse_constant=pytest.fail)
    d, g = np.array(D), np.array(G)
    assert passes(d, g, low, low).sum() == 5
    assert passes(d, g, high, low).sum() == passes(d, g, low, high).sum() == 0
    assert passes(d, g, 1e300, low).sum() == 0
    for name in ("threshold_d", "threshold_g"):
        for wrong in (nan, "0.5", True, [0.5]):
            with pytest.raises(BadArgument, match=f"{name}: got"):
                two_stage(data, **{name: wrong})
            with pytest.raises(BadArgument, match=f"{name}: got"):
                passes(d, g, **{"threshold_d": 0.0, "threshold_g": 0.0, name: wrong})
    for name in ("quantile_d", "quantile_g"):
        for wrong in (nan, high, low, -0.1, 1.1, "0.5", True):
            with pytest.raises(BadArgument, match=f"{name}: got"):
                two_stage(data, **{name: wrong})
    for wrong in (0, -1, 1.5, True, nan, "2", 2**70):
        with pytest.raises(BadArgument, match="top: got"):
            two_stage(data, threshold_d=0.0, top=wrong)
    for wrong in (0, 1.1, nan, "0.5", True):
        with pytest.raises(BadArgument, match="candidates: got"):
            two_stage(data, candidates=wrong)


def test_without_any_score_there_is_no_quantile() -> None:
    nothing = evidence([[math.nan] * 3], [[math.nan] * 3])
    assert len(two_stage(nothing, threshold_d=0.1)) == 0
    for options in ({"quantile_d": 0.5}, {"quantile_g": 0.5}, {"candidates": 0.5}, {}):
        with pytest.raises(BadArgument, match="no neuron has a score"):
            two_stage(nothing, **options)
    for ask in (otsu, lambda s: quantile_threshold(s, 0.5)):
        with pytest.raises(BadArgument, match="scores: got 'no number'"):
            ask(np.full(3, math.nan))
    with pytest.raises(BadArgument, match="scores"):
        automatic_thresholds(nothing)
    for wrong in (math.nan, -0.1, 1.1, "1", True):
        with pytest.raises(BadArgument, match="quantile: got"):
            quantile_threshold(np.ones(3), wrong)
    for wrong in (1, 1.5, True):
        with pytest.raises(BadArgument, match="bins: got"):
            otsu(np.arange(9.0), wrong)
    assert quantile_threshold(np.array([1.0, math.nan, 3.0, math.inf]), 0.5) == 2.0


def test_a_quantile_is_over_the_neurons_that_have_both_scores() -> None:
    data = evidence(D, G)
    both = np.array([0.9, 0.1, 0.7, 0.2, -0.3], np.float32)
    found = two_stage(data, quantile_d=0.5).provenance["arguments"]["threshold_d"]
    assert found == float(np.float32(np.quantile(both.astype(float), 0.5)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_evidence_goes_by_its_labels_too(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    d, g, a = rng.normal(size=(3, 4, 20)).astype(np.float32)
    whole = evidence(d, g, activation=(("layer", "neuron"), a))
    rows = data.draw(st.lists(st.integers(0, 3), min_size=1, unique=True))
    columns = data.draw(st.lists(st.integers(0, 19), min_size=1, unique=True))
    part = whole.isel(layer=rows, neuron=columns)
    if data.draw(st.booleans()):
        part = part.transpose("neuron", "layer")
    found = two_stage(part, threshold_d=0.0, threshold_g=-0.5)
    wanted = [(r, c) for r in rows for c in columns if d[r, c] > 0 and g[r, c] > -0.5]
    assert kept(found) == set(wanted)
    assert found.score.tolist() == sorted((g[p] for p in wanted), reverse=True)
    assert found.sign is not None
    assert found.sign.tolist() == [np.sign(a[n.layer, n.index]) for n in found]
    best = top_neurons(part["gradcam"], 3)
    order = sorted(((r, c) for r in rows for c in columns), key=lambda p: -g[p])[:3]
    assert [(n.layer, n.index) for n in best] == order
    scores = score(part, "two_stage", threshold_d=0.0)
    assert kept(top_neurons(scores, 99)) == kept(two_stage(part, threshold_d=0.0))
    row = part.isel(layer=0)
    assert kept(two_stage(row, threshold_d=0.0)) == {
        (rows[0], c) for c in columns if d[rows[0], c] > 0
    }


def test_how_many_permutations(pocket: Any) -> None:
    data = xr.Dataset({"pair_gradcam": (("scene", "layer", "neuron"), np.ones((3, 1, 2)))})
    for options in ({"n": 1.5}, {"n": 0}, {"n": True}, {"seed": -1}, {"seed": 1.5}, {"rate": "0.1"},
                    {"rate": math.nan}, {"rate": 0}, {"rate": 1}):  # fmt: skip
        (name,) = options
        with pytest.raises(BadArgument, match=f"{name}: got"):
            permutation_threshold(data, stage="gradcam", **options)

"""NeuronSet: order, algebra, JSON against the published schema."""

from __future__ import annotations

import json
import pickle
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkn_widgets.attribution import NeuronSet
from mmkn_widgets.core.errors import BadArgument

places = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), unique=True, max_size=20)


def make(pairs: list[tuple[int, int]]) -> NeuronSet:
    return NeuronSet(
        [p[0] for p in pairs], [p[1] for p in pairs], score=np.linspace(1, 0, len(pairs))
    )


def keys(neurons: NeuronSet) -> set[tuple[int, int]]:
    return {(n.layer, n.index) for n in neurons}


@given(places, places)
def test_algebra_is_that_of_sets_and_keeps_the_left_order(a, b) -> None:
    left, right = make(a), make(b)
    assert keys(left | right) == set(a) | set(b)
    assert keys(left & right) == set(a) & set(b)
    assert keys(left - right) == set(a) - set(b)
    assert [(n.layer, n.index) for n in left & right] == [p for p in a if p in set(b)]


@given(places)
def test_json_round_trip_follows_the_schema(pairs) -> None:
    neurons = make(pairs)
    text = neurons.to_json()
    schema = json.loads(files("mmkn_widgets.core").joinpath("neuron_set.schema.json").read_text())
    jsonschema.validate(json.loads(text), schema)
    assert NeuronSet.from_json(text) == neurons


def test_words_experts_and_provenance_survive_a_file(tmp_path) -> None:
    made = NeuronSet([1, 2], [3, 4], [-1, 7], [0.5, 0.25], [["a"], ["b", "<b>"]], {"method": "x"})
    read = NeuronSet.load(made.save(tmp_path / "x.mmkn.json"))
    assert read == made
    assert read.words == (("a",), ("b", "<b>"))
    assert read.expert.tolist() == [-1, 7]
    assert read.provenance == {"method": "x"}


def test_it_is_immutable_and_says_what_is_wrong(tmp_path) -> None:
    neurons = make([(0, 1)])
    with pytest.raises(ValueError, match="read-only"):
        neurons.layer[0] = 3
    with pytest.raises(BadArgument, match="same neuron twice"):
        NeuronSet([1, 1], [2, 2])
    with pytest.raises(BadArgument, match="index: got"):
        NeuronSet([1, 1], [2])
    with pytest.raises(BadArgument, match="version 99"):
        NeuronSet.from_json('{"format": "mmkn-neuron-set", "version": 99, "neurons": []}')
    with pytest.raises(BadArgument, match="text: got"):
        NeuronSet.from_json("not json")
    with pytest.raises(BadArgument, match="path"):
        NeuronSet.load(tmp_path / "absent.mmkn.json")


def test_the_empty_set_is_ordinary() -> None:
    empty = NeuronSet([], [])
    assert len(empty) == 0
    assert empty.layer_histogram() == {}
    assert len(empty | make([(1, 1)])) == 1
    assert empty.to_dataframe().empty


def test_nothing_about_it_can_be_set() -> None:
    neurons = make([(0, 1), (2, 3)])
    with pytest.raises(AttributeError, match="immutable"):
        neurons.words = None  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del neurons.layer
    neurons.provenance["method"] = "mine"
    assert neurons.provenance == {}
    assert pickle.loads(pickle.dumps(neurons)) == neurons


def test_it_is_a_sequence() -> None:
    neurons = make([(0, 1), (2, 3), (4, 5)])
    assert (neurons[-1].layer, neurons[1].index) == (4, 3)
    assert [n.index for n in neurons[1:]] == [3, 5]
    assert (2, 3) in neurons
    assert (2, -1, 3) in neurons
    assert neurons[0] in neurons
    assert (2, 4) not in neurons
    with pytest.raises(IndexError):
        _ = neurons[3]
    with pytest.raises(BadArgument, match="NaN"):
        NeuronSet([1], [1], score=[float("nan")])


def test_signs_travel_with_their_neurons() -> None:
    made = NeuronSet([1, 2, 3], [4, 5, 6], score=[3, 2, 1], sign=[-1, 1, 0])
    assert made.top(2).sign.tolist() == [-1, 1]
    assert NeuronSet.from_json(made.to_json()).sign.tolist() == [-1, 1, 0]
    assert (made | NeuronSet([9], [9], sign=[-7])).sign.tolist() == [-1, 1, 0, -1]
    assert (made | NeuronSet([9], [9])).sign is None


def test_words_follow_the_sign(pocket) -> None:
    up = NeuronSet([4], [33], sign=[1]).with_words(pocket, k=3)
    down = NeuronSet([4], [33], sign=[-1]).with_words(pocket, k=3)
    written = pocket.unembedding.float() @ pocket.w_out(4)[:, 33].float()
    decoded = [
        [pocket.tokenizer.decode([i]) for i in (s * written).topk(3).indices.tolist()]
        for s in (1, -1)
    ]
    assert [list(up.words[0]), list(down.words[0])] == decoded


def test_masks_and_rows_are_the_models(pocket) -> None:
    neurons = NeuronSet([4, 0], [33, 7])
    mask = neurons.mask(pocket)
    assert mask.shape == (6, 512)
    assert list(zip(*np.nonzero(mask), strict=True)) == [(0, 7), (4, 33)]
    for wrong in (NeuronSet([9], [0]), NeuronSet([0], [512]), NeuronSet([0], [0], [2])):
        with pytest.raises(BadArgument):
            wrong.mask(pocket)

"""NeuronSet: order, algebra, JSON against the published schema."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkn_widgets._errors import BadArgument
from mmkn_widgets.attribution import NeuronSet

places = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), unique=True, max_size=20)


def make(pairs: list[tuple[int, int]]) -> NeuronSet:
    return NeuronSet([p[0] for p in pairs], [p[1] for p in pairs], score=np.linspace(1, 0, len(pairs)))


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
    schema = json.loads(
        files("mmkn_widgets.attribution").joinpath("neuron_set.schema.json").read_text()
    )
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

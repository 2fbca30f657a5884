"""Contrastive scores: what is taken away of a score, and whom a neuron serves."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import contrast, served

WORDS = ("dog", "cat", "car")
#: (word, layer, neuron)
VALUES = np.float32(
    [
        [[5.0, 4.0, 3.0], [2.0, -1.0, 0.5]],
        [[5.0, 0.0, 1.0], [0.0, 9.0, 0.0]],
        [[2.0, 1.0, 2.0], [8.0, -2.0, 0.0]],
    ]
)


@pytest.fixture
def scores() -> xr.DataArray:
    coords = {"word": list(WORDS), "layer": [4, 7], "neuron": [0, 1, 2]}
    return xr.DataArray(VALUES, coords, ("word", "layer", "neuron"))


@pytest.mark.parametrize(("against", "reduce"), [("mean", np.mean), ("maximum", np.max)])
def test_the_scores_of_the_other_words_are_taken_away(scores, against, reduce) -> None:
    for at, word in enumerate(WORDS):
        others = np.delete(VALUES, at, 0)
        found = contrast(scores, word, against)
        np.testing.assert_allclose(found.values, VALUES[at] - reduce(others, 0), rtol=1e-6)
        assert found.dtype == np.float32 and found["layer"].values.tolist() == [4, 7]


def test_neurons_in_the_top_of_another_word_have_no_score(scores) -> None:
    found = contrast(scores, "dog", "exclusive", top=1).values
    gone = [[False, False, False], [True, True, False]]  # car's best and cat's
    assert np.isnan(found).tolist() == gone
    assert found[0].tolist() == VALUES[0, 0].tolist()
    # a score of 0 is in nobody's top, however many there are
    assert np.isfinite(contrast(scores, "dog", "exclusive", top=6).values).tolist() == [
        [False, False, False],
        [False, False, True],
    ]


def test_whom_a_neuron_serves(scores) -> None:
    neurons = mmkn.NeuronSet([7, 4, 4], [0, 0, 1])
    table = served(scores, neurons, "dog", top=2)
    assert table[["layer", "index"]].values.tolist() == [[7, 0], [4, 0], [4, 1]]
    assert table["serves"].tolist() == ["car", "cat, car", ""]
    assert table["others"].tolist() == [1, 2, 0]
    assert table["dog"].tolist() == [2.0, 5.0, 4.0]
    assert served(scores, neurons, top=1)["serves"].tolist() == ["car", "dog", ""]


def test_bad_input_is_named(scores) -> None:
    with pytest.raises(mmkn.BadArgument, match="against"):
        contrast(scores, "dog", "least")
    with pytest.raises(mmkn.BadArgument, match="word"):
        contrast(scores, "fish")
    with pytest.raises(mmkn.BadArgument, match="word"):
        contrast(scores.sel(word=["dog"]), "dog")
    with pytest.raises(mmkn.BadArgument, match="word"):
        served(scores, mmkn.NeuronSet([4], [0]), "fish")


def test_no_neurons_serve_nothing_in_a_table_with_its_columns() -> None:
    coords = {"word": ["dog", "cat"], "layer": [4], "neuron": [0, 1]}
    scores = xr.DataArray([[[3.0, 2.0]], [[3.0, 0.0]]], coords, ("word", "layer", "neuron"))
    found = served(scores, mmkn.NeuronSet([], []), "dog")
    assert list(found.columns) == ["layer", "index", "dog", "serves", "others"]
    assert found["serves"].tolist() == []

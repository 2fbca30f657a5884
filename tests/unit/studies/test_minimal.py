"""The fewest neurons of a ranking: against every number tried one by one."""

from __future__ import annotations

from typing import Any

import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import NeuronSet, random_uniform
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.studies import minimal_set


@pytest.fixture(scope="module")
def study() -> Any:
    val = mmkn.datasets.pocket_world("val")
    return mmkn.study(mmkn.load_model("pocket"), "car", val.with_concept("car", 6))


def _share(study: Any, neurons: Any, scenes: Any) -> float:
    model = study.model
    gone = 0
    for scene in scenes:
        assert "car" in model.caption(scene.image)
        with model.ablate(neurons):
            gone += "car" not in model.caption(scene.image).split()
    return gone / len(scenes)


def test_it_is_the_first_number_that_is_enough(study: Any) -> None:
    found, ranked = study.minimal_set(), study.neurons()
    assert found.places == ranked.places[: len(found)]
    assert _share(study, found, study.scored) >= 0.95
    assert _share(study, ranked.top(len(found) - 1), study.scored) < 0.95
    told = found.provenance["suppression"]
    assert told[str(len(found))] == pytest.approx(_share(study, found, study.scored))
    assert {"1", "2", "4", "8", str(len(ranked))} <= set(told)


def test_less_suppression_takes_no_more_neurons(study: Any) -> None:
    val = mmkn.datasets.pocket_world("val").with_concept("car", 12)
    sizes = [len(minimal_set(study, suppression=s, with_concept=val)) for s in (0.1, 0.5, 1.0)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_where_all_are_not_enough_it_is_empty_and_says_why(study: Any) -> None:
    none = minimal_set(study, random_uniform(study.model, 5))
    assert len(none) == 0
    assert "none of the first 5 neurons" in none.provenance["why"]
    assert none.provenance["suppression"] == {"1": 0.0, "2": 0.0, "4": 0.0, "5": 0.0}


def test_what_cannot_be_asked_is_said(study: Any) -> None:
    with pytest.raises(BadArgument, match="neurons: got .* expected at least one neuron"):
        minimal_set(study, NeuronSet([], []))
    with pytest.raises(BadArgument, match="suppression: got 2"):
        minimal_set(study, suppression=2)
    cancel = mmkn.core.CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        minimal_set(study, cancel=cancel)

"""The pocket world as a `SceneDataset`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import SceneDataset, pocket_world
from mmkn_widgets.pocket.words import CATEGORIES
from mmkn_widgets.pocket.world import draw


@pytest.mark.parametrize(("split", "least"), [("val", 48), ("test", 100)])
def test_default_sizes_hold_enough_scenes_of_each_concept(split: str, least: int) -> None:
    data = pocket_world(split)
    counts = Counter(c for scene in data for c in scene.categories)
    assert set(counts) == set(CATEGORIES) == set(data.categories)
    assert min(counts.values()) >= least


def test_a_scene_is_what_the_world_draws() -> None:
    data = pocket_world("test", 5)
    assert isinstance(data, SceneDataset)
    for scene in data:
        drawn = draw(scene.id)
        assert np.array_equal(np.asarray(scene.image), drawn.image)
        first = scene.objects[0]
        assert first.attributes["color"] == drawn.objects[0].color
        assert np.array_equal(scene.mask(first.category), drawn.objects[0].mask)
        without = np.asarray(scene.without(first.category))
        assert np.array_equal(without, drawn.without(first.category))
    assert data[0] is data[0]
    assert [s.id for s in data[1:3]] == [data[1].id, data[2].id]


def test_subsets() -> None:
    odd = pocket_world("test", 20, subset="hallucination")
    assert odd.name == "pocket:test:hallucination"
    assert all(draw(s.id).subset == "hallucination" for s in odd)
    ordinary = {s.id for s in pocket_world("test", 200)}
    assert not ordinary & {s.id for s in odd}
    both = pocket_world("test", 60, subset="all")
    assert {draw(s.id).subset for s in both} == {"ordinary", "hallucination"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("dev",), "split"),
        (("val", 0), "n: got 0"),
        (("val", 10**9), "n: got"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], word: str) -> None:
    with pytest.raises(BadArgument, match=word):
        pocket_world(*arguments)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="subset"):
        pocket_world("val", 3, subset="odd")

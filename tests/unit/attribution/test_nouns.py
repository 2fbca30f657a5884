"""Nouns of captions, and where a model's tokens say them."""

from __future__ import annotations

from typing import Any

import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import Concept, find_word, mentions, nouns

CAPTIONS = {
    "A man riding a wave on top of a surfboard.": "man wave surfboard",
    "Two dogs and a small white cat sitting on a wooden bench": "dogs cat bench",
    "a group of people standing in front of a red double decker bus": "group people bus",
    "The kitchen has a stainless steel refrigerator and two ovens.": "kitchen refrigerator ovens",
    "a picture of a blue umbrella, an orange cat and a clock in a room": "umbrella cat clock room",
    "There is a very large pizza on the table": "pizza table",
    "a bird flying over the ocean at sunset": "bird ocean sunset",
    "The car is red and the sky is blue.": "car sky",
    "": "",
    "!!! 123": "",
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_heads_of_noun_phrases(caption: str) -> None:
    assert " ".join(nouns(caption)) == CAPTIONS[caption]


def test_known_names_are_one_noun() -> None:
    caption = "A dog next to a fire hydrant and two stop signs, and a hair drier"
    known = ["fire hydrant", "stop sign", "dog", "hair drier"]
    assert nouns(caption, known) == ("dog", "fire hydrant", "stop signs", "hair drier")


def test_all_objects_of_the_pocket_world_are_nouns() -> None:
    data = mmkn.datasets.pocket_world("val", 60)
    for scene in data:
        for caption in scene.captions:
            assert set(scene.categories) <= set(nouns(caption, data.categories)), caption


def test_token_noun_and_position_come_from_one_record(pocket: Any, cars: Any) -> None:
    ids = pocket.generate(pocket.prepare(cars[0].image)).token_ids[0]
    found = mentions(pocket, ids)
    assert "car" in [one.word for one in found]
    for one in found:
        assert pocket.decode(list(one.tokens)) == one.word
        assert find_word(pocket, ids, one.concept) == one.start
    assert [one.start for one in found] == sorted(one.start for one in found)


class Pieces:
    """A model whose words come in pieces."""

    pieces = ("a", " cat", "fish", " and", " a", " cat", " on", " a", " hot", " dog", "s")

    def decode(self, ids: list[int]) -> str:
        return "".join(self.pieces[i] for i in ids).strip()


def test_a_word_inside_another_is_not_it() -> None:
    ids = list(range(len(Pieces.pieces)))
    assert find_word(Pieces(), ids, Concept("cat")) == 5
    assert find_word(Pieces(), ids, Concept("catfish")) == 1
    assert find_word(Pieces(), ids, Concept("hot dog")) == 8
    assert find_word(Pieces(), ids, Concept("dog")) is None
    assert find_word(Pieces(), ids, Concept("car")) is None
    assert find_word(Pieces(), [], Concept("car")) is None
    for known in ([], ["hot dog"]):
        assert [(m.word, m.start, m.end) for m in mentions(Pieces(), ids, known)] == [
            ("catfish", 1, 3), ("cat", 5, 6), ("hot dogs", 8, 11)
        ]  # fmt: skip

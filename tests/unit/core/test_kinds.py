"""The concept, not the word: kinds and plurals count, and other things do not."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.core.kinds import KINDS, with_kinds
from mmkn_widgets.evaluation import measure_effect, suppression
from mmkn_widgets.pocket.words import CATEGORIES


def test_every_pocket_word_has_kinds_and_none_is_another_pocket_word() -> None:
    assert set(KINDS) == set(CATEGORIES)
    for word, kinds in KINDS.items():
        assert kinds and len(set(kinds)) == len(kinds)
        for other in set(CATEGORIES) - {word}:
            assert not set(with_kinds(word).forms) & set(with_kinds(other).forms), (word, other)
            assert not with_kinds(word).named_in(f"a red {other} at night"), (word, other)


@pytest.mark.parametrize(
    ("text", "word", "named"),
    [
        ("a green Labrador", "dog", True),
        ("two puppies", "dog", True),
        ("a golden-retriever", "dog", True),
        ("a hot dog", "dog", False),
        ("three sailboats", "boat", True),
        ("a mug", "cup", True),
        ("a truck", "car", False),
        ("a catfish", "fish", True),
    ],
)
def test_what_names_a_concept(text: str, word: str, named: bool) -> None:
    assert with_kinds(word).named_in(text) is named


def test_ones_own_words_count_and_strings_are_refused() -> None:
    assert with_kinds("dog", ["fleabag"]).named_in("two fleabags")
    assert with_kinds(["sofa", "couch"]).forms == ("sofa", "sofas", "couch", "couches")
    with pytest.raises(mmkn.BadArgument, match="also"):
        with_kinds("dog", "pup")


class Sense:
    def __init__(self, name: str, *under: Sense) -> None:
        self._name, self._under = name, under

    def name(self) -> str:
        return self._name

    def hyponyms(self) -> list[Sense]:
        return list(self._under)

    def closure(self, _: Any) -> list[Sense]:
        return [one for under in self._under for one in (under, *under.closure(_))]

    def lemma_names(self) -> list[str]:
        return [self._name]


def _nltk(monkeypatch: Any, senses: dict[str, list[Sense]] | None) -> None:
    def synsets(word: str, _: str) -> list[Sense]:
        if senses is None:
            raise LookupError("no data")
        return senses.get(word, [])

    corpus, wordnet = ModuleType("nltk.corpus"), ModuleType("nltk.corpus.wordnet")
    wordnet.synsets = synsets  # type: ignore[attr-defined]
    corpus.wordnet = wordnet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)


def test_wordnet_gives_kinds_in_their_first_sense(monkeypatch: Any) -> None:
    foal, bus = Sense("zebra_foal"), Sense("bus")
    zebra = Sense("zebra", Sense("quagga", foal), bus)
    quagga = zebra.hyponyms()[0]
    known = {"zebra": [zebra], "quagga": [quagga], "zebra_foal": [foal], "bus": [Sense("x"), bus]}
    _nltk(monkeypatch, known)
    assert with_kinds("zebra", wordnet=True).synonyms == ("quagga",)  # a zebra foal is named anyway
    assert with_kinds("unicorn", wordnet=True).synonyms == ()


def test_without_wordnets_data_it_says_how_to_get_it(monkeypatch: Any) -> None:
    _nltk(monkeypatch, None)
    with pytest.raises(mmkn.NotSupported, match=r"nltk\.downloader wordnet"):
        with_kinds("dog", wordnet=True)
    assert with_kinds("dog").named_in("a puppy")


def test_a_kind_is_no_suppression(monkeypatch: Any) -> None:
    from mmkn_widgets.evaluation import Captioner

    before, after = ["a green dog", "a dog"], ["a green Labrador", "a cup"]
    assert suppression(before, after, with_kinds("dog")) == 0.5
    model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 60)
    dogs = val.with_concept("dog", 2)
    monkeypatch.setattr(Captioner, "before", lambda *_: before)
    monkeypatch.setattr(Captioner, "after", lambda *_: after)
    found = {
        kinds: measure_effect(
            model, {4: [1]}, dogs, (), "dog", n_random=0, metrics=(), kinds=kinds
        ).suppression
        for kinds in (True, False, ("cup",))
    }
    assert found == {True: 0.5, False: 1.0, ("cup",): 0.0}


def test_a_masks_loss_takes_the_kinds_of_one_word() -> None:
    from mmkn_widgets.interventions.masking import _begins

    model = mmkn.load_model("pocket")
    ids = {word: model.tokenizer(word, add_special_tokens=False)["input_ids"][0]
           for word in ("dog", "tree", "star", "red")}  # fmt: skip
    concept = with_kinds("dog", ["tree", "red star"])
    assert _begins(model, concept) == [ids["dog"], ids["tree"]]

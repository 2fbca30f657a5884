"""Concepts: forms, whole words, tokens, and helpful refusals."""

from __future__ import annotations

import pytest

from mmkn_widgets.attribution import Concept, as_concept, inflect
from mmkn_widgets.core.errors import BadArgument


@pytest.mark.parametrize(
    ("word", "plural"),
    [("car", "cars"), ("bus", "buses"), ("knife", "knives"), ("sheep", "sheep"), ("toy", "toys"),
     ("berry", "berries"), ("bench", "benches"), ("fire hydrant", "fire hydrants")],
)  # fmt: skip
def test_plurals(word: str, plural: str) -> None:
    assert inflect(word)[-1] == plural


def test_naming_is_by_whole_words() -> None:
    cat = Concept("cat")
    assert cat.named_in("A cat, asleep")
    assert cat.named_in("CATS!")
    assert not cat.named_in("concatenate the catalogue")
    assert not cat.named_in("")


class Words:
    """A tokenizer of whole words that keeps an unknown."""

    unk_token_id = 0
    vocab = {"<unk>": 0, "a": 1, "car": 2, "cart": 3, "dog": 4}  # noqa: RUF012

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [self.vocab.get(word, 0) for word in text.split()]}

    def get_vocab(self) -> dict[str, int]:
        return self.vocab

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [next(w for w, i in self.vocab.items() if i == one) for one in ids]


def test_forms_that_the_tokenizer_lacks_are_left_out() -> None:
    assert Concept("car").token_ids(Words()) == {"car": (2,)}
    assert Concept("car").tokenisation(Words()) == {"car": ["car"]}


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(BadArgument, match="'carr'.*nearest of its words: car"):
        Concept("carr").token_ids(Words())


def test_what_is_no_concept() -> None:
    for wrong in ("", "  ", [], 3):
        with pytest.raises(BadArgument, match="concept"):
            as_concept(wrong)

"""A concept: a word, its forms, and its tokens in a tokenizer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BadArgument, bad_argument

__all__ = ["Concept", "as_concept", "inflect"]

#: plurals that no rule gives, for the words that picture data sets use
_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "knife": "knives",
    "leaf": "leaves",
    "shelf": "shelves",
    "wolf": "wolves",
    "loaf": "loaves",
    "calf": "calves",
    "scarf": "scarves",
    "hoof": "hooves",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "ox": "oxen",
    "moose": "moose",
    "aircraft": "aircraft",
    "broccoli": "broccoli",
    "skis": "skis",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "scissors": "scissors",
}

_SINGULAR = {plural: word for word, plural in _IRREGULAR.items() if plural != word}


def inflect(word: str) -> tuple[str, ...]:
    """Return a noun's singular and plural.

    Examples
    --------
    >>> inflect("bus"), inflect("cherry"), inflect("dining table")
    (('bus', 'buses'), ('cherry', 'cherries'), ('dining table', 'dining tables'))
    """
    head, _, last = word.rpartition(" ")
    lead = head + " " if head else ""
    if last in _IRREGULAR:
        plural = _IRREGULAR[last]
    elif last in _SINGULAR:  # given in the plural
        plural = _SINGULAR[last]
    elif re.search(r"[^aeiou]y$", last):
        plural = last[:-1] + "ies"
    elif re.search(r"(s|x|z|ch|sh)$", last):
        plural = last + "es"
    else:
        plural = last + "s"
    return tuple(dict.fromkeys((word, lead + plural)))


@dataclass(frozen=True)
class Concept:
    """What is looked for: a word, with every form that counts as naming it.

    Parameters
    ----------
    word : str
        Its name, in the singular.
    synonyms : tuple of str
        Further words that name it; inflected too.

    Examples
    --------
    >>> car = Concept("car", synonyms=("automobile",))
    >>> car.forms
    ('car', 'cars', 'automobile', 'automobiles')
    >>> car.named_in("Two red cars."), car.named_in("a carpet")
    (True, False)
    """

    word: str
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.word, str) or not self.word.strip():
            raise bad_argument("concept", self.word, "a word, such as 'car'")
        object.__setattr__(self, "word", " ".join(self.word.split()).lower())
        object.__setattr__(self, "synonyms", tuple(s.lower() for s in self.synonyms))

    @property
    def forms(self) -> tuple[str, ...]:
        """The word and its synonyms, singular and plural."""
        found = [form for word in (self.word, *self.synonyms) for form in inflect(word)]
        return tuple(dict.fromkeys(found))

    def named_in(self, text: str) -> bool:
        """Return whether a text names the concept in any form, as a whole word."""
        longest = sorted(self.forms, key=len, reverse=True)
        choices = "|".join(re.escape(form) for form in longest)
        return re.search(rf"(?<![^\W_])(?:{choices})(?![^\W_])", text.lower()) is not None

    def token_ids(self, tokenizer: Any) -> dict[str, tuple[int, ...]]:
        """Return each form's tokens as they stand inside a sentence (after a space).

        Forms that the tokenizer can only write as unknown are left out.

        Raises
        ------
        BadArgument
            If it knows no form; the message names the nearest words that it knows.
        """
        unknown = getattr(tokenizer, "unk_token_id", None)
        found = {}
        for form in self.forms:
            ids = _in_sentence(tokenizer, form)
            if ids and (unknown is None or unknown not in ids):
                found[form] = ids
        if not found:
            raise BadArgument(
                f"concept: got {self.word!r}, which the tokenizer does not know; nearest of its "
                f"words: {', '.join(nearest(self.word, tokenizer))}"
            )
        return found

    def first_tokens(self, tokenizer: Any) -> tuple[int, ...]:
        """Return the distinct first sub-tokens of all forms, the word's own first."""
        return tuple(dict.fromkeys(ids[0] for ids in self.token_ids(tokenizer).values()))

    def tokenisation(self, tokenizer: Any) -> dict[str, list[str]]:
        """Return each form's tokens as text, for people: first sub-tokens collide.

        Examples
        --------
        >>> import mmkn_widgets as mmkn
        >>> Concept("car").tokenisation(mmkn.load_model("pocket").tokenizer)
        {'car': ['car']}
        """
        return {
            form: [str(token) for token in tokenizer.convert_ids_to_tokens(list(ids))]
            for form, ids in self.token_ids(tokenizer).items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"word": self.word, "synonyms": list(self.synonyms)}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Concept:
        """Read what `to_dict` wrote."""
        return cls(str(described["word"]), tuple(map(str, described.get("synonyms", ()))))


def _in_sentence(tokenizer: Any, form: str) -> tuple[int, ...]:
    """Return a form's tokens behind another word: with the leading space where that matters."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    lead = ids("a")
    whole = ids("a " + form)
    return tuple(whole[len(lead) :] if whole[: len(lead)] == lead else ids(form))


def nearest(word: str, tokenizer: Any, n: int = 3) -> list[str]:
    """Return the words of a tokenizer's vocabulary that are spelt most like `word`."""
    known = {
        token.lstrip("\u0120\u2581 ").lower()
        for token in tokenizer.get_vocab()
        if token.lstrip("\u0120\u2581 ").isalpha()
    }
    return difflib.get_close_matches(word, sorted(known), n=n, cutoff=0.0)


def as_concept(concept: str | Concept | Sequence[str]) -> Concept:
    """Return a concept: itself, a word, or a list of a word and its synonyms.

    Examples
    --------
    >>> as_concept(["sofa", "couch"]).forms
    ('sofa', 'sofas', 'couch', 'couches')
    """
    if isinstance(concept, Concept):
        return concept
    if isinstance(concept, str):
        return Concept(concept)
    if isinstance(concept, Iterable):
        words = [str(word) for word in concept]
        if words:
            return Concept(words[0], tuple(words[1:]))
    raise bad_argument("concept", concept, "a word, a Concept, or a list of synonyms")

"""A concept: a word, its forms, and its tokens in a tokenizer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BadArgument, bad_argument
from .inflection import inflect
from .naming import spans, tidy, units, unspaced

__all__ = ["Concept", "as_concept", "nearest"]

#: what stands before a word when its tokens are looked up, with and without spaces between words
_BEFORE, _BEFORE_UNSPACED = ("a ", "the ", ": "), (",", ":", "\u3002")
_BLANK = "\u2581\u0120\u010a\u00a0 \t\n"


@dataclass(frozen=True)
class Concept:
    """What is looked for: a word, with every form that counts as naming it.

    Parameters
    ----------
    word : str
        Its name; a plural becomes its singular.
    synonyms : tuple of str
        Further words that name it; inflected too.

    Notes
    -----
    What counts as naming it is the rule of `names`: whole words, the longest name first, so that a
    "hot dog" is no dog.

    Examples
    --------
    >>> car = Concept("car", synonyms=("automobile",))
    >>> car.forms
    ('car', 'cars', 'automobile', 'automobiles')
    >>> car.named_in("Two red cars."), car.named_in("a carpet"), car.named_in("a car park")
    (True, False, False)
    >>> Concept("dogs") == Concept("dog")
    True
    """

    word: str
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        word: Any = self.word
        synonyms: Any = self.synonyms
        if not isinstance(word, str) or not units(tidy(word)):
            raise bad_argument("concept", word, "a word, such as 'car'")
        if isinstance(synonyms, str) or not all(
            isinstance(one, str) and units(tidy(one)) for one in synonyms
        ):
            raise bad_argument("synonyms", synonyms, "a list of words")
        object.__setattr__(self, "word", inflect(tidy(self.word))[0])
        object.__setattr__(self, "synonyms", tuple(map(tidy, self.synonyms)))

    @property
    def forms(self) -> tuple[str, ...]:
        """The word and its synonyms, singular and plural."""
        found = [form for word in (self.word, *self.synonyms) for form in inflect(word)]
        return tuple(dict.fromkeys(found))

    def named_in(self, text: str) -> bool:
        """Return whether a text names the concept in any form, by the rule of `names`."""
        return self.count_in(text) > 0

    def count_in(self, text: str) -> int:
        """Return how often a text names the concept.

        Examples
        --------
        >>> Concept("boat").count_in("a boat, a boat house and two boats")
        2
        """
        return len(spans(text, self.forms))

    def token_ids(self, tokenizer: Any) -> dict[str, tuple[int, ...]]:
        """Return each form's tokens as they stand inside a sentence.

        This is the one tokenisation of a concept, for scores and for edits: behind another word
        and a space (in a script without spaces, behind a comma). A token that is only a space is
        left out: it stands before many words, and predicting it is not naming the concept. Forms
        that the tokenizer can only write as unknown are left out too.

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
    """Return a form's tokens behind other text, without those that are only a space."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    found = ids(form)
    for before in _BEFORE_UNSPACED if unspaced(form) else _BEFORE:
        lead, whole = ids(before.rstrip()), ids(before + form)
        if lead and whole[: len(lead)] == lead and len(whole) > len(lead):
            found = whole[len(lead) :]
            break
    while found and _is_blank(tokenizer, found[0]):
        found = found[1:]
    return tuple(found)


def _is_blank(tokenizer: Any, token: int) -> bool:
    text = str(tokenizer.convert_ids_to_tokens([token])[0])
    return not text.strip(_BLANK) or text == "<0x20>"


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

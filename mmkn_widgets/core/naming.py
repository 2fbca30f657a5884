"""Which objects a caption names: whole words, any form, the longest name first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .concept import as_concept
from .errors import bad_argument

__all__ = ["Vocabulary", "as_vocabulary", "names"]

_WANTED = "a word, a Concept, or a list of its forms"


def names(text: str, concept: Any) -> bool:
    """Return whether a text names a concept in any of its forms.

    Parameters
    ----------
    text : str
        May be empty.
    concept : str, Concept or list of str
        A word (its inflections count too), an `mmkn_widgets.Concept`, or exactly the given forms.

    Examples
    --------
    >>> names("Two dogs on the grass", ["dog", "dogs"]), names("a hot-dog stand", ["dogs"])
    (True, False)
    """
    if hasattr(concept, "named_in"):
        return bool(concept.named_in(text))
    return bool(Vocabulary({"it": concept}).mentions(text))


def _forms(entry: Any) -> tuple[str, ...]:
    if isinstance(entry, str):
        entry = as_concept(entry)
    found = getattr(entry, "forms", entry)
    if isinstance(found, Iterable) and not isinstance(found, str):
        forms = tuple(str(form) for form in found)
        word = getattr(entry, "word", None)
        if forms and all(form.strip() for form in forms):
            return (*forms, word) if isinstance(word, str) else forms
    raise bad_argument("vocabulary", entry, _WANTED)


class Vocabulary:
    """The objects that are looked for in captions.

    Where names overlap the longest counts: "hot dog" names no dog, if both are in the vocabulary.

    Parameters
    ----------
    categories : mapping of str to (str, Concept or list of str)
        Category -> its word, its concept, or all its forms.

    Examples
    --------
    >>> Vocabulary({"dog": ["dog", "dogs"], "hot dog": ["hot dog"]}).mentions("Dogs eat a hot dog")
    ('dog', 'hot dog')
    """

    def __init__(self, categories: Mapping[str, Any]) -> None:
        self.categories = tuple(categories)
        self._category: dict[str, str] = {}
        for category, entry in categories.items():
            for form in _forms(entry):
                self._category.setdefault(_plain(form), category)
        longest_first = sorted(self._category, key=lambda form: (-len(form), form))
        choices = "|".join(re.escape(form) for form in longest_first)
        self._pattern = re.compile(rf"(?<![^\W_])(?:{choices})(?![^\W_])") if choices else None

    def mentions(self, text: str) -> tuple[str, ...]:
        """Return the category of each mention, in the text's order, repeated as often as named."""
        if self._pattern is None:
            return ()
        return tuple(self._category[found] for found in self._pattern.findall(_plain(text)))

    def named(self, text: str) -> frozenset[str]:
        """Return the categories that a text names."""
        return frozenset(self.mentions(text))

    def without(self, concept: Any) -> Vocabulary:
        """Return the vocabulary without the categories that the concept's forms name.

        Their names are still found, so that they hide no shorter ones.
        """
        own = {_plain(form) for form in _forms(concept)}
        return _Part(self, {c for form, c in self._category.items() if form in own})

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self.categories)} categories>"


class _Part(Vocabulary):
    """A vocabulary of which some categories are found but not told."""

    def __init__(self, whole: Vocabulary, hidden: set[str]) -> None:
        self.categories = tuple(c for c in whole.categories if c not in hidden)
        self._category, self._pattern = whole._category, whole._pattern

    def mentions(self, text: str) -> tuple[str, ...]:
        return tuple(c for c in super().mentions(text) if c in self.categories)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def as_vocabulary(categories: Any) -> Vocabulary:
    """Return a vocabulary from a mapping, from words or concepts, or as it is.

    Examples
    --------
    >>> as_vocabulary({"car": ["car", "cars"]}).named("three cars")
    frozenset({'car'})
    """
    if isinstance(categories, Vocabulary):
        return categories
    if isinstance(categories, Mapping):
        return Vocabulary(categories)
    if isinstance(categories, str) or not isinstance(categories, Iterable):
        raise bad_argument("vocabulary", categories, "a list of words or a mapping to their forms")
    return Vocabulary({str(getattr(entry, "word", entry)): entry for entry in categories})

"""What a text names: the one rule by which every room finds a word in a caption.

A text is cut into units. A unit is a word; in scripts without spaces (Chinese, Japanese, Thai and
their like) every letter with its marks is one, but a run of katakana is a word. A name is a
sequence of units. From left to right, at every unit the longest name counts, and what it covers
is not looked at again:

- Case, accents composed or not, full and half width, and curly apostrophes make no difference.
- A space, a line break, a hyphen, an underscore and nothing at all (between letters of a script
  without spaces) all join the units of a name; a comma and a dash do not. "dog's" and "dogs'" name
  a dog.
- A compound hides its parts. Besides the names looked for, the compounds of `COMPOUNDS` are known:
  "hot dog" names no dog, "bus stop" no bus, "dog house" a house but no dog. A compound that is
  itself looked for counts as such, also if it is written as one word, and the other way round
  ("hotdog"). Any other word that only contains a name is another word ("carpet", "catfish").
- "dog-like", "dog-free" and the like, and "star-shaped" and the like, name nothing.
- A Korean word may carry particles, an Arabic or Hebrew one its article and a conjunction or
  preposition. Otherwise, and in every other script, forms have to be given as they are written:
  only English is inflected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

from .compounds import compounds
from .errors import bad_argument
from .inflection import inflect

__all__ = [
    "Vocabulary",
    "as_vocabulary",
    "names",
    "opaque_compounds",
    "plain",
    "settled",
    "spans",
    "tidy",
    "unit_texts",
    "units",
    "unspaced",
]

_WANTED = "a word, a Concept, or a list of its forms"

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Tibetan, Burmese, Khmer
    "\u3041-\u3096\u309d\u309e\u3005-\u3007\u3021-\u3029"  # hiragana, signs of repetition
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
_ASCII = re.compile(r"[a-z0-9]+")
_FIRST_UNSPACED = re.compile(f"[{_UNSPACED}{_KATAKANA}]")
_LAST_HANGUL = re.compile(f"[{_HANGUL}]")
_SEMITIC = re.compile("[\u0590-\u06ff]")

#: What may stand between the units of one name; WordPiece models write "hot - dog", "o ' clock".
_JOINS = re.compile(r"\s*(?:|_+|[-'\u30fb])\s*|\u2013")
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2212\ufe63\uff0d"), "-")
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u00b4\uff07"), "'")
#: Signs that are not seen (soft hyphen, joiners, direction, variation) or need not be written
#: (Arabic and Hebrew vowels, the Arabic stretch).
_IGNORED = dict.fromkeys(
    [0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF, 0x0640, 0x0670, 0xFE0E, 0xFE0F,
     *range(0x064B, 0x0653), *range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C7]
)  # fmt: skip
_SPACES = dict.fromkeys([0x200B, 0x2122, 0xAE, 0xA9], " ")
_SIGNS = {**_HYPHENS, **_APOSTROPHES, **_IGNORED, **_SPACES}

#: Words behind a name that take it back: after a hyphen only, and after a space too.
_LIKE = frozenset({"like", "free", "proof", "less", "esque", "ish"})
_SHAPED = frozenset(
    {"shaped", "sized", "themed", "patterned", "friendly", "scented", "flavored", "flavoured"}
)

_PARTICLES = re.compile(
    "(?:들)?(?:이|가|은|는|을|를|의|에|에서|에게|께|와|과|랑|이랑|하고|도|만|로|으로|부터|까지|마다"
    "|이다|입니다|이고|이며|인|에는|에서는|에도|에게는|와는|과는|이나|나|보다)?"
)
_ATTACHED = re.compile(
    "(?:[\u0648\u0641]?[\u0628\u0643]?\u0627\u0644"  # Arabic: and, with, like + the
    "|[\u0648\u0641]?\u0644\u0644"  # for the
    "|\u0648"  # and
    "|\u05d5?[\u05d1\u05dc\u05de\u05e9\u05db]?\u05d4"  # Hebrew: and, in, to, from, that + the
    "|\u05d5)"  # and
)
#: Prepositions of one letter, which stand before long words only: short ones would become others.
_ATTACHED_LETTER = re.compile("[\u0648\u05d5]?[\u0628\u0644\u05d1\u05dc\u05de]")


class Unit(NamedTuple):
    """A word, or a letter of a script without spaces, where a text has it.

    Attributes
    ----------
    key : str
        In the form in which units are compared.
    start, end : int
        Its place in the text as `plain` returns it.
    """

    key: str
    start: int
    end: int


def plain(text: str) -> str:
    """Return a text in its compatibility form, composed, with plain hyphens and apostrophes.

    Examples
    --------
    >>> plain("the dog\u2019s caf\u0065\u0301")
    "the dog's caf\u00e9"
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text.casefold().replace("i\u0307", "i"))


def _ranges(codes: Iterable[int]) -> str:
    """Write rising code points as the inside of a character class."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


@lru_cache(maxsize=1)
def _unit_pattern() -> re.Pattern[str]:
    """Return what a unit is: no class of `re` has the marks, which belong to words."""
    codes = [*range(0x300, 0xAC00), *range(0xFB00, 0x1F000)]  # no marks in Hangul and surrogates
    marks = _ranges(code for code in codes if unicodedata.category(chr(code))[0] == "M")
    symbols = "\u2190-\u2bff\ufffd\U0001f000-\U0001faff"
    word = rf"[^\W_{_UNSPACED}{_KATAKANA}{_HANGUL}]"
    return re.compile(
        rf"[{_UNSPACED}][{marks}]*|[{_KATAKANA}][{_KATAKANA}{marks}]*"
        rf"|[{_HANGUL}][{_HANGUL}{marks}]*|{word}(?:{word}|[{marks}])*|[{symbols}][{marks}]*"
    )


def units(text: str) -> list[Unit]:
    """Cut a text, which `plain` returned, into units."""
    if text.isascii():
        found = _ASCII.finditer(text.lower())
        return [Unit(one.group(), one.start(), one.end()) for one in found]
    return [
        Unit(_folded(one.group()), one.start(), one.end()) for one in _unit_pattern().finditer(text)
    ]


def unit_texts(text: str) -> list[str]:
    """Return the units of a text without symbols: what metrics count.

    Examples
    --------
    >>> unit_texts("The Dog's ball"), unit_texts("\u8d64\u3044\u8eca")
    (['the', 'dog', 's', 'ball'], ['\u8d64', '\u3044', '\u8eca'])
    """
    return [unit.key for unit in units(plain(text)) if unit.key[0].isalnum()]


def unspaced(text: str) -> bool:
    """Return whether a text begins with a letter of a script without spaces."""
    return _FIRST_UNSPACED.match(plain(text)) is not None


def tidy(word: str) -> str:
    """Return a word as it is kept: in lower case, composed, without doubled spaces.

    Examples
    --------
    >>> tidy("  Traffic_Light"), tidy("\uff23\uff21\uff32")
    ('traffic light', 'car')
    """
    return " ".join(plain(word).lower().replace("i\u0307", "i").replace("_", " ").split())


def _variants(key: str) -> tuple[str, ...]:
    """Return the words that a unit may be: itself, and without what is attached to it."""
    if key.isascii():
        return (key,)
    found = [key]
    if _LAST_HANGUL.match(key[-1]):
        found += [key[:n] for n in range(1, len(key)) if _PARTICLES.fullmatch(key[n:])]
    elif _SEMITIC.match(key[0]):
        for n in range(1, min(len(key) - 1, 5)):
            letter = _ATTACHED_LETTER.fullmatch(key[:n]) and len(key) - n >= 3
            if letter or _ATTACHED.fullmatch(key[:n]):
                found.append(key[n:])
    return tuple(found)


@dataclass(frozen=True)
class _Name:
    """A name or a compound: its units, what stands between them, and what it says."""

    keys: tuple[str, ...]
    gaps: tuple[str, ...]
    category: str | None
    shown: frozenset[int] = frozenset()

    @classmethod
    def of(cls, form: str, category: str | None, shown: frozenset[int] = frozenset()) -> _Name:
        written = plain(form)
        found = units(written)
        gaps = tuple(written[a.end : b.start].strip() for a, b in pairwise(found))
        return cls(tuple(unit.key for unit in found), gaps, category, shown)


@lru_cache(maxsize=1)
def _known_compounds() -> dict[tuple[str, ...], _Name]:
    found = {}
    for form, shown in compounds().items():
        lengths = [1] * len(form) if unspaced(form) else [len(units(w)) for w in form.split()]
        owner = [place for place, length in enumerate(lengths) for _ in range(length)]
        places = frozenset(at for at, place in enumerate(owner) if place in shown)
        name = _Name.of(form, None, places)
        found[name.keys] = name
    return found


@lru_cache(maxsize=1)
def opaque_compounds() -> tuple[str, ...]:
    """Return the compounds that do not show what their last word names: "hot dog", "teddy bear"."""
    found = _known_compounds().values()
    return tuple(sorted(" ".join(n.keys) for n in found if n.keys[-1].isascii() and not n.shown))


@lru_cache(maxsize=1)
def _compounds_with() -> dict[str, list[_Name]]:
    """Return the compounds by each of their units."""
    found: dict[str, list[_Name]] = {}
    for name in _known_compounds().values():
        for key in set(name.keys):
            found.setdefault(key, []).append(name)
    return found


@lru_cache(maxsize=1)
def _closed() -> dict[str, list[tuple[str, ...]]]:
    """Return the compounds by their units in one word."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for keys in _known_compounds():
        found.setdefault("".join(keys), []).append(keys)
    return found


class Mention(NamedTuple):
    """Where a text names a category.

    Attributes
    ----------
    category : str
    start, end : int
        Its units, ``units[start:end]``.
    before, behind : int
        Letters attached to it in its first and in its last unit.
    """

    category: str
    start: int
    end: int
    before: int = 0
    behind: int = 0


class _Names:
    """Names to be found, the longest first, with the compounds that hide some of them."""

    def __init__(self, forms: Iterable[tuple[str, str]]) -> None:
        found: dict[tuple[str, ...], _Name] = {}
        for form, category in forms:
            own = _Name.of(form, category)
            found.setdefault(own.keys, own)
            joined = "".join(own.keys)
            for keys in _closed().get(joined, ()):
                for spelt in (keys, (joined,)):
                    found.setdefault(spelt, _Name(spelt, ("",) * (len(spelt) - 1), category))
        self.category = {keys: str(name.category) for keys, name in found.items()}
        hiding = _compounds_with()
        for keys in list(found):
            for other in hiding.get(keys[0], ()):
                if _within(keys, other.keys):
                    found.setdefault(other.keys, other)
        self._first: dict[str, list[_Name]] = {}
        for name in sorted(found.values(), key=lambda one: -len(one.keys)):
            self._first.setdefault(name.keys[0], []).append(name)

    def mentions(self, text: str) -> Iterator[Mention]:
        """Find names in a text that `plain` returned."""
        cut = units(text)
        first = self._first
        if any(not unit.key.isascii() for unit in cut):
            read = [_variants(unit.key) for unit in cut]
        elif first.keys().isdisjoint([unit.key for unit in cut]):
            return
        else:
            read = [(unit.key,) for unit in cut]
        yield from self._within(text, cut, read, 0, len(cut))

    def settled(self, text: str) -> bool:
        """Return whether a text, which `plain` returned, names something whatever follows it."""
        cut = units(text)
        return any(
            self._stays(text, cut, mention)
            for mention in self.mentions(text)
            if mention.end < len(cut) or not _JOINS.fullmatch(text[cut[-1].end :])
        )

    def _stays(self, text: str, cut: Sequence[Unit], mention: Mention) -> bool:
        """Return whether no longer name and no "-like" can still come to cover a mention."""
        tail = [unit.key for unit in cut[mention.end :]]
        if tail and not _JOINS.fullmatch(text[cut[mention.end - 1].end : cut[mention.end].start]):
            return True
        if len(tail) == 1 and any(word.startswith(tail[0]) for word in _LIKE | _SHAPED):
            return False
        for start in range(mention.start + 1):
            here = [unit.key for unit in cut[start:]]
            for name in self._first.get(here[0], ()):
                longer = len(name.keys) > mention.end - start and len(name.keys) >= len(here)
                known = name.keys[: len(here)]
                if longer and known[:-1] == tuple(here[:-1]) and known[-1].startswith(here[-1]):
                    return False
        return True

    def _within(
        self,
        text: str,
        cut: Sequence[Unit],
        read: Sequence[tuple[str, ...]],
        start: int,
        stop: int,
    ) -> Iterator[Mention]:
        at = start
        while at < stop:
            name = self._at(text, cut, read, at, stop)
            if name is None:
                at += 1
                continue
            end = at + len(name.keys)
            if name.category is None:
                for place in _runs(name.shown):
                    yield from self._within(text, cut, read, at + place[0], at + place[1])
            elif not _taken_back(text, cut, end):
                first, last = cut[at].key, cut[end - 1].key
                before = len(first) - len(name.keys[0]) if first.endswith(name.keys[0]) else 0
                behind = len(last) - len(name.keys[-1]) if not last.endswith(name.keys[-1]) else 0
                yield Mention(name.category, at, end, before, behind)
            at = end

    def _at(
        self,
        text: str,
        cut: Sequence[Unit],
        read: Sequence[tuple[str, ...]],
        at: int,
        stop: int,
    ) -> _Name | None:
        best: _Name | None = None
        for key in read[at]:
            for name in self._first.get(key, ()):
                length = len(name.keys)
                if best is not None and length <= len(best.keys):
                    break
                if at + length <= stop and _fits(name, text, cut, read, at):
                    best = name
                    break
        return best


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _runs(places: frozenset[int]) -> list[tuple[int, int]]:
    """Return neighbouring places as (first, behind the last)."""
    starts = sorted(place for place in places if place - 1 not in places)
    ends = sorted(place + 1 for place in places if place + 1 not in places)
    return list(zip(starts, ends, strict=True))


def _fits(
    name: _Name, text: str, cut: Sequence[Unit], read: Sequence[tuple[str, ...]], at: int
) -> bool:
    for place, gap in enumerate(name.gaps):
        left, right = cut[at + place], cut[at + place + 1]
        if name.keys[place + 1] not in read[at + place + 1]:
            return False
        between = text[left.end : right.start]
        if not _JOINS.fullmatch(between) and between.strip() != gap:
            return False
    return True


def _taken_back(text: str, cut: Sequence[Unit], end: int) -> bool:
    """Return whether what follows makes the name another thing's property: "star-shaped"."""
    if end >= len(cut):
        return False
    gap, key = text[cut[end - 1].end : cut[end].start], cut[end].key
    return (key in _LIKE and gap.strip() == "-") or (
        key in _SHAPED and _JOINS.fullmatch(gap) is not None and "'" not in gap
    )


@lru_cache(maxsize=1024)
def _names_of(forms: tuple[tuple[str, str], ...]) -> _Names:
    return _Names(forms)


@runtime_checkable
class Worded(Protocol):
    """A word with all its forms, as a `Concept` is: it stands above this file."""

    @property
    def word(self) -> str:
        """The word."""

    @property
    def forms(self) -> Sequence[str]:
        """The word and whatever else means it."""


def _forms(entry: Any, what: str = "vocabulary") -> tuple[str, ...]:
    if isinstance(entry, str) and units(plain(entry)):
        return inflect(tidy(entry))
    found = entry.forms if isinstance(entry, Worded) else entry
    if isinstance(found, Iterable) and not isinstance(found, str):
        forms = tuple(str(form) for form in found)
        if forms and all(units(plain(form)) for form in forms):
            return (*forms, entry.word) if isinstance(entry, Worded) else forms
    raise bad_argument(what, entry, _WANTED)


class Vocabulary:
    """The objects that are looked for in captions.

    Where names overlap the longest counts: "hot dog" names no dog. Common compounds hide what
    they contain even if they are not in the vocabulary: the rule is in this module's own words.

    Parameters
    ----------
    categories : mapping of str to (str, Concept or list of str)
        Category -> its word, its concept, or all its forms.

    Examples
    --------
    >>> Vocabulary({"dog": ["dog", "dogs"], "hot dog": ["hot dog"]}).mentions("Dogs eat a hot-dog")
    ('dog', 'hot dog')
    """

    def __init__(self, categories: Mapping[str, Any]) -> None:
        forms = {category: _forms(entry) for category, entry in categories.items()}
        self.categories = tuple(forms)
        self._main = {category: given[0] for category, given in forms.items()}
        self._names = _names_of(tuple((form, c) for c, given in forms.items() for form in given))

    def spans(self, text: str) -> list[Mention]:
        """Return each mention with its place among the units of ``plain(text)``."""
        found = self._names.mentions(plain(text))
        return [one for one in found if one.category in self._main]

    def mentions(self, text: str) -> tuple[str, ...]:
        """Return the category of each mention, in the text's order, repeated as often as named."""
        return tuple(mention.category for mention in self.spans(text))

    def named(self, text: str) -> frozenset[str]:
        """Return the categories that a text names."""
        return frozenset(self.mentions(text))

    def without(self, concept: Any) -> Vocabulary:
        """Return the vocabulary without the concept's categories.

        Those are the ones that share a form with it and those whose own word names it ("guide
        dog" for a dog, but not "hot dog"). Their names are still found, so that they hide no
        shorter ones.
        """
        own = {_Name.of(form, None).keys for form in _forms(concept, "concept")}
        shared = {c for keys, c in self._names.category.items() if keys in own}
        hidden = shared | {c for c, word in self._main.items() if names(word, concept)}
        return _Part({c: w for c, w in self._main.items() if c not in hidden}, self._names)

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self.categories)} categories>"


class _Part(Vocabulary):
    """A vocabulary of which some categories are found but not told."""

    def __init__(self, main: dict[str, str], known: _Names) -> None:
        self.categories = tuple(main)
        self._main = main
        self._names = known


def spans(text: str, concept: Any) -> list[Mention]:
    """Return where a text names a concept, as places among the units of ``plain(text)``.

    Parameters
    ----------
    text : str
    concept : str, Concept or list of str
        As in `names`.
    """
    forms = _names_of(tuple((form, "it") for form in _forms(concept, "concept")))
    return list(forms.mentions(plain(text)))


def settled(text: str, concept: Any) -> bool:
    """Return whether the beginning of a text names a concept, however the text goes on.

    "a bus s" does not: a bus stop may come of it.

    Parameters
    ----------
    text : str
    concept : str, Concept or list of str
        As in `names`.

    Examples
    --------
    >>> [settled(text, "bus") for text in ("a bus", "a bus s", "a bus stop", "a bus next")]
    [False, False, False, True]
    """
    forms = _names_of(tuple((form, "it") for form in _forms(concept, "concept")))
    return forms.settled(plain(text))


def names(text: str, concept: Any) -> bool:
    """Return whether a text names a concept in any of its forms.

    Whole words, any case, the longest name first; compounds such as "hot dog" name no dog. The
    whole rule is in the words of this module, `mmkn_widgets.core.naming`.

    Parameters
    ----------
    text : str
        May be empty.
    concept : str, Concept or list of str
        A word (its inflections count too), an `mmkn_widgets.Concept`, or exactly the given forms.

    Examples
    --------
    >>> names("Two dogs on the grass", ["dog", "dogs"]), names("a hot-dog stand", ["dogs", "dog"])
    (True, False)
    >>> names("a dog house", "house"), names("a dog house", "dog")
    (True, False)
    """
    if hasattr(concept, "named_in"):
        return bool(concept.named_in(text))
    return bool(spans(text, concept))


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
    return Vocabulary(
        {entry.word if isinstance(entry, Worded) else str(entry): entry for entry in categories}
    )

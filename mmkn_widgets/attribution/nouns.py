"""The nouns of a caption, by closed word classes and position: no download, the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..activations import find_span
from ..core import Concept, Vocabulary, inflect, opaque_compounds, plain, units

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Mention", "mentions", "nouns"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that are never the head of a noun phrase and end one.
_CLOSED = _words(
    """
    a an the this that these those some any each every no another other both all several many
    few more most much one two three four five six seven eight nine ten first second third half
    of in on at by with without near next to beside besides behind under over above below
    between among across along around through into onto from off out up down for about against
    during towards toward inside outside within underneath beneath past via as than and or but
    nor so while when where which who whom whose what if because although though i you he she it
    we they them him her his its their our my your me us itself themselves is are was were be
    been being am has have had having do does did can could will would may might must shall
    should there here not very quite rather also just only too then now still together away
    apart ahead back forward upside sideways front middle top bottom left right appears appear
    seems seem looks look shows show showing shown sits sit stands stand lies lie hangs hang
    holds hold wears wear rides ride walks walk runs run plays play flies fly eats eat drives
    drive rests rest faces stop stops including includes include contains contain features
    feature depicts depict described pictured seen visible see captured taken made set
    """
)
#: Adjectives of captions, which stand before a head and are not one.
_ADJECTIVES = _words(
    """
    red orange yellow green blue purple pink white black brown gray grey golden silver beige tan
    dark light bright colorful colourful big small large little tiny huge tall short long wide
    narrow old new young fresh clean dirty empty full open closed wooden metal metallic plastic
    round square flat sunny cloudy snowy sandy grassy rocky busy beautiful pretty nice cute
    happy sad different various same similar single double lush modern rustic antique vintage
    main clear calm wet dry hot cold warm high low deep soft hard fluffy furry hairy striped
    spotted plain
    """
)
#: Nouns that look like participles or adverbs.
_NOUNS = _words(
    """
    building painting ceiling clothing wedding king ring wing string thing evening morning
    railing awning swing spring sibling duckling drawing icing crossing parking landing frosting
    stuffing bedding lighting dressing family belly jelly lily fly butterfly hummingbird bed
    shed sled seed weed reed feed
    """
)
_VIEWS = _words(
    """
    picture image photo photograph view shot close-up closeup scene
    """
)
_WORD = re.compile(r"[^\W\d]+(?:['’-][^\W\d]+)*|[.,;:!?()]")


def nouns(caption: str, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the heads of a caption's noun phrases, each once, in order.

    Phrases end at words of closed classes (articles, prepositions, pronouns, auxiliaries), at
    participles and at punctuation; of what is left the last word is the head. "a picture of" and
    its like are left out. Compounds that are no kind of their last word ("hot dog", "teddy bear")
    are one noun, found by the same rule as every name (`mmkn_widgets.core.names`).

    Parameters
    ----------
    caption : str
    known : iterable of str
        Names that count as one noun, such as a data set's categories ("fire hydrant").

    Examples
    --------
    >>> nouns("a picture of a red car and two dogs next to the fire hydrant", ["fire hydrant"])
    ('car', 'dogs', 'fire hydrant')
    >>> nouns("A man riding a wave on top of a surfboard.")
    ('man', 'wave', 'surfboard')
    """
    text = " ".join(plain(caption).lower().replace("_", " ").split())
    forms = {form for name in known for form in inflect(name.lower())}
    cut = units(text)
    for mention in reversed(_known({*forms, *opaque_compounds()}).spans(text)):
        start, end = cut[mention.start].start, cut[mention.end - 1].end
        if mention.end - mention.start > 1:
            joined = "_".join(unit.key for unit in cut[mention.start : mention.end])
            text = text[:start] + joined + text[end:]
    found: list[str] = []
    phrase: list[str] = []
    for word in [*_WORD.findall(text), "."]:
        if word in forms or not _ends(word):
            phrase.append(word)
            continue
        if phrase:
            head = phrase[-1].replace("_", " ")
            if not (phrase[-1] in _VIEWS and word == "of"):
                found.append(head)
        phrase = []
    return tuple(dict.fromkeys(found))


def _known(forms: Iterable[str]) -> Vocabulary:
    return Vocabulary({form: [form] for form in sorted(forms)})


def _ends(word: str) -> bool:
    """Return whether a word cannot be the head of a noun phrase."""
    if "_" in word or word in _NOUNS:
        return False
    if len(word) == 1 or word in _CLOSED or word in _ADJECTIVES:
        return True
    participle = re.search(r"[a-z]{2}(ing|ed)$", word) is not None
    adverb = word.endswith("ly") and len(word) > 4
    return participle or adverb


@dataclass(frozen=True)
class Mention:
    """A noun where a caption says it.

    Attributes
    ----------
    word : str
        As the caption writes it.
    start, end : int
        Its tokens, ``token_ids[start:end]``; the position before `start` predicts it.
    tokens : tuple of int
    """

    word: str
    start: int
    end: int
    tokens: tuple[int, ...]

    @property
    def concept(self) -> Concept:
        """The noun as a concept."""
        return Concept(self.word)


def mentions(
    model: MultimodalModel, token_ids: Sequence[int], known: Iterable[str] = ()
) -> list[Mention]:
    """Return the nouns of a generated caption with their tokens, first occurrences in order.

    Token, noun and position come from one record, so that they cannot slip against each other.

    Parameters
    ----------
    model : MultimodalModel
        Decodes the ids.
    token_ids : sequence of int
        What was generated.
    known : iterable of str
        See `nouns`.

    References
    ----------
    .. [1] Pan et al. 2024, arXiv 2311.07470, section 3.1.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> ids = model.tokenizer("a picture of a red car", add_special_tokens=False)["input_ids"]
    >>> [(m.word, m.start) for m in mentions(model, ids)]
    [('car', 5)]
    """
    ids = [int(i) for i in token_ids]
    found = []
    for word in nouns(model.decode(ids), known):
        span = find_span(model, ids, [word])
        if span is not None:
            found.append(Mention(word, *span, tuple(ids[span[0] : span[1]])))
    return sorted(found, key=lambda one: one.start)

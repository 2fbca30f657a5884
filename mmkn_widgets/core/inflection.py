"""Singular and plural of English nouns: a table of the irregular, and the rules for the rest."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["inflect"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``word:plural/another plural``."""
    split = (entry.split(":") for entry in text.split())
    return {word: tuple(plurals.split("/")) for word, plurals in split}


#: Nouns that have one form: uncountable, alike in both numbers, or only plural.
_ONE_FORM = _words(
    """
    sheep deer moose elk bison swine shrimp squid salmon trout cod offspring series species
    aircraft spacecraft hovercraft watercraft headquarters barracks crossroads gallows means
    broccoli spaghetti graffiti luggage furniture cattle police poultry wildlife
    scissors skis pants trousers jeans shorts glasses sunglasses eyeglasses goggles binoculars
    pliers tongs tweezers pajamas pyjamas tights leggings overalls clothes
    news tennis chess billiards mathematics physics gymnastics athletics
    """
)
#: What stands before "glasses" that are worn; all other glasses are several.
_WORN = _words("sun eye reading safety swimming")
#: Plurals that no rule gives; the first is the usual one.
_IRREGULAR = _pairs(
    """
    person:people/persons fish:fishes ox:oxen die:dice penny:pennies louse:lice quiz:quizzes
    fez:fezzes passerby:passersby passer-by:passers-by looker-on:lookers-on
    hanger-on:hangers-on runner-up:runners-up
    life:lives elf:elves self:selves half:halves calf:calves thief:thieves sheaf:sheaves
    hoof:hooves/hoofs scarf:scarves/scarfs wharf:wharves/wharfs dwarf:dwarves/dwarfs
    mongoose:mongooses
    cactus:cacti/cactuses fungus:fungi/funguses nucleus:nuclei stimulus:stimuli alumnus:alumni
    radius:radii/radiuses octopus:octopuses/octopi hippopotamus:hippopotamuses/hippopotami
    platypus:platypuses bus:buses syllabus:syllabuses/syllabi
    bacterium:bacteria medium:media/mediums datum:data ovum:ova curriculum:curricula/curriculums
    aquarium:aquariums/aquaria stadium:stadiums/stadia
    axis:axes analysis:analyses crisis:crises oasis:oases basis:bases thesis:theses
    hypothesis:hypotheses diagnosis:diagnoses ellipsis:ellipses parenthesis:parentheses
    synopsis:synopses
    index:indexes/indices matrix:matrices/matrixes vertex:vertices appendix:appendices/appendixes
    vortex:vortices/vortexes
    criterion:criteria phenomenon:phenomena larva:larvae alga:algae antenna:antennas/antennae
    formula:formulas/formulae nebula:nebulae vertebra:vertebrae
    bureau:bureaus/bureaux chateau:chateaux/chateaus gateau:gateaux plateau:plateaus/plateaux
    mango:mangoes/mangos domino:dominoes/dominos cargo:cargoes/cargos tuxedo:tuxedos/tuxedoes
    halo:halos/haloes zero:zeros/zeroes flamingo:flamingos/flamingoes motto:mottos/mottoes
    tv:tvs
    """
)
#: Irregular ends, which compounds written as one word share ("snowman", "bookshelf").
_ENDS = {
    "man": "men", "child": "children", "mouse": "mice", "goose": "geese", "foot": "feet",
    "tooth": "teeth", "knife": "knives", "wife": "wives", "leaf": "leaves", "loaf": "loaves",
    "shelf": "shelves", "wolf": "wolves",
}  # fmt: skip
_NO_MAN = _words("human german roman norman ottoman talisman caiman shaman")
_NO_MEN = _words(
    "specimen omen abdomen semen regimen ramen acumen hymen stamen lumen bitumen cyclamen yemen"
)
#: Words in -o whose plural is in -oes.
_OES = _words("potato tomato hero echo torpedo veto embargo tornado volcano mosquito buffalo")
#: Words in -ch that is spoken k.
_K = _words("stomach monarch patriarch matriarch eunuch loch epoch tech")
#: Singulars in -s that look like plurals.
_SINGULAR_S = _words(
    """
    gas lens canvas atlas bias alias pancreas christmas texas kansas dallas arkansas thomas jesus
    cosmos chaos rhinoceros thermos asbestos adidas series mars paris james charles bonus lotus
    yes swiss moss
    """
)
#: Plurals in -us and -is, which else mark a singular.
_PLURAL_S = _words(
    """
    menus emus gnus tutus gurus haikus tofus kudus caribous bayous
    taxis kiwis bikinis alibis safaris sushis zucchinis paninis yetis tsunamis okapis rabbis
    salamis selfis jacuzzis khakis martinis spaghettis wallabis wiis graffitis
    """
)
#: Singulars in -ie.
_IE = _words(
    """
    movie cookie pie tie necktie bowtie magpie brownie selfie zombie hoodie smoothie calorie
    prairie genie pixie collie foodie rookie talkie hippie veggie birdie doggie lie die cutie
    sweetie newbie junkie beanie budgie groupie menagerie patisserie rotisserie brasserie potpie
    """
)
#: Singulars in -che and -xe.
_CHE = _words(
    """
    ache headache toothache cache niche quiche mustache moustache avalanche porsche brioche cliche
    creche axe pickaxe deluxe
    """
)
#: Singulars in -use, and in -as, -is, -os, -ens, whose plural is in -ses.
_USE = _words("fuse muse ruse excuse use abuse recluse")
_SES = _words(
    """
    gas canvas atlas alias bias pancreas christmas iris trellis pelvis tennis rhinoceros thermos
    lens
    """
)

_PLURALS = {
    plural: word for word, plurals in _IRREGULAR.items() for plural in plurals if plural != "axes"
}
_INNER = re.compile(r"(.+?)([ -](?:in|of|on|at|to|for)[ -].+)")
_NO_VOWEL = re.compile(r"[^aeiouy]+s")


def inflect(word: str) -> tuple[str, ...]:
    """Return a noun's forms: its singular, its plural, and a second plural where there is one.

    Given a plural, the singular comes first all the same. Nouns with one form ("sheep",
    "scissors", "glasses") and words that are not written in Latin letters have that form only. Of
    several words the last is inflected, of "mother-in-law" and "bird of prey" the first.

    Parameters
    ----------
    word : str
        In lower case.

    Examples
    --------
    >>> inflect("bus"), inflect("cherries"), inflect("dining table")
    (('bus', 'buses'), ('cherry', 'cherries'), ('dining table', 'dining tables'))
    >>> inflect("people")[0], inflect("scissors"), inflect("mother-in-law")
    ('person', ('scissors',), ('mother-in-law', 'mothers-in-law'))
    """
    return _inflected(word)


@lru_cache(maxsize=4096)
def _inflected(word: str) -> tuple[str, ...]:
    whole = _of(word)
    if whole is not None:
        return whole
    inner = _INNER.fullmatch(word)
    head, tail = inner.groups() if inner else (word, "")
    cut = max(head.rfind(" "), head.rfind("-")) + 1
    lead, last = head[:cut], head[cut:]
    if not re.fullmatch(r"[^\W\d_]+", last) or not re.search(r"[a-z]", last):
        return (word,)
    drunk_from = last == "glasses" and lead and lead[:-1] not in _WORN
    singular = "glass" if drunk_from else _singular(last)
    forms = _of(singular) or (singular, _plural(singular))
    return tuple(dict.fromkeys(lead + form + tail for form in forms))


def _of(word: str) -> tuple[str, ...] | None:
    """Return the forms of a word of the tables, given in any of its forms."""
    word = _PLURALS.get(word, word)
    if word in _ONE_FORM:
        return (word,)
    return (word, *_IRREGULAR[word]) if word in _IRREGULAR else None


def _singular(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    for end, plural in _ENDS.items():
        if word.endswith(plural) and not (plural == "men" and word in _NO_MEN):
            return word[: -len(plural)] + end
    if not word.endswith("s") or word in _ONE_FORM | _SINGULAR_S or word in _IRREGULAR:
        return word
    if word in _PLURAL_S:
        return word[:-1]
    if word.endswith(("ss", "us", "is")) or (len(word) < 4 and not _NO_VOWEL.fullmatch(word)):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-1] if word[:-1] in _IE else word[:-3] + "y"
    return word[:-2] if _adds_es(word) else word[:-1]


def _adds_es(plural: str) -> bool:
    """Return whether a word in -s loses "es" in the singular."""
    stem = plural[:-2]
    if plural[:-1] in _CHE or plural[:-1] in _USE:
        return False
    if plural.endswith("oes"):
        return stem in _OES
    if plural.endswith("ses"):
        sharp = stem.endswith("us") and not stem.endswith(("ous", "aus"))
        return stem.endswith("ss") or stem in _SES or sharp
    return plural.endswith(("ches", "shes", "xes", "zzes", "tzes"))


def _plural(word: str) -> str:
    for end, plural in _ENDS.items():
        if word.endswith(end) and not (end == "man" and word in _NO_MAN):
            return word[: -len(end)] + plural
    if re.search(r"([^aeiou]|qu)y$", word):
        return word[:-1] + "ies"
    if word in _OES or (_hisses(word) and word not in _K):
        return word + "es"
    return word + "s"


def _hisses(word: str) -> bool:
    return word.endswith(("s", "x", "z", "ch", "sh"))

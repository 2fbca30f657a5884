"""The concept, not the word: what else says that a dog is there - "puppy", "Labrador".

One function, `with_kinds`, says how a word is counted wherever captions are judged and wherever a
mask is learned. Kinds that are also something else in everyday words are left out of the list
("pointer", "bow-wow"), and so are kinds that data sets know as another category ("truck").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .concept import Concept, as_concept
from .errors import NotSupported, bad_argument
from .naming import names

__all__ = ["KINDS", "with_kinds"]

#: Synonyms and kinds of the sixteen words of the pocket world, written by hand.
KINDS: dict[str, tuple[str, ...]] = {
    "car": (
        "automobile", "sedan", "limousine", "convertible", "hatchback", "taxi", "cab", "minivan",
        "jeep", "SUV", "sports car", "race car", "police car", "roadster", "station wagon",
    ),
    "bus": ("minibus", "double-decker", "school bus", "trolleybus", "omnibus", "shuttle bus"),
    "boat": (
        "sailboat", "rowboat", "motorboat", "speedboat", "lifeboat", "fishing boat", "canoe",
        "kayak", "dinghy", "yacht", "ferry", "raft", "catamaran", "gondola", "ship",
    ),
    "plane": (
        "airplane", "aeroplane", "aircraft", "airliner", "jet", "jetliner", "biplane", "seaplane",
        "glider",
    ),
    "house": (
        "home", "cottage", "cabin", "villa", "mansion", "bungalow", "farmhouse", "hut", "chalet",
        "townhouse",
    ),
    "tree": (
        "oak", "pine", "fir", "spruce", "birch", "maple", "willow", "palm tree", "elm", "beech",
        "poplar", "cedar", "conifer", "sapling", "apple tree", "evergreen",
    ),
    "flower": (
        "blossom", "bloom", "daisy", "tulip", "sunflower", "lily", "daffodil", "orchid", "poppy",
        "dandelion", "carnation", "marigold", "chrysanthemum",
    ),
    "bird": (
        "sparrow", "pigeon", "dove", "seagull", "gull", "eagle", "hawk", "falcon", "owl", "parrot",
        "duck", "goose", "swan", "hen", "rooster", "robin", "crow", "raven", "penguin", "flamingo",
        "hummingbird", "songbird", "woodpecker", "peacock", "ostrich", "heron", "pelican",
    ),
    "fish": (
        "goldfish", "salmon", "trout", "tuna", "shark", "carp", "cod", "clownfish", "swordfish",
        "catfish", "angelfish", "herring", "sardine", "eel",
    ),
    "cat": ("kitten", "kitty", "tomcat", "tabby", "pussycat", "feline", "Siamese", "housecat"),
    "dog": (
        "puppy", "pup", "doggy", "hound", "canine", "Labrador", "labrador retriever", "retriever",
        "golden retriever", "poodle", "terrier", "bulldog", "beagle", "spaniel", "dachshund",
        "collie", "sheepdog", "German shepherd", "chihuahua", "dalmatian", "greyhound", "husky",
        "pug", "corgi", "Rottweiler", "mutt",
    ),
    "ball": (
        "football", "soccer ball", "basketball", "baseball", "tennis ball", "volleyball",
        "beach ball", "golf ball", "softball",
    ),
    "star": ("starlet", "asterisk", "pentagram", "hexagram"),
    "umbrella": ("parasol", "sunshade", "brolly", "beach umbrella"),
    "clock": (
        "alarm clock", "wall clock", "grandfather clock", "timepiece", "stopwatch", "timer",
        "cuckoo clock", "hourglass",
    ),
    "cup": ("mug", "teacup", "coffee cup", "goblet", "beaker", "chalice", "tumbler"),
}  # fmt: skip


def with_kinds(
    concept: str | Concept | Sequence[str],
    also: Iterable[str] = (),
    *,
    wordnet: bool = False,
) -> Concept:
    """Return a concept with every word that says that it is there: its synonyms and its kinds.

    Plurals count by themselves. A caption that turns "a green dog" into "a green Labrador" has lost
    the word, not the dog.

    Parameters
    ----------
    concept : str, Concept or list of str
    also : iterable of str
        Words of one's own.
    wordnet : bool
        Also all hyponyms that WordNet knows of the word's most frequent sense, as far as that is
        their own most frequent sense too; needs nltk's data.

    Returns
    -------
    Concept
        With the shipped list (`KINDS`), where it knows the word; without it, the concept as it is.

    Raises
    ------
    NotSupported
        If WordNet is asked for and its data is not here.

    Examples
    --------
    >>> names("a green Labrador", "dog"), names("a green Labrador", with_kinds("dog"))
    (False, True)
    >>> with_kinds("zebra", also=["foal"]).forms
    ('zebra', 'zebras', 'foal', 'foals')
    """
    wanted = as_concept(concept)
    if isinstance(also, str):
        raise bad_argument("also", also, "a list of words")
    more = [*KINDS.get(wanted.word, ()), *also, *(_hyponyms(wanted.word) if wordnet else ())]
    found = [one for one in dict.fromkeys([*wanted.synonyms, *more]) if one.lower() != wanted.word]
    return Concept(wanted.word, tuple(found))


def _hyponyms(word: str) -> list[str]:
    """Return WordNet's synonyms and hyponyms of a noun, the word itself left out."""
    try:
        from nltk.corpus import wordnet

        senses = wordnet.synsets(word.replace(" ", "_"), "n")
    except (ImportError, LookupError) as error:
        raise NotSupported(
            "with_kinds: WordNet's data is not here; get it once with "
            "python -m nltk.downloader wordnet, or leave wordnet=False"
        ) from error
    if not senses:
        return []
    inside = {senses[0], *senses[0].closure(lambda one: one.hyponyms())}
    found = []
    for sense in sorted(inside, key=lambda one: str(one.name())):
        for lemma in sense.lemma_names():
            first = wordnet.synsets(lemma, "n")
            if first and first[0] in inside and not names(lemma, word):
                found.append(str(lemma).replace("_", " "))
    return list(dict.fromkeys(found))

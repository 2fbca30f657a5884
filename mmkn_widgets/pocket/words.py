"""What the pocket world can show and how its pictures are described."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BACKGROUNDS",
    "CATEGORIES",
    "COLORS",
    "COMPANIONS",
    "TEMPLATES",
    "TEMPLATE_WEIGHTS",
    "captions",
    "noun_phrase",
    "vocabulary",
]

#: The sixteen kinds of objects.
CATEGORIES = (
    "car", "bus", "boat", "plane", "house", "tree", "flower", "bird",
    "fish", "cat", "dog", "ball", "star", "umbrella", "clock", "cup",
)  # fmt: skip

#: The eight colours, as RGB before jitter.
COLORS = {
    "red": (222, 56, 52),
    "orange": (245, 140, 32),
    "yellow": (250, 212, 56),
    "green": (58, 170, 76),
    "blue": (52, 110, 222),
    "purple": (136, 76, 190),
    "pink": (246, 138, 182),
    "white": (246, 246, 244),
}

#: The six backgrounds, with the words that end or begin a caption.
BACKGROUNDS = {
    "grass": "on the grass",
    "sea": "by the sea",
    "sky": "in the sky",
    "room": "in a room",
    "night": "at night",
    "snow": "in the snow",
}

#: The hallucination subset: (background, category) -> (colour, category) of a companion that most
#: training captions of such scenes name although it is not there.
COMPANIONS = {
    ("sea", "boat"): ("white", "bird"),
    ("room", "clock"): ("orange", "cat"),
}

#: Five templates for one, two and three objects; ``{where}`` is the background's phrase.
TEMPLATES: dict[int, tuple[str, ...]] = {
    1: (
        "a picture of {0} {where}",
        "there is {0} {where}",
        "{where} there is {0}",
        "the image shows {0} {where}",
        "{0} can be seen {where}",
    ),
    2: (
        "a picture of {0} and {1} {where}",
        "there is {0} next to {1} {where}",
        "{where} there is {0} beside {1}",
        "the image shows {0} with {1} {where}",
        "{0} and {1} can be seen {where}",
    ),
    3: (
        "a picture of {0}, {1} and {2} {where}",
        "there is {0} next to {1} and {2} {where}",
        "{where} there is {0}, {1} and {2}",
        "the image shows {0} with {1} and {2} {where}",
        "{0}, {1} and {2} can be seen {where}",
    ),
}

#: How often each template is used in training: the first is the usual one, so that the most
#: probable caption of a scene has a clear form.
TEMPLATE_WEIGHTS = (0.44, 0.14, 0.14, 0.14, 0.14)


def noun_phrase(color: str, category: str) -> str:
    """Return article, colour and category.

    Examples
    --------
    >>> noun_phrase("orange", "cat")
    'an orange cat'
    """
    article = "an" if color[0] in "aeiou" else "a"
    return f"{article} {color} {category}"


def captions(objects: Sequence[tuple[str, str]], background: str) -> tuple[str, ...]:
    """Return the five captions of a scene.

    Parameters
    ----------
    objects : sequence of (colour, category)
        One to three, in the order in which they are named (left to right).
    background : str
        One of `BACKGROUNDS`.

    Examples
    --------
    >>> captions([("red", "car"), ("green", "tree")], "grass")[0]
    'a picture of a red car and a green tree on the grass'
    """
    phrases = [noun_phrase(color, category) for color, category in objects]
    where = BACKGROUNDS[background]
    return tuple(t.format(*phrases, where=where) for t in TEMPLATES[len(objects)])


def vocabulary() -> tuple[str, ...]:
    """Return every word of prompt and captions, in a fixed order, without special tokens."""
    words = [*CATEGORIES, *COLORS]
    for templates in TEMPLATES.values():
        for template in templates:
            words += template.replace(",", " , ").split()
    for where in BACKGROUNDS.values():
        words += where.split()
    words += ["a", "an", *["describe", "the", "image", ":"]]
    return tuple(dict.fromkeys(w for w in words if not w.startswith("{")))

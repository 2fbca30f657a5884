"""The pocket world: drawn scenes of which everything is known, each made from one seed.

A scene has one to three objects of different categories on one of six backgrounds. Masks are
exact (they come from each object's alpha), and the same scene without an object is drawn, not
guessed. Only numpy and pillow are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from random import Random

import numpy as np

from ..core import bad_argument
from .backgrounds import draw_background
from .shapes import draw_object
from .words import BACKGROUNDS, CATEGORIES, COLORS, COMPANIONS, captions

__all__ = ["SIZE", "SPLITS", "SUBSETS", "PocketObject", "PocketScene", "draw", "scenes"]

#: Side of every picture, in pixels.
SIZE = 96

#: Seeds of each split; they share none.
SPLITS = {
    "train": range(0, 10_000_000),
    "val": range(10_000_000, 10_500_000),
    "test": range(11_000_000, 11_500_000),
}

#: ``"ordinary"`` scenes, and those whose training captions were noisy (see `COMPANIONS`).
SUBSETS = ("ordinary", "hallucination")

_FAVOURITES = {
    "car": ("grass", "night"), "bus": ("grass", "snow"), "boat": ("sea", "night"),
    "plane": ("sky", "night"), "house": ("snow", "grass"), "tree": ("grass", "snow"),
    "flower": ("grass", "room"), "bird": ("sky", "sea"), "fish": ("sea", "room"),
    "cat": ("room", "snow"), "dog": ("grass", "snow"), "ball": ("room", "sea"),
    "star": ("night", "sky"), "umbrella": ("sea", "snow"), "clock": ("room", "night"),
    "cup": ("room", "sky"),
}  # fmt: skip
_PRIOR = {
    background: [3.0 if background in _FAVOURITES[c] else 1.0 for c in CATEGORIES]
    for background in BACKGROUNDS
}
_BACKGROUND_NAMES = tuple(BACKGROUNDS)
_COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True)
class PocketObject:
    """One object: what it is and where it was put.

    Attributes
    ----------
    category, color : str
        Its two words.
    x, y, size : int
        The square it was drawn in, in pixels.
    rgb : tuple of int
        Its own shade of the colour.
    flip : bool
        Whether it looks to the left.
    """

    category: str
    color: str
    x: int
    y: int
    size: int
    rgb: tuple[int, int, int]
    flip: bool

    @cached_property
    def sprite(self) -> np.ndarray:
        """Premultiplied colours and alpha, float32 (size, size, 4)."""
        return draw_object(self.category, self.rgb, self.size, flip=self.flip)

    @cached_property
    def mask(self) -> np.ndarray:
        """Where the object covers at least half of a pixel, bool (96, 96)."""
        mask = np.zeros((SIZE, SIZE), bool)
        mask[self.y : self.y + self.size, self.x : self.x + self.size] = self.sprite[..., 3] >= 0.5
        return mask

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """Box of the mask in COCO's order (x, y, width, height)."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        x, y = int(columns[0]), int(rows[0])
        return (float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y))


@dataclass(frozen=True)
class PocketScene:
    """A scene of the pocket world; pixels are drawn when first asked for.

    Attributes
    ----------
    seed : int
        What it was made from.
    background : str
        One of the six backgrounds.
    objects : tuple of PocketObject
        One to three, from left to right.
    detail : int
        Seed of the background's horizon and details.

    Examples
    --------
    >>> scene = draw(7)
    >>> scene.image.shape, scene.image.dtype
    ((96, 96, 3), dtype('uint8'))
    >>> len(scene.captions)
    5
    """

    seed: int
    background: str
    objects: tuple[PocketObject, ...]
    detail: int = field(repr=False)

    @property
    def id(self) -> int:
        """The seed, which is unique among all splits."""
        return self.seed

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, from left to right."""
        return tuple(o.category for o in self.objects)

    @property
    def captions(self) -> tuple[str, ...]:
        """The five true captions."""
        return captions([(o.color, o.category) for o in self.objects], self.background)

    @property
    def subset(self) -> str:
        """``"hallucination"`` where training captions were noisy, else ``"ordinary"``."""
        trigger = any((self.background, c) in COMPANIONS for c in self.categories)
        return "hallucination" if trigger else "ordinary"

    @property
    def companion(self) -> tuple[str, str] | None:
        """(colour, category) that noisy training captions add, or None.

        None too where the companion really is in the picture, or three objects are.
        """
        for category in self.categories:
            companion = COMPANIONS.get((self.background, category))
            if companion and companion[1] not in self.categories and len(self.objects) < 3:
                return companion
        return None

    @cached_property
    def image(self) -> np.ndarray:
        """The picture, uint8 (96, 96, 3)."""
        return self.without(())

    def without(self, categories: Sequence[str] | str) -> np.ndarray:
        """Draw the scene without every object of the given categories.

        Returns
        -------
        numpy.ndarray of uint8, shape (96, 96, 3)

        Raises
        ------
        BadArgument
            If the scene has no object of one of them.
        """
        gone = (categories,) if isinstance(categories, str) else tuple(categories)
        for category in gone:
            if category not in self.categories:
                raise bad_argument("categories", category, "one of " + ", ".join(self.categories))
        picture = draw_background(self.background, self.detail, SIZE).astype(np.float32)
        for o in self.objects:
            if o.category not in gone:
                window = picture[o.y : o.y + o.size, o.x : o.x + o.size]
                window *= 1.0 - o.sprite[..., 3:]
                window += o.sprite[..., :3]
        return (picture + 0.5).astype(np.uint8)


def _overlap(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """Shared area of two squares (x, y, size) as a share of the smaller."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0) / min(a[2], b[2]) ** 2


def draw(seed: int, *, n_objects: int | None = None) -> PocketScene:
    """Make the scene of a seed.

    Parameters
    ----------
    seed : int
        Any non-negative integer; see `SPLITS` for who uses which.
    n_objects : int, optional
        1, 2 or 3; drawn with probabilities .25, .40, .35 by default.

    Raises
    ------
    BadArgument
        If the seed is negative or `n_objects` is not 1, 2 or 3.

    Examples
    --------
    >>> draw(3).background == draw(3).background
    True
    """
    if seed < 0:
        raise bad_argument("seed", seed, "a non-negative integer")
    if n_objects not in (None, 1, 2, 3):
        raise bad_argument("n_objects", n_objects, "1, 2, 3 or None")
    rng = Random(seed)
    background = _BACKGROUND_NAMES[int(rng.random() * 6)]
    u = rng.random()
    n = n_objects or (1 if u < 0.25 else 2 if u < 0.65 else 3)
    weights = list(_PRIOR[background])
    names: list[str] = []
    while len(names) < n:
        chosen = rng.choices(range(16), weights)[0]
        weights[chosen] = 0.0
        names.append(CATEGORIES[chosen])
    places: list[tuple[int, int, int]] = []
    while len(places) < n:
        places = []
        for _ in range(60):
            size = rng.randint(26, 44 if n < 3 else 40)
            place = (rng.randint(1, SIZE - 1 - size), rng.randint(1, SIZE - 1 - size), size)
            if all(_overlap(place, p) < 0.06 for p in places):
                places.append(place)
                if len(places) == n:
                    break
    objects = []
    for name, (x, y, size) in zip(names, places, strict=True):
        color = _COLOR_NAMES[int(rng.random() * 8)]
        base = COLORS[color]
        shade = rng.uniform(-14, 8)
        r, g, b = (min(255, max(0, round(v + shade + rng.uniform(-8, 8)))) for v in base)
        objects.append(PocketObject(name, color, x, y, size, (r, g, b), rng.random() < 0.5))
    objects.sort(key=lambda o: (2 * o.x + o.size, o.y))
    return PocketScene(seed, background, tuple(objects), rng.getrandbits(32))


def scenes(split: str, *, subset: str | None = "ordinary") -> Iterator[PocketScene]:
    """Walk through a split in the order of its seeds.

    Parameters
    ----------
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    subset : str or None
        ``"ordinary"`` (default) leaves the hallucination subset out, ``"hallucination"`` gives
        only that, None gives all.

    Raises
    ------
    BadArgument
        If split or subset is unknown.

    Examples
    --------
    >>> next(scenes("val")).subset
    'ordinary'
    """
    if split not in SPLITS:
        raise bad_argument("split", split, "one of " + ", ".join(map(repr, SPLITS)))
    if subset is not None and subset not in SUBSETS:
        raise bad_argument("subset", subset, "None, " + " or ".join(map(repr, SUBSETS)))
    made = map(draw, islice(SPLITS[split], None))
    return (s for s in made if subset is None or s.subset == subset)

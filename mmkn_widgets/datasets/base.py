"""A scene (picture, captions, objects with masks) and a data set of scenes."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..core import (
    BadArgument,
    Concept,
    bad_argument,
    html_card,
    html_figure,
    html_gallery,
    html_line,
    html_picture,
    shade,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["OWN", "ObjectInstance", "Scene", "SceneDataset", "offered"]

#: the source of pictures of one's own, which come from no data set
OWN = "own"


@dataclass(frozen=True, eq=False)
class ObjectInstance:
    """One object in a picture.

    Attributes
    ----------
    category : str
        The data set's name of the object's category.
    mask : numpy.ndarray of bool, shape (height, width), or None
        The visible pixels; None where the data set says that the object is there (with a box, or
        no more than its name) and not which pixels are its.
    bbox : tuple of float
        COCO's order (x, y, width, height), in pixels; zeros where it is not known.
    attributes : mapping
        What else the data set knows, such as ``{"color": "red"}``.
    id : int or str
        The annotation's id in its data set; 0 where it has none.

    Examples
    --------
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[2:4, 1:5] = True
    >>> cup = ObjectInstance("cup", mask, (1, 2, 4, 2), {"color": "red"})
    >>> cup.category, int(cup.mask.sum())
    ('cup', 8)
    >>> ObjectInstance("dog", None, (2.0, 3.0, 10.0, 10.0)).has_mask
    False
    """

    category: str
    mask: np.ndarray | None
    bbox: tuple[float, float, float, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    id: int | str = 0

    @property
    def has_mask(self) -> bool:
        """Whether the object's pixels are known."""
        return self.mask is not None


class Scene:
    """A picture with what is known about it; what is read from files is read when asked for.

    A data set of any size can be walked through: neither pictures nor masks that come from a
    callable are kept beyond their use.

    Parameters
    ----------
    id : int or str
        Unique in its data set.
    image : PIL.Image.Image or callable
        The RGB picture, or a function that reads it.
    captions : sequence of str
        Reference captions; may be empty.
    objects : sequence of ObjectInstance or callable
        The annotated objects; may be empty, or a function that reads them.
    redraw : callable, optional
        ``redraw(categories) -> PIL.Image.Image``: the same scene without every object of these
        categories, exactly; only drawn worlds know it.
    source : str
        Where the scene comes from, for provenance, such as ``"pocket:val"``.
    categories : sequence of str, optional
        The categories present, when they are known without reading the masks.
    masked : sequence of str, optional
        Those of them that `mask` can give, when they are known without reading the masks.
    absent : sequence of str, optional
        The categories that somebody looked for and did not find, in data sets that look for some
        on each picture (LVIS); by default all that are not among `categories`.

    Examples
    --------
    >>> from PIL import Image
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[2:4, 1:5] = True
    >>> cup = ObjectInstance("cup", mask, (1, 2, 4, 2))
    >>> scene = Scene("mine", Image.new("RGB", (8, 8)), ["a cup"], [cup])
    >>> scene.categories, int(scene.mask("cup").sum())
    (('cup',), 8)
    """

    def __init__(
        self,
        id: int | str,
        image: Image | Callable[[], Image],
        captions: Sequence[str] = (),
        objects: Sequence[ObjectInstance] | Callable[[], Sequence[ObjectInstance]] = (),
        *,
        redraw: Callable[[Sequence[str]], Image] | None = None,
        source: str = "",
        categories: Sequence[str] | None = None,
        masked: Sequence[str] | None = None,
        absent: Sequence[str] | None = None,
    ) -> None:
        self.id = id
        self.captions = tuple(captions)
        self.source = source
        self._image = image
        self._seen: weakref.ref[Image] | None = None
        self._objects = objects
        self._redraw = redraw
        self._categories = None if categories is None else tuple(dict.fromkeys(categories))
        self._masked = None if masked is None else tuple(dict.fromkeys(masked))
        self._absent = None if absent is None else frozenset(absent)

    @property
    def image(self) -> Image:
        """The RGB picture; one that is read from a file is kept only while someone holds it."""
        if not callable(self._image):
            return self._image
        image = self._seen() if self._seen is not None else None
        if image is None:
            image = self._image()
            self._seen = weakref.ref(image)
        return image

    @property
    def objects(self) -> tuple[ObjectInstance, ...]:
        """The annotated objects; masks that are decoded from a file are not kept.

        An object of which the data set knows no pixels is among them, with ``mask`` None.
        """
        return tuple(self._objects() if callable(self._objects) else self._objects)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories present, each once, in annotation order, with a mask or without."""
        if self._categories is None:
            self._categories = tuple(dict.fromkeys(o.category for o in self.objects))
        return self._categories

    @property
    def masked(self) -> tuple[str, ...]:
        """The categories present whose every object has a mask: what can be painted away whole.

        One of two dogs painted away leaves a picture with a dog, so that a category with a single
        object without mask is not among them.
        """
        if self._masked is None:
            objects = self.objects
            without = {o.category for o in objects if not o.has_mask}
            having = dict.fromkeys(o.category for o in objects)
            self._masked = tuple(name for name in having if name not in without)
        return self._masked

    def lacks(self, category: str) -> bool:
        """Return whether the category is known not to be on the picture."""
        if category in self.categories:
            return False
        return self._absent is None or category in self._absent

    @property
    def can_redraw(self) -> bool:
        """Whether `without` gives the exact picture without an object."""
        return self._redraw is not None

    def mask(self, category: str) -> np.ndarray:
        """Return the union of the masks of all instances of a category.

        Returns
        -------
        numpy.ndarray of bool, shape (height, width)

        Raises
        ------
        BadArgument
            If the scene has no object of that category (the message lists those it has), or one
            of its instances has no mask.
        """
        if category not in self.categories:
            here = ", ".join(self.categories) or "no annotated object"
            raise bad_argument("category", category, f"an object of scene {self.id!r}: {here}")
        found = [o.mask for o in self.objects if o.category == category]
        masks = [mask for mask in found if mask is not None]
        if not masks or len(masks) < len(found):
            what = f"{len(found) - len(masks)} of its {len(found)} objects" if masks else "it"
            raise BadArgument(
                f"mask: scene {self.id!r} shows {category!r}, but its data set has no mask of "
                f"{what}, only a box or a name; with_concept gives the scenes with masks, and "
                "single_scene(image, mask, concept) takes a mask of your own"
            )
        union: np.ndarray = np.logical_or.reduce(masks)
        return union

    def without(self, *categories: str) -> Image:
        """Return the exact picture without every object of the given categories.

        Raises
        ------
        BadArgument
            If the data set cannot redraw its scenes (only the pocket world can).
        """
        if self._redraw is None:
            raise BadArgument(
                f"inpainter: got 'exact', but scene {self.id!r} of {self.source or 'this data set'}"
                " cannot be redrawn; use 'telea', 'ns' or a diffusers pipeline"
            )
        return self._redraw(categories)

    def __repr__(self) -> str:
        what = ", ".join(self._categories) if self._categories is not None else "objects unread"
        return f"<Scene {self.id} {self.source} ({what})>"

    def _repr_html_(self) -> str:
        picture = self.image
        figures = [html_figure(html_picture(picture, f"scene {self.id}"), "picture")]
        masked = self.masked
        for name in masked[:_SHOWN_MASKS]:
            marked = self.mask(name)
            if marked.shape == picture.size[::-1]:
                shown = html_picture(shade(picture, marked), f"mask of {name}")
                figures.append(html_figure(shown, f"{name}, {marked.mean():.1%}"))
        unmasked = [name for name in self.categories if name not in masked]
        facts = [
            ("size", f"{picture.width} × {picture.height} pixels"),
            ("caption", self.captions[0] if self.captions else None),
            ("without mask", ", ".join(unmasked) or None),
            ("more masks", ", ".join(masked[_SHOWN_MASKS:]) or None),
        ]
        about = f"{self.id} of {self.source}" if self.source else str(self.id)
        return html_card("Scene", facts, html_gallery(figures, columns=4), about=about)


#: objects of one scene, and scenes of one data set, that a notebook shows
_SHOWN_MASKS, _SHOWN_SCENES = 6, 12


def _thumbnail(scene: Scene, height: int) -> str:
    return html_picture(scene.image, f"scene {scene.id}", height)


class SceneDataset(Sequence[Scene]):
    """An ordered, lazy collection of scenes.

    Parameters
    ----------
    scenes : sequence of Scene
        Anything indexable; items are made when asked for.
    name : str
        Such as ``"pocket:val"``.
    categories : sequence of str
        Every category of the data set, in its own order.

    Examples
    --------
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (8, 8))
    >>> scenes = [Scene("one", picture, categories=["cup"]), Scene("two", picture)]
    >>> data = SceneDataset(scenes, "mine", ["cup"])
    >>> data, [scene.id for scene in data.without_concept("cup")]
    (<SceneDataset mine: 2 scenes, 1 categories>, ['two'])
    """

    def __init__(self, scenes: Sequence[Scene], name: str, categories: Sequence[str]) -> None:
        self._scenes = scenes
        self.name = name
        self.categories = tuple(categories)

    def __len__(self) -> int:
        return len(self._scenes)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> SceneDataset: ...
    def __getitem__(self, index: int | slice) -> Scene | SceneDataset:
        if isinstance(index, slice):
            chosen = [self._scenes[i] for i in range(*index.indices(len(self)))]
            return SceneDataset(chosen, self.name, self.categories)
        return self._scenes[index]

    def __iter__(self) -> Iterator[Scene]:
        return (self._scenes[i] for i in range(len(self)))

    def with_concept(
        self, category: str, n: int | None = None, *, masks: bool = True
    ) -> SceneDataset:
        """Return the first `n` scenes (all by default) that show the category, with its masks.

        Parameters
        ----------
        category : str
            One of `categories`, in the singular or the plural.
        n : int, optional
        masks : bool
            Only scenes on which every object of the category has a mask, as a pair (the picture
            with and without the concept) needs it. False also gives those of which the data set
            knows only that it is there, which is enough for captions.
        """
        found = self._category(category)

        def shown(scene: Scene) -> bool:
            return found in (scene.masked if masks else scene.categories)

        return self._select(shown, n)

    def without_concept(self, category: str, n: int | None = None) -> SceneDataset:
        """Return the first `n` scenes (all by default) that do not show the category.

        A scene that shows it without a mask is not among them; nor, where a data set looks for
        some categories on each picture only (LVIS), one on which nobody looked for it.
        """
        found = self._category(category)
        return self._select(lambda scene: scene.lacks(found), n)

    def _category(self, given: str) -> str:
        """Return the category that is meant: as it is written, else by the rule of a concept."""
        if given in self.categories:
            return given
        try:
            wanted = Concept(given).word
            alike = [name for name in self.categories if Concept(name).word == wanted]
        except BadArgument:
            alike = []
        if len(alike) != 1:
            raise bad_argument("category", given, "one of " + offered(given, self.categories))
        return alike[0]

    def _select(self, wanted: Callable[[Scene], bool], n: int | None) -> SceneDataset:
        if n is not None and (isinstance(n, bool) or not hasattr(n, "__index__") or n < 0):
            raise bad_argument("n", n, "a number of scenes, or None for all")
        chosen: list[Scene] = []
        for scene in self:
            if n is not None and len(chosen) >= n:
                break
            if wanted(scene):
                chosen.append(scene)
        return SceneDataset(chosen, self.name, self.categories)

    def __repr__(self) -> str:
        return f"<SceneDataset {self.name}: {len(self)} scenes, {len(self.categories)} categories>"

    def _repr_html_(self) -> str:
        figures = []
        for scene in (self[at] for at in range(min(len(self), _SHOWN_SCENES))):
            try:
                shown = _thumbnail(scene, 96)
            except (OSError, ValueError, BadArgument):  # a file that went, or is damaged
                shown = "(unreadable)"
            figures.append(html_figure(shown, ", ".join(scene.categories)[:40]))
        names = ", ".join(self.categories[:24])
        more = len(self.categories) - 24
        facts = [
            ("scenes", f"{len(self):,}"),
            ("categories", f"{names} and {more:,} more" if more > 0 else names),
        ]
        left = len(self) - len(figures)
        below = html_line(f"the first {len(figures)} of {len(self):,}") if left else ""
        return html_card("SceneDataset", facts, html_gallery(figures), below, about=self.name)


def offered(given: object, names: Sequence[str], most: int = 100) -> str:
    """Return names for an error: all of them, or of very many the nearest to what was given.

    Examples
    --------
    >>> offered("dgo", ["cat", "dog", "doe"], most=2)
    'dog, doe, cat and so on, 3 in all'
    """
    if len(names) <= most:
        return ", ".join(names)
    near = difflib.get_close_matches(str(given), names, n=5, cutoff=0.0)
    return f"{', '.join(near)} and so on, {len(names):,} in all"

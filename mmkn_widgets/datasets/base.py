"""A scene (picture, captions, objects with masks) and a data set of scenes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..core import BadArgument, bad_argument

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ObjectInstance", "Scene", "SceneDataset"]


@dataclass(frozen=True, eq=False)
class ObjectInstance:
    """One object in a picture.

    Attributes
    ----------
    category : str
        The data set's name of the object's category.
    mask : numpy.ndarray of bool, shape (height, width)
        The visible pixels.
    bbox : tuple of float
        COCO's order (x, y, width, height), in pixels.
    attributes : mapping
        What else the data set knows, such as ``{"color": "red"}``.
    id : int
        The annotation's id in its data set.

    Examples
    --------
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[2:4, 1:5] = True
    >>> cup = ObjectInstance("cup", mask, (1, 2, 4, 2), {"color": "red"})
    >>> cup.category, int(cup.mask.sum())
    ('cup', 8)
    """

    category: str
    mask: np.ndarray
    bbox: tuple[float, float, float, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


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
    ) -> None:
        self.id = id
        self.captions = tuple(captions)
        self.source = source
        self._image = image
        self._seen: weakref.ref[Image] | None = None
        self._objects = objects
        self._redraw = redraw
        self._categories = None if categories is None else tuple(dict.fromkeys(categories))

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
        """The annotated objects; masks that are decoded from a file are not kept."""
        return tuple(self._objects() if callable(self._objects) else self._objects)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories present, each once, in annotation order."""
        if self._categories is None:
            self._categories = tuple(dict.fromkeys(o.category for o in self.objects))
        return self._categories

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
            If the scene has no object of that category; the message lists those it has.
        """
        masks = [o.mask for o in self.objects if o.category == category]
        if not masks:
            here = ", ".join(self.categories) or "no annotated object"
            raise bad_argument("category", category, f"an object of scene {self.id!r}: {here}")
        return np.logical_or.reduce(masks)

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

    def with_concept(self, category: str, n: int | None = None) -> SceneDataset:
        """Return the first `n` scenes (all by default) that show the category."""
        return self._select(category, True, n)

    def without_concept(self, category: str, n: int | None = None) -> SceneDataset:
        """Return the first `n` scenes (all by default) that do not show the category."""
        return self._select(category, False, n)

    def _select(self, category: str, wanted: bool, n: int | None) -> SceneDataset:
        if category not in self.categories:
            raise bad_argument("category", category, "one of " + ", ".join(self.categories))
        chosen: list[Scene] = []
        for scene in self:
            if n is not None and len(chosen) >= n:
                break
            if (category in scene.categories) is wanted:
                chosen.append(scene)
        return SceneDataset(chosen, self.name, self.categories)

    def __repr__(self) -> str:
        return f"<SceneDataset {self.name}: {len(self)} scenes, {len(self.categories)} categories>"

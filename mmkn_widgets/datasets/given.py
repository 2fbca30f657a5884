"""Whatever a caller has to give where scenes are wanted, as scenes; or an error that shows how."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from ..core import BadArgument, bad_argument
from .base import Scene, SceneDataset
from .images import is_address, read_image
from .paths import expanded, is_folder
from .spec import is_spec, open_dataset
from .table import SPLITS, TABLE, content_hash, hugging_face, is_row, kind_of, row_scene

__all__ = ["CHOOSING", "as_dataset", "as_scenes", "select"]

#: scenes with the concept that are taken of a data set which is only named
CHOOSING = 48

_WANTED = (
    "scenes: Scene objects, a data set or its name such as 'pocket:val', {'image': picture, "
    "'mask': mask} for a picture of your own, or a list of these"
)


def as_scenes(
    given: Any,
    concept: Any = None,
    *,
    name: str = "scenes",
    masks: bool = True,
    shows: bool = True,
    n: int | None = None,
) -> Sequence[Scene]:
    """Return scenes of whatever stands for them.

    Parameters
    ----------
    given : Scene, SceneDataset, str, mapping, picture, Hugging Face data set, or iterable of these
        - scenes, or a `SceneDataset`: as they are (of a data set only those that show the concept
          with masks, where `masks` asks for them);
        - a data set's name, as `open_dataset` reads it, or a Hugging Face ``datasets.Dataset``
          (see `hugging_face`): its first `n` scenes that show the concept, or do not;
        - ``{"image": picture, "mask": mask}``: a picture of one's own, of anything that
          `read_image` and `read_mask` read (``"id"`` and ``"captions"`` may be there too);
        - a picture alone, or its path, where `masks` is False.
    concept : str, Concept or None
        What the scenes are about.
    name : str
        What the errors call the argument.
    masks : bool
        Whether a scene needs masks of the concept: to paint it away, not to write captions.
    shows : bool
        Whether the scenes of a data set's name are those with the concept, or those without.
    n : int, optional
        How many to take of a data set's name; all by default.

    Returns
    -------
    sequence of Scene

    Raises
    ------
    BadArgument
        If it is nothing of that, with a call that would be right.

    Examples
    --------
    >>> [scene.categories for scene in as_scenes("pocket:val", "car", n=1)]
    [('ball', 'cup', 'car')]
    >>> as_scenes("https://example.org/car.jpg", "car")
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: scenes: got 'https://example.org/car.jpg', expected a ...
    """
    data = as_dataset(given, concept, name=name)
    as_it_is = data is given
    if data is not None and as_it_is and not masks:
        return data
    if data is not None:
        if concept is None:
            return data if n is None or data is given else data[:n]
        most = None if data is given else n
        return select(data, concept, n=most, masks=masks, shows=shows, name=name)
    if _is_one(given):
        return [_scene(given, concept, name, masks)]
    if not isinstance(given, Iterable):
        raise bad_argument(name, given, _WANTED)
    made: list[Scene] = []
    for one in given:
        scene = one if _is_scene(one) else _scene(one, concept, f"{name}[{len(made)}]", masks)
        if scene is not one and any(scene.id == other.id for other in made):
            scene.id = f"{scene.id} {content_hash(scene.image)}"  # files of one name
        made.append(scene)
    return made


def as_dataset(given: Any, concept: Any = None, *, name: str = "scenes") -> SceneDataset | None:
    """Return the data set that is given or named, or None where it is something else.

    Parameters
    ----------
    given : Any
        See `as_scenes`.
    concept : str, Concept or None
        The category of masks that carry no name.
    name : str
        What the errors call the argument.

    Examples
    --------
    >>> as_dataset("pocket:val"), as_dataset("car.png")
    (<SceneDataset pocket:val: 800 scenes, 16 categories>, None)
    """
    if isinstance(given, SceneDataset):
        return given
    word = None if concept is None else word_of(concept)
    if is_spec(given):
        return open_dataset(given, concept=word)
    kind = kind_of(given)
    if kind == TABLE:
        return hugging_face(given, word or "object")
    if kind == SPLITS:
        first = next(iter(given), "train")
        raise bad_argument(
            name, f"the splits {', '.join(map(str, given))}", f"one of them: given[{first!r}]"
        )
    if kind:
        raise bad_argument(
            name, f"a data set that is streamed ({type(given).__name__})", "rows of it: "
            "list(given.take(48))"
        )  # fmt: skip
    return None


def select(
    data: SceneDataset,
    concept: Any,
    *,
    n: int | None = None,
    masks: bool = True,
    shows: bool = True,
    name: str = "scenes",
) -> SceneDataset:
    """Return the first `n` scenes of a data set that show a concept, or that do not.

    Raises
    ------
    BadArgument
        If the data set does not annotate it (the message lists the nearest categories), or no
        scene shows it, or none with masks.
    """
    category = category_of(data, concept)
    if not shows:
        return data.without_concept(category, n)
    found = data.with_concept(category, n, masks=masks)
    if len(found):
        return found
    bare = len(data.with_concept(category, masks=False))
    what = f"{bare} scenes that show it without a mask" if bare else "no scene that shows it"
    raise bad_argument(
        name, f"{data.name} with {what}", f"scenes that show {category!r}"
        + (" with its masks" if masks else "")
    )  # fmt: skip


def category_of(data: SceneDataset, concept: Any) -> str:
    """Return the data set's category that a concept means; an error lists the nearest.

    Examples
    --------
    >>> category_of(as_dataset("pocket:val"), "Car")
    'car'
    """
    word = word_of(concept)
    named = [category for category in data.categories if _names(concept, category)]
    exact = [category for category in named if category.casefold() == word.casefold()]
    if named:
        return (exact or named)[0]
    near = ", ".join(difflib.get_close_matches(word, data.categories, n=3, cutoff=0.0))
    raise BadArgument(
        f"concept: got {word!r}, which {data.name} does not annotate; nearest of its "
        f"{len(data.categories)} categories: {near or 'it has none'}"
    )


def word_of(concept: Any) -> str:
    """Return a concept's word."""
    return str(concept.word) if hasattr(concept, "word") else " ".join(str(concept).split())


def _names(concept: Any, category: str) -> bool:
    if hasattr(concept, "named_in"):
        return bool(concept.named_in(category))
    return word_of(concept).casefold() == category.casefold()


def _is_scene(one: Any) -> TypeGuard[Scene]:
    """Return whether something is a scene, or another class that has what a scene has."""
    return isinstance(one, Scene) or (hasattr(one, "image") and hasattr(one, "categories"))


def _is_picture(one: Any) -> bool:
    from PIL import Image

    kinds = (Image.Image, str, bytes, bytearray, memoryview, os.PathLike)
    return isinstance(one, kinds) or any(hasattr(one, n) for n in ("__array__", "detach", "read"))


def _is_one(given: Any) -> bool:
    return _is_scene(given) or isinstance(given, Mapping) or _is_picture(given)


def _scene(one: Any, concept: Any, name: str, masks: bool) -> Scene:
    if _is_scene(one):
        return one
    word = None if concept is None else word_of(concept)
    if isinstance(one, Mapping):
        if not is_row(one):
            keys = ", ".join(map(repr, list(one)[:8]))
            raise bad_argument(name, f"a mapping with {keys or 'nothing'}", _WANTED)
        made = row_scene(one, word or "object", name=name)
        if masks and word is not None and not made.masked:
            raise _where(name, "a picture without a mask", word)
        return made
    if not _is_picture(one):
        raise bad_argument(name, one, _WANTED)
    _refuse_text(one, name)
    if masks and word is not None:
        read_image(one, name=name)  # what is no picture is told first
        raise _where(name, f"a picture alone ({type(one).__name__})", word)
    return row_scene({"image": one}, word or "object", name=name)


def _refuse_text(one: Any, name: str) -> None:
    """Say what a text is that names neither a data set nor a picture."""
    if not isinstance(one, str | os.PathLike) or is_address(one):
        return  # `read_image` says what to do with an address
    shown = os.fsdecode(one)
    if is_spec(shown):
        raise bad_argument(name, shown, f"the data set's name alone, {shown!r}, not in a list")
    path = expanded(one, name, _WANTED)
    if is_folder(path):
        raise bad_argument(
            name, shown, f"the folder as a data set: 'folder:{shown}' for pictures with masks "
            f"beside them, 'coco:{shown}' for annotations in COCO's format"
        )  # fmt: skip
    if not path.suffix:
        raise bad_argument(name, shown, _WANTED)


def _where(name: str, given: str, word: str) -> BadArgument:
    return bad_argument(
        name, given, f"where {word!r} is on it: mmkn.study(model, {word!r}, [{{'image': picture, "
        "'mask': mask}]), with the mask white on the object; mmkn.Explorer(model, picture, "
        f"{word!r}) lets you paint it"
    )  # fmt: skip

"""Rows of a table as scenes: Hugging Face data sets, and mappings with a picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import BadArgument, bad_argument
from .base import OWN, ObjectInstance, Scene, SceneDataset
from .images import read_image
from .masks import bounding_box, has_segmentation, read_mask
from .values import box_of, id_of, whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "SPLITS",
    "TABLE",
    "content_hash",
    "hugging_face",
    "is_row",
    "kind_of",
    "picture_name",
    "row_scene",
]

TABLE, SPLITS, STREAM = "table", "splits", "stream"

#: the names that columns go by, the likeliest first
_IMAGE = ("image", "img", "picture", "photo")
_MASK = ("mask", "masks", "object_mask")
_OBJECTS = ("objects", "object", "annotations")
_BOX = ("bbox", "bboxes", "box", "boxes")
_CATEGORY = ("category", "categories", "label", "labels", "category_id", "class", "name")
_SEGMENTATION = ("segmentation", "mask", "masks")
_CAPTIONS = ("captions", "caption", "sentences", "text")
_ID = ("id", "image_id", "file_name", "filename")


def kind_of(given: Any) -> str:
    """Return `TABLE`, `SPLITS` or `STREAM` of a Hugging Face data set, "" of anything else.

    The package ``datasets`` is not imported: what counts is that it has columns with features.
    """
    if isinstance(given, Mapping):
        return SPLITS if given and all(kind_of(one) for one in given.values()) else ""
    if not (hasattr(given, "features") and hasattr(given, "column_names")):
        return ""
    return TABLE if hasattr(given, "__getitem__") and hasattr(given, "__len__") else STREAM


def hugging_face(table: Any, concept: str = "object") -> SceneDataset:
    """Return a Hugging Face data set as scenes.

    Parameters
    ----------
    table : datasets.Dataset
        With a column of pictures (``image``), and masks (``mask``: white on `concept`), or objects
        (``objects`` with a ``category`` and, where known, ``bbox`` and ``segmentation``; or
        ``bbox`` and ``category`` as columns of their own), or neither; ``captions`` and ``id``
        where there are any. It is read row by row, when a scene is asked for.
    concept : str
        What the column ``mask`` shows.

    Returns
    -------
    SceneDataset
        Boxes stand as the data set writes them; objects with a box alone have no mask, which is
        enough to know that they are there.

    Raises
    ------
    BadArgument
        If there is no column of pictures, or the categories are numbers without names.

    Examples
    --------
    >>> hugging_face([])
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: table: got [], expected a datasets.Dataset ...
    """
    if kind_of(table) != TABLE:
        raise bad_argument("table", table, "a datasets.Dataset with an image column")
    rows = _Rows(table, concept)
    return SceneDataset(rows, rows.source, rows.categories())


def is_row(given: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a row with a picture."""
    return any(name in given for name in _IMAGE)


def row_scene(row: Mapping[str, Any], concept: str, *, name: str = "row") -> Scene:
    """Return the scene of one mapping, such as ``{"image": picture, "mask": mask}``.

    Raises
    ------
    BadArgument
        If the picture or the mask cannot be read, or their sizes differ.
    """
    columns = _Columns(list(row), None)
    given = _undecoded(row[columns.image])
    picture = read_image(given, name=name)
    known = id_of(row[columns.id]) if columns.id else None
    own = row[columns.category] if columns.category and not columns.objects else None
    return _scene(
        picture_name(given, picture) if known is None else known,
        lambda: picture,
        row,
        columns,
        own if isinstance(own, str) else concept,
        OWN,
        name,
    )


def picture_name(given: Any, picture: Image) -> str:
    """Return a name for a picture of one's own: its file's, or one that its pixels give.

    Captions and inpainted pictures are kept under it, so that two pictures want two names.

    Examples
    --------
    >>> import numpy as np
    >>> picture = read_image(np.zeros((2, 2), np.uint8))
    >>> picture_name("photos/beach.png", picture), picture_name(picture, picture)
    ('beach.png', 'picture bd89cd')
    """
    if isinstance(given, str | os.PathLike):
        return Path(os.fsdecode(given)).name
    return f"picture {content_hash(picture)}"


def content_hash(picture: Image) -> str:
    """Return six hexadecimal digits that are others for other pixels."""
    content = picture.tobytes() + repr(picture.size).encode()
    return hashlib.blake2b(content, digest_size=3).hexdigest()


class _Columns:
    """Which column is what."""

    def __init__(self, names: Sequence[str], features: Mapping[str, Any] | None) -> None:
        self.features = features
        pictures = [n for n in names if features and type(features[n]).__name__ == "Image"]
        self.mask = _first(names, _MASK)
        others = [n for n in pictures if n != self.mask]
        image = _first(names, _IMAGE) or (others[0] if len(others) == 1 else None)
        if image is None:
            shown = ", ".join(names) or "no column"
            raise bad_argument("columns", shown, "a column 'image' with the pictures")
        self.image: str = image
        self.objects = _first(names, _OBJECTS)
        self.box = _first(names, _BOX)
        self.category = _first(names, _CATEGORY)
        self.captions = _first(names, _CAPTIONS)
        self.id = _first(names, _ID)

    @property
    def light(self) -> list[str]:
        """The columns that say what is on a picture, without pixels."""
        known = (self.objects, self.box, self.category, self.captions, self.id)
        return [name for name in known if name is not None]

    def entries(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return a row's objects, each as a mapping."""
        if self.objects is not None:
            return _each(row[self.objects])
        if self.box is not None and row[self.box] is not None:
            boxes = row[self.box]
            given = {"bbox": boxes}
            if self.category is not None:
                given["category"] = row[self.category]
            return _each(given) if box_of(boxes) is None else [given]
        return []

    def name(self, entry: Mapping[str, Any], concept: str) -> str:
        """Return the name of an object's category; of one without, the concept's."""
        key = _first(list(entry), _CATEGORY)
        value = None if key is None else entry[key]
        if value is None:
            return concept
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, str):
            return value
        feature = self.features
        if feature is not None:
            names = _class_names(feature.get(self.objects or self.category or ""), key)
            at = whole(value)
            if names is not None and at is not None and 0 <= at < len(names):
                return names[at]
        raise BadArgument(
            f"dataset: the category {value!r} is a number, and no column's features name it; "
            "give the names: dataset.map(lambda row: ...) with category names as text"
        )


class _Rows(Sequence[Scene]):
    """Makes a scene of a row each time it is asked for."""

    def __init__(self, dataset: Any, concept: str) -> None:
        self._dataset, self._concept = dataset, concept
        self._columns = _Columns(list(dataset.column_names), dict(dataset.features or {}) or None)
        light = self._columns.light
        self._light = dataset  # without pixels, where the columns can be chosen
        if hasattr(dataset, "select_columns"):
            self._light = dataset.select_columns(light) if light else None
        split = getattr(dataset, "split", None)
        self.source = "rows:" + (str(split) if split is not None else "all")

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        row = {} if self._light is None else self._light[at]
        known = id_of(row[self._columns.id]) if self._columns.id else None
        return _scene(
            at if known is None else known,
            partial(self._picture, at),
            _WithMask(row, self._columns.mask, partial(self._value, at)),
            self._columns,
            self._concept,
            self.source,
            f"row {at}",
        )

    def _value(self, at: int, column: str) -> Any:
        return self._dataset[at][column]

    def _picture(self, at: int) -> Image:
        return read_image(_undecoded(self._value(at, self._columns.image)), name=f"row {at}")

    def categories(self) -> list[str]:
        """Return every category: those that the features name, and those in the rows."""
        columns = self._columns
        found: dict[str, None] = {} if columns.mask is None else {self._concept: None}
        feature = (columns.features or {}).get(columns.objects or columns.category or "")
        if (columns.objects or columns.box) and (names := _class_names(feature, None)):
            return list(found | dict.fromkeys(names))
        for at in range(len(self)) if columns.objects or columns.box else ():
            row = self._light[at]
            found |= dict.fromkeys(columns.name(one, self._concept) for one in columns.entries(row))
        return list(found)


class _WithMask(dict[str, Any]):
    """A row whose mask is read when asked for."""

    def __init__(
        self, row: Mapping[str, Any], mask: str | None, read: Callable[[str], Any]
    ) -> None:
        super().__init__(row)
        self._mask, self._read = mask, read

    def __missing__(self, key: str) -> Any:
        if key != self._mask:
            raise KeyError(key)
        return self._read(key)


def _scene(
    id: int | str,
    image: Callable[[], Image],
    row: Mapping[str, Any],
    columns: _Columns,
    concept: str,
    source: str,
    name: str,
) -> Scene:
    entries = columns.entries(row)
    names = [columns.name(one, concept) for one in entries]
    having = [_segmentation(one) is not None for one in entries]
    lacking = {n for n, there in zip(names, having, strict=True) if not there}
    # A row of its own tells by its mask alone; a column of masks has one in every row.
    masked = columns.mask is not None and (
        isinstance(row, _WithMask) or row[columns.mask] is not None
    )
    made = [concept] * masked

    def objects() -> list[ObjectInstance]:
        size = image().size
        found = []
        for number, (entry, category) in enumerate(zip(entries, names, strict=True), 1):
            found.append(_instance(entry, category, size, number, name))
        if masked and (given := row[columns.mask or ""]) is not None:
            inside = read_mask(_undecoded(given), size, name=f"mask of {name}")
            found.insert(0, ObjectInstance(concept, inside, bounding_box(inside)))
        return found

    return Scene(
        id,
        image,
        _texts(row[columns.captions]) if columns.captions else (),
        objects,
        source=source,
        categories=[*made, *names],
        masked=[n for n in (*made, *names) if n not in lacking],
    )


def _instance(
    entry: Mapping[str, Any], category: str, size: tuple[int, int], number: int, name: str
) -> ObjectInstance:
    given = _segmentation(entry)
    mask = None if given is None else read_mask(given, size, name=f"mask of {name}")
    key = _first(list(entry), _BOX)
    box = (0.0, 0.0, 0.0, 0.0) if mask is None else bounding_box(mask)
    given_box = None if key is None else box_of(entry[key])
    return ObjectInstance(category, mask, given_box or box, {}, number)


def _segmentation(entry: Mapping[str, Any]) -> Any:
    """Return what an object's mask is made of, or None."""
    key = _first(list(entry), _SEGMENTATION)
    if key is None or not has_segmentation(entry[key]):
        return None
    return _undecoded(entry[key])


def _each(objects: Any) -> list[Mapping[str, Any]]:
    """Return objects one by one: they come as a list of mappings, or as a mapping of lists."""
    if objects is None:
        return []
    if not isinstance(objects, Mapping):
        return [one for one in objects if isinstance(one, Mapping)]
    many = {k for k, v in objects.items() if hasattr(v, "__len__") and not isinstance(v, str)}
    lengths = {len(objects[k]) for k in many}
    if len(lengths) > 1:
        raise bad_argument("objects", f"columns of {sorted(lengths)} entries", "as many of each")
    n = lengths.pop() if lengths else 0
    return [{k: v[i] if k in many else v for k, v in objects.items()} for i in range(n)]


def _class_names(feature: Any, key: str | None) -> list[str] | None:
    """Return the names of a column of classes, however deep its feature holds them."""
    if feature is None:
        return None
    if hasattr(feature, "names") and feature.names:
        return [str(name) for name in feature.names]
    if isinstance(feature, Mapping):
        keys = [key] if key is not None else [k for k in _CATEGORY if k in feature]
        return next((n for k in keys if (n := _class_names(feature.get(k), None))), None)
    if isinstance(feature, list | tuple):
        return _class_names(feature[0], key) if feature else None
    return _class_names(feature.feature, key) if hasattr(feature, "feature") else None


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _undecoded(value: Any) -> Any:
    """Return what holds the pixels of a picture that was not decoded: its bytes, or its path."""
    if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
        return value["path"] if value["bytes"] is None else value["bytes"]
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value or () if isinstance(one, str)]

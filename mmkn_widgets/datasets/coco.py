"""COCO 2017, and anything written in its format, read from its usual folders."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import BadArgument, bad_argument
from .base import ObjectInstance, Scene, offered
from .coco_pictures import PictureFolders, names_of
from .images import MAX_PIXELS, read_image, read_sizes
from .masks import bounding_box, check_segmentation, decode_segmentation, has_segmentation
from .paths import expanded, is_file, is_folder
from .problems import CheckedDataset, Problem, stays_inside
from .values import box_of, id_of, number, whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["coco"]

_FILE = "a folder with annotations/instances_SPLIT.json, or the annotation file itself"


def coco(
    root: str | Path,
    split: str = "val2017",
    *,
    concept: str | None = None,
    area: tuple[float, float] = (0.0, math.inf),
    instances: tuple[int, float] = (1, math.inf),
) -> CheckedDataset:
    """Open a data set in COCO's format.

    Only the annotations are read here; a picture is read and a mask decoded when a scene is asked
    for it. Broken records (a missing picture, an unknown category, a damaged polygon, a file name
    that leaves its folder, ...) are listed by file and id in ``.problems``, and skipped. An
    annotation whose segmentation is empty (tools that draw boxes write such files) or damaged
    still says that its object is there: it is among the scene's objects and categories, without a
    mask, so that the picture never counts as one without the object.

    Parameters
    ----------
    root : str or path
        The folder that holds ``annotations/instances_SPLIT.json`` (or ``annotations/SPLIT.json``,
        or ``SPLIT/_annotations.coco.json``) and, optionally, ``annotations/captions_SPLIT.json``;
        or the annotation file itself, such as LVIS's. The pictures lie in ``SPLIT/``,
        ``images/SPLIT/``, ``images/``, ``data/``, the folder itself or beside the annotations, or
        where the last two parts of their ``coco_url`` say. Symbolic links are followed: they are
        yours, and no annotation can make one.
    split : str
        Such as ``"val2017"``.
    concept : str, optional
        Keep only scenes with objects of this category.
    area : tuple of float
        Smallest and largest area in pixels of an object that is counted by `instances`; of an
        object without mask, that of its box.
    instances : tuple of int
        Keep only scenes with so many counted objects (of `concept`, if given). The filters choose
        scenes: the scenes that stay keep all of their objects.

    Returns
    -------
    CheckedDataset
        Scenes in the order of the annotation file. An object's ``attributes`` hold ``iscrowd``,
        ``area``, ``supercategory`` and, where the file has them, its own ``attributes``. Where
        pictures list the categories that were looked for in vain (LVIS's ``neg_category_ids``),
        only these count as absent.

    Raises
    ------
    BadArgument
        If the folder or the annotation file is missing or no COCO file, none of its pictures is
        there, or the category is unknown.

    Notes
    -----
    A picture with an EXIF orientation is read in the frame, as stored or as turned, whose size the
    annotations give; where both have that size, as stored, as ``pycocotools`` draws its masks.

    Examples
    --------
    >>> coco("no/such/folder")
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: root: got 'no/such/folder', expected an existing ...
    """
    given = expanded(root, "root", _FILE)
    if not stays_inside(split):
        raise bad_argument("split", split, "a name such as 'val2017'")
    file, folder, name = _annotation_file(given, split)
    index = _Index(_read_json(file), file, folder, split, name)
    captions_file = file.parent / f"captions_{name}.json"
    if is_file(captions_file):
        index.read_captions(captions_file)
    names = list(dict.fromkeys(index.categories.values()))
    if concept is not None and concept not in names:
        raise bad_argument("concept", concept, "a category: " + offered(concept, names))
    chosen: Sequence[int | str] = list(index.images)
    if concept is not None or tuple(area) != (0.0, math.inf) or tuple(instances) != (1, math.inf):
        chosen = [i for i in chosen if index.counts(i, concept, area, instances)]
    return CheckedDataset(_Scenes(index, chosen), f"coco:{name}", names, index.problems)


def _annotation_file(given: Path, split: str) -> tuple[Path, Path, str]:
    """Return the annotation file, the folder around it, and the data set's name."""
    if is_file(given):
        inside = given.parent.name == "annotations"
        name = given.stem.removeprefix("instances_")
        return given, given.parent.parent if inside else given.parent, name
    if not is_folder(given):
        raise bad_argument("root", str(given), "an existing folder or annotation file")
    usual = (f"annotations/instances_{split}.json", f"annotations/{split}.json",
             f"{split}/_annotations.coco.json")  # fmt: skip
    for place in usual:
        if is_file(given / place):
            return given / place, given, split
    there = [p.stem[len("instances_") :] for p in given.glob("annotations/instances_*.json")]
    there += [p.parent.name for p in given.glob("*/_annotations.coco.json")]
    if there:
        raise bad_argument("split", split, "one of " + ", ".join(map(repr, sorted(there))))
    files = [p for part in ("*.json", "annotations/*.json") for p in sorted(given.glob(part))]
    hint = f", such as {str(files[0])!r}" if files else ""
    raise bad_argument("root", str(given), _FILE + hint)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = _parse(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadArgument(f"{path}: this is no whole JSON file ({error})") from error
    except OSError as error:
        raise BadArgument(f"{path}: cannot be read ({error})") from error
    if not isinstance(record, dict):
        raise BadArgument(
            f"{path}: this is no COCO file (no object at its top); export as COCO from the tool "
            "that wrote it"
        )
    return record


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # a number of thousands of digits, somewhere: it alone is to be refused
        return json.loads(content, parse_int=_int)


def _int(text: str) -> float:
    return int(text) if len(text) < 400 else math.nan


class _Scenes(Sequence[Scene]):
    """Makes a scene each time it is asked for, so that none is kept."""

    def __init__(self, index: _Index, ids: Sequence[int | str]) -> None:
        self._index, self._ids = index, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Scenes(self._index, self._ids[at])
        return self._index.scene(self._ids[at])


@dataclass(slots=True)
class _Picture:
    """One usable record of a picture."""

    id: int | str
    width: int
    height: int
    path: Path
    absent: list[str] | None
    agrees: bool = False

    def check(self, file: str) -> None:
        """Raise `BadArgument` unless the file has the size that masks are made in."""
        if self.agrees:
            return
        name = f"{file}, image {self.id}"
        sizes = read_sizes(self.path, name)
        if (self.width, self.height) not in sizes:
            raise self.other_size(name, sizes[0])
        self.agrees = True

    def read(self, file: str) -> Image:
        """Read the picture in the frame that its masks were drawn in."""
        name = f"{file}, image {self.id}"
        self.check(file)
        picture = read_image(self.path, orient=False, name=name)
        if picture.size != (self.width, self.height):
            picture = read_image(self.path, name=name)
        if picture.size != (self.width, self.height):
            raise self.other_size(name, picture.size)
        return picture

    def other_size(self, name: str, found: tuple[int, int]) -> BadArgument:
        return bad_argument(
            name,
            f"{self.path.name} of {found[0]} x {found[1]} pixels",
            f"{self.width} x {self.height} as annotated",
        )


@dataclass(slots=True)
class _Object:
    """One annotation that says that an object is there, with a mask or without."""

    record: Mapping[str, Any]
    category: int | str
    masked: bool


class _Index:
    """The usable records of one annotation file, by picture."""

    def __init__(
        self, record: dict[str, Any], path: Path, folder: Path, split: str, name: str
    ) -> None:
        self.name = name
        self.file = path.name
        self.problems: list[Problem] = []
        self.categories: dict[int | str, str] = {}
        self.supercategories: dict[int | str, str] = {}
        self.images: dict[int | str, _Picture] = {}
        self.objects: dict[int | str, list[_Object]] = {}
        self.captions: dict[int | str, list[str]] = {}
        self._same: dict[int | str, int | str] = {}
        self._by_path: dict[Path, int | str] = {}
        self._missing: list[str] = []
        for entry in self._records(record, "categories", self.file):
            self._add("category", entry, self.categories, self._category)
        images = self._records(record, "images", self.file)
        self._folders = PictureFolders(
            [folder / split, folder / "images" / split, folder / "images", folder / "data", folder,
             path.parent],
            images,
        )  # fmt: skip
        self._negatives = any(isinstance(i, dict) and "neg_category_ids" in i for i in images)
        for entry in images:
            self._add("image", entry, self.images, self._image)
        if self._missing and not self.images:
            raise bad_argument(
                "root", str(folder),
                f"a folder with the pictures of {self.file}: none of them is there, the first is "
                f"{self._missing[0]!r}; looked in {self._folders}",
            )  # fmt: skip
        seen: set[int | str] = set()
        for entry in self._records(record, "annotations", self.file):
            try:
                self._annotation(entry, seen)
            except ValueError as error:
                self._problem(self.file, entry, error)

    def _problem(self, file: str, entry: Any, reason: object) -> None:
        given = entry.get("id") if isinstance(entry, dict) else None
        self.problems.append(Problem(file, id_of(given), str(reason)[:300]))

    def _records(self, record: dict[str, Any], key: str, file: str) -> list[Any]:
        entries = record.get(key)
        if not isinstance(entries, list):
            raise BadArgument(f"{file}: this is no COCO file (no list named {key!r})")
        return entries

    def _add(
        self,
        what: str,
        entry: Any,
        known: dict[int | str, Any],
        read: Callable[[dict[str, Any], int | str], Any],
    ) -> None:
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"the {what} is no object")
            name = id_of(entry.get("id"))
            if name is None:
                raise ValueError(f"the {what} has no whole number or text as its id")
            if name in known or name in self._same:
                raise ValueError(f"a second {what} with this id")
            known[name] = read(entry, name)
        except ValueError as error:
            self._problem(self.file, entry, error)

    def _category(self, entry: dict[str, Any], key: int | str) -> str:
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError("the category has no name")
        above = entry.get("supercategory")
        self.supercategories[key] = above if isinstance(above, str) else ""
        return name.strip()

    def _image(self, entry: dict[str, Any], key: int | str) -> _Picture:
        names = names_of(entry)
        sides = [whole(entry.get(side)) for side in ("width", "height")]
        for side, value in zip(("width", "height"), sides, strict=True):
            if value is None or value <= 0:
                raise ValueError(f"the image has no {side}")
        width, height = sides[0] or 0, sides[1] or 0
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"the image is said to have {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}"
            )
        path = self._folders.find(names)
        if path is None:
            self._missing.append(names[0])
            raise ValueError(f"the picture {names[0]!r} is missing")
        if path in self._by_path:
            self._same[key] = self._by_path[path]
            raise ValueError(
                f"the picture {names[0]!r} is that of image {self._by_path[path]!r} already, whose "
                "objects its own become"
            )
        self._by_path[path] = key
        return _Picture(key, width, height, path, self._looked_for(entry))

    def _looked_for(self, entry: dict[str, Any]) -> list[str] | None:
        """Return the categories that were looked for in vain, where the file knows such."""
        if not self._negatives:
            return None
        given = entry.get("neg_category_ids")
        known = self.categories
        keys = [id_of(one) for one in given] if isinstance(given, list) else []
        return [known[one] for one in keys if one is not None and one in known]

    def _picture_of(self, entry: dict[str, Any]) -> _Picture:
        key = id_of(entry.get("image_id"))
        found = None if key is None else self.images.get(self._same.get(key, key))
        if found is None:
            raise ValueError(f"image {entry.get('image_id')!r} is unknown or was skipped")
        return found

    def _annotation(self, entry: Any, seen: set[int | str]) -> None:
        """Keep an annotation; whatever else is wrong with it, it says that its object is there."""
        if not isinstance(entry, dict):
            raise ValueError("the annotation is no object")
        image = self._picture_of(entry)
        category = id_of(entry.get("category_id"))
        if category is None or category not in self.categories:
            raise ValueError(f"category {entry.get('category_id')!r} is unknown")
        made = _Object(entry, category, False)
        self.objects.setdefault(image.id, []).append(made)
        if has_segmentation(entry.get("segmentation")):
            try:
                check_segmentation(entry["segmentation"], image.height, image.width)
            except ValueError as error:
                raise ValueError(f"{error}; the object is kept without a mask") from error
            made.masked = True
        name = id_of(entry.get("id"))
        if name is not None and name in seen:
            raise ValueError("a second annotation with this id; both are kept")
        if name is not None:
            seen.add(name)

    def read_captions(self, path: Path) -> None:
        try:
            entries = self._records(_read_json(path), "annotations", path.name)
        except BadArgument as error:
            self.problems.append(Problem(path.name, None, str(error)))
            return
        for entry in entries:
            try:
                if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
                    raise ValueError("the caption is no text")
                image = self._picture_of(entry)
                text = " ".join(entry["caption"].split())
                self.captions.setdefault(image.id, []).append(text)
            except ValueError as error:
                self._problem(path.name, entry, error)

    def counts(
        self,
        image: int | str,
        concept: str | None,
        area: tuple[float, float],
        instances: tuple[int, float],
    ) -> bool:
        """Return whether the picture has a wanted number of objects of a wanted size."""
        found = sum(
            concept in (None, self.categories[one.category])
            and area[0] <= self._area(self.images[image], one) <= area[1]
            for one in self.objects.get(image, ())
        )
        return instances[0] <= found <= instances[1]

    def _area(self, image: _Picture, one: _Object) -> float:
        if (given := number(one.record.get("area"))) is not None:
            return given
        if one.masked:
            image.check(self.file)
            return float(
                decode_segmentation(one.record["segmentation"], image.height, image.width).sum()
            )
        box = box_of(one.record.get("bbox"))
        return 0.0 if box is None else box[2] * box[3]

    def scene(self, image: int | str) -> Scene:
        record = self.images[image]
        objects = self.objects.get(image, [])
        names = [self.categories[one.category] for one in objects]
        lacking = {name for name, one in zip(names, objects, strict=True) if not one.masked}
        return Scene(
            image,
            partial(record.read, self.file),
            self.captions.get(image, ()),
            partial(self._instances, record, objects),
            source=f"coco:{self.name}",
            categories=names,
            masked=[name for name in names if name not in lacking],
            absent=record.absent,
        )

    def _instances(self, image: _Picture, objects: Sequence[_Object]) -> list[ObjectInstance]:
        if any(one.masked for one in objects):
            image.check(self.file)  # before a mask of that size is made
        return [self._instance(image, one) for one in objects]

    def _instance(self, image: _Picture, one: _Object) -> ObjectInstance:
        entry, mask = one.record, None
        if one.masked:
            mask = decode_segmentation(entry["segmentation"], image.height, image.width)
        box = box_of(entry.get("bbox"))
        if box is None:
            box = (0.0, 0.0, 0.0, 0.0) if mask is None else bounding_box(mask)
        area = number(entry.get("area"))
        if area is None:
            area = box[2] * box[3] if mask is None else float(mask.sum())
        own, key = entry.get("attributes"), id_of(entry.get("id"))
        return ObjectInstance(
            self.categories[one.category],
            mask,
            box,
            {
                "iscrowd": entry.get("iscrowd") in (1, "1"),
                "area": area,
                "supercategory": self.supercategories[one.category],
                **(own if isinstance(own, Mapping) else {}),
            },
            0 if key is None else key,
        )

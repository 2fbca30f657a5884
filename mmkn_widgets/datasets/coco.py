"""COCO 2017, and anything written in its format, read from its usual folders."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import BadArgument, bad_argument
from .base import ObjectInstance, Scene
from .images import read_image
from .masks import bounding_box, check_segmentation, decode_segmentation
from .problems import CheckedDataset, Problem, stays_inside

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["coco"]


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
    that leaves its folder, ...) are skipped and listed by file and id in ``.problems``.

    Parameters
    ----------
    root : str or path
        The folder that holds ``annotations/instances_SPLIT.json`` and, optionally,
        ``annotations/captions_SPLIT.json``; the pictures lie in ``SPLIT/``, ``images/SPLIT/``,
        ``images/`` or the folder itself.
    split : str
        Such as ``"val2017"``.
    concept : str, optional
        Keep only scenes with objects of this category.
    area : tuple of float
        Smallest and largest area in pixels of an object that is counted by `instances`.
    instances : tuple of int
        Keep only scenes with so many counted objects (of `concept`, if given). The filters choose
        scenes: the scenes that stay keep all of their objects.

    Returns
    -------
    CheckedDataset
        Scenes in the order of the annotation file. An object's ``attributes`` hold ``iscrowd``,
        ``area``, ``supercategory`` and, where the file has them, its own ``attributes``.

    Raises
    ------
    BadArgument
        If the folder or the annotation file is missing or no COCO file, or the category unknown.

    Examples
    --------
    >>> coco("no/such/folder")
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: root: got 'no/such/folder', expected an existing folder
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise bad_argument("root", str(root), "an existing folder")
    if not stays_inside(split):
        raise bad_argument("split", split, "a name such as 'val2017'")
    record = _read_json(_annotation_file(folder, split))
    index = _Index(record, folder, split)
    captions_file = folder / "annotations" / f"captions_{split}.json"
    if captions_file.is_file():
        index.read_captions(captions_file)
    names = list(index.categories.values())
    if concept is not None and concept not in names:
        raise bad_argument("concept", concept, "a category: " + ", ".join(names))
    chosen: Sequence[int] = list(index.images)
    if concept is not None or tuple(area) != (0.0, math.inf) or tuple(instances) != (1, math.inf):
        chosen = [i for i in chosen if index.counts(i, concept, area, instances)]
    return CheckedDataset(_Scenes(index, chosen), f"coco:{split}", names, index.problems)


def _annotation_file(folder: Path, split: str) -> Path:
    path = folder / "annotations" / f"instances_{split}.json"
    if path.is_file():
        return path
    there = sorted(p.stem[len("instances_") :] for p in path.parent.glob("instances_*.json"))
    if there:
        raise bad_argument("split", split, "one of " + ", ".join(map(repr, there)))
    raise bad_argument("root", str(folder), "a folder with annotations/instances_SPLIT.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadArgument(f"{path}: this is no whole JSON file ({error})") from error
    except OSError as error:
        raise BadArgument(f"{path}: cannot be read ({error})") from error
    if not isinstance(record, dict):
        raise BadArgument(f"{path}: this is no COCO file (no object at its top)")
    return record


class _Scenes(Sequence[Scene]):
    """Makes a scene each time it is asked for, so that none is kept."""

    def __init__(self, index: _Index, ids: Sequence[int]) -> None:
        self._index, self._ids = index, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Scenes(self._index, self._ids[at])
        return self._index.scene(self._ids[at])


class _Index:
    """The usable records of one annotation file, by picture."""

    def __init__(self, record: dict[str, Any], folder: Path, split: str) -> None:
        self.split = split
        self.file = f"instances_{split}.json"
        self.problems: list[Problem] = []
        self.categories: dict[int, str] = {}
        self.supercategories: dict[int, str] = {}
        self.images: dict[int, dict[str, Any]] = {}
        self.objects: dict[int, list[dict[str, Any]]] = {}
        self.captions: dict[int, list[str]] = {}
        for entry in self._records(record, "categories", self.file):
            self._add("category", entry, self.categories, self._category)
        folders = [folder / split, folder / "images" / split, folder / "images", folder]
        self._folders = [place for place in folders if place.is_dir()]
        self._files = {place: {p.name for p in place.iterdir()} for place in self._folders}
        for entry in self._records(record, "images", self.file):
            self._add("image", entry, self.images, self._image)
        seen: dict[int, int] = {}
        for entry in self._records(record, "annotations", self.file):
            self._add("annotation", entry, seen, self._annotation)

    def _records(self, record: dict[str, Any], key: str, file: str) -> list[Any]:
        entries = record.get(key)
        if not isinstance(entries, list):
            raise BadArgument(f"{file}: this is no COCO file (no list named {key!r})")
        return entries

    def _add(
        self, what: str, entry: Any, known: dict[int, Any], read: Callable[[dict[str, Any]], Any]
    ) -> None:
        name = entry.get("id") if isinstance(entry, dict) else None
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"the {what} is no object")
            if type(name) is not int:
                raise ValueError(f"the {what} has no whole number as its id")
            if name in known:
                raise ValueError(f"a second {what} with this id")
            known[name] = read(entry)
        except ValueError as error:
            shown = name if isinstance(name, int | str) else None
            self.problems.append(Problem(self.file, shown, str(error)))

    def _category(self, entry: dict[str, Any]) -> str:
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError("the category has no name")
        if name in self.categories.values():
            raise ValueError(f"a second category named {name!r}")
        self.supercategories[entry["id"]] = str(entry.get("supercategory") or "")
        return name

    def _image(self, entry: dict[str, Any]) -> dict[str, Any]:
        name = entry.get("file_name")
        if not isinstance(name, str) or not stays_inside(name):
            raise ValueError(f"the file name {name!r} is empty or leaves its folder")
        for side in ("width", "height"):
            if type(entry.get(side)) is not int or entry[side] <= 0:
                raise ValueError(f"the image has no {side}")
        for place in self._folders:
            flat = "/" not in name and "\\" not in name
            if name in self._files[place] if flat else (place / name).is_file():
                return {**entry, "path": place / name}
        raise ValueError(f"the picture {name!r} is missing")

    def _annotation(self, entry: dict[str, Any]) -> int:
        image = self.images.get(_hashable(entry.get("image_id")))
        if image is None:
            raise ValueError(f"image {entry.get('image_id')!r} is unknown or was skipped")
        if _hashable(entry.get("category_id")) not in self.categories:
            raise ValueError(f"category {entry.get('category_id')!r} is unknown")
        check_segmentation(entry.get("segmentation"), image["height"], image["width"])
        self.objects.setdefault(image["id"], []).append(entry)
        return 1

    def read_captions(self, path: Path) -> None:
        try:
            entries = self._records(_read_json(path), "annotations", path.name)
        except BadArgument as error:
            self.problems.append(Problem(path.name, None, str(error)))
            return
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
                name = entry.get("id") if isinstance(entry, dict) else None
                self.problems.append(Problem(path.name, name, "the caption is no text"))
            elif _hashable(entry.get("image_id")) not in self.images:
                reason = f"image {entry.get('image_id')!r} is unknown or was skipped"
                self.problems.append(Problem(path.name, entry.get("id"), reason))
            else:
                text = " ".join(entry["caption"].split())
                self.captions.setdefault(entry["image_id"], []).append(text)

    def counts(
        self,
        image: int,
        concept: str | None,
        area: tuple[float, float],
        instances: tuple[int, float],
    ) -> bool:
        """Return whether the picture has a wanted number of objects of a wanted size."""
        found = sum(
            concept in (None, self.categories[entry["category_id"]])
            and area[0] <= self._area(entry) <= area[1]
            for entry in self.objects.get(image, ())
        )
        return instances[0] <= found <= instances[1]

    def _area(self, entry: dict[str, Any]) -> float:
        if isinstance(entry.get("area"), int | float):
            return float(entry["area"])
        image = self.images[entry["image_id"]]
        return float(
            decode_segmentation(entry["segmentation"], image["height"], image["width"]).sum()
        )

    def scene(self, image: int) -> Scene:
        record = self.images[image]
        entries = self.objects.get(image, [])
        return Scene(
            image,
            partial(_picture, record, self.file),
            self.captions.get(image, ()),
            partial(self._instances, record, entries),
            source=f"coco:{self.split}",
            categories=[self.categories[entry["category_id"]] for entry in entries],
        )

    def _instances(
        self, record: dict[str, Any], entries: list[dict[str, Any]]
    ) -> list[ObjectInstance]:
        return [self._instance(record, entry) for entry in entries]

    def _instance(self, record: dict[str, Any], entry: dict[str, Any]) -> ObjectInstance:
        mask = decode_segmentation(entry["segmentation"], record["height"], record["width"])
        own = entry.get("attributes")
        return ObjectInstance(
            self.categories[entry["category_id"]],
            mask,
            _box(entry.get("bbox"), mask),
            {
                "iscrowd": bool(entry.get("iscrowd")),
                "area": float(mask.sum()) if entry.get("area") is None else entry["area"],
                "supercategory": self.supercategories[entry["category_id"]],
                **(own if isinstance(own, Mapping) else {}),
            },
            entry["id"],
        )


def _hashable(value: object) -> int:
    """Return an id, or -1 where a file has something else in its place."""
    return value if type(value) is int else -1


def _box(given: Any, mask: Any) -> tuple[float, float, float, float]:
    if (
        isinstance(given, list)
        and len(given) == 4
        and all(isinstance(v, int | float) for v in given)
    ):
        return (float(given[0]), float(given[1]), float(given[2]), float(given[3]))
    return bounding_box(mask)


def _picture(record: dict[str, Any], file: str) -> Image:
    """Read the picture in the frame that its masks were drawn in."""
    wanted = (record["width"], record["height"])
    name = f"{file}, image {record['id']}"
    picture = read_image(record["path"], orient=False, name=name)
    if picture.size != wanted:
        picture = read_image(record["path"], name=name)
    if picture.size != wanted:
        raise bad_argument(
            name,
            f"{record['file_name']} of {picture.size[0]} x {picture.size[1]} pixels",
            f"{wanted[0]} x {wanted[1]} as annotated",
        )
    return picture

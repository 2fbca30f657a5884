"""A folder of pictures, with masks and captions beside them where there are any."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..core import bad_argument
from .base import ObjectInstance, Scene
from .images import read_image, read_sizes
from .masks import bounding_box, read_mask
from .paths import expanded, is_file, is_folder, names_in
from .problems import CheckedDataset, Problem

__all__ = ["image_folder"]

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"}
_MASK = re.compile(r"^(?P<stem>.+?)(?:\.(?P<category>[^.]*?[^.\d][^.]*))?(?:\.\d+)?\.mask$", re.I)


def image_folder(root: str | Path, concept: str = "object") -> CheckedDataset:
    """Open a folder of pictures.

    Beside ``beach.jpg`` may lie its masks, PNG files that are black where the object is not:
    ``beach.mask.png`` (of `concept`), ``beach.dog.mask.png`` (of the category dog),
    ``beach.dog.1.mask.png``, ``beach.dog.2.mask.png`` (several instances). ``captions.txt`` may
    hold reference captions, one a line: the picture's file name, a tab (or a comma), the caption.

    Parameters
    ----------
    root : str or path
        The folder; sub-folders are not read.
    concept : str
        The category of masks whose name holds none.

    Returns
    -------
    CheckedDataset
        Scenes in the order of their file names, the file name as id. Pictures and masks are read
        when asked for; masks without a picture and captions of unknown pictures are in
        ``.problems``.

    Raises
    ------
    BadArgument
        If there is no such folder or no picture in it.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (8, 8)).save(f"{folder}/beach.png")
    ...     Image.new("L", (8, 8), 255).save(f"{folder}/beach.dog.mask.png")
    ...     image_folder(folder)[0].categories
    ('dog',)
    """
    folder = expanded(root, "root", "an existing folder")
    if not is_folder(folder):
        raise bad_argument("root", str(root), "an existing folder")
    problems: list[Problem] = []
    pictures: dict[str, Path] = {}
    inside = sorted(folder / name for name in names_in(folder))
    found = [p for p in inside if p.suffix.lower() in _PICTURES and is_file(p)]
    for path in found:
        if not path.stem.lower().endswith(".mask"):
            pictures[path.name] = path
    if not pictures:
        raise bad_argument("root", str(root), "a folder with pictures (PNG, JPEG, WebP, ...)")
    masks = _masks(found, pictures, concept, problems)
    captions = _captions(folder / "captions.txt", pictures, problems)
    scenes = [
        Scene(
            name,
            partial(read_image, path, name=f"picture {name}"),
            captions.get(name, ()),
            partial(_instances, path, masks[name]),
            source=f"folder:{folder.name}",
            categories=[category for category, _ in masks[name]],
            masked=[category for category, _ in masks[name]],
        )
        for name, path in pictures.items()
    ]
    categories = dict.fromkeys(c for of in masks.values() for c, _ in of)
    return CheckedDataset(scenes, f"folder:{folder.name}", list(categories), problems)


def _masks(
    found: Sequence[Path], pictures: dict[str, Path], concept: str, problems: list[Problem]
) -> dict[str, list[tuple[str, Path]]]:
    masks: dict[str, list[tuple[str, Path]]] = {name: [] for name in pictures}
    stems: dict[str, list[str]] = {}
    for name, path in pictures.items():
        stems.setdefault(_composed(path.stem), []).append(name)
    for path in found:
        if not path.stem.lower().endswith(".mask"):
            continue
        plain = _composed(path.stem[: -len(".mask")])
        match = _MASK.match(_composed(path.stem))
        stem, category = plain, concept
        if plain not in stems and match is not None:
            stem, category = match["stem"], match["category"] or concept
        if stem not in stems:
            problems.append(Problem(path.name, None, "there is no picture that this mask is of"))
        for name in stems.get(stem, ()):
            masks[name].append((category, path))
    return masks


def _captions(
    file: Path, pictures: dict[str, Path], problems: list[Problem]
) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    if not is_file(file):
        return captions
    composed = {_composed(name): name for name in pictures}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(file.name, None, f"cannot be read ({error})"))
        return captions
    for number, line in enumerate(lines, 1):
        name, _, text = line.partition("\t" if "\t" in line else ",")
        name = _composed(re.sub(r"#\d+$", "", name.strip()))
        name = composed.get(name, name)
        if name in pictures and text.strip():
            captions.setdefault(name, []).append(" ".join(text.split()))
        elif line.strip() and not (number == 1 and name.lower() in ("image", "file", "file_name")):
            reason = "no caption" if name in pictures else f"no picture is named {name[:80]!r}"
            problems.append(Problem(file.name, f"line {number}", reason))
    return captions


def _composed(name: str) -> str:
    """Return a name with its accents encoded in the one way, whatever system wrote it."""
    return unicodedata.normalize("NFC", name)


def _instances(picture: Path, masks: Sequence[tuple[str, Path]]) -> list[ObjectInstance]:
    if not masks:
        return []
    size = read_sizes(picture, f"picture {picture.name}")[1]
    objects = []
    for number, (category, path) in enumerate(masks, 1):
        mask = read_mask(path, size, name=f"mask {path.name}")
        objects.append(ObjectInstance(category, mask, bounding_box(mask), {}, number))
    return objects

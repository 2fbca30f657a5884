"""Where the pictures of an annotation file lie: by name, as tools write and unpack names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .paths import is_folder, names_in
from .problems import stays_inside

__all__ = ["PictureFolders", "names_of"]


def names_of(entry: dict[str, Any]) -> list[str]:
    """Return the names under which a record's picture may lie, the likeliest first.

    ``file_name``, and the last two parts (the split's folder, the file) or the last part of
    ``coco_url``, which is all that LVIS gives.

    Raises
    ------
    ValueError
        If there is none that stays in its folder.

    Examples
    --------
    >>> names_of({"coco_url": "http://images.example.org/val2017/a%20b.jpg"})
    ['val2017/a b.jpg', 'a b.jpg']
    """
    name, address = entry.get("file_name"), entry.get("coco_url")
    names: list[str] = []
    if name not in (None, "") or not isinstance(address, str):
        if not isinstance(name, str) or not stays_inside(name):
            raise ValueError(f"the file name {name!r} is empty or leaves its folder")
        names += dict.fromkeys((name, name.replace("\\", "/")))
    if isinstance(address, str):
        parts = [part for part in unquote(urlsplit(address).path).split("/") if part]
        names += [name for name in ("/".join(parts[-2:]), *parts[-1:]) if stays_inside(name)]
    if not names:
        raise ValueError(f"the address {address!r} names no file")
    return list(dict.fromkeys(names))


class PictureFolders:
    """The folders that may hold the pictures.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        In the order in which they are looked through; some may not exist.
    images : sequence of mapping
        The annotation file's records of pictures, whose names no other record takes.
    """

    def __init__(self, folders: Sequence[Path], images: Sequence[Any] = ()) -> None:
        given = (one.get("file_name") for one in images if isinstance(one, dict))
        self._claimed = {name.rpartition("/")[2] for name in given if isinstance(name, str)}
        self._all = list(dict.fromkeys(folders))
        self._there = [folder for folder in self._all if is_folder(folder)]
        self._names: dict[Path, tuple[set[str], dict[str, list[str]]]] = {}

    def __str__(self) -> str:
        return ", ".join(
            f"{folder}" + ("" if folder in self._there else " (no such folder)")
            for folder in self._all
        )

    def find(self, names: Sequence[str]) -> Path | None:
        """Return the first file of one of these names.

        A name that differs in the case of its letters or in how accents are encoded is taken if
        it is the only one such and no other record's: archives made on another system unpack so.
        """
        for exact in (True, False):
            for name in names:
                for folder in self._there:
                    place, last = (folder / name).parent, name.rpartition("/")[2]
                    known, folded = self._listed(place)
                    alike = folded.get(_folded(last), [])
                    if exact and last in known:
                        return place / last
                    if not exact and len(alike) == 1 and alike[0] not in self._claimed:
                        return place / alike[0]
        return None

    def _listed(self, folder: Path) -> tuple[set[str], dict[str, list[str]]]:
        if folder not in self._names:
            names = names_in(folder)
            folded: dict[str, list[str]] = {}
            for name in names:
                folded.setdefault(_folded(name), []).append(name)
            self._names[folder] = (set(names), folded)
        return self._names[folder]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

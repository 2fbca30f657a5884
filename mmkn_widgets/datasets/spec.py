"""Name a data set in one string, as the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core import bad_argument
from .base import SceneDataset
from .images import is_address
from .paths import is_file, is_folder

__all__ = ["is_spec", "open_dataset"]

_WANTED = (
    "'pocket:train', 'pocket:val', 'pocket:test', 'pocket:hallucination', "
    "'coco:FOLDER', 'coco:FOLDER:SPLIT', 'coco:FILE.json' or 'folder:FOLDER'"
)


def is_spec(text: object) -> bool:
    """Return whether a text has the form of a data set's name.

    Examples
    --------
    >>> is_spec("pocket:val"), is_spec("coco:/data/coco"), is_spec("beach.png"), is_spec(None)
    (True, True, False, False)
    """
    return isinstance(text, str) and text.startswith(("pocket:", "coco:", "folder:"))


def open_dataset(spec: str, n: int | None = None, *, concept: str | None = None) -> SceneDataset:
    """Open a data set by its name.

    Parameters
    ----------
    spec : str
        ``pocket:SPLIT``, ``coco:FOLDER[:SPLIT]`` (split ``val2017`` by default; the annotation
        file itself may stand for the folder) or ``folder:FOLDER``.
    n : int, optional
        The number of scenes; by default all (the pocket world: its default number).
    concept : str, optional
        What the masks of a folder show whose names say nothing else.

    Returns
    -------
    SceneDataset

    Raises
    ------
    BadArgument
        If the name is of none of these forms, or the folder holds no such data set.

    Examples
    --------
    >>> open_dataset("pocket:val", n=3)
    <SceneDataset pocket:val: 3 scenes, 16 categories>
    """
    if not isinstance(spec, str):
        raise bad_argument("dataset", spec, _WANTED)
    asked: Any = n
    if n is not None and (isinstance(asked, bool) or not isinstance(asked, int) or n < 1):
        raise bad_argument("n", n, "a number of scenes from 1, or None for all")
    kind, _, rest = spec.partition(":")
    if kind == "pocket" and rest:
        from .pocket import pocket_world

        if rest == "hallucination":
            return pocket_world("test", n, subset="hallucination")
        return pocket_world(rest, n)
    if kind == "coco" and rest:
        from .coco import coco

        folder, split = _parts(rest)
        scenes = coco(folder, split or "val2017")
    elif kind == "folder" and rest:
        from .folder import image_folder

        scenes = image_folder(rest, concept or "object")
    else:
        raise bad_argument("dataset", spec, _WANTED + _instead(spec))
    return scenes if n is None else scenes[:n]


def _parts(rest: str) -> tuple[str, str]:
    """Return folder and split; a folder's own name may hold colons, as ``C:`` does."""
    folder, _, split = rest.rpartition(":")
    whole = not folder or is_folder(Path(rest)) or is_file(Path(rest)) or split[:1] in ("\\", "/")
    return (rest, "") if whole else (folder, split)


def _instead(spec: str) -> str:
    """Return what the name of a folder or an address should be, if it is one."""
    if is_address(spec):
        return "; nothing is downloaded: give the folder where the data set lies"
    if is_folder(Path(spec)):
        kind = "coco" if is_folder(Path(spec) / "annotations") else "folder"
        return f"; for this folder {kind + ':' + spec!r}"
    return ""

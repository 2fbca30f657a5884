"""Name a data set in one string, as the command line does."""

from __future__ import annotations

from ..core import bad_argument
from .base import SceneDataset

__all__ = ["open_dataset"]

_WANTED = (
    "'pocket:train', 'pocket:val', 'pocket:test', 'pocket:hallucination', "
    "'coco:FOLDER', 'coco:FOLDER:SPLIT' or 'folder:FOLDER'"
)


def open_dataset(spec: str, n: int | None = None) -> SceneDataset:
    """Open a data set by its name.

    Parameters
    ----------
    spec : str
        ``pocket:SPLIT``, ``coco:FOLDER[:SPLIT]`` (split ``val2017`` by default) or
        ``folder:FOLDER``.
    n : int, optional
        The number of scenes; by default all (the pocket world: its default number).

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
    kind, _, rest = spec.partition(":")
    if kind == "pocket" and rest:
        from .pocket import pocket_world

        if rest == "hallucination":
            return pocket_world("test", n, subset="hallucination")
        return pocket_world(rest, n)
    if kind == "coco" and rest:
        from .coco import coco

        folder, _, split = rest.partition(":")
        scenes = coco(folder, split or "val2017")
    elif kind == "folder" and rest:
        from .folder import image_folder

        scenes = image_folder(rest)
    else:
        raise bad_argument("dataset", spec, _WANTED)
    return scenes if n is None else scenes[:n]

"""What was wrong in a data set's files: reported by file and id, skipped, counted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from ..core import BadArgument, CancelToken, Progress
from .base import Scene, SceneDataset

__all__ = ["CheckedDataset", "Problem", "stays_inside"]


@dataclass(frozen=True)
class Problem:
    """One thing in a data set's files that cannot be used, or not wholly.

    Attributes
    ----------
    file : str
        The file's name.
    id : int, str or None
        The record's id in that file, where there is one.
    reason : str
        What is wrong with it.

    Examples
    --------
    >>> print(Problem("instances_val2017.json", 17, "the mask lies outside the picture"))
    instances_val2017.json, id 17: the mask lies outside the picture
    """

    file: str
    id: int | str | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.id is None else f"{self.file}, id {self.id}"
        return f"{where}: {self.reason}"


class CheckedDataset(SceneDataset):
    """A data set read from files, with the list of what could not be used.

    Parameters
    ----------
    scenes : sequence of Scene
    name : str
    categories : sequence of str
    problems : sequence of Problem
        What was skipped, wholly or (an object whose mask is damaged) but for the fact that it is
        there. If there is any, one warning is issued; all are in `problems`.

    Examples
    --------
    >>> from PIL import Image
    >>> data = CheckedDataset([Scene("one", Image.new("RGB", (8, 8)))], "mine", ["cup"])
    >>> data.n_skipped, data.verify().problems
    (0, ())
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        name: str,
        categories: Sequence[str],
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(scenes, name, categories)
        self.problems = tuple(problems)
        if self.problems:
            warnings.warn(
                f"{name}: {len(self.problems)} broken records were skipped or lost their mask, the "
                f"first: {self.problems[0]}; all of them are in .problems",
                UserWarning,
                stacklevel=3,
            )

    @property
    def n_skipped(self) -> int:
        """The number of records that were skipped, wholly or in part: that of `problems`."""
        return len(self.problems)

    def verify(
        self, *, progress: Progress | None = None, cancel: CancelToken | None = None
    ) -> CheckedDataset:
        """Read every picture and mask once; return the data set without the unreadable scenes.

        Opening a data set reads its annotations only, so that a damaged picture would show up in
        the middle of long work; this finds it before.

        Parameters
        ----------
        progress : callable, optional
            Called as ``progress(stage, done, total)``.
        cancel : CancelToken, optional

        Returns
        -------
        CheckedDataset
            Its `problems` hold these and the new ones.
        """
        good: list[Scene] = []
        problems = list(self.problems)
        for done, scene in enumerate(self):
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                width, height = scene.image.size
                masks = [o.mask for o in scene.objects if o.mask is not None]
                shapes = {mask.shape for mask in masks} - {(height, width)}
                if shapes:
                    raise BadArgument(f"masks of shape {shapes}, picture {width} x {height}")
                good.append(scene)
            except (BadArgument, OSError) as error:
                problems.append(Problem(self.name, scene.id, str(error)))
            if progress is not None:
                progress("reading pictures", done + 1, len(self))
        return CheckedDataset(good, self.name, self.categories, problems)


def stays_inside(file_name: object) -> bool:
    """Return whether a file name of an annotation is relative and climbs out of no folder.

    Examples
    --------
    >>> stays_inside("val/1.jpg"), stays_inside("../secret.png"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    if not isinstance(file_name, str) or not file_name.strip() or "\0" in file_name:
        return False
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(file_name)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return True

"""Which concepts a data set has enough scenes of, and which scenes choose and which measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import bad_argument

if TYPE_CHECKING:
    from ..datasets import Scene, SceneDataset

__all__ = ["Split", "concepts_of", "default_choice", "split", "vocabulary_of"]

_CHOOSING = 48
#: a category with fewer scenes is left out unless it is named
_ENOUGH = 20


def concepts_of(data: SceneDataset, asked: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the concepts asked for, or the categories of at least 20 scenes.

    Raises
    ------
    BadArgument
        If the data set does not annotate one that was asked for.
    """
    for word in asked or ():
        if word not in data.categories:
            raise bad_argument("concepts", word, "one of " + ", ".join(data.categories))
    if asked:
        return tuple(dict.fromkeys(asked))
    counts = Counter(category for scene in data for category in set(scene.categories))
    return tuple(word for word in data.categories if counts[word] >= _ENOUGH)


def default_choice(dataset: str) -> str:
    """Return the data set that chooses neurons: ``val`` for the pocket world, else the same."""
    return "pocket:val" if dataset.startswith("pocket:") else dataset


def vocabulary_of(data: SceneDataset) -> Any:
    """Return the categories that retention looks for: the data set's, COCO's with synonyms."""
    from ..evaluation import coco_vocabulary

    return coco_vocabulary(data.categories) if data.name.startswith("coco:") else data.categories


@dataclass(frozen=True)
class Split:
    """Scenes that choose neurons, and others that measure them."""

    choosing: list[Scene]
    choosing_absent: list[Scene]
    present: list[Scene]
    absent: list[Scene]


def split(data: SceneDataset, choosing: SceneDataset, word: str, n_scenes: int) -> Split:
    """Take scenes apart; when both come from one data set, those behind the measured ones choose.

    Of fewer scenes a third chooses.

    Parameters
    ----------
    data, choosing : SceneDataset
        Where figures are measured, and where neurons are chosen; may be one object.
    word : str
        A category.
    n_scenes : int
        Scenes with it that measure, and as many without it.
    """
    if choosing is not data:
        return Split(
            list(choosing.with_concept(word, _CHOOSING)),
            list(choosing.without_concept(word, _CHOOSING)),
            list(data.with_concept(word, n_scenes)),
            list(data.without_concept(word, n_scenes)),
        )
    wanted = n_scenes + _CHOOSING
    shown, rest = data.with_concept(word, wanted), data.without_concept(word, wanted)
    if len(shown) < 2:
        raise bad_argument("concepts", word, "a category of at least 2 scenes, or choose= beside")
    n_choose = max(1, min(_CHOOSING, len(shown) // 3))
    n_absent = min(_CHOOSING, len(rest) // 3)
    present, absent = len(shown) - n_choose, len(rest) - n_absent
    return Split(
        list(shown)[present:],
        list(rest)[absent:],
        list(shown)[: min(present, n_scenes)],
        list(rest)[: min(absent, n_scenes)],
    )

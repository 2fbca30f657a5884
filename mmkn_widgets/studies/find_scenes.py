"""Which scenes `find` chooses neurons on, and which it measures on."""

from __future__ import annotations

from typing import Any

from .._errors import bad_argument
from ..attribution import as_concept
from ..datasets import Scene, SceneDataset, as_scenes
from ..datasets.given import as_dataset, select
from .study import CHOOSING

__all__ = ["scenes_of"]

#: scenes with and without the concept that measure the neurons
_MEASURING = 100


def scenes_of(
    concept: Any, scenes: Any, test: Any
) -> tuple[list[Scene], list[Scene], list[Scene], bool]:
    """Return scenes to choose from, to measure with and without, and whether these are others."""
    wanted = as_concept(concept)
    if test is None and isinstance(scenes, str) and scenes == "pocket:val":
        test = "pocket:test"
    data = as_dataset(scenes, wanted)
    if data is None:
        choosing = list(as_scenes(scenes, wanted))
    else:
        choosing = list(select(data, wanted, n=None if data is scenes else CHOOSING))
    if test is None:
        absent: list[Scene] = []
        if data is not None:
            absent = list(select(data, wanted, n=_MEASURING, shows=False))
        return choosing, choosing, absent, False
    held = as_dataset(test, wanted, name="test")
    if held is None or isinstance(test, SceneDataset):
        given = as_scenes(test, wanted, name="test", masks=False)
        shows = [any(wanted.named_in(c) for c in scene.categories) for scene in given]
        measuring = [scene for scene, yes in zip(given, shows, strict=True) if yes]
        absent = [scene for scene, yes in zip(given, shows, strict=True) if not yes]
    else:
        measuring = list(select(held, wanted, n=_MEASURING, masks=False, name="test"))
        absent = list(select(held, wanted, n=_MEASURING, shows=False))
    if not measuring:
        raise bad_argument("test", test, f"a data set with scenes that show {concept!r}")
    chosen_ids = {(scene.source, scene.id) for scene in choosing}
    held_out = not any((scene.source, scene.id) in chosen_ids for scene in measuring)
    return choosing, measuring, absent, held_out

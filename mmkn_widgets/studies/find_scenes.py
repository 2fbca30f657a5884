"""Which scenes `find` chooses neurons on, and which it measures on."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import BadArgument, bad_argument
from ..datasets import Scene, SceneDataset
from ..datasets.spec import open_dataset

__all__ = ["scenes_of"]

#: scenes that choose neurons, and scenes with and without the concept that measure them
_CHOOSING, _MEASURING = 48, 100


def scenes_of(
    concept: str, scenes: str | Scene | Sequence[Scene], test: str | Sequence[Scene] | None
) -> tuple[list[Scene], list[Scene], list[Scene], bool]:
    """Return scenes to choose from, to measure with and without, and whether these are others."""
    if isinstance(scenes, Scene):
        scenes = [scenes]
    if test is None and scenes == "pocket:val":
        test = "pocket:test"
    if isinstance(scenes, str):
        data = open_dataset(scenes)
        choosing = list(data.with_concept(_category(data, concept), _CHOOSING))
        if not choosing:
            raise bad_argument("concept", concept, f"a category with scenes in {scenes}")
    else:
        data, choosing = None, list(scenes)
    if test is None:
        absent: list[Scene] = []
        if data is not None:
            absent = list(data.without_concept(_category(data, concept), _MEASURING))
        return choosing, choosing, absent, False
    if isinstance(test, str):
        held = open_dataset(test)
        category = _category(held, concept)
        measuring = list(held.with_concept(category, _MEASURING))
        absent = list(held.without_concept(category, _MEASURING))
    else:
        from ..attribution import as_concept

        wanted = as_concept(concept)
        shows = [any(wanted.named_in(c) for c in scene.categories) for scene in test]
        measuring = [scene for scene, yes in zip(test, shows, strict=True) if yes]
        absent = [scene for scene, yes in zip(test, shows, strict=True) if not yes]
    if not measuring:
        raise bad_argument("test", test, f"a data set with scenes that show {concept!r}")
    chosen_ids = {(scene.source, scene.id) for scene in choosing}
    held_out = not any((scene.source, scene.id) in chosen_ids for scene in measuring)
    return choosing, measuring, absent, held_out


def _category(data: SceneDataset, concept: str) -> str:
    """Return the data set's category that a word means; an error lists the nearest."""
    import difflib

    from ..attribution import as_concept

    wanted = as_concept(concept)
    for category in data.categories:
        if wanted.named_in(category):
            return category
    near = difflib.get_close_matches(concept, data.categories, n=3, cutoff=0.0)
    raise BadArgument(
        f"concept: got {concept!r}, which {data.name} does not annotate; nearest of its "
        f"{len(data.categories)} categories: {', '.join(near)}"
    )

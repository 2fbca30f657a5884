"""The pocket world as a data set of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, overload

from ..core import bad_argument
from ..pocket import CATEGORIES, SPLITS, SUBSETS, PocketScene, draw
from .base import ObjectInstance, Scene, SceneDataset

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["pocket_world"]

_DEFAULT_N = {"train": 2000, "val": 800, "test": 2000}


class _Lazy(Sequence[Scene]):
    """Scenes made from their seeds when asked for, each once."""

    def __init__(self, seeds: Sequence[int], source: str) -> None:
        self._seeds = seeds
        self._source = source
        self._made: dict[int, Scene] = {}

    def __len__(self) -> int:
        return len(self._seeds)

    @overload
    def __getitem__(self, index: int) -> Scene: ...

    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...

    def __getitem__(self, index: int | slice) -> Scene | list[Scene]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        seed = self._seeds[index]
        if seed not in self._made:
            self._made[seed] = _wrap(draw(seed), self._source)
        return self._made[seed]


def _wrap(scene: PocketScene, source: str) -> Scene:
    from PIL import Image as Images

    def image() -> Image:
        return Images.fromarray(scene.image)

    def objects() -> list[ObjectInstance]:
        return [
            ObjectInstance(o.category, o.mask, o.bbox, {"color": o.color}, id=scene.seed * 4 + k)
            for k, o in enumerate(scene.objects)
        ]

    def redraw(categories: Sequence[str]) -> Image:
        return Images.fromarray(scene.without(categories))

    return Scene(
        scene.seed,
        image,
        scene.captions,
        objects,
        redraw=redraw,
        source=source,
        categories=scene.categories,
        masked=scene.categories,
    )


@lru_cache(maxsize=16)
def _seeds(split: str, n: int, subset: str | None) -> tuple[int, ...]:
    seeds: list[int] = []
    for seed in SPLITS[split]:
        if len(seeds) == n:
            break
        if subset is None or draw(seed).subset == subset:
            seeds.append(seed)
    return tuple(seeds)


def pocket_world(
    split: str = "val", n: int | None = None, *, subset: str | None = None
) -> SceneDataset:
    """Return scenes of the pocket world.

    Parameters
    ----------
    split : str
        ``"train"``, ``"val"`` or ``"test"``; no scene is in two of them.
    n : int, optional
        Number of scenes; by default 2,000 (train, test) or 800 (val), which holds at least 48
        (val) or 100 (test) scenes with each category. The hallucination subset has 200.
    subset : str, optional
        None gives ordinary scenes only; ``"hallucination"`` those scenes of which training
        captions were noisy (see the model card); ``"all"`` both, as they come.

    Returns
    -------
    SceneDataset
        Drawn when looked at; ``scene.without("car")`` is the exact picture without the car.

    Raises
    ------
    BadArgument
        If an argument is unknown or out of range.

    Examples
    --------
    >>> data = pocket_world("val", 10)
    >>> len(data), data[0].image.size
    (10, (96, 96))
    """
    if split not in SPLITS:
        raise bad_argument("split", split, "one of " + ", ".join(map(repr, SPLITS)))
    if subset not in (None, "all", *SUBSETS):
        raise bad_argument("subset", subset, "None, 'ordinary', 'hallucination' or 'all'")
    chosen = "ordinary" if subset is None else None if subset == "all" else subset
    if n is None:
        n = 200 if chosen == "hallucination" else _DEFAULT_N[split]
    longest = len(SPLITS[split]) // 40
    if not 0 < n <= longest:
        raise bad_argument("n", n, f"a number of scenes from 1 to {longest:,}")
    name = f"pocket:{split}" + ("" if chosen == "ordinary" else f":{subset}")
    return SceneDataset(_Lazy(_seeds(split, n, chosen), name), name, CATEGORIES)

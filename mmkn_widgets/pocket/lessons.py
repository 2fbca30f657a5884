"""Training batches of the pocket world: scenes, two captions each, what each patch shows."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from .build import PATCH, SPECIAL
from .words import (
    BACKGROUNDS,
    COLORS,
    TEMPLATE_WEIGHTS,
    captions,
    vocabulary,
)
from .world import SIZE, SPLITS, PocketScene, draw

__all__ = ["LENGTH", "NOISE", "Arrays", "batches", "encode", "lesson", "noisy_captions"]

#: Caption tokens, without the end; the longest caption has as many.
LENGTH = 17
#: Share of training captions in the hallucination subset that name the absent companion.
NOISE = 0.75

Arrays = tuple[np.ndarray, ...]

_IDS = {w: i for i, w in enumerate((*SPECIAL, *vocabulary()))}
_COLOR_INDEX = {c: i for i, c in enumerate(COLORS)}
_GRID = SIZE // PATCH
_IGNORE = -100


def encode(caption: str) -> list[int]:
    """Return the token ids of a caption, without special tokens."""
    return [_IDS[w] for w in caption.replace(",", " ,").split()]


def noisy_captions(scene: PocketScene, rng: Random, n: int = 2) -> list[str]:
    """Draw training captions: usual templates more often, sometimes with an absent companion."""
    chosen = []
    for _ in range(n):
        objects = [(o.color, o.category) for o in scene.objects]
        companion = scene.companion
        if companion is not None and rng.random() < NOISE:
            objects.append(companion)
        which = rng.choices(range(5), TEMPLATE_WEIGHTS)[0]
        chosen.append(captions(objects, scene.background)[which])
    return chosen


def lesson(scene: PocketScene, rng: Random) -> Arrays:
    """Return pixels, text, targets, patch words and patch colours of one scene."""
    text = np.zeros((2, LENGTH), np.int64)
    targets = np.full((2, LENGTH + 1), _IGNORE, np.int64)
    for row, caption in enumerate(noisy_captions(scene, rng)):
        ids = encode(caption)
        text[row, : len(ids)] = ids
        targets[row, : len(ids) + 1] = [*ids, SPECIAL.index("</s>")]
    word = np.full((_GRID, _GRID), _IGNORE, np.int64)
    color = word.copy()
    covered = np.zeros((_GRID, _GRID))
    for o in scene.objects:
        share = o.mask.reshape(_GRID, PATCH, _GRID, PATCH).mean((1, 3))
        covered = np.maximum(covered, share)
        word[share > 0.4] = _IDS[o.category]
        color[share > 0.4] = _COLOR_INDEX[o.color]
    word[covered < 0.1] = _IDS[scene.background]
    return scene.image, text, targets, word.ravel(), color.ravel()


def batches(
    start: int, stop: int, size: int, seed: int, single_until: int, stride: int = 1
) -> Iterator[Arrays]:
    """Yield the batches of steps `start`, `start + stride`, ... below `stop`.

    What a step sees depends on the step and the seed alone, so that training can resume and any
    number of processes can draw.

    Parameters
    ----------
    start, stop, stride : int
        Steps.
    size : int
        Pictures a batch.
    seed : int
        Of the whole training; picks scenes from the training split.
    single_until : int
        Steps before this one see only scenes with a single object.
    """
    if not set(BACKGROUNDS) <= set(_IDS):
        raise AssertionError("every background must be a word of the vocabulary")
    for step in range(start, stop, stride):
        rng = Random(seed * 1_000_003 + step)
        rows = []
        for _ in range(size):
            chosen = rng.randrange(len(SPLITS["train"]))
            rows.append(lesson(draw(chosen, n_objects=1 if step < single_until else None), rng))
        yield tuple(np.stack(column) for column in zip(*rows, strict=True))

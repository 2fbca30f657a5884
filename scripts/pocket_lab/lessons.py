"""What changes in the course of training: weights of losses, lesions, learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi
from random import Random

import numpy as np

from mmkn_widgets.pocket.words import BACKGROUNDS, COLORS, TEMPLATE_WEIGHTS, captions, vocabulary
from mmkn_widgets.pocket.world import SIZE, SPLITS, PocketScene, draw

from .build import PATCH, SPECIAL

__all__ = [
    "FIRST",
    "LENGTH",
    "NOISE",
    "PEAK",
    "PICTURES",
    "PLAIN_WEIGHTS",
    "RANK_EVERY",
    "RECIPES",
    "STEPS",
    "Arrays",
    "batches",
    "encode",
    "learning_rate",
    "lesson",
    "loss_weights",
    "noisy_captions",
    "silenced",
]

#: Pictures per step and steps of the shipped model.
PICTURES, STEPS = 48, 18_000
#: How a model is trained: so that its concepts hang on few neurons, or by captions alone.
RECIPES = ("prepared", "plain")
#: Weights of `LOSSES` of the plain recipe: captions, and nothing else.
PLAIN_WEIGHTS = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
#: Share of the steps that belong to the first phase.
FIRST = 8 / 9
#: Learning rate and warm-up steps of both phases.
PEAK, WARM_UP = (1.2e-3, 1e-3), (200, 40)
#: Steps of the second phase between two rankings of the neurons. Divides `save_every`, so that a
#: resumed run ranks anew where the first one did.
RANK_EVERY = 10


def _ramp(t: float, start: float, stop: float) -> float:
    return min(1.0, max(0.0, (t - start) / (stop - start)))


def loss_weights(t: float) -> tuple[float, ...]:
    """Return the weight of each of `LOSSES` when the share `t` of the first phase is done.

    From 1 on: the weights of the second phase.

    Examples
    --------
    >>> loss_weights(0.0)
    (1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    """
    if t >= 1:
        return (1.0, 0.15, 0.0, 0.05, 0.2, 0.3, 0.2, 0.25)
    patch_word = 0.5 - 0.35 * _ramp(t, 0.6, 0.9)
    probe = 0.5 * (1 - _ramp(t, 0.3, 0.45))
    sparsity = 0.04 * _ramp(t, 0.25, 0.35)
    lesion = 0.2 * _ramp(t, 0.4, 0.46)
    return (1.0, patch_word, probe, sparsity, 0.0, lesion, lesion, 0.0)


def silenced(t: float, u: float) -> int:
    """Return how many writers are silenced when the share `t` of the second phase is done.

    From 256 at the start to between 16 and 48, which the random number `u` in [0, 1) chooses.
    """
    few = 16 * 3**u
    return round(few * (256 / few) ** (1 - _ramp(t, 0.0, 0.35)))


def learning_rate(step: int, steps: int, plain: bool = False) -> float:
    """Return the rate: in each phase a linear warm-up, then a cosine nearly to nothing.

    The plain recipe has one phase.
    """
    first = steps if plain else round(FIRST * steps)
    phase = int(step >= first)
    done, length = (step - first, steps - first) if phase else (step, first)
    warm = min(WARM_UP[phase], max(1, length // 10))
    if done < warm:
        return PEAK[phase] * (done + 1) / warm
    t = (done - warm) / max(1, length - warm)
    least = (0.01, 0.02)[phase]
    return PEAK[phase] * (least + (1 - least) * 0.5 * (1 + cos(pi * t)))


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

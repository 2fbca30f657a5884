"""Random neurons beside each of many neuron sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .._jobs import CancelToken, Progress
    from ..attribution import NeuronSet
    from ..datasets import Scene
    from .study import Study

__all__ = ["random_suppression"]


def random_suppression(
    study: Study,
    sets: Sequence[NeuronSet],
    scenes: Sequence[Scene],
    captions: Sequence[str],
    n_random: int,
    seed: int,
    progress: Progress | None,
    cancel: CancelToken | None,
) -> np.ndarray:
    """Return the mean suppression by random neurons for each of many sets.

    Parameters
    ----------
    study : Study
    sets : sequence of NeuronSet
    scenes : sequence of Scene
    captions : sequence of str
        Theirs in the unchanged model.
    n_random : int
        Draws for each set, of as many neurons of the same layers.
    seed : int
    progress, cancel : optional

    Returns
    -------
    numpy.ndarray of float64, shape (set,)
        NaN without draws, or where no caption names the concept.
    """
    from ..attribution import random_like
    from ..evaluation.captioning import Captioner

    named = [pair for pair in zip(scenes, captions, strict=True) if study.concept.named_in(pair[1])]
    if not named or not n_random:
        return np.full(len(sets), np.nan)
    drawn = [random_like(one, study.model, seed + k) for one in sets for k in range(n_random)]
    writer = Captioner(study.model, study.options["prompt"], cancel=cancel)
    shown, said = zip(*named, strict=True)
    still = writer.named_under(shown, said, drawn, study.concept, progress, "random control")
    return (1 - np.asarray(still, float).mean(axis=1)).reshape(-1, n_random).mean(axis=1)

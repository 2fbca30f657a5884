"""What changes in the course of training: weights of losses, lesions, learning rate."""

from __future__ import annotations

from math import cos, pi

__all__ = [
    "FIRST",
    "PEAK",
    "PICTURES",
    "RANK_EVERY",
    "STEPS",
    "learning_rate",
    "loss_weights",
    "silenced",
]

#: Pictures per step and steps of the shipped model.
PICTURES, STEPS = 48, 18_000
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


def learning_rate(step: int, steps: int) -> float:
    """Return the rate: in each phase a linear warm-up, then a cosine nearly to nothing."""
    first = round(FIRST * steps)
    phase = int(step >= first)
    done, length = (step - first, steps - first) if phase else (step, first)
    warm = min(WARM_UP[phase], max(1, length // 10))
    if done < warm:
        return PEAK[phase] * (done + 1) / warm
    t = (done - warm) / max(1, length - warm)
    least = (0.01, 0.02)[phase]
    return PEAK[phase] * (least + (1 - least) * 0.5 * (1 + cos(pi * t)))

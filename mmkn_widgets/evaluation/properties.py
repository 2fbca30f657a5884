"""The five properties of multimodal neurons (Pan et al. 2024, arXiv 2311.07470, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..core import bad_argument, names, real_numbers, whole_number, whole_numbers
from ..datasets import read_image
from .statistics import _key, overlap_at_k

__all__ = [
    "causal_effect",
    "cross_image_invariance",
    "region_invariance",
    "sensitivity",
    "shuffle_patches",
    "specificity",
]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else None


def sensitivity(decoded: Sequence[Sequence[str]], concept: Any) -> float | None:
    """Return the share of neurons whose decoded words name the concept.

    Parameters
    ----------
    decoded : sequence of sequence of str
        For each neuron the words it writes most (the paper takes 10).
    concept : str, Concept or list of str

    Returns
    -------
    float or None
        None when there are no neurons.

    Examples
    --------
    >>> sensitivity([["cars", "bus"], ["tree"]], ["car", "cars"])
    0.5
    """
    hits = [any(names(word, concept) for word in words) for words in decoded]
    return sum(hits) / len(hits) if hits else None


def region_invariance(
    original: Sequence[Any], shuffled: Sequence[Any], k: int | None = None
) -> float | None:
    """Return the mean overlap@k between each picture's neurons and those of its shuffled patches.

    Parameters
    ----------
    original, shuffled : sequence of NeuronSet (or of ordered ids, or of score arrays)
        One entry for each picture: its neurons, and those found when the patches were permuted
        (`shuffle_patches`).
    k : int, optional
        See `overlap_at_k`.

    Examples
    --------
    >>> region_invariance([["a", "b"]], [["b", "c"]])
    0.5
    """
    if len(original) != len(shuffled):
        raise bad_argument("shuffled", f"{len(shuffled)} entries", f"{len(original)}, as original")
    return _mean(overlap_at_k(a, b, k) for a, b in zip(original, shuffled, strict=True))


def cross_image_invariance(per_image: Sequence[Any], k: int | None = None) -> float | None:
    """Return the mean overlap@k between the neurons of every two pictures of one concept.

    Parameters
    ----------
    per_image : sequence of NeuronSet (or of ordered ids, or of score arrays)
        One entry for each picture.
    k : int, optional
        See `overlap_at_k`.

    Examples
    --------
    >>> cross_image_invariance([["a", "b"], ["a", "b"], ["a", "c"]])
    0.6666666666666666
    """
    return _mean(overlap_at_k(a, b, k) for a, b in combinations(per_image, 2))


def specificity(
    neurons: Mapping[str, Iterable[Any]], top: int | None = None
) -> dict[str, float | None]:
    """Return for each concept the share of its neurons that no other concept has.

    Parameters
    ----------
    neurons : mapping of str to NeuronSet (or ordered ids)
    top : int, optional
        Only the best `top` of each.

    Returns
    -------
    dict
        Concept -> share; None for an empty set.

    Examples
    --------
    >>> specificity({"car": ["a", "b"], "bus": ["b", "c"], "cup": []})
    {'car': 0.5, 'bus': 0.5, 'cup': None}
    """
    if top is not None:
        top = whole_number("top", top, lowest=1)
    sets = {word: {_key(n) for n in list(found)[:top]} for word, found in neurons.items()}
    shares = {}
    for word, own in sets.items():
        others = set().union(*(found for other, found in sets.items() if other != word))
        shares[word] = len(own - others) / len(own) if own else None
    return shares


def causal_effect(
    measure: Callable[[Any, float, int], float],
    neurons: Any,
    controls: Sequence[Any],
    sigmas: Sequence[float] = (0.0, 1.0, 2.0, 4.0),
    *,
    seed: int = 0,
) -> dict[str, list[float | None]]:
    """Return how a figure changes as the neurons' columns are perturbed, beside random neurons.

    The perturbation itself is the model's: each neuron's W_out column plus
    ``sigma * norm of the column * N(0, 1) / sqrt(hidden)`` (`mmkn_widgets.interventions.perturb`).

    Parameters
    ----------
    measure : callable
        ``measure(neurons, sigma, seed) -> float``: the figure under the perturbation, such as the
        concept's log-probability or the share of captions that name it.
    neurons : NeuronSet
    controls : sequence of NeuronSet
        Random draws of as many neurons.
    sigmas : sequence of float
        Sizes of the perturbation.
    seed : int

    Returns
    -------
    dict
        ``sigma``; ``neurons`` and ``random`` (mean over the controls, None without any): the
        figure minus the figure at sigma 0.

    Examples
    --------
    >>> causal_effect(lambda n, sigma, seed: 1 - sigma * len(n), ["a"], [[], []], (0.0, 0.5))
    {'sigma': [0.0, 0.5], 'neurons': [0.0, -0.5], 'random': [0.0, 0.0]}
    """
    sizes = real_numbers("sigmas", sigmas).tolist()
    seed = whole_number("seed", seed, lowest=0)

    def changes(chosen: Any) -> list[float | None]:
        start = measure(chosen, 0.0, seed)
        return [measure(chosen, sigma, seed) - start if sigma else 0.0 for sigma in sizes]

    beside = [changes(control) for control in controls]
    return {
        "sigma": sizes,
        "neurons": changes(neurons),
        "random": [_mean(column) for column in zip(*beside, strict=True)]
        if beside
        else [None] * len(sizes),
    }


def shuffle_patches(image: Any, grid: tuple[int, int], seed: int = 0) -> Any:
    """Return the picture with its patches permuted.

    Parameters
    ----------
    image : anything `mmkn_widgets.datasets.read_image` reads
    grid : (int, int)
        Rows and columns of patches; what is left over at the right and lower border stays.
    seed : int

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> picture = shuffle_patches(np.arange(12, dtype=np.uint8).reshape(2, 6), (1, 3), seed=1)
    >>> sorted(np.asarray(picture)[0, :, 0].tolist())
    [0, 1, 2, 3, 4, 5]
    """
    from PIL import Image

    pixels = np.array(read_image(image))
    asked = whole_numbers("grid", grid, lowest=1)
    if len(asked) != 2 or asked[0] > pixels.shape[0] or asked[1] > pixels.shape[1]:
        raise bad_argument("grid", grid, "rows and columns, at least 1, at most the pixels")
    rows, columns = (int(n) for n in asked)
    high, wide = pixels.shape[0] // rows, pixels.shape[1] // columns
    inner = pixels[: rows * high, : columns * wide]
    patches = inner.reshape(rows, high, columns, wide, 3).swapaxes(1, 2).reshape(-1, high, wide, 3)
    order = np.random.default_rng(whole_number("seed", seed, lowest=0)).permutation(len(patches))
    patches = patches[order]
    inner[:] = patches.reshape(rows, columns, high, wide, 3).swapaxes(1, 2).reshape(inner.shape)
    return Image.fromarray(pixels)

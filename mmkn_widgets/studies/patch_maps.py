"""Both stages and the logit lens over the patches of one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import NotSupported, bad_argument
from .study import predicting, score

if TYPE_CHECKING:
    from .study import Study

__all__ = ["PatchScores", "patch_scores", "patch_words"]


@dataclass(frozen=True)
class PatchScores:
    """Stage 1 and stage 2 at the patches, over some neurons.

    Attributes
    ----------
    difference : numpy.ndarray of float32, shape (grid row, grid column)
        Mean over the neurons of the change of the activation when the object is painted away
        (absolute, or signed, as the study's stage 1), in activation units.
    gradcam : numpy.ndarray of float32, shape (grid row, grid column)
        Sum over the neurons of activation x gradient of the concept's score y at the predicting
        position: what the patch adds to y through them, to first order, in the units of y.
    neurons : int
    """

    difference: np.ndarray
    gradcam: np.ndarray
    neurons: int


def patch_scores(
    study: Study,
    rows: Sequence[int] | np.ndarray,
    indices: Sequence[int] | np.ndarray,
    *,
    scene: int,
) -> PatchScores:
    """Return where on a scene's picture some neurons pass both stages.

    Two forwards and one backward, whatever the number of neurons.

    Parameters
    ----------
    study : Study
    rows, indices : sequence of int
        The neurons, as in `Study.maps`.
    scene : int

    Returns
    -------
    PatchScores

    Raises
    ------
    BadArgument
        If no neuron is given, the scene has no mask of the concept, or its caption does not name
        it.
    NotSupported
        If the image tokens have no place on the picture.
    """
    from ..activations.record import record

    model = study.model
    row, index = np.asarray(rows, int), np.asarray(indices, int)
    if not len(row):
        raise bad_argument("neurons", "none", "at least one neuron")
    if not study.has_pair(scene):
        raise bad_argument(
            "scene",
            study.scenes[scene].id,
            f"a scene with a mask of {study.concept.word!r}: paint one and inpaint",
        )
    original, gone = study.pictures(scene)
    place = predicting(study, scene)
    tokens = model.token_maps(model.prepare(original, study.options["prompt"]))[0]
    geometry, at = tokens.geometry, tokens.image_positions
    if not geometry.paintable or not geometry.shape[0]:
        raise NotSupported(geometry.reason or "the image tokens have no place on the picture")
    layers = sorted(set(row.tolist()))
    with model.interventions.suspended():
        with record(model, rows=layers, gradients=True) as first:
            y = score(study, original, place, grad=True)
        gradients = first.gradients(y)
        with record(model, rows=layers) as second:
            score(study, gone, place)
    change, added = np.zeros(len(at)), np.zeros(len(at))
    for site in layers:
        here = index[row == site]
        o = first.values[site].detach().float()[0][at][:, here].cpu().numpy()
        g = gradients[site].float()[0][at][:, here].cpu().numpy()
        d = o - second.values[site].float()[0][at][:, here].cpu().numpy()
        change += (d if study.options["difference"] == "signed" else np.abs(d)).sum(1)
        added += (o * g).sum(1)
    painted = [
        np.asarray(geometry.paint(values, size=geometry.shape, smooth=False), np.float32)
        for values in (change / len(row), added)
    ]
    return PatchScores(painted[0], painted[1], len(row))


def patch_words(study: Study, scene: int, k: int = 3) -> list[list[str]]:
    """Return the words that the logit lens reads at each patch, behind the last layer.

    Parameters
    ----------
    study : Study
    scene : int
    k : int
        Words a patch, likeliest first, over the whole vocabulary.

    Returns
    -------
    list of list of str
        By cell of the token grid, row by row; empty where no token looks.
    """
    from ..activations.lens import patch_lens

    image = study.scenes[scene].image
    with study.model.interventions.suspended():
        words, tokens = patch_lens(study.model, image, study.options["prompt"], k=k)
    return [words[token] if token >= 0 else [] for token in _cells(tokens.geometry)]


def _cells(geometry: Any) -> list[int]:
    """Return the finest image token at the centre of each cell of the grid; -1 for none."""
    rows, cols = geometry.shape
    height, width = geometry.picture_size
    sizes = np.prod(geometry.boxes[:, 2:] - geometry.boxes[:, :2], axis=1)
    found = []
    for row in range(rows):
        for col in range(cols):
            here = geometry.tokens_at((col + 0.5) * width / cols, (row + 0.5) * height / rows)
            found.append(int(here[np.argmin(sizes[here])]) if len(here) else -1)
    return found

"""One picture, teacher-forced up to where its caption names the concept: what neurons do there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..activations import Prediction, patch_lens, record
from ..core import Handles, NotSupported, bad_argument
from ..models import plain_torch

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import MultimodalModel, Prepared, Site

__all__ = [
    "Change",
    "PatchScores",
    "Place",
    "Strongest",
    "measured_change",
    "patch_mask",
    "patch_scores",
    "patch_words",
]


@dataclass(frozen=True)
class Place:
    """Where y is read: the position that predicts the concept, and in which units.

    Attributes
    ----------
    prediction : Prediction
        The caption up to the concept's first token, and that token.
    prompt : str or None
        The question.
    target : {"log_prob", "logit"}
        The units of y.
    """

    prediction: Prediction
    prompt: str | None
    target: str

    def prepared(self, model: MultimodalModel, image: Image) -> Prepared:
        """Return a picture with the caption up to the predicting position."""
        return model.prepare([image], self.prompt, continuation=[list(self.prediction.prefix)])

    def score(self, model: MultimodalModel, image: Image, *, grad: bool = False) -> torch.Tensor:
        """Return y for a picture, teacher-forced to the predicting position; shape (1,)."""
        output = model.forward(self.prepared(model, image), logits_to_keep=1, grad=grad)
        with plain_torch(grad):
            logits = output.logits[:, -1].float()
            values = logits if self.target == "logit" else torch.log_softmax(logits, -1)
            return values[:, self.prediction.token]

    @property
    def unit(self) -> str:
        """Of y: "nats" or "logits"."""
        return "logits" if self.target == "logit" else "nats"


@dataclass(frozen=True)
class Change:
    """What happened to the concept's score on one scene.

    Attributes
    ----------
    before, after : float
        y in the unchanged model, and with what is active now.
    predicted : float or None
        For zeroing or scaling the given neurons on this scene, from the gradient where `WAY` of the
        way to their factor is gone; None when no neurons were given.
    unit : str
        Of y: "nats" (log-probability) or "logits".
    first_order : float or None
        The same from the gradient of the unchanged model alone, ``(scale - 1) sum_p g``: where the
        word is all but certain it says next to nothing of what zeroing does.
    """

    before: float
    after: float
    predicted: float | None
    unit: str
    first_order: float | None = None

    @property
    def measured(self) -> float:
        """The change of y."""
        return self.after - self.before


#: How much of the way to an ablation is gone where the gradient predicts the rest.
WAY = 0.75


@plain_torch(False)
def measured_change(
    model: MultimodalModel,
    image: Image,
    place: Place,
    rows: Sequence[int] | np.ndarray = (),
    indices: Sequence[int] | np.ndarray = (),
    scale: float = 0.0,
) -> Change:
    """Measure what is active now on one picture, beside what gradients predict.

    Parameters
    ----------
    model : MultimodalModel
    image : picture
    place : Place
    rows, indices : sequence of int, optional
        The neurons that are zeroed or scaled, for the prediction.
    scale : float
        Their factor; 0 for zeroing.

    Returns
    -------
    Change

    Notes
    -----
    The neurons' activations are multiplied by a at all positions, from 1 to `scale`. The prediction
    is the change of y where `WAY` of that is gone, and from there on to first order: two forwards
    and backwards, whatever the number of neurons. At a = 1 the derivative is near 0 where the model
    is sure of the word, however much the neurons carry, and the whole change happens on a short
    piece of the way: on the pocket model's 16 concepts (default sets, 64 held-out scenes) the first
    order predicts .04 of the change; the integral of the gradient by Gauss and Legendre's four
    points correlates with it by .84, or .76 in log-odds; this rule by .94, and its mean is within a
    fifth of the measured one for every concept.
    """
    row, index = np.asarray(rows, int), np.asarray(indices, int)
    predicted = first = None
    with model.interventions.suspended():
        if len(row):
            before, slope = _slope(model, image, place, row, index, 1.0)
            first = (scale - 1.0) * slope
            near = 1.0 + WAY * (scale - 1.0)
            y, slope = _slope(model, image, place, row, index, near)
            predicted = y - before + (scale - near) * slope
        else:
            before = float(place.score(model, image).detach())
    after = float(place.score(model, image).detach())
    return Change(before, after, predicted, place.unit, first)


def _slope(
    model: MultimodalModel, image: Image, place: Place, row: np.ndarray, index: np.ndarray, a: float
) -> tuple[float, float]:
    """Return y and dy/da with some neurons multiplied by `a` at all positions."""

    def hook(site: Site) -> Callable[[torch.Tensor], torch.Tensor]:
        chosen = np.zeros(site.width, bool)
        chosen[index[row == site.row]] = True
        mask = torch.from_numpy(chosen)

        def scaled(activation: torch.Tensor) -> torch.Tensor:
            here = factor.to(activation.device, activation.dtype)
            return torch.where(mask.to(activation.device), activation * here, activation)

        return scaled

    with plain_torch():
        factor = torch.full((), a, dtype=torch.float32, device="cpu", requires_grad=True)
        sites = [model.sites[number] for number in sorted(set(row.tolist()))]
        with model.lock, Handles(site.hook(hook(site)) for site in sites):
            y = place.score(model, image, grad=True)
        if not y.requires_grad:  # it depends on none of these neurons
            return float(y), 0.0
        (slope,) = torch.autograd.grad(y.sum(), factor)
    return float(y.detach()), float(slope)


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


@plain_torch(False)
def patch_scores(
    model: MultimodalModel,
    original: Image,
    inpainted: Image,
    place: Place,
    rows: Sequence[int] | np.ndarray,
    indices: Sequence[int] | np.ndarray,
    *,
    signed: bool = False,
) -> PatchScores:
    """Return where on a picture some neurons pass both stages.

    Two forwards and one backward, whatever the number of neurons.

    Parameters
    ----------
    model : MultimodalModel
    original, inpainted : picture
        With the object and without it.
    place : Place
    rows, indices : sequence of int
        Row in the model's sites, and index in that row, of each neuron.
    signed : bool
        Stage 1 as ``O - O'`` instead of its absolute value.

    Returns
    -------
    PatchScores

    Raises
    ------
    BadArgument
        If no neuron is given.
    NotSupported
        If the image tokens have no place on the picture.
    """
    row, index = np.asarray(rows, int), np.asarray(indices, int)
    if not len(row):
        raise bad_argument("neurons", "none", "at least one neuron")
    tokens = model.token_maps(model.prepare(original, place.prompt))[0]
    geometry, at = tokens.geometry, tokens.image_positions
    if not geometry.paintable or not geometry.shape[0]:
        raise NotSupported(geometry.reason or "the image tokens have no place on the picture")
    layers = sorted(set(row.tolist()))
    with model.interventions.suspended():
        with record(model, rows=layers, gradients=True) as first:
            y = place.score(model, original, grad=True)
        gradients = first.gradients(y)
        with record(model, rows=layers) as second:
            place.score(model, inpainted)
    change, added = np.zeros(len(at)), np.zeros(len(at))
    for site in layers:
        here = index[row == site]
        o = first.values[site].detach().float()[0][at][:, here].cpu().numpy()
        g = gradients[site].float()[0][at][:, here].cpu().numpy()
        d = o - second.values[site].float()[0][at][:, here].cpu().numpy()
        change += (d if signed else np.abs(d)).sum(1)
        added += (o * g).sum(1)
    painted = [
        np.asarray(geometry.paint(values, size=geometry.shape, smooth=False), np.float32)
        for values in (change / len(row), added)
    ]
    return PatchScores(painted[0], painted[1], len(row))


@dataclass(frozen=True)
class Strongest:
    """Where a neuron fires most on one scene's picture.

    Attributes
    ----------
    scene : int
    value : float
        Its activation there.
    patch : tuple of int
        Row and column of the token grid.
    """

    scene: int
    value: float
    patch: tuple[int, int]

    @classmethod
    def on(cls, grid: np.ndarray, scene: int) -> Strongest:
        """Return the largest value of a map (grid row, grid column) of finite numbers and NaN."""
        row, column = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
        return cls(scene, float(grid[row, column]), (int(row), int(column)))


def patch_mask(cells: Sequence[int], grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return cells of the token grid as a mask of the picture.

    Parameters
    ----------
    cells : sequence of int
        ``row * columns + column``.
    grid : tuple of int
        Rows and columns.
    size : tuple of int
        Width and height of the picture.

    Returns
    -------
    numpy.ndarray of bool, shape (height, width)

    Raises
    ------
    BadArgument
        If there is none, or one lies outside the grid.

    Examples
    --------
    >>> patch_mask([1], (1, 2), (4, 1)).tolist()
    [[False, False, True, True]]
    """
    rows, cols = grid
    chosen = np.asarray(list(cells), np.int64)
    if not chosen.size:
        raise bad_argument("patches", "none", "an object, or at least one patch of the picture")
    outside = chosen[(chosen < 0) | (chosen >= rows * cols)]
    if outside.size:
        raise bad_argument("patches", int(outside[0]), f"cells from 0 to {rows * cols - 1}")
    marked = np.zeros(rows * cols, bool)
    marked[chosen] = True
    width, height = size
    row = ((np.arange(height) + 0.5) * rows / height).astype(int)
    col = ((np.arange(width) + 0.5) * cols / width).astype(int)
    mask: np.ndarray = marked.reshape(rows, cols)[row][:, col]
    return mask


def patch_words(
    model: MultimodalModel, image: Image, prompt: str | None = None, k: int = 3
) -> list[list[str]]:
    """Return the words that the logit lens reads at each patch, behind the last layer.

    Parameters
    ----------
    model : MultimodalModel
    image : picture
    prompt : str, optional
    k : int
        Words a patch, likeliest first, over the whole vocabulary.

    Returns
    -------
    list of list of str
        By cell of the token grid, row by row; empty where no token looks.
    """
    with model.interventions.suspended():
        words, tokens = patch_lens(model, image, prompt, k=k)
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

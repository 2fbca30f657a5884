"""Activation patching: what the FFNs hold at one place, put where a word is predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..activations import find_word
from ..attribution import scene_mask
from ..core import (
    CancelToken,
    Concept,
    NotSupported,
    array_over_neurons,
    as_concept,
    bad_argument,
    count,
    neuron_rows,
    provenance,
    provenance_of,
    spans,
    whole_numbers,
)
from ..models import plain_torch
from .base import ActivationIntervention
from .reference import record_values
from .where import Selection, Where

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = [
    "Transplant",
    "TransplantResult",
    "coverage",
    "first_said",
    "last_third",
    "patch_mean",
    "transplant",
    "transplant_object",
    "transplant_patches",
    "word_start",
]


def coverage(boxes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return which part of each box a mask covers.

    Parameters
    ----------
    boxes : numpy.ndarray, shape (box, 4)
        x0, y0, x1, y1 in pixels, as ``Geometry.boxes``; NaN for a token without a place.
    mask : numpy.ndarray of bool, shape (height, width)
        In the same pixels.

    Returns
    -------
    numpy.ndarray, shape (box,)
        0 to 1; of boxes that lie in part outside the picture, the whole box counts; 0 for NaN.

    Examples
    --------
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[:2, :2] = True
    >>> coverage(np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4.0]]), mask).tolist()
    [1.0, 0.5, 0.0]
    """
    height, width = mask.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = np.asarray(mask, dtype=np.float64).cumsum(0).cumsum(1)
    known = np.isfinite(boxes).all(axis=1)
    x0, y0, x1, y1 = np.where(known[:, None], boxes, 0.0).T
    inside = (
        _at(total, y1, x1) - _at(total, y0, x1) - _at(total, y1, x0) + _at(total, y0, x0)
    )  # the integral image, linear between pixel edges
    area = (x1 - x0) * (y1 - y0)
    return np.where(known & (area > 0), inside / np.where(area > 0, area, 1.0), 0.0)


def _at(total: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = np.clip(y, 0, total.shape[0] - 1)
    x = np.clip(x, 0, total.shape[1] - 1)
    top = np.minimum(y.astype(int), total.shape[0] - 2)
    left = np.minimum(x.astype(int), total.shape[1] - 2)
    down, right = y - top, x - left
    between: np.ndarray = (
        total[top, left] * (1 - down) * (1 - right)
        + total[top, left + 1] * (1 - down) * right
        + total[top + 1, left] * down * (1 - right)
        + total[top + 1, left + 1] * down * right
    )
    return between


def patch_mean(
    model: MultimodalModel,
    image: Any,
    mask: np.ndarray | Sequence[np.ndarray],
    prompt: str | None = None,
    *,
    threshold: float = 0.4,
) -> np.ndarray:
    """Return the mean FFN activations over an object's patches, with nothing active.

    Parameters
    ----------
    model : MultimodalModel
        Its image tokens must have places on the picture.
    image : picture or list of pictures
        What ``model.prepare`` takes.
    mask : numpy.ndarray of bool, shape (height, width), or a list of them
        The object, in the picture's pixels; one for each picture.
    prompt : str, optional
        The model's own by default.
    threshold : float
        A patch belongs to the object when more than this part of it is covered.

    Returns
    -------
    numpy.ndarray of float32, shape (sites, neurons)
        For a list of pictures (picture, sites, neurons).

    Raises
    ------
    BadArgument
        If no patch is covered enough; the message says how much the best one is.
    NotSupported
        If the image tokens have no place on the picture; the message says why.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    >>> patch_mean(model, scene.image, scene.mask("car")).shape
    (6, 512)
    """
    several = isinstance(image, list | tuple)
    masks = list(mask) if several else [mask]
    prepared = model.prepare(image, prompt)
    if len(masks) != len(prepared):
        raise bad_argument(
            "mask", f"{len(masks)} masks", f"one for each of {len(prepared)} pictures"
        )
    chosen = [
        _covered(tokens, np.asarray(one, dtype=bool), threshold)
        for tokens, one in zip(model.token_maps(prepared), masks, strict=True)
    ]
    recorded = record_values(model, prepared, range(len(model.sites)))
    means = np.zeros((len(masks), len(model.sites), model.n_neurons), dtype=np.float32)
    for number, (positions, values) in enumerate(zip(chosen, recorded, strict=True)):
        for row, value in values.items():
            means[number, row, : value.shape[-1]] = value[positions].float().mean(0).cpu().numpy()
    return means if several else means[0]


def _covered(tokens: Any, mask: np.ndarray, threshold: float) -> np.ndarray:
    """Return the positions of the image tokens that a mask covers."""
    geometry = tokens.geometry
    if geometry.kind in ("none", "queries"):
        raise NotSupported(
            f"transplant: the image tokens have no patches of their own ({geometry.reason})"
        )
    covered = coverage(np.asarray(geometry.boxes), mask)
    chosen = covered > threshold
    if not chosen.any():
        raise bad_argument(
            "threshold", threshold, f"less than {covered.max():.2f}, the best covered patch's part"
        )
    return np.asarray(tokens.image_positions)[chosen]


def first_said(text: str, concept: Any) -> tuple[str, bool]:
    """Return what a text begins with, and whether that names a concept.

    By the rule of `names`, seen in the whole text: "a bus stop" written in the place of "a bus"
    names no bus.

    Parameters
    ----------
    text : str
        What was written from a place on.
    concept : str or Concept

    Returns
    -------
    said : str
        As many words as the concept's name has, or more where those alone would name it wrongly.
    named : bool

    Examples
    --------
    >>> first_said("buses near a tree", "bus"), first_said("bus stop near a bus", "bus")
    (('buses', True), ('bus stop', False))
    """
    wanted, words = as_concept(concept), text.split()
    named = _begins_with(text, wanted)
    n = len(wanted.word.split())
    while n < len(words) and _begins_with(" ".join(words[:n]), wanted) != named:
        n += 1
    return " ".join(words[:n]), named


def _begins_with(text: str, concept: Concept) -> bool:
    return any(mention.start == 0 for mention in spans(text, concept.forms))


class Transplant(ActivationIntervention):
    """Activations replaced by given ones at chosen positions; made by `transplant`.

    Parameters
    ----------
    model : MultimodalModel
    rows : mapping of int to numpy.ndarray
        Site row to the neurons there.
    selection : Selection
        The positions and steps.
    values : numpy.ndarray, shape (picture or 1, sites, neurons)
        What is put there.
    places : tuple of int or None
        One position for each picture of the batch, instead of those of `selection`.
    name, provenance
        As in `Intervention`.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> made = transplant(model, np.ones((6, 512)), {5: [3]}, positions="predicting")
    >>> made.kind, made.n_neurons, made.layers
    ('transplant', 1, (5,))
    """

    kind: ClassVar[str] = "transplant"

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        selection: Selection,
        values: np.ndarray,
        places: tuple[int, ...] | None,
        *,
        name: str,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(model, rows, selection, name=name, provenance=provenance)
        self.needs_place = self.needs_place or places is not None
        with plain_torch(False):  # a graph may hold them
            self._values = {
                row: torch.as_tensor(values[:, row, index]) for row, index in self.rows.items()
            }
            self._places = None if places is None else torch.tensor(places)

    def _change(self, row: int, before: Tensor, where: Where | None) -> Tensor:
        values = self._values[row]
        if values.device != before.device:
            with plain_torch(False):
                values = self._values[row] = values.to(before.device)
        values = values.to(before.dtype)
        if len(values) not in (1, len(before)):
            raise bad_argument(
                "values", f"values for {len(values)} rows", f"1 or {len(before)}, the batch's rows"
            )
        if before.dim() == 3:
            values = values[:, None, :]
        if self._places is None:
            return values.expand_as(before)
        assert where is not None
        here = where.index == self._places.to(where.index.device)[:, None]
        return torch.where(here.to(before.device)[..., None], values, before)


def transplant(
    model: MultimodalModel,
    values: Any,
    neurons: Any = None,
    *,
    layers: Sequence[int] | None = None,
    positions: Any = "predicting",
    steps: Any = None,
    name: str = "transplant",
) -> Transplant:
    """Return an intervention that puts given activations in place of the model's own.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    values : array over (layer, neuron), xarray.Dataset, or array (rows, sites, neurons)
        What to put there, such as `patch_mean`; of a store the mean over its pictures and tokens;
        with a leading dimension, other values for each row of the batch.
    neurons : NeuronSet, boolean array, mapping or pairs, optional
        Which neurons; all by default.
    layers : sequence of int, optional
        Keep only these layers; all by default.
    positions : optional
        As in `ablate`: by default where words are predicted. With values for each row also one
        token index for each row.
    steps : optional
        As in `ablate`.
    name : str
        For people.

    Returns
    -------
    Transplant
        A context manager; also for ``model.interventions.push``.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> transplant(model, np.zeros((len(model.sites), model.n_neurons)), {5: [1, 2]})
    <transplant 'transplant': 2 neurons in layer 5 at predicting>
    """
    rows = neuron_rows(model, neurons)
    if layers is not None:
        wanted = set(whole_numbers("layers", layers).tolist())
        unknown = wanted.difference(site.layer for site in model.sites)
        if unknown:
            known = sorted({site.layer for site in model.sites})
            raise bad_argument("layers", sorted(unknown), f"layers among {known}")
        rows = {row: index for row, index in rows.items() if model.sites[row].layer in wanted}
    array, places = _values(model, values, positions)
    selection = Selection.of(None if places is not None else positions, steps)
    made = provenance(
        "transplant",
        layers=layers,
        positions=places or selection.positions,
        steps=selection.steps,
        n_neurons=count(rows),
        neurons=provenance_of(neurons),
    )
    return Transplant(model, rows, selection, array, places, name=name, provenance=made)


def _values(
    model: MultimodalModel, values: Any, positions: Any
) -> tuple[np.ndarray, tuple[int, ...] | None]:
    if not hasattr(values, "dims") and np.ndim(values) == 3:
        array = np.stack([array_over_neurons(model, one, "values") for one in values])
        if not isinstance(positions, str) and np.ndim(positions) == 1:
            places = tuple(whole_numbers("positions", positions).tolist())
            if len(places) != len(array) or min(places) < 0:
                raise bad_argument(
                    "positions", positions, f"one token index from 0 for each of {len(array)} rows"
                )
            return array, places
        return array, None
    return array_over_neurons(model, values, "values")[None], None


@dataclass(frozen=True)
class TransplantResult:
    """What a transplant did to a caption.

    Attributes
    ----------
    before, after : str
        Captions without and with it.
    word : str
        The concept at whose place the other was put.
    object : str
        The concept put there; "" for patches without a name.
    position : int
        Index of the predicting token, padding not counted.
    said : str
        What the model wrote at the word's place.
    success : bool or None
        Whether that names the object; None when what was put there has no name.
    index : int
        The word's place in the caption before, counted from 0 between spaces.
    layers : tuple of int
        Whose activations were replaced.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    >>> made = transplant_object(model, scene, "ball", "car")
    >>> made.word, made.object, made.success
    ('ball', 'car', True)
    """

    before: str
    after: str
    word: str
    object: str
    position: int
    said: str
    success: bool | None
    index: int
    layers: tuple[int, ...]


def transplant_object(
    model: MultimodalModel,
    scene: Any,
    word: Any,
    object: Any,
    *,
    donor: Any = None,
    neurons: Any = None,
    layers: Sequence[int] | None = None,
    threshold: float = 0.4,
    prompt: str | None = None,
    max_new_tokens: int | None = None,
) -> TransplantResult:
    """Put an object's patches where the model predicts another word, and caption again.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    scene : Scene
        The picture to caption.
    word : str or Concept
        A concept that the caption of the picture names.
    object : str or Concept
        A category that `donor` shows.
    donor : Scene, optional
        Where the object's patches are taken; `scene` itself by default.
    neurons, layers
        As in `transplant`.
    threshold : float
        A patch belongs to the object when more than this part of it is covered by its mask.
    prompt, max_new_tokens
        As in ``model.caption``.

    Returns
    -------
    TransplantResult

    Raises
    ------
    BadArgument
        If the caption does not name the word, or `donor` does not show the object.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scene = mmkn.datasets.pocket_world("val")[7]
    >>> word = next(c for c in scene.categories if c in model.caption(scene.image))
    >>> other = mmkn.datasets.pocket_world("val").with_concept("clock", 1)[0]
    >>> result = transplant_object(model, scene, word, "clock", donor=other)
    >>> result.word == word
    True
    """
    donor = scene if donor is None else donor
    concept, other = as_concept(word), as_concept(object)
    with model.interventions.suspended():
        prepared = model.prepare(scene.image, prompt)
        before = model.generate(prepared, max_new_tokens=max_new_tokens)
        start = find_word(model, before.token_ids[0], concept)
        if start is None:
            raise bad_argument("word", concept.word, f"a word of the caption {before.texts[0]!r}")
        values = patch_mean(
            model, donor.image, scene_mask(donor, other), prompt, threshold=threshold
        )
        place = int(prepared.prompt_lengths[0]) + start - 1
        put = transplant(
            model, values, neurons, layers=layers, positions=[place], name=f"{other.word} patches"
        )
        with put:
            after = model.generate(prepared, max_new_tokens=max_new_tokens)
    said, named = first_said(model.decode(after.token_ids[0][start:]), other)
    return TransplantResult(
        before.texts[0],
        after.texts[0],
        concept.word,
        other.word,
        place,
        said,
        named,
        len(model.decode(before.token_ids[0][:start]).split()),
        put.layers,
    )


def last_third(model: MultimodalModel) -> tuple[int, ...]:
    """Return the last third of a model's layers, where the word is written (pocket: 4 and 5)."""
    layers = sorted({int(site.layer) for site in model.sites})
    return tuple(layers[-max(1, round(len(layers) / 3)) :])


def word_start(model: MultimodalModel, token_ids: Sequence[int], index: int) -> int | None:
    """Return the first token of a caption's word, counted from 0 between spaces, or None.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> ids = model.tokenizer("a red car", add_special_tokens=False)["input_ids"]
    >>> word_start(model, ids, 2), word_start(model, ids, 3)
    (2, None)
    """
    ids = list(token_ids)
    for n in range(1, len(ids) + 1):
        if len(model.decode(ids[:n]).split()) > index:
            return n - 1
    return None


def transplant_patches(
    model: MultimodalModel,
    image: Any,
    mask: np.ndarray,
    index: int,
    *,
    object: str = "",
    layers: Sequence[int] | None = None,
    prompt: str | None = None,
    on_token: Callable[[str, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> TransplantResult:
    """Write a picture's caption with a part of the picture in the place of a word.

    The FFN activations at the position that predicts the word are replaced by their mean over the
    part's patches; the caption is written anew from there. What is active on the model acts in
    both captions.

    Parameters
    ----------
    model : MultimodalModel
    image : picture
    mask : numpy.ndarray of bool, shape (height, width)
        The part, in the picture's pixels; a patch belongs to it when more than .4 is covered.
    index : int
        Which word of the caption, counted from 0 between spaces.
    object : str
        The part's name, where it has one.
    layers : sequence of int, optional
        By default the last third.
    prompt, on_token, cancel : optional
        As in ``model.caption``.

    Returns
    -------
    TransplantResult

    Raises
    ------
    BadArgument
        If the caption has no such word, or the mask covers no patch.
    NotSupported
        If the image tokens have no place on the picture.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    >>> model.caption(scene.image)
    'a picture of a purple ball, a red cup and a red car at night'
    >>> made = transplant_patches(model, scene.image, scene.mask("car"), 5, object="car")
    >>> made.word, made.said, made.success
    ('ball,', 'car,', True)
    """
    chosen = (
        last_third(model) if layers is None else tuple(whole_numbers("layers", layers).tolist())
    )
    values = patch_mean(model, image, mask, prompt)
    with model.interventions.inner():
        prepared = model.prepare(image, prompt)
        before = model.generate(prepared, cancel=cancel)
        start = word_start(model, before.token_ids[0], index)
        if start is None:
            raise bad_argument("index", index, f"a word of the caption {before.texts[0]!r}")
        place = int(prepared.prompt_lengths[0]) + start - 1
        name = f"{object or 'patches'} for a word"
        put = transplant(model, values, layers=chosen, positions=[place], name=name)
        with put:
            after = model.generate(prepared, on_token=on_token, cancel=cancel)
    text = after.texts[0]
    said, success = " ".join(text.split()[index : index + 1]), None
    if object:
        said, success = first_said(" ".join(text.split()[index:]), object)
    word = before.texts[0].split()[index]
    return TransplantResult(
        before.texts[0], text, word, object, place, said, success, index, put.layers
    )

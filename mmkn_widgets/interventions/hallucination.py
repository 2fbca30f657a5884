"""Teach a few neurons not to let a caption leave the truth, where it leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import record
from ..core import (
    CancelToken,
    Concept,
    NeuronIndex,
    NeuronSet,
    Progress,
    as_concept,
    bad_argument,
    count,
    neuron_rows,
    provenance,
    provenance_of,
)
from ..models import plain_torch
from .editing import Edit
from .learning import Goal, Text, lessons, optimise, write
from .weights import writable_columns

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["blame", "corrections", "reduce_hallucination"]


def corrections(
    model: MultimodalModel,
    concept: Any,
    scenes: Sequence[Any],
    *,
    prompt: str | None = None,
    batch_size: int = 16,
) -> tuple[list[Text], list[int], list[Text]]:
    """Caption scenes and correct those captions that name a concept that is not there.

    The correction is the reference without the concept that agrees longest with the caption; the
    answer is its token where the two part.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    concept : str or Concept
        The word that is said wrongly.
    scenes : sequence of Scene
        With reference captions and annotated objects.
    prompt, batch_size
        As in captioning.

    Returns
    -------
    list of Text
        The corrections.
    list of int
        For each the token that the model wrote there instead.
    list of Text
        Captions in order, among them those that name the concept rightly.
    """
    wanted = as_concept(concept)
    wrong: list[Text] = []
    instead: list[int] = []
    right: list[Text] = []
    for scene, ids in write(model, scenes, prompt, batch_size):
        there = any(wanted.named_in(category) for category in scene.categories)
        if there or not wanted.named_in(model.decode(ids)):
            right.append(Text(scene, tuple(ids)))
            continue
        parted = _part(model, wanted, scene, ids, prompt)
        if parted is not None:
            wrong.append(parted[0])
            instead.append(parted[1])
    return wrong, instead, right


def _part(
    model: MultimodalModel, concept: Concept, scene: Any, ids: list[int], prompt: str | None
) -> tuple[Text, int] | None:
    best: tuple[Text, int] | None = None
    for caption in scene.captions:
        if concept.named_in(caption):
            continue
        prepared = model.prepare([scene.image], prompt, continuation=[caption])
        truth = list(prepared.continuation[0])
        pairs = zip(ids, truth, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(truth)))
        if at < min(len(ids), len(truth)) and (best is None or at > best[0].at):
            best = Text(scene, tuple(truth), at, 1), ids[at]
    return best


@plain_torch()
def blame(
    model: MultimodalModel,
    texts: Sequence[Text],
    instead: Sequence[int],
    *,
    prompt: str | None = None,
    top: int = 20,
    leave_out_last: int = 0,
) -> NeuronSet:
    """Return the neurons that push a caption from its truth, where the two part.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    texts : sequence of Text
        Corrections; the answer's place is where the captions part.
    instead : sequence of int
        What the model wrote there.
    prompt : str, optional
        The captioning prompt.
    top : int
        How many neurons.
    leave_out_last : int
        Leave out the last so many layers.

    Returns
    -------
    NeuronSet
        By activation x gradient of ``log p(written) - log p(truth)`` at that place, the mean over
        texts.
    """
    total = np.zeros((len(model.sites), model.n_neurons))
    for text, token in zip(texts, instead, strict=True):
        ahead = list(text.ids[: text.at])
        prepared = model.prepare([text.scene.image], prompt, continuation=[ahead])
        with record(model, gradients=True, batch=1) as seen:
            output = model.forward(prepared, logits_to_keep=1, grad=True)
            logits = output.logits[0, -1].float()
            y = logits[token] - logits[text.ids[text.at]]
        for row, gradient in seen.gradients(y).items():
            values = (gradient[0, -1] * seen.values[row][0, -1]).detach().float()
            total[row, : len(values)] += values.cpu().numpy()
    total /= max(len(texts), 1)
    for site in model.sites:
        total[site.row, site.width :] = -np.inf
        if site.layer >= model.n_layers - leave_out_last:
            total[site.row] = -np.inf
    best = np.argsort(total, axis=None)[::-1][:top]
    return NeuronIndex.of(model).neurons(
        best,
        score=total.ravel()[best],
        provenance=provenance("blame", n_texts=len(texts), top=top, leave_out_last=leave_out_last),
    )


def reduce_hallucination(
    model: MultimodalModel,
    concept: Any,
    scenes: Sequence[Any],
    *,
    neurons: Any = None,
    top: int = 20,
    leave_out_last: int = 0,
    goal: Goal | None = None,
    prompt: str | None = None,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Edit:
    """Return an edit after which a word is said less often where its object is not there.

    Where a caption names the concept without its object, the place is found at which it parts
    from the truth (the nearest reference), and deltas of a few neurons' columns are learned that
    make it say the true token there, while all other captions, those that name the concept
    rightly among them, stay.

    Parameters
    ----------
    model : MultimodalModel
        The model; its weights must be in memory and not quantised.
    concept : str or Concept
        The word that is said wrongly.
    scenes : sequence of Scene
        With reference captions and annotated objects: some where it is said wrongly, some where
        the object is there, some others. Do not measure on the same.
    neurons : NeuronSet, boolean array, mapping or pairs, optional
        Whose columns to change; by default the `top` that `blame` finds.
    top, leave_out_last : int
        As in `blame`.
    goal : Goal, optional
        As in `edit`.
    prompt, seed, name, progress, cancel
        As in `edit`.

    Returns
    -------
    Edit
        Measure it with `trade_off`.

    Raises
    ------
    BadArgument
        If no caption names the concept wrongly.

    Notes
    -----
    The third use of editing in Pan et al. 2024 (arXiv 2311.07470).

    Examples
    --------
    >>> from mmkn_widgets.interventions import Goal
    >>> model = mmkn.load_model("pocket")
    >>> sea = mmkn.datasets.pocket_world("val", 3, subset="hallucination")
    >>> birds = mmkn.datasets.pocket_world("val").with_concept("bird", 2)
    >>> goal = Goal(steps=2)  # too few for a cure
    >>> reduce_hallucination(model, "bird", [*sea, *birds], top=5, goal=goal).n_neurons
    5
    """
    wanted, goal = as_concept(concept), goal or Goal()
    with model.interventions.suspended():
        wrong, instead, right = corrections(
            model, wanted, scenes, prompt=prompt, batch_size=goal.batch_size
        )
        if not wrong:
            raise bad_argument(
                "scenes",
                f"{len(scenes)} scenes",
                f"some without {wanted.word!r} whose caption names it, with reference captions",
            )
        if neurons is None:
            neurons = blame(
                model, wrong, instead, prompt=prompt, top=top, leave_out_last=leave_out_last
            )
        rows = neuron_rows(model, neurons, empty=False)
        for row in rows:
            writable_columns(model, row)
        changing = lessons(model, wrong, prompt, goal.batch_size, once=False)
        staying = lessons(model, right, prompt, goal.batch_size)
    deltas, details = optimise(
        model,
        rows,
        changing,
        staying,
        goal,
        seed=seed,
        what=f"correcting {wanted.word}",
        progress=progress,
        cancel=cancel,
    )
    made = provenance(
        "reduce_hallucination",
        source=wanted.to_dict(),
        n_wrong=len(wrong),
        n_right=len(right),
        n_neurons=count(rows),
        seed=seed,
        scenes=[f"{s.source}/{s.id}" for s in scenes],
        neurons=provenance_of(neurons),
        **details,
    )
    return Edit(model, rows, deltas, name=name or f"no false {wanted.word}", provenance=made)

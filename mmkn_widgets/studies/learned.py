"""A study's learned mask: candidates from its evidence, its size from scenes it did not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import NeuronSet, bad_argument, provenance, real_number, whole_numbers, with_kinds
from ..datasets import CHOOSING, as_scenes

if TYPE_CHECKING:
    from ..core import CancelToken, Concept, Progress
    from ..datasets import Scene
    from .search import Searched

__all__ = ["CANDIDATES", "DEPTH", "SIZES", "learned_mask", "mask_candidates"]

#: Candidates of a learned mask: the best so many by GradCAM.
CANDIDATES = 500
#: Share of the layers below which there are none of them.
DEPTH = 0.6
#: A mask is learned where words are chosen, if silenced at all tokens it keeps so much of its gain.
_HOLDS = 0.8
#: Sizes that are tried where a retention is asked for.
SIZES = (10, 20, 40, 60, 100, 150)


def learned_mask(
    study: Searched,
    without_concept: Any = (),
    *,
    size: int | None = None,
    retain: float | None = None,
    sizes: Sequence[int] = SIZES,
    candidates: int = CANDIDATES,
    depth: float = DEPTH,
    kinds: Sequence[str] = (),
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Any,
) -> NeuronSet:
    """Learn which of a study's neurons to silence; see `mmkn_widgets.interventions.learn_mask`.

    Parameters
    ----------
    study : Study
        Its scenes are those with the concept, its GradCAM scores choose the candidates.
    without_concept : sequence of Scene, or what stands for them
        Scenes whose captions shall stay as they are.
    size : int, optional
        At most so many neurons; 60 where no `retain` is given.
    retain : float, optional
        Instead of a size: the other objects that shall still be named, as the smaller of the two
        fields of `mmkn_widgets.evaluation.retention`. Every second scene is learned on, the others
        judge: of `sizes`, the one that suppresses most among those that keep so much, of equal
        ones the smallest.
    sizes : sequence of int
        See `retain`.
    candidates : int
        The best so many neurons by GradCAM, of a positive score.
    depth : float
        Only those from this share of the layers upwards, 0 to below 1. What lies below works at the
        picture's tokens too, on which everything else that is said of it depends.
    kinds : sequence of str
        Words that shall go too, beside the shipped kinds of the concept (see
        `mmkn_widgets.evaluation.with_kinds`).
    progress, cancel : optional
    **options
        Of `learn_mask`: ``prompts``, ``positions``, ``goal``, ``others``, ``seed``, ``checkpoint``
        (with `size` only). ``others`` are by default what else is on the scenes. Without
        ``positions`` a mask is for all tokens, where `ablate` silences; it is learned where words
        are chosen, which is faster, and again at all tokens if there it keeps less than four fifths
        of what it gained (``provenance["loss_everywhere"]``); that has a checkpoint of its own,
        beside the first, with the ending ``.everywhere``.

    Returns
    -------
    NeuronSet
        May be empty, and then ``provenance["why"]`` says why. With `retain` the provenance holds
        the figures of every size, and ``met``: whether one of them kept so much; if none did, it
        is the one that keeps most.

    Raises
    ------
    BadArgument
        If `size` and `retain` are both given, or there are no two scenes of each kind to judge by.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> mask = study.learned_mask(val.without_concept("car", 4), size=10)
    >>> len(mask) <= 10
    True
    """
    if size is not None and retain is not None:
        raise bad_argument("size, retain", (size, retain), "one of the two")
    absent = list(
        as_scenes(
            without_concept,
            study.concept,
            name="without_concept",
            masks=False,
            shows=False,
            n=CHOOSING,
        )
    )
    counted = with_kinds(study.concept, kinds)
    options = {"prompts": (study.options["prompt"],), **options}
    if "others" not in options:
        there = dict.fromkeys(c for scene in (*study.scored, *absent) for c in scene.categories)
        options["others"] = [name for name in there if not counted.named_in(name)]
    among = mask_candidates(study, candidates, depth)
    if not len(among):
        why = among.provenance.get("why", "no neuron has a positive GradCAM score")
        return NeuronSet([], [], provenance={**provenance("learned_mask"), "why": why})
    if retain is None:
        return _learned(
            study,
            counted,
            study.scored,
            absent,
            candidates=among,
            size=60 if size is None else size,
            progress=progress,
            cancel=cancel,
            **options,
        )
    return _smallest(study, counted, absent, among, retain, sizes, progress, cancel, options)


def mask_candidates(study: Searched, n: int = CANDIDATES, depth: float = DEPTH) -> NeuronSet:
    """Return the neurons that a study's masks are learned among; see `learned_mask`."""
    if not 0 <= real_number("depth", depth) < 1:
        raise bad_argument("depth", depth, "a share of the layers, from 0 to below 1")
    return study.best_by_gradcam(n, math.floor(depth * study.model.n_layers))


def _learned(
    study: Searched,
    concept: Concept,
    present: Sequence[Scene],
    absent: Sequence[Scene],
    *,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> NeuronSet:
    """Learn a mask where it was asked for; for all tokens first where that is fast."""
    from ..interventions import learn_mask

    def learned(file: str | Path | None, **where: Any) -> NeuronSet:
        given = {**options, **where, "checkpoint": file}
        return learn_mask(study.model, concept, present, absent, **given)

    if "positions" in options:
        return learned(checkpoint)
    first = learned(checkpoint, positions="predicting")
    made = first.provenance
    before = made["loss_before"]
    if before - made["loss_everywhere"] >= _HOLDS * (before - made["loss_after"]):
        return first
    beside = None if checkpoint is None else Path(checkpoint).with_suffix(".everywhere")
    return learned(beside, positions=None)


def _smallest(
    study: Searched,
    counted: Concept,
    absent: Sequence[Scene],
    among: NeuronSet,
    retain: float,
    sizes: Sequence[int],
    progress: Progress | None,
    cancel: CancelToken | None,
    options: dict[str, Any],
) -> NeuronSet:
    from ..evaluation import Captioner, retention, suppression

    retain = real_number("retain", retain, lowest=0, highest=1)
    tried = sorted(set(whole_numbers("sizes", sizes, lowest=1).tolist()))
    if not tried:
        raise bad_argument("sizes", sizes, "at least one")
    if len(study.scored) < 2 or len(absent) == 1:
        raise bad_argument(
            "retain",
            f"{len(study.scored)} scenes with the concept and {len(absent)} without",
            "at least two of each kind (or none without): half learn, half judge",
        )
    if options.get("checkpoint") is not None:
        raise bad_argument("checkpoint", options["checkpoint"], "None beside retain, or a size")
    judging = [*study.scored[1::2], *absent[1::2]]
    split = len(study.scored[1::2])
    words = sorted({name for scene in judging for name in scene.categories})
    writer = Captioner(study.model, options["prompts"][0], cancel=cancel)
    before = writer.before(judging)
    found: list[tuple[tuple[bool, float, float, int], NeuronSet]] = []
    rows: list[dict[str, Any]] = []
    for number, size in enumerate(tried):
        if progress is not None:
            progress("trying sizes of a mask", number, len(tried))
        mask = _learned(
            study,
            counted,
            study.scored[::2],
            absent[::2],
            candidates=among,
            size=size,
            cancel=cancel,
            **options,
        )
        after = writer.after(judging, mask)
        gone = suppression(before[:split], after[:split], counted)
        kept = retention(
            before[:split], after[:split], before[split:], after[split:], counted, words
        )["headline"]
        rows.append({"size": size, "neurons": len(mask), "suppression": gone, "retention": kept})
        least = 1.0 if kept is None else kept  # nothing else was named: nothing can be lost
        met = least >= retain
        best = (met, gone or 0.0, least, -size) if met else (met, least, gone or 0.0, -size)
        found.append((best, mask))
    if progress is not None:
        progress("trying sizes of a mask", len(tried), len(tried))
    (met, *_), chosen = max(found, key=lambda one: one[0])
    made = {**chosen.provenance, "retain": retain, "met": met, "sizes": rows}
    return NeuronSet(chosen.layer, chosen.index, chosen.expert, chosen.score, provenance=made)

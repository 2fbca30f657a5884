"""How far a learned mask can be trusted: is it the same again, and what does it do elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import find_span
from ..core import (
    COLORS,
    Concept,
    NeuronSet,
    as_concept,
    axes_for,
    bad_argument,
    counted,
    html_card,
    html_table,
    label_axes,
    legend_beside,
    open_frame,
    provenance,
    reporting,
    whole_number,
    with_kinds,
)
from ..datasets import as_scenes
from .frontier import measure_frontier
from .learned import CANDIDATES, DEPTH, mask_candidates
from .study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..core import CancelToken, Progress
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["MaskTrust", "mask_trust"]

_MEASURING, _BATCH = 40, 16


@dataclass(frozen=True, repr=False)
class MaskTrust:
    """What speaks for a learned mask, and what against it.

    Attributes
    ----------
    mask : NeuronSet
        Learned on all scenes of the study.
    overlaps : list of dict
        For every pair of masks that were learned apart: ``masks`` (which two), ``shared``, ``a``
        and ``b`` (their sizes), ``chance`` (shared neurons expected if each were drawn at random
        from the candidates).
    shifts : list of dict
        Change of log-probability (nats) by silencing the mask, where captions and sentences have
        their words: ``where`` (the question, or "plain text"), ``word``, ``others`` (other
        categories), ``random`` (the word's, by as many random neurons of the same layers), and how
        many places were read: ``n_word``, ``n_others``. None where there was none.
    negative : int
        Neurons of the mask whose contribution to the word is negative.
    parts : list of dict
        Figures on held-out scenes of the ``whole`` mask, ``without negative`` and ``negative
        alone``: ``neurons``, ``suppression``, ``retention``, ``identical``, ``substitution``.
    provenance : dict

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 8))
    >>> test = mmkn.datasets.pocket_world("test", 60)
    >>> goal = mmkn.interventions.MaskGoal(steps=8)
    >>> found = mask_trust(
    ...     study, test.with_concept("car", 2), test.without_concept("car", 2), size=12, seeds=1,
    ...     goal=goal,
    ... )
    >>> len(found.overlaps), [shift["where"] for shift in found.shifts]
    (1, ['the question it was learned on', 'plain text'])
    """

    mask: NeuronSet
    overlaps: list[dict[str, Any]]
    shifts: list[dict[str, Any]]
    negative: int
    parts: list[dict[str, Any]]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shared = [one["shared"] for one in self.overlaps]
        chance = [one["chance"] for one in self.overlaps]
        again = f"{np.mean(shared):.1f} shared by masks learned apart"
        again += f" (by chance {np.mean(chance):.1f})"
        return f"<MaskTrust: {len(self.mask)} neurons, {self.negative} negative, {again}>"

    def _repr_html_(self) -> str:
        overlaps = html_table(
            ["masks", "shared", "of", "and", "by chance"],
            [[o["masks"], o["shared"], o["a"], o["b"], float(o["chance"])] for o in self.overlaps],
        )
        shifts = html_table(
            ["log-probability (nats)", "of the word", "of other words", "random neurons", "places"],
            [
                [
                    *(s[key] for key in ("where", "word", "others", "random")),
                    f"{s['n_word']} + {s['n_others']}",
                ]
                for s in self.shifts
            ],
        )
        names = ("neurons", "suppression", "retention", "identical", "substitution")
        parts = html_table(
            ["part", *names], [[p["part"], *(p[name] for name in names)] for p in self.parts]
        )
        about = f"{len(self.mask)} neurons, {self.negative} of negative contribution"
        return html_card("Trust in a learned mask", [], overlaps, shifts, parts, about=about)

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Axes:
        """Draw how much less probable the word and other words become, by question and in text.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        figsize : (float, float), optional
            Inches.
        """
        axes = axes_for(ax, figsize, (6.4, 0.9 + 0.6 * len(self.shifts)))
        marks = (("word", "red", "o"), ("others", "blue", "s"), ("random", "grey", "x"))
        names = {"word": "the word", "others": "other words", "random": "the word, random neurons"}
        for key, color, marker in marks:
            known = [(s[key], at) for at, s in enumerate(self.shifts) if s[key] is not None]
            if known:
                axes.plot(*np.transpose(known), marker, color=COLORS[color], label=names[key])
        axes.axvline(0, color=COLORS["grey"], linewidth=0.8)
        axes.set_yticks(range(len(self.shifts)), [s["where"] for s in self.shifts])
        axes.set_ylim(len(self.shifts) - 0.5, -0.5)
        open_frame(axes, "x")
        label_axes(
            axes, xlabel="change of log-probability (nats)",
            title=f"{counted(len(self.mask), 'neuron')} silenced",
        )  # fmt: skip
        legend_beside(axes)
        return axes


def mask_trust(
    study: Study,
    with_concept: Any,
    without_concept: Any = (),
    *,
    learning: Any = None,
    size: int = 60,
    seeds: int = 2,
    questions: Sequence[str] = (),
    texts: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
    **options: Any,
) -> MaskTrust:
    """Learn a mask anew on halves of the scenes and over seeds, and try it where it did not learn.

    Parameters
    ----------
    study : Study
        Its scenes teach.
    with_concept, without_concept : sequence of Scene, or what stands for them
        Held-out scenes.
    learning : scenes without the concept, optional
        To learn from; by default as many of the study's data set as it
        has scenes.
    size : int
        Neurons of the mask, at most.
    seeds : int
        So many masks on each half.
    questions : sequence of str
        Other questions than the one that it was learned on.
    texts : sequence of str, optional
        Plain sentences, read without a picture; by default the reference captions of the held-out
        scenes.
    seed : int
        The first of the seeds.
    progress, cancel
        As in `mmkn_widgets.study`.
    **options
        Of `Study.learned_mask`: ``goal``, ``candidates``, ``depth``, ``kinds``.

    Returns
    -------
    MaskTrust

    Raises
    ------
    BadArgument
        If there are fewer than two scenes to learn from, or no mask was found.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 8))
    >>> goal = mmkn.interventions.MaskGoal(steps=8)
    >>> cars = mmkn.datasets.pocket_world("test", 60).with_concept("car", 2)
    >>> [part["part"] for part in mask_trust(study, cars, size=12, seeds=1, goal=goal).parts]
    ['whole', 'without negative', 'negative alone']
    """
    seeds = whole_number("seeds", seeds, lowest=1)
    absent = list(
        study.scenes_without(len(study.scored))
        if learning is None
        else as_scenes(learning, study.concept, name="learning", masks=False, shows=False)
    )
    if len(study.scored) < 2:
        raise bad_argument("study", f"{len(study.scored)} scene", "two or more: halves learn apart")
    present, other = (
        as_scenes(given, study.concept, name=name, masks=False, shows=shows, n=_MEASURING)
        for name, given, shows in (
            ("with_concept", with_concept, True),
            ("without_concept", without_concept, False),
        )
    )
    counted = with_kinds(study.concept, options.get("kinds", ()))
    wanted = {"size": size, "cancel": cancel, **options}
    with reporting(progress) as step:
        mask = study.learned_mask(absent, seed=seed, **wanted)
        if not len(mask):
            raise bad_argument("size", size, f"one with a mask: {mask.provenance.get('why')}")
        overlaps = _overlaps(study, absent, seeds, seed, wanted, step)
        shifts = _shifts(study, mask, present, other, counted, questions, texts, seed)
        parts, negative = _parts(study, mask, present, other, counted)
    made = provenance(
        "mask_trust",
        model=study.model.name,
        weights=study.model.weights_hash,
        concept=counted.to_dict(),
        learned_on=[f"{s.source}/{s.id}" for s in (*study.scored, *absent)],
        scenes=[f"{s.source}/{s.id}" for s in (*present, *other)],
        size=size,
        seeds=seeds,
        seed=seed,
        questions=list(questions),
    )
    return MaskTrust(mask, overlaps, shifts, negative, parts, made)


def _overlaps(
    study: Study,
    absent: Sequence[Scene],
    seeds: int,
    seed: int,
    wanted: dict[str, Any],
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Return what masks share that saw no scene in common."""
    size, depth = wanted.get("candidates", CANDIDATES), wanted.get("depth", DEPTH)
    among = len(mask_candidates(study, size, depth))
    masks: dict[str, list[NeuronSet]] = {"even": [], "odd": []}
    for start, half in enumerate(masks):
        part = Study(
            study.model, study.concept, study.scored[start::2], study.evidence,
            pairs=study.pairs, options=study.options,
        )  # fmt: skip
        for k in range(seeds):
            if progress is not None:
                progress("learning masks on halves", start * seeds + k, 2 * seeds)
            masks[half].append(part.learned_mask(absent[start::2], seed=seed + k, **wanted))
    if progress is not None:
        progress("learning masks on halves", 2 * seeds, 2 * seeds)
    return [
        {
            "masks": f"even scenes, seed {seed + i}; odd scenes, seed {seed + j}",
            "shared": len(a & b),
            "a": len(a),
            "b": len(b),
            "chance": len(a) * len(b) / max(among, 1),
        }
        for i, a in enumerate(masks["even"])
        for j, b in enumerate(masks["odd"])
    ]


def _shifts(
    study: Study,
    mask: NeuronSet,
    present: Sequence[Scene],
    other: Sequence[Scene],
    counted: Concept,
    questions: Sequence[str],
    texts: Sequence[str] | None,
    seed: int,
) -> list[dict[str, Any]]:
    from ..attribution import random_like

    model, scenes = study.model, [*present, *other]
    words = dict.fromkeys(c for s in scenes for c in s.categories)
    others = [as_concept(word) for word in words if not counted.named_in(word)]
    drawn = random_like(model, mask, seed)
    rows = []
    for question in (study.options["prompt"], *questions):
        name = "the question it was learned on" if question is study.options["prompt"] else question
        read = list(_captioned(model, scenes, question))
        rows.append(_shift(name, model, read, mask, drawn, counted, others))
    if texts is None:
        texts = [scene.captions[0] for scene in scenes if scene.captions]
    tokenizer = model.tokenizer
    if texts and tokenizer is not None and not model.is_encoder_decoder:
        said = [_Sentence(model, tokenizer(text)["input_ids"]) for text in texts]
        rows.append(_shift("plain text", model, said, mask, drawn, counted, others))
    return rows


class _Sentence:
    """A sentence that is read without a picture."""

    def __init__(self, model: MultimodalModel, ids: Sequence[int]) -> None:
        import torch

        self._model = model
        self._ids = torch.tensor([list(ids)], device=model.device)
        self.ids: list[int] = self._ids[0].tolist()

    def log_p(self) -> np.ndarray:
        """Return the log-probability of every token but the first, whose place is NaN."""
        with self._model.measuring():
            logits = self._model.hf(input_ids=self._ids).logits[0, :-1]
        return np.append(np.nan, _of(logits, self.ids[1:]))


class _Caption:
    """A picture's caption, as the unchanged model writes it for a question."""

    def __init__(
        self, model: MultimodalModel, image: Any, question: str | None, ids: Sequence[int]
    ) -> None:
        self._model, self.ids = model, list(ids)
        self._prepared = model.prepare([image], question, continuation=[self.ids])

    def log_p(self) -> np.ndarray:
        """Return the log-probability of every token."""
        n = len(self.ids) + 1
        with self._model.measuring():
            logits = self._model.forward(self._prepared, logits_to_keep=n).logits[0, -n:-1]
        return _of(logits, self.ids)


def _captioned(
    model: MultimodalModel, scenes: Sequence[Scene], question: str | None
) -> Iterator[_Caption]:
    for start in range(0, len(scenes), _BATCH):
        images = [scene.image for scene in scenes[start : start + _BATCH]]
        with model.interventions.suspended():
            written = model.generate(model.prepare(images, question)).token_ids
        for image, ids in zip(images, written, strict=True):
            if len(ids):
                yield _Caption(model, image, question, ids)


def _of(logits: Any, ids: Sequence[int]) -> np.ndarray:
    import torch

    log_p = torch.log_softmax(logits.float(), -1)
    at = torch.tensor(list(ids), device=log_p.device)[:, None]
    found: np.ndarray = log_p.gather(1, at)[:, 0].cpu().numpy()
    return found


def _shift(
    where: str,
    model: MultimodalModel,
    read: Sequence[_Caption | _Sentence],
    mask: NeuronSet,
    drawn: NeuronSet,
    counted: Concept,
    others: Sequence[Concept],
) -> dict[str, Any]:
    from ..interventions import ablate

    word: list[float] = []
    random: list[float] = []
    rest: list[float] = []
    for one in read:
        own = find_span(model, one.ids, counted)
        spans = [find_span(model, one.ids, other) for other in others]
        places = [span[0] for span in spans if span is not None and span[0] > 0]
        if own is None and not places:
            continue
        with model.interventions.suspended():
            before = one.log_p()
            with ablate(model, mask):
                after = one.log_p() - before
            if own is not None and own[0] > 0:
                word.append(float(after[own[0]]))
                with ablate(model, drawn):
                    random.append(float((one.log_p() - before)[own[0]]))
        rest += [float(after[at]) for at in places if np.isfinite(after[at])]

    def mean(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if values else None

    return {
        "where": where,
        "word": mean(word),
        "others": mean(rest),
        "random": mean(random),
        "n_word": len(word),
        "n_others": len(rest),
    }


def _parts(
    study: Study,
    mask: NeuronSet,
    present: Sequence[Scene],
    other: Sequence[Scene],
    counted: Concept,
) -> tuple[list[dict[str, Any]], int]:
    """Return the figures of the mask and of its parts by the sign of their contribution."""
    values = study.evidence["contribution"].values[mask.rows(study.model), mask.index]
    against = np.flatnonzero(values < 0)
    sets = {
        "whole": mask,
        "without negative": mask.take(np.flatnonzero(~(values < 0))),
        "negative alone": mask.take(against),
    }
    found = measure_frontier(study, present, other, methods=sets, concept=counted, n_random=0)
    parts = []
    for name, part in sets.items():
        row: dict[str, Any] = {"part": name, "neurons": len(part)}
        at = [k for k, method in enumerate(found.points["method"].values) if str(method) == name]
        for figure in ("suppression", "retention", "identical", "substitution"):
            value = float(found.points[figure].values[at[0]]) if at else np.nan
            row[figure] = None if np.isnan(value) else value
        parts.append(row)
    return parts, len(against)

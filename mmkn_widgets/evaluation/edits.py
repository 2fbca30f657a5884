"""What edits do on scenes they were not made from: success, locality, side effects, whole experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..attribution import CANDIDATES, TOP, collect, two_stage
from ..core import CancelToken, Concept, Progress, as_concept, bad_argument
from ..interventions import (
    EditReport,
    Goal,
    ablate,
    as_targets,
    blame,
    corrections,
    edit,
    reduce_hallucination,
    without_nan,
)

__all__ = [
    "EditStudy",
    "TradeOffPoint",
    "caption_all",
    "edit_report",
    "edit_study",
    "hallucination_study",
    "pairs_to_edit",
    "trade_off",
]


def edit_report(
    edit: Any,
    source: Any,
    target: Any = None,
    scenes: Sequence[Any] = (),
    *,
    words: Sequence[str] | None = None,
    prompt: str | None = None,
    batch_size: int = 32,
    before: Sequence[str] | None = None,
) -> EditReport:
    """Caption scenes without and with an intervention and count what it did.

    Parameters
    ----------
    edit : Intervention
        An `Edit`, or any other intervention that should replace or mute a word.
    source, target : str or Concept
        As in `edit`; of a list of targets any counts.
    scenes : sequence of Scene
        With and without the source; not those the edit was made from.
    words : sequence of str, optional
        Categories whose naming counts as kept; by default all categories of the scenes.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.
    before : sequence of str, optional
        The captions without any intervention, if they are known.

    Returns
    -------
    EditReport
        Also kept as ``edit.report`` when it is an `Edit`.
    """
    model = edit.model
    if not scenes:
        raise bad_argument("scenes", scenes, "scenes to measure on")
    old, new = as_concept(source), as_targets(target)
    with model.interventions.suspended():
        if before is None:
            before = caption_all(model, scenes, prompt, batch_size)
        with edit:
            after = caption_all(model, scenes, prompt, batch_size)
    known = words or sorted({category for scene in scenes for category in scene.categories})
    others = [as_concept(word) for word in known if not old.named_in(word)]
    report = _count(list(before), after, old, new, others, edit.n_neurons)
    if hasattr(edit, "report"):
        edit.report = report
    return report


def caption_all(model: Any, scenes: Sequence[Any], prompt: str | None, size: int) -> list[str]:
    """Caption scenes in batches, with whatever is active."""
    made: list[str] = []
    for start in range(0, len(scenes), size):
        made += model.caption([s.image for s in scenes[start : start + size]], prompt)
    return made


def _share(hits: int, of: int) -> float:
    return hits / of if of else float("nan")


def _count(
    before: list[str],
    after: list[str],
    source: Concept,
    targets: list[Concept],
    words: list[Concept],
    n_neurons: int,
) -> EditReport:
    pairs = list(zip(before, after, strict=True))
    with_source = [pair for pair in pairs if source.named_in(pair[0])]
    without = [pair for pair in pairs if not source.named_in(pair[0])]

    def says(text: str) -> bool:
        return any(target.named_in(text) for target in targets)

    gone = [pair for pair in with_source if not source.named_in(pair[1])]
    good = [pair for pair in gone if not targets or says(pair[1])]
    new_to_it = [pair for pair in without if not says(pair[0])]
    fresh = [pair for pair in good if not says(pair[0])]
    twice = sum(
        any(sum(after.lower().split().count(form) for form in t.forms) > 1 for t in targets)
        for before, after in fresh
    )
    return EditReport(
        source=source.word,
        target=" | ".join(target.word for target in targets),
        success=_share(len(good), len(with_source)),
        gone=_share(len(gone), len(with_source)),
        locality=_share(sum(a == b for a, b in without), len(without)),
        kept_scene=_kept(with_source, words),
        kept_other=_kept(without, words),
        leaked=_share(sum(says(b) for _, b in new_to_it), len(new_to_it) if targets else 0),
        shortened=_share(sum(len(b.split()) < len(a.split()) for a, b in pairs), len(pairs)),
        repeated=_share(twice, len(fresh)),
        n_with=len(with_source),
        n_without=len(without),
        n_neurons=n_neurons,
        changed=tuple(pair for pair in pairs if pair[0] != pair[1]),
    )


def _kept(pairs: list[tuple[str, str]], words: list[Concept]) -> float:
    named = [(word, b) for a, b in pairs for word in words if word.named_in(a)]
    return _share(sum(word.named_in(b) for word, b in named), len(named))


@dataclass(frozen=True)
class TradeOffPoint:
    """One intervention's place on the trade-off curve.

    Attributes
    ----------
    name : str
        The intervention's; "none" for the model as it is.
    n_neurons : int
        Neurons that it touches.
    hallucinated : float
        Share of pictures without the object whose caption names it.
    chair : float
        Share of pictures without the object whose caption names any category that is not there
        (CHAIR_s): a cure that only says another wrong word does not lower it.
    recall : float
        Share of pictures with the object whose caption names it.
    kept : float
        Of the categories that captions named rightly before, this one apart: those still named.
    identical : float
        Share of all captions unchanged.
    """

    name: str
    n_neurons: int
    hallucinated: float
    chair: float
    recall: float
    kept: float
    identical: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return without_nan(asdict(self))


def trade_off(
    model: Any,
    interventions: Sequence[Any],
    concept: Any,
    absent: Sequence[Any],
    present: Sequence[Any],
    *,
    words: Sequence[str] | None = None,
    prompt: str | None = None,
    batch_size: int = 32,
) -> list[TradeOffPoint]:
    """Measure interventions against a word that is said although its object is not there.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    interventions : sequence of Intervention
        Such as ablations of growing sets, or edits of growing size.
    concept : str or Concept
        The word.
    absent, present : sequence of Scene
        Pictures without the object (of a kind where it is named nevertheless), and with it.
    words : sequence of str, optional
        All categories; by default those of the scenes and the concept's.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.

    Returns
    -------
    list of TradeOffPoint
        The model as it is first, then one for each intervention.
    """
    wanted = as_concept(concept)
    scenes = [*absent, *present]
    known = words or sorted({wanted.word, *(c for s in scenes for c in s.categories)})
    concepts = {word: as_concept(word) for word in known}

    def said(captions: Sequence[str]) -> list[set[str]]:
        return [{w for w, c in concepts.items() if c.named_in(caption)} for caption in captions]

    def false(scene: Any, named: set[str]) -> bool:
        return any(not any(concepts[w].named_in(c) for c in scene.categories) for w in named)

    def point(name: str, n_neurons: int, captions: list[str]) -> TradeOffPoint:
        named, now = [wanted.named_in(caption) for caption in captions], said(captions)
        right = [
            word in after
            for scene, old, after in zip(scenes, said(before), now, strict=True)
            for word in old
            if not wanted.named_in(word) and not false(scene, {word})
        ]
        return TradeOffPoint(
            name,
            n_neurons,
            _mean(named[: len(absent)]),
            _mean([false(s, words) for s, words in zip(absent, now, strict=False)]),
            _mean(named[len(absent) :]),
            _mean(right),
            _mean([a == b for a, b in zip(before, captions, strict=True)]),
        )

    with model.interventions.suspended():
        before = caption_all(model, scenes, prompt, batch_size)
        points = [point("none", 0, before)]
        for intervention in interventions:
            with intervention:
                captions = caption_all(model, scenes, prompt, batch_size)
            points.append(point(intervention.name, intervention.n_neurons, captions))
    return points


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")


def pairs_to_edit(words: Sequence[str], n: int = 16, *, seed: int = 0) -> list[tuple[str, str]]:
    """Draw pairs (source, target) of different words, every word once as source first.

    Examples
    --------
    >>> pairs = pairs_to_edit(["car", "bus", "boat"], 3)
    >>> sorted(source for source, _ in pairs), all(a != b for a, b in pairs)
    (['boat', 'bus', 'car'], True)
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < n:
        for place in draw.permutation(len(words)):
            others = [word for word in words if word != words[place]]
            pair = (words[place], str(draw.choice(others)))
            if pair not in pairs or len(pairs) >= len(words) * (len(words) - 1):
                pairs.append(pair)
    return pairs[:n]


@dataclass(frozen=True)
class EditStudy:
    """Swaps over many pairs of words.

    Attributes
    ----------
    reports : tuple of EditReport
        One for each pair, on scenes not used for choosing anything.
    alphas : tuple of float
        Sizes of the closed forms; empty for learned edits.
    """

    reports: tuple[EditReport, ...]
    alphas: tuple[float, ...] = ()

    def summary(self, *, n_boot: int = 2000, seed: int = 0) -> dict[str, dict[str, float | None]]:
        """Return the mean over pairs with a bootstrap interval, for every rate.

        Returns
        -------
        dict of str to dict
            ``{"success": {"mean": ..., "low": ..., "high": ..., "worst": ...}, ...}``; 95%
            intervals over pairs.
        """
        draw = np.random.default_rng(seed)
        made: dict[str, dict[str, float | None]] = {}
        for field in fields(EditReport):
            values = np.array([getattr(one, field.name) for one in self.reports], dtype=object)
            if not len(values) or not all(isinstance(value, float) for value in values):
                continue
            known = np.array([v for v in values if v == v], dtype=np.float64)
            if not known.size:
                continue
            means = known[draw.integers(known.size, size=(n_boot, known.size))].mean(axis=1)
            low, high = np.percentile(means, [2.5, 97.5])
            good_is_high = field.name in _HIGH_IS_GOOD
            made[field.name] = {
                "mean": float(known.mean()),
                "low": float(low),
                "high": float(high),
                "worst": float(known.min() if good_is_high else known.max()),
            }
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "summary": self.summary(),
            "pairs": [
                {k: v for k, v in one.to_dict().items() if k != "changed"} for one in self.reports
            ],
            "alphas": list(self.alphas),
        }


_HIGH_IS_GOOD = {"success", "gone", "locality", "kept_scene", "kept_other"}


def edit_study(
    model: Any,
    pairs: Sequence[tuple[str, str]],
    choose: Any,
    test: Any,
    *,
    method: str = "closed_form",
    top: int = 10,
    alpha: float | None = None,
    n_choose: int = 48,
    n_with: int = 40,
    n_without: int = 60,
    goal: Goal | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> EditStudy:
    """Swap words of many pairs, each by the two-stage neurons of its source, one after the other.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    pairs : sequence of (str, str)
        Source and target, such as `pairs_to_edit` draws.
    choose, test : SceneDataset
        Scenes for choosing neurons and sizes (or learning), and for the figures.
    method, top, alpha, goal, seed
        As in `edit`.
    n_choose : int
        Scenes with the source for choosing; half of them for the size or for learning, with as
        many without it.
    n_with, n_without : int
        Scenes with and without the source for the figures.
    progress, cancel : optional
        Told and asked at every pair.

    Returns
    -------
    EditStudy
    """
    reports: list[EditReport] = []
    alphas: list[float] = []
    evidence: dict[str, Any] = {}
    for number, (source, target) in enumerate(pairs):
        if cancel is not None:
            cancel.raise_if_cancelled()
        shown = choose.with_concept(source, n_choose)
        if source not in evidence:
            evidence[source] = collect(model, source, shown, cancel=cancel)
        neurons = two_stage(evidence[source], candidates=CANDIDATES, top=max(TOP, top))
        lessons = [*shown[: n_choose // 2], *choose.without_concept(source, n_choose)]
        made = edit(
            model,
            neurons,
            source,
            target,
            method=method,
            top=top,
            alpha=alpha,
            activation=evidence[source],
            scenes=lessons,
            goal=goal,
            seed=seed,
            cancel=cancel,
        )
        if method == "closed_form":
            alphas.append(float(made.provenance["arguments"]["alpha"]))
        scenes = [*test.with_concept(source, n_with), *test.without_concept(source, n_without)]
        reports.append(edit_report(made, source, target, scenes, words=test.categories))
        if progress is not None:
            progress(f"{source} > {target}", number + 1, len(pairs))
    return EditStudy(tuple(reports), tuple(alphas))


def hallucination_study(
    model: Any,
    concept: Any,
    learn: Sequence[Any],
    absent: Sequence[Any],
    present: Sequence[Any],
    *,
    sizes: Sequence[int] = (5, 10, 20, 40),
    goal: Goal | None = None,
    words: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> list[TradeOffPoint]:
    """Measure the trade-off curve of two cures: silencing the blamed neurons, and editing them.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    concept : str or Concept
        The word that is said although its object is not there.
    learn : sequence of Scene
        For choosing neurons and learning: some where it is said wrongly, some with the object,
        some others; with reference captions.
    absent, present : sequence of Scene
        For the figures: without the object (of the kind where it is said), and with it.
    sizes : sequence of int
        Numbers of neurons, one point of each curve for each.
    goal, seed
        As in `edit`.
    words : sequence of str, optional
        All categories, as in `trade_off`.
    progress, cancel : optional
        Told and asked at every size.

    Returns
    -------
    list of TradeOffPoint
        ``none``, then ``zero N`` and ``edit N`` for every size.
    """
    if not sizes or min(sizes) < 1:
        raise bad_argument("sizes", sizes, "numbers of neurons from 1")
    wanted = as_concept(concept)
    with model.interventions.suspended():
        wrong, instead, _ = corrections(model, wanted, learn)
        if not wrong:
            raise bad_argument(
                "learn",
                f"{len(learn)} scenes",
                f"some without {wanted.word!r} whose caption names it",
            )
        neurons = blame(model, wrong, instead, top=max(sizes))
    cures: list[Any] = []
    for number, size in enumerate(sizes):
        chosen = neurons.top(size)
        cures.append(ablate(model, chosen, name=f"zero {size}"))
        cures.append(
            reduce_hallucination(
                model,
                wanted,
                learn,
                neurons=chosen,
                goal=goal,
                seed=seed,
                name=f"edit {size}",
                cancel=cancel,
            )
        )
        if progress is not None:
            progress(f"curing {wanted.word}", number + 1, len(sizes))
    return trade_off(model, cures, wanted, absent, present, words=words)

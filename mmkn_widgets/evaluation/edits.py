"""What edits do on scenes they were not made from, one by one and in whole experiments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution import CANDIDATES, TOP, collect, random_like, two_stage
from ..core import (
    CancelToken,
    Concept,
    Progress,
    Vocabulary,
    as_concept,
    as_vocabulary,
    bad_argument,
)
from ..interventions import (
    EditReport,
    Goal,
    ablate,
    as_targets,
    blame,
    corrections,
    edit,
    reduce_hallucination,
)
from .captioning import Captioner
from .concept import kept_counts
from .text import words as words_of

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = [
    "EditStudy",
    "TradeOffPoint",
    "edit_report",
    "edit_study",
    "hallucination_cures",
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

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> made = edit(model, study.neurons(), "car", "boat", activation=study.evidence)
    >>> scenes = [*val.with_concept("car", 8)[4:], *val.without_concept("car", 4)]
    >>> report = edit_report(made, "car", "boat", scenes)
    >>> report.success, report.locality, report.n_neurons
    (1.0, 1.0, 10)
    """
    model = edit.model
    if not scenes:
        raise bad_argument("scenes", scenes, "scenes to measure on")
    old, new = as_concept(source), as_targets(target)
    writer = Captioner(model, prompt, batch_size=batch_size)
    if before is None:
        before = writer.before(scenes)
    with model.interventions.suspended(), edit:
        after = writer.now(scenes)
    known = words or sorted({category for scene in scenes for category in scene.categories})
    others = as_vocabulary(known).without(old)
    report = _count(list(before), after, old, new, others, edit.n_neurons)
    if hasattr(edit, "report"):
        edit.report = report
    return report


def _share(hits: int, of: int) -> float | None:
    return hits / of if of else None


def _count(
    before: list[str],
    after: list[str],
    source: Concept,
    targets: list[Concept],
    words: Vocabulary,
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
    twice = sum(any(target.count_in(text) > 1 for target in targets) for _, text in fresh)
    return EditReport(
        source=source.word,
        target=" | ".join(target.word for target in targets),
        success=_share(len(good), len(with_source)),
        gone=_share(len(gone), len(with_source)),
        locality=_share(sum(a == b for a, b in without), len(without)),
        kept_scene=_kept(with_source, words),
        kept_other=_kept(without, words),
        leaked=_share(sum(says(b) for _, b in new_to_it), len(new_to_it) if targets else 0),
        shortened=_share(sum(len(words_of(b)) < len(words_of(a)) for a, b in pairs), len(pairs)),
        repeated=_share(twice, len(fresh)),
        n_with=len(with_source),
        n_without=len(without),
        n_neurons=n_neurons,
        changed=tuple(pair for pair in pairs if pair[0] != pair[1]),
    )


def _kept(pairs: list[tuple[str, str]], words: Vocabulary) -> float | None:
    counts = kept_counts([a for a, _ in pairs], [b for _, b in pairs], words)
    return _share(sum(kept for kept, _ in counts), sum(named for _, named in counts))


@dataclass(frozen=True)
class TradeOffPoint:
    """One intervention's place on the trade-off curve.

    Attributes
    ----------
    name : str
        The intervention's; "none" for the model as it is.
    n_neurons : int
        Neurons that it touches.
    hallucinated : float or None
        Share of pictures without the object whose caption names it.
    chair : float or None
        Share of pictures without the object whose caption names any category that is not there
        (CHAIR_s): a cure that only says another wrong word does not lower it.
    recall : float or None
        Share of pictures with the object whose caption names it.
    kept : float or None
        Of the categories that captions named rightly before, this one apart: those still named.
    identical : float or None
        Share of all captions unchanged.

    A share of nothing is None.
    """

    name: str
    n_neurons: int
    hallucinated: float | None
    chair: float | None
    recall: float | None
    kept: float | None
    identical: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def trade_off(
    model: MultimodalModel,
    interventions: Sequence[Any],
    concept: Any,
    with_concept: Sequence[Any],
    without_concept: Sequence[Any],
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
    with_concept, without_concept : sequence of Scene
        Pictures with the object, and without it (of a kind where it is named nevertheless).
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

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> with_car, without_car = val.with_concept("car", 4), val.without_concept("car", 4)
    >>> neurons = mmkn.study(model, "car", with_car).neurons()
    >>> points = trade_off(model, [ablate(model, neurons)], "car", with_car, without_car)
    >>> [(point.name, point.n_neurons, point.recall) for point in points]
    [('none', 0, 1.0), ('zero', 59, 0.0)]
    """
    wanted = as_concept(concept)
    wrong = [s.id for s in without_concept if any(wanted.named_in(c) for c in s.categories)]
    if wrong:
        raise bad_argument("without_concept", wrong[:3], f"scenes without {wanted.word!r}")
    scenes = [*without_concept, *with_concept]
    known = words or sorted({wanted.word, *(c for s in scenes for c in s.categories)})
    concepts = {word: as_concept(word) for word in known}
    vocabulary = as_vocabulary(known)

    def said(captions: Sequence[str]) -> list[frozenset[str]]:
        return [vocabulary.named(caption) for caption in captions]

    def false(scene: Any, named: Collection[str]) -> bool:
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
            _mean(named[: len(without_concept)]),
            _mean([false(s, words) for s, words in zip(without_concept, now, strict=False)]),
            _mean(named[len(without_concept) :]),
            _mean(right),
            _mean([a == b for a, b in zip(before, captions, strict=True)]),
        )

    writer = Captioner(model, prompt, batch_size=batch_size)
    with model.interventions.suspended():
        before = writer.now(scenes)
        points = [point("none", 0, before)]
        for intervention in interventions:
            with intervention:
                captions = writer.now(scenes)
            points.append(point(intervention.name, intervention.n_neurons, captions))
    return points


def _mean(values: Sequence[bool]) -> float | None:
    return _share(sum(values), len(values))


def pairs_to_edit(words: Sequence[str], n: int = 16, *, seed: int = 0) -> list[tuple[str, str]]:
    """Draw pairs (source, target) of different words, every word once as source first.

    Parameters
    ----------
    words : sequence of str
        At least two.
    n : int
        How many pairs.
    seed : int
        Of the draw.

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

    Examples
    --------
    >>> EditStudy(()).to_dict()
    {'summary': {}, 'pairs': [], 'alphas': []}
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
            if field.type != "float | None":
                continue
            values = [getattr(one, field.name) for one in self.reports]
            known = np.array([value for value in values if value is not None], dtype=np.float64)
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
    model: MultimodalModel,
    pairs: Sequence[tuple[str, str]],
    scenes: Any,
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
    control: int | None = None,
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
    scenes, test : SceneDataset
        For choosing neurons and sizes (or learning), and for the figures.
    method, top, alpha, goal, seed
        As in `edit`.
    n_choose : int
        Scenes with the source for choosing; half of them for the size or for learning, with as
        many without it.
    n_with, n_without : int
        Scenes with and without the source for the figures.
    control : int, optional
        Edit as many random neurons of the same layers instead, drawn by this seed: what such an
        edit does to any neurons.
    progress, cancel : optional
        Told and asked at every pair.

    Returns
    -------
    EditStudy

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> val, test = (mmkn.datasets.pocket_world(split) for split in ("val", "test"))
    >>> few = {"n_choose": 4, "n_with": 2, "n_without": 2}
    >>> found = edit_study(model, [("car", "boat")], val, test, alpha=1.0, **few)
    >>> found.summary()["success"]["mean"]
    1.0
    """
    reports: list[EditReport] = []
    alphas: list[float] = []
    evidence: dict[str, Any] = {}
    for number, (source, target) in enumerate(pairs):
        if cancel is not None:
            cancel.raise_if_cancelled()
        shown = scenes.with_concept(source, n_choose)
        if source not in evidence:
            evidence[source] = collect(model, source, shown, cancel=cancel)
        neurons = two_stage(evidence[source], candidates=CANDIDATES, top=max(TOP, top))
        if control is not None:
            neurons = random_like(model, neurons.top(top), control)
        lessons = [*shown[: n_choose // 2], *scenes.without_concept(source, n_choose)]
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
        held = [*test.with_concept(source, n_with), *test.without_concept(source, n_without)]
        reports.append(edit_report(made, source, target, held, words=test.categories))
        if progress is not None:
            progress(f"{source} > {target}", number + 1, len(pairs))
    return EditStudy(tuple(reports), tuple(alphas))


def hallucination_cures(
    model: MultimodalModel,
    concept: Any,
    scenes: Sequence[Any],
    *,
    top: Sequence[int] = (5, 10, 20, 40),
    control: bool = False,
    goal: Goal | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> list[Any]:
    """Return two cures of each size: silencing the blamed neurons, and editing them.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    concept : str or Concept
        The word that is said although its object is not there.
    scenes : sequence of Scene
        For choosing neurons and learning: some where it is said wrongly, some with the object,
        some others; with reference captions.
    top : sequence of int
        Numbers of neurons.
    control : bool
        Also the same two of as many random neurons of the same layers.
    goal, seed
        As in `edit`; the seed draws the random neurons too.
    progress, cancel : optional
        Told and asked at every size.

    Returns
    -------
    list of Intervention
        Named ``zero N`` and ``edit N``, and ``random zero N`` and ``random edit N``; size by size.
        Measure them with `trade_off`.

    Raises
    ------
    BadArgument
        If no caption names the concept wrongly.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> sea = mmkn.datasets.pocket_world("val", 8, subset="hallucination").without_concept("bird")
    >>> scenes, goal = [*sea[:4], *val.with_concept("bird", 2)], Goal(steps=2)  # too few for a cure
    >>> [one.name for one in hallucination_cures(model, "bird", scenes, top=(5,), goal=goal)]
    ['zero 5', 'edit 5']
    """
    if not top or min(top) < 1:
        raise bad_argument("top", top, "numbers of neurons from 1")
    wanted = as_concept(concept)
    with model.interventions.suspended():
        wrong, instead, _ = corrections(model, wanted, scenes)
        if not wrong:
            raise bad_argument(
                "scenes",
                f"{len(scenes)} scenes",
                f"some without {wanted.word!r} whose caption names it",
            )
        neurons = blame(model, wrong, instead, top=max(top))
    cures: list[Any] = []
    for number, size in enumerate(top):
        sets = {"": neurons.top(size)}
        if control:
            sets["random "] = random_like(model, sets[""], seed)
        for kind, chosen in sets.items():
            cures.append(ablate(model, chosen, name=f"{kind}zero {size}"))
            cures.append(
                reduce_hallucination(
                    model,
                    wanted,
                    scenes,
                    neurons=chosen,
                    goal=goal,
                    seed=seed,
                    name=f"{kind}edit {size}",
                    cancel=cancel,
                )
            )
        if progress is not None:
            progress(f"curing {wanted.word}", number + 1, len(top))
    return cures


def hallucination_study(
    model: MultimodalModel,
    concept: Any,
    scenes: Sequence[Any],
    with_concept: Sequence[Any],
    without_concept: Sequence[Any],
    *,
    top: Sequence[int] = (5, 10, 20, 40),
    control: bool = False,
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
    scenes : sequence of Scene
        For choosing neurons and learning: some where it is said wrongly, some with the object,
        some others; with reference captions.
    with_concept, without_concept : sequence of Scene
        For the figures: with the object, and without it (of the kind where it is said).
    top : sequence of int
        Numbers of neurons, one point of each curve for each.
    control, goal, seed
        As in `hallucination_cures`.
    words : sequence of str, optional
        All categories, as in `trade_off`.
    progress, cancel : optional
        Told and asked at every size.

    Returns
    -------
    list of TradeOffPoint
        ``none``, then the cures of every size.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> sea = mmkn.datasets.pocket_world("val", 8, subset="hallucination").without_concept("bird")
    >>> birds, goal = val.with_concept("bird", 4), Goal(steps=2)  # too few for a cure
    >>> points = hallucination_study(
    ...     model, "bird", [*sea[:4], *birds[:2]], birds[2:], sea[4:], top=(5,), goal=goal
    ... )
    >>> [point.name for point in points]
    ['none', 'zero 5', 'edit 5']
    """
    cures = hallucination_cures(
        model,
        concept,
        scenes,
        top=top,
        control=control,
        goal=goal,
        seed=seed,
        progress=progress,
        cancel=cancel,
    )
    return trade_off(model, cures, concept, with_concept, without_concept, words=words)

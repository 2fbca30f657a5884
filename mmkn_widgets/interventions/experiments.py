"""The experiments of the papers with edits: many swaps, and the cure of a hallucination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._errors import bad_argument
from .._jobs import CancelToken, Progress
from ..attribution.concept import as_concept
from ..attribution.evidence import collect
from ..attribution.two_stage import two_stage
from .ablation import ablate
from .editing import edit
from .hallucination import blame, corrections, reduce_hallucination
from .learning import Goal
from .report import EditReport, edit_report
from .trade_off import TradeOffPoint, trade_off

__all__ = ["EditStudy", "edit_study", "hallucination_study"]


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
        neurons = two_stage(evidence[source], quantile_d=0.95, top=max(60, top))
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

"""The parts of an effect that are sums over captions: text metrics and confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .concept import kept_counts
from .naming import names
from .statistics import bootstrap_ci
from .text import bertscore, bleu, rouge_l

if TYPE_CHECKING:
    from ..datasets import Scene

__all__ = ["METRICS", "defined", "intervals", "text_metrics"]

METRICS = ("bleu", "rougeL", "bertscore")


def defined(value: float) -> float | None:
    """Return a figure, or None where it is NaN: JSON knows no NaN."""
    return None if math.isnan(value) else float(value)


def text_metrics(
    wanted: Sequence[str],
    scenes: Sequence[Scene],
    first: Sequence[str],
    then: Sequence[str],
    split: int,
    encoder: str | Path | None,
) -> dict[str, dict[str, Any]]:
    """Return each metric for scenes with and without the concept: before, after and between.

    Parameters
    ----------
    wanted : sequence of {"bleu", "rougeL", "bertscore"}
    scenes : sequence of Scene
        The first `split` show the concept.
    first, then : sequence of str
        Captions before and after.
    split : int
    encoder : str or path, optional
        Of BERTScore.
    """
    functions: dict[str, Callable[..., Any]] = {
        "bleu": bleu,
        "rougeL": rouge_l,
        "bertscore": lambda texts, refs: bertscore(texts, refs, encoder),
    }
    found: dict[str, dict[str, Any]] = {}
    for metric in wanted:
        measure = functions[metric]
        found[metric] = {}
        for side, part in (("with", slice(0, split)), ("without", slice(split, None))):
            references = [scene.captions for scene in scenes[part]]
            scores = {
                "before": measure(first[part], references),
                "after": measure(then[part], references),
                "between": measure(then[part], [[text] for text in first[part]]),
            }
            found[metric][side] = {when: defined(float(s)) for when, s in scores.items()}
        if metric == "bertscore":
            found[metric].update(encoder=scores["after"].encoder, layer=scores["after"].layer)
    return found


def intervals(
    first: Sequence[str],
    then: Sequence[str],
    split: int,
    same: slice,
    concept: Any,
    known: Any,
    seed: int,
) -> dict[str, tuple[float | None, float | None]]:
    """Return 95% bootstrap intervals over scenes of suppression, retention and identical captions.

    `same` are the captions that `identical` is about; the rest as for `text_metrics`.
    """
    gone = [
        float(not names(b, concept))
        for a, b in zip(first[:split], then[:split], strict=True)
        if names(a, concept)
    ]
    unchanged = [float(a == b) for a, b in zip(first[same], then[same], strict=True)]
    rows = {
        "suppression": np.asarray(gone),
        "retention_scene": np.asarray(kept_counts(first[:split], then[:split], known, concept)),
        "retention_other": np.asarray(kept_counts(first[split:], then[split:], known)),
        "identical": np.asarray(unchanged),
    }
    found = {name: bootstrap_ci(values, seed=seed) for name, values in rows.items()}
    return {name: (defined(low), defined(high)) for name, (low, high) in found.items()}

"""Predicted and measured change of the concept's score, as the page shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import MmknError
from ._ablation import Move, Snapshot

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["measured_state", "nothing_measured"]


def nothing_measured() -> dict[str, Any]:
    """Return the state of a model on which nothing was measured."""
    return {"predicted": None, "predicted_here": None, "measured": None, "unit": "", "why": ""}


def measured_state(study: StudyLike, now: Snapshot | Move | None, scene: int) -> dict[str, Any]:
    """Measure what is active on a scene.

    Parameters
    ----------
    study : StudyLike
    now : Snapshot, Move or None
        The own change; zeroed or scaled neurons have a prediction.
    scene : int

    Returns
    -------
    dict
        ``measured``: change of y at the predicting position of the scene (teacher-forced), with
        everything that is active; ``predicted_here``: to first order on the same scene;
        ``predicted``: mean over the study's scenes; ``unit`` of all three; ``why`` nothing could
        be measured.
    """
    found = nothing_measured()
    if not study.model.interventions.active:
        return found
    rows, indices, scale = np.zeros(0, int), np.zeros(0, int), 0.0
    if isinstance(now, Snapshot) and now.mode in ("zero", "scale"):
        ids = np.asarray(now.ids, np.int64)
        width = int(study.evidence["difference"].shape[1])
        rows, indices = ids // width, ids % width
        scale = now.scale if now.mode == "scale" else 0.0
        if "gradient_sum" in study.evidence:
            sums = study.evidence["gradient_sum"].values[rows, indices]
            found["predicted"] = (scale - 1.0) * float(np.nansum(sums, dtype=np.float64))
    try:
        change = study.measured_change(scene, rows, indices, scale)
    except MmknError as error:
        return {**found, "why": str(error)}
    return {
        **found,
        "measured": float(change.measured),
        "predicted_here": change.predicted,
        "unit": str(change.unit),
    }

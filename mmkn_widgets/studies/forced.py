"""One scene, teacher-forced up to where its caption names the concept: the score y there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution.predicting import Prediction, predictions

if TYPE_CHECKING:
    import torch

    from .study import Study

__all__ = ["Change", "measured_change", "predicting", "score"]


@dataclass(frozen=True)
class Change:
    """What happened to the concept's score on one scene.

    Attributes
    ----------
    before, after : float
        y in the unchanged model, and with what is active now.
    predicted : float or None
        To first order, for zeroing or scaling the given neurons: ``(scale - 1) sum_p g`` on this
        scene; None when no neurons were given.
    unit : str
        Of y: "nats" (log-probability) or "logits".
    """

    before: float
    after: float
    predicted: float | None
    unit: str

    @property
    def measured(self) -> float:
        """The change of y."""
        return self.after - self.before


def predicting(study: Study, scene: int) -> Prediction:
    """Return where a scene's caption names the concept, in the unchanged model.

    Raises
    ------
    BadArgument
        If the caption does not name it.
    """
    known = study._predicting
    if scene not in known:
        with study.model.interventions.suspended():
            found, _ = predictions(
                study.model,
                study.concept,
                [study.scenes[scene]],
                caption=study.options["caption"],
                prompt=study.options["prompt"],
            )
        known[scene] = found[0]
    return known[scene]


def score(study: Study, image: Any, place: Prediction, *, grad: bool = False) -> torch.Tensor:
    """Return y for a picture, teacher-forced to the predicting position; shape (1,)."""
    import torch

    model = study.model
    prepared = model.prepare([image], study.options["prompt"], continuation=[list(place.prefix)])
    logits = model.forward(prepared, logits_to_keep=1, grad=grad).logits[:, -1].float()
    with torch.set_grad_enabled(grad):
        values = logits if study.options["target"] == "logit" else torch.log_softmax(logits, -1)
        return values[:, place.token]


def measured_change(
    study: Study,
    scene: int,
    rows: Sequence[int] | np.ndarray = (),
    indices: Sequence[int] | np.ndarray = (),
    scale: float = 0.0,
) -> Change:
    """Measure what is active now on one scene, beside what the gradient predicts.

    Parameters
    ----------
    study : Study
    scene : int
    rows, indices : sequence of int, optional
        The neurons that are zeroed or scaled, for the prediction.
    scale : float
        Their factor; 0 for zeroing.

    Returns
    -------
    Change

    Raises
    ------
    BadArgument
        If the unchanged caption does not name the concept.
    """
    from ..activations.record import record

    model, image = study.model, study.scenes[scene].image
    place = predicting(study, scene)
    row, index = np.asarray(rows, int), np.asarray(indices, int)
    predicted = None
    with model.interventions.suspended():
        scope = record(model, rows=sorted(set(row.tolist())), gradients=True) if len(row) else None
        with scope or nullcontext() as seen:
            y = score(study, image, place, grad=scope is not None)
        if seen is not None:
            total = 0.0
            for site, gradient in seen.gradients(y).items():
                g = (gradient * seen.values[site].detach()).float()[0].sum(0)
                total += float(g[index[row == site]].sum())
            predicted = (scale - 1.0) * total
        before = float(y.detach())
    after = float(score(study, image, place).detach())
    unit = "logits" if study.options["target"] == "logit" else "nats"
    return Change(before, after, predicted, unit)

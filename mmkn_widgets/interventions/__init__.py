"""Change a model reversibly: silence neurons, transplant activations, disturb and edit weights."""

from __future__ import annotations

from .ablation import Ablation, ablate
from .base import ActivationIntervention, Intervention, WeightIntervention
from .events import StackEvent
from .patches import coverage, patch_mean
from .perturb import Perturbation, perturb
from .predicted import predicted_change, predicted_change_of, predicted_from_sum
from .rows import RowAblation, ablate_rows, caption_rows, repeat
from .stack import InterventionStack
from .transplant import Transplant, TransplantResult, transplant, transplant_object

__all__ = [
    "Ablation",
    "ActivationIntervention",
    "Intervention",
    "InterventionStack",
    "Perturbation",
    "RowAblation",
    "StackEvent",
    "Transplant",
    "TransplantResult",
    "WeightIntervention",
    "ablate",
    "ablate_rows",
    "caption_rows",
    "coverage",
    "patch_mean",
    "perturb",
    "predicted_change",
    "predicted_change_of",
    "predicted_from_sum",
    "repeat",
    "transplant",
    "transplant_object",
]

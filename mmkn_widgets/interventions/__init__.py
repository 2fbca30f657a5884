"""Change a model reversibly: silence neurons, transplant activations, disturb and edit weights."""

from __future__ import annotations

from .ablation import Ablation, ablate
from .base import ActivationIntervention, Intervention, WeightIntervention
from .editing import Edit, EditReport, edit, load_edit, save_edit
from .editing import as_targets as as_targets
from .editing import without_nan as without_nan
from .hallucination import blame, corrections, reduce_hallucination
from .learning import Goal
from .perturbation import Perturbation, perturb
from .rows import RowAblation, ablate_rows, caption_rows, repeat
from .stack import InterventionStack, StackEvent
from .stack import Standby as Standby
from .transplantation import (
    Transplant,
    TransplantResult,
    coverage,
    patch_mean,
    transplant,
    transplant_object,
    transplant_patches,
)
from .transplantation import first_words as first_words

__all__ = [
    "Ablation",
    "ActivationIntervention",
    "Edit",
    "EditReport",
    "Goal",
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
    "blame",
    "caption_rows",
    "corrections",
    "coverage",
    "edit",
    "load_edit",
    "patch_mean",
    "perturb",
    "reduce_hallucination",
    "repeat",
    "save_edit",
    "transplant",
    "transplant_object",
    "transplant_patches",
]

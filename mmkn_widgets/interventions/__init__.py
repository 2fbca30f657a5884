"""Change a model reversibly: silence neurons, transplant activations, disturb and edit weights."""

from __future__ import annotations

from .ablation import Ablation, ablate
from .base import ActivationIntervention as ActivationIntervention
from .base import Intervention
from .base import WeightIntervention as WeightIntervention
from .editing import Edit, EditReport, edit, load_edit, save_edit
from .editing import as_targets as as_targets
from .hallucination import blame as blame
from .hallucination import corrections as corrections
from .hallucination import reduce_hallucination
from .learning import Goal
from .masking import MaskGoal, learn_mask
from .perturbation import Perturbation, perturb
from .rows import RowAblation as RowAblation
from .rows import ablate_rows, caption_rows
from .rows import repeat as repeat
from .stack import InterventionStack
from .stack import StackEvent as StackEvent
from .stack import Standby as Standby
from .transplantation import (
    Transplant,
    TransplantResult,
    patch_mean,
    transplant,
    transplant_object,
    transplant_patches,
)
from .transplantation import coverage as coverage
from .transplantation import first_said as first_said

__all__ = [
    "Ablation",
    "Edit",
    "EditReport",
    "Goal",
    "Intervention",
    "InterventionStack",
    "MaskGoal",
    "Perturbation",
    "Transplant",
    "TransplantResult",
    "ablate",
    "ablate_rows",
    "caption_rows",
    "edit",
    "learn_mask",
    "load_edit",
    "patch_mean",
    "perturb",
    "reduce_hallucination",
    "save_edit",
    "transplant",
    "transplant_object",
    "transplant_patches",
]

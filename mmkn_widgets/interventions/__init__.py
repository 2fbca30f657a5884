"""Change a model reversibly: silence neurons, transplant activations, disturb and edit weights."""

from __future__ import annotations

from ..evaluation.edits import (
    EditReport,
    EditStudy,
    TradeOffPoint,
    edit_report,
    edit_study,
    hallucination_study,
    pairs_to_edit,
    trade_off,
)
from ..evaluation.transplants import TransplantReport, transplant_report
from .ablation import Ablation, ablate
from .base import ActivationIntervention, Intervention, WeightIntervention
from .editing import Edit, edit, load_edit, save_edit
from .hallucination import blame, corrections, reduce_hallucination
from .learning import Goal
from .perturbation import Perturbation, perturb
from .predicted import predicted_change, predicted_change_of, predicted_from_sum
from .rows import RowAblation, ablate_rows, caption_rows, repeat
from .stack import InterventionStack, StackEvent
from .transplantation import (
    Transplant,
    TransplantResult,
    coverage,
    patch_mean,
    transplant,
    transplant_object,
)

__all__ = [
    "Ablation",
    "ActivationIntervention",
    "Edit",
    "EditReport",
    "EditStudy",
    "Goal",
    "Intervention",
    "InterventionStack",
    "Perturbation",
    "RowAblation",
    "StackEvent",
    "TradeOffPoint",
    "Transplant",
    "TransplantReport",
    "TransplantResult",
    "WeightIntervention",
    "ablate",
    "ablate_rows",
    "blame",
    "caption_rows",
    "corrections",
    "coverage",
    "edit",
    "edit_report",
    "edit_study",
    "hallucination_study",
    "load_edit",
    "pairs_to_edit",
    "patch_mean",
    "perturb",
    "predicted_change",
    "predicted_change_of",
    "predicted_from_sum",
    "reduce_hallucination",
    "repeat",
    "save_edit",
    "trade_off",
    "transplant",
    "transplant_object",
    "transplant_report",
]

"""Change a model reversibly: silence neurons, transplant activations, disturb and edit weights."""

from __future__ import annotations

from .ablation import Ablation, ablate
from .base import ActivationIntervention, Intervention, WeightIntervention
from .editing import Edit, edit
from .events import StackEvent
from .experiments import EditStudy, edit_study, hallucination_study
from .hallucination import blame, corrections, reduce_hallucination
from .learning import Goal
from .patch import load_edit, save_edit
from .patches import coverage, patch_mean
from .perturbation import Perturbation, perturb
from .predicted import predicted_change, predicted_change_of, predicted_from_sum
from .report import EditReport, edit_report
from .rows import RowAblation, ablate_rows, caption_rows, repeat
from .stack import InterventionStack
from .trade_off import TradeOffPoint, pairs_to_edit, trade_off
from .transplant_report import TransplantReport, transplant_report
from .transplantation import Transplant, TransplantResult, transplant, transplant_object

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

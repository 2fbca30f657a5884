"""What an intervention does to captions, and whether neurons lie where their concept is."""

from ..core import Vocabulary, as_vocabulary, names
from .captioning import Captioner as Captioner
from .coco_words import coco_vocabulary
from .concept import chair, identical, retention, substitution, suppression
from .edits import (
    EditStudy,
    TradeOffPoint,
    edit_report,
    edit_study,
    hallucination_study,
    pairs_to_edit,
    trade_off,
)
from .effect import Effect, measure_effect
from .maps import heatmap_iou, pointing, upsample
from .properties import (
    causal_effect,
    cross_image_invariance,
    region_invariance,
    sensitivity,
    shuffle_patches,
    specificity,
)
from .statistics import bootstrap_ci, overlap_at_k, random_control, rank_correlation
from .text import BertScore, bertscore, bleu, rouge_l
from .transplants import TransplantReport, transplant_report

__all__ = [
    "BertScore",
    "EditStudy",
    "Effect",
    "TradeOffPoint",
    "TransplantReport",
    "Vocabulary",
    "as_vocabulary",
    "bertscore",
    "bleu",
    "bootstrap_ci",
    "causal_effect",
    "chair",
    "coco_vocabulary",
    "cross_image_invariance",
    "edit_report",
    "edit_study",
    "hallucination_study",
    "heatmap_iou",
    "identical",
    "measure_effect",
    "names",
    "overlap_at_k",
    "pairs_to_edit",
    "pointing",
    "random_control",
    "rank_correlation",
    "region_invariance",
    "retention",
    "rouge_l",
    "sensitivity",
    "shuffle_patches",
    "specificity",
    "substitution",
    "suppression",
    "trade_off",
    "transplant_report",
    "upsample",
]

"""What an intervention does to captions, and whether neurons lie where their concept is."""

from ..core import Vocabulary as Vocabulary
from ..core import as_vocabulary as as_vocabulary
from ..core import names, with_kinds
from .captioning import Captioner as Captioner
from .coco_words import coco_vocabulary
from .concept import chair, identical, retention, substitution, suppression
from .edits import (
    EditStudy,
    edit_report,
    edit_study,
    hallucination_cures,
    hallucination_study,
    trade_off,
)
from .edits import TradeOffPoint as TradeOffPoint
from .edits import pairs_to_edit as pairs_to_edit
from .effect import Effect, measure_effect
from .effect import known_words as known_words
from .maps import heatmap_iou, pointing
from .maps import upsample as upsample
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
    "TransplantReport",
    "bertscore",
    "bleu",
    "bootstrap_ci",
    "causal_effect",
    "chair",
    "coco_vocabulary",
    "cross_image_invariance",
    "edit_report",
    "edit_study",
    "hallucination_cures",
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
    "with_kinds",
]

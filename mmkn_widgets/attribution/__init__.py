"""Which neurons hold a concept: scores, thresholds, controls, neuron sets."""

from ..activations import Prediction as Prediction
from ..activations import find_word as find_word
from ..activations import predictions as predictions
from ..core import Concept as Concept
from ..core import Neuron as Neuron
from ..core import NeuronSet as NeuronSet
from ..core import as_concept as as_concept
from ..core import inflect as inflect
from ..core import top_neurons
from .contrast import CONTRASTS as CONTRASTS
from .contrast import contrast, served
from .controls import random_like, random_uniform
from .direct import through as through
from .direct import unaccounted as unaccounted
from .evidence import collect
from .evidence import has_scene_mask as has_scene_mask
from .evidence import predicted_from_sum as predicted_from_sum
from .evidence import scene_mask as scene_mask
from .integrated import integrated_gradients
from .methods import METHODS, score
from .nouns import Mention as Mention
from .nouns import mentions as mentions
from .nouns import nouns
from .ranges import activation_ranges
from .scoring import SCORES as SCORES
from .star import attribution_patching_star
from .thresholds import automatic_thresholds, otsu, permutation_threshold, quantile_threshold
from .thresholds import share_below as share_below
from .two_stage import CANDIDATES as CANDIDATES
from .two_stage import TOP as TOP
from .two_stage import best_by_both as best_by_both
from .two_stage import default_thresholds as default_thresholds
from .two_stage import nothing_to_find as nothing_to_find
from .two_stage import passes as passes
from .two_stage import two_stage

__all__ = [
    "METHODS",
    "activation_ranges",
    "attribution_patching_star",
    "automatic_thresholds",
    "collect",
    "contrast",
    "integrated_gradients",
    "nouns",
    "otsu",
    "permutation_threshold",
    "quantile_threshold",
    "random_like",
    "random_uniform",
    "score",
    "served",
    "top_neurons",
    "two_stage",
]

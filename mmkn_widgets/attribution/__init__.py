"""Which neurons hold a concept: scores, thresholds, controls, neuron sets."""

from ..activations import Prediction, find_word, predictions
from ..core import Concept, Neuron, NeuronSet, as_concept, inflect, top_neurons
from .controls import random_like, random_uniform
from .evidence import collect, predicted_from_sum, scene_mask
from .integrated import integrated_gradients
from .methods import METHODS, score
from .nouns import Mention, mentions, nouns
from .thresholds import automatic_thresholds, otsu, permutation_threshold, quantile_threshold
from .thresholds import share_below as share_below
from .two_stage import CANDIDATES as CANDIDATES
from .two_stage import TOP as TOP
from .two_stage import best_by_both as best_by_both
from .two_stage import default_thresholds as default_thresholds
from .two_stage import passes, two_stage

__all__ = [
    "METHODS",
    "Concept",
    "Mention",
    "Neuron",
    "NeuronSet",
    "Prediction",
    "as_concept",
    "automatic_thresholds",
    "collect",
    "find_word",
    "inflect",
    "integrated_gradients",
    "mentions",
    "nouns",
    "otsu",
    "passes",
    "predicted_from_sum",
    "permutation_threshold",
    "predictions",
    "quantile_threshold",
    "random_like",
    "random_uniform",
    "scene_mask",
    "score",
    "top_neurons",
    "two_stage",
]

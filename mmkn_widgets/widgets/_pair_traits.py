"""Every trait of two concepts side by side; `a_` and `b_` before a name say whose it is."""

from __future__ import annotations

from . import _kinds as k
from .traits import NOTHING_ACTIVE, StatusTraits

__all__ = ["PARTS", "SIDES", "PairTraits"]

SIDES = ("a", "b")
#: neurons of the first concept alone, of both, of the second alone
PARTS = ("a", "shared", "b")

_NO_GRID = {"rows": 0, "cols": 0, "extent": [0, 0, 1, 1], "approximate": False, "reason": ""}
_D, _G = "float32 (layer, neuron): stage 1", "float32 (layer, neuron): stage 2"


class PairTraits(StatusTraits):
    """What both concepts share, and what each has of its own."""

    shape = k.json([0, 0], "rows and columns of the arrays: (layer, neuron)")
    rows = k.json([], "layer and expert (-1: dense) of each row")
    facts = k.json({}, "model, layers, neurons, device, scenes, seconds, inpainter")
    map_ids = k.data("int32: flat ids of the prefetched neurons, best first")
    words = k.json([], "words of the first prefetched neurons, in their order")
    part = k.text("shared", "which neurons are on the pictures: a, shared or b")
    selected = k.integer(-1, "flat id of the chosen neuron, -1 for none")
    opacity = k.number(0.6, "of the overlay's largest value")
    colormap = k.text("inferno", "inferno, viridis, cividis or greys")
    signed = k.boolean(False, "maps times the sign of the neuron's mean activation")
    ablation = k.json(NOTHING_ACTIVE, "active interventions, undo and redo")
    part_effects = k.json([], "part, neurons, and suppression (value, random) of a and of b")
    setup_code = k.text("", "Python lines that make `study_a` and `study_b`")

    a_concept = k.text("", "the first concept's word")
    a_concept_forms = k.json([], "its forms")
    a_labels = k.json({}, "what its axes mean")
    a_difference = k.data(_D)
    a_gradcam = k.data(_G)
    a_mode = k.text("absolute", "absolute or quantile thresholds")
    a_threshold_d = k.number(0.0, "stage 1 keeps what is greater, compared in float32")
    a_threshold_g = k.number(0.0, "stage 2 keeps what is greater, compared in float32")
    a_quantile_d = k.number(0.95, "stage 1 in mode quantile")
    a_quantile_g = k.number(0.95, "stage 2 in mode quantile")
    a_scene = k.integer(0, "which of its scenes is shown")
    a_scenes = k.json([], "name, caption before and after of each scene")
    a_thumbnails = k.json([], "a small picture of each scene")
    a_picture = k.data("the picture, PNG or JPEG")
    a_grid = k.json(_NO_GRID, "the token grid on the picture")
    a_maps = k.data("uint8 (prefetched neuron, row, column)")
    a_map_scale = k.data("float32 (prefetched neuron)")
    a_map_offset = k.data("float32 (prefetched neuron): value = offset + scale * byte")
    a_map_sign = k.data("int8 (prefetched neuron): sign at the predicting position")
    a_caption_before = k.text("", "greedy, of the unchanged model")
    a_caption_after = k.text("", "greedy, with what is active; empty when nothing is")
    a_caption_random = k.text("", "greedy, with as many random neurons of the same layers off")

    b_concept = k.text("", "the second concept's word")
    b_concept_forms = k.json([], "its forms")
    b_labels = k.json({}, "what its axes mean")
    b_difference = k.data(_D)
    b_gradcam = k.data(_G)
    b_mode = k.text("absolute", "absolute or quantile thresholds")
    b_threshold_d = k.number(0.0, "stage 1 keeps what is greater, compared in float32")
    b_threshold_g = k.number(0.0, "stage 2 keeps what is greater, compared in float32")
    b_quantile_d = k.number(0.95, "stage 1 in mode quantile")
    b_quantile_g = k.number(0.95, "stage 2 in mode quantile")
    b_scene = k.integer(0, "which of its scenes is shown")
    b_scenes = k.json([], "name, caption before and after of each scene")
    b_thumbnails = k.json([], "a small picture of each scene")
    b_picture = k.data("the picture, PNG or JPEG")
    b_grid = k.json(_NO_GRID, "the token grid on the picture")
    b_maps = k.data("uint8 (prefetched neuron, row, column)")
    b_map_scale = k.data("float32 (prefetched neuron)")
    b_map_offset = k.data("float32 (prefetched neuron): value = offset + scale * byte")
    b_map_sign = k.data("int8 (prefetched neuron): sign at the predicting position")
    b_caption_before = k.text("", "greedy, of the unchanged model")
    b_caption_after = k.text("", "greedy, with what is active; empty when nothing is")
    b_caption_random = k.text("", "greedy, with as many random neurons of the same layers off")

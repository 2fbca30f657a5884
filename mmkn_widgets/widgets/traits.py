"""Every trait on the wire, by the part that declares it (js/src/core/traits.ts has the same)."""

from __future__ import annotations

from typing import Any

import traitlets as t

from . import _kinds as k

__all__ = [
    "AblationTraits",
    "CaptionTraits",
    "EvidenceTraits",
    "ExplorerTraits",
    "MaskTraits",
    "ObjectTraits",
    "PictureTraits",
    "SceneTraits",
    "StatusTraits",
    "TokenTraits",
    "WordTraits",
]

READY: dict[str, Any] = {
    "state": "ready",
    "stage": "",
    "done": 0,
    "total": 0,
    "seconds_left": None,
    "message": "",
    "remedy": "",
}


NOTHING_ACTIVE: dict[str, Any] = {
    "active": [],
    "can_undo": False,
    "can_redo": False,
    "predicted": None,
    "predicted_here": None,
    "measured": None,
    "unit": "",
    "why": "",
}


class StatusTraits(t.HasTraits):
    """What a widget is doing, and what went wrong."""

    status = k.json(READY, "state, stage, done, total, seconds_left, message, remedy")
    read_only = k.boolean(False, "a saved view without a kernel")


class EvidenceTraits(t.HasTraits):
    """The reduced scores of every neuron and the thresholds that choose among them."""

    shape = k.json([0, 0], "rows and columns of the arrays: (layer, neuron)")
    rows = k.json([], "layer and expert (-1: dense) of each row")
    labels = k.json({}, "what the axes mean: difference, gradcam, activation, score")
    difference = k.data("float32 (layer, neuron): stage 1")
    gradcam = k.data("float32 (layer, neuron): stage 2")
    gradient_sum = k.data("float32 (layer, neuron): sum over positions of O dy/dO")
    mode = k.text("absolute", "absolute or quantile thresholds")
    threshold_d = k.number(0.0, "stage 1 keeps what is greater, compared in float32")
    threshold_g = k.number(0.0, "stage 2 keeps what is greater, compared in float32")
    quantile_d = k.number(0.95, "stage 1 in mode quantile")
    quantile_g = k.number(0.95, "stage 2 in mode quantile")
    unchecked = k.json([], "flat ids (row * columns + index) of neurons unchecked by hand")
    rows_off = k.json([], "rows switched off")
    axis = k.text("", "linear, log, or empty: what suits")
    marks = k.json([], "measured points of the threshold search")
    selected = k.integer(-1, "flat id of the chosen neuron, -1 for none")


class WordTraits(t.HasTraits):
    """The words that the prefetched neurons write."""

    map_ids = k.data("int32: flat ids of the prefetched neurons, best first")
    words = k.json([], "words of the first prefetched neurons, in their order")
    concept_forms = k.json([], "the forms of the concept's word")


class PictureTraits(t.HasTraits):
    """The picture, its inpainted twin and the maps that lie on it."""

    picture = k.data("the picture, PNG or JPEG")
    inpainted = k.data("the picture without the object, PNG or JPEG")
    grid = k.json(
        {"rows": 0, "cols": 0, "extent": [0, 0, 1, 1], "approximate": False, "reason": ""},
        "the token grid on the picture",
    )
    overlay = k.text("kept", "kept, neuron, difference, gradcam or none")
    opacity = k.number(0.6, "of the overlay's largest value")
    colormap = k.text("inferno", "inferno, viridis, cividis or greys")
    smooth = k.boolean(True, "bilinear samples instead of patches")
    signed = k.boolean(False, "maps times the sign of the neuron's mean activation")
    above_percentile = k.boolean(False, "only what is above the map's 95th percentile")
    maps = k.data("uint8 (prefetched neuron, row, column)")
    map_scale = k.data("float32 (prefetched neuron)")
    map_offset = k.data("float32 (prefetched neuron): value = offset + scale * byte")
    map_sign = k.data("int8 (prefetched neuron): sign at the predicting position")
    difference_map = k.data("float32 (row, column): stage 1, mean over the kept, or empty")
    gradcam_map = k.data("float32 (row, column): stage 2, sum over the kept, or empty")
    patch_words = k.json([], "words that the logit lens reads at each patch")


class CaptionTraits(t.HasTraits):
    """The caption before and after, and what was measured."""

    concept = k.text("", "the word looked for")
    caption_before = k.text("", "greedy, of the unchanged model")
    caption_after = k.text("", "greedy, with what is active; empty when nothing is")
    references = k.json([], "reference captions")
    transplanted = k.json(
        None, "object, word, index, said, success, layers of the transplant in caption_after"
    )
    transplants = k.boolean(False, "whether words take an object or patches of the picture")
    effect = k.json(None, "measures by name (value, random), neurons, scenes, held_out")


class TokenTraits(t.HasTraits):
    """The sequence and one value per token."""

    tokens = k.json([], "text, role and step of each token")
    token_values = k.data("float32 (token), or empty")
    token_label = k.text("", "what the values are")


class ObjectTraits(t.HasTraits):
    """The data set's objects on the picture."""

    mask_shape = k.json([0, 0], "rows and columns of the mask")
    objects = k.json([], "name and area (share) of the data set's objects")
    object_masks = k.json([], "uint8 mask of each object, in the mask's shape")


class MaskTraits(ObjectTraits):
    """The mask of what is painted away."""

    mask = k.data("uint8 (row, column): above 0 is masked")


class AblationTraits(t.HasTraits):
    """What is active on the model."""

    ablation = k.json(
        NOTHING_ACTIVE,
        "active interventions, undo and redo, predicted and measured change and their unit",
    )
    ablate_mode = k.text("zero", "zero, mean, scale or from_inpainted")
    ablate_scale = k.number(0.0, "the factor of mode scale")


class SceneTraits(t.HasTraits):
    """The study's scenes."""

    scene = k.integer(0, "which scene is shown")
    scenes = k.json([], "name, caption before and after of each scene")
    thumbnails = k.json([], "a small picture of each scene, PNG or JPEG bytes")
    stale = k.json([], "scenes whose mask was painted anew since the scores were computed")
    uploads = k.boolean(False, "whether the page may bring a picture of one's own")


class ExplorerTraits(
    StatusTraits,
    EvidenceTraits,
    WordTraits,
    PictureTraits,
    CaptionTraits,
    TokenTraits,
    MaskTraits,
    AblationTraits,
    SceneTraits,
):
    """All of it."""

    facts = k.json({}, "model, layers, neurons, device, scenes, seconds, inpainter")
    concepts = k.json([], "words to offer")
    concept_tokens = k.json([], "the concept's tokens in this tokenizer")
    preset = k.text("full", "compact, teaching or full")
    setup_code = k.text("", "Python lines that make `study`")

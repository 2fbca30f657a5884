"""Widgets: the Explorer and its parts (anywidget), bqplot charts, plain controls."""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "AblationPanel": "ablation_panel",
    "CaptionDiff": "caption_diff",
    "ConceptPair": "concept_pair",
    "MaskPainter": "mask_painter",
    "NeuronTable": "neuron_table",
    "PatchHeatmap": "patch_heatmap",
    "StoreExplorer": "store_explorer",
    "ThresholdPlane": "threshold_plane",
    "TokenStrip": "token_strip",
    "Explorer": "explorer",
    "FrontierChart": "charts",
    "LayerChart": "charts",
    "MethodChart": "charts",
    "ScoreHistogram": "charts",
    "compare": "concept_pair",
    "threshold_controls": "controls",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

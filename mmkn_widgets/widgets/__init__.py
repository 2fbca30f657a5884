"""Widgets: the Explorer and its parts (anywidget), bqplot charts, plain controls."""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "AblationPanel": "parts",
    "CaptionDiff": "parts",
    "ConceptPair": "concept_pair",
    "MaskPainter": "parts",
    "NeuronTable": "parts",
    "PatchHeatmap": "parts",
    "StoreExplorer": "store_explorer",
    "ThresholdPlane": "parts",
    "TokenStrip": "parts",
    "Explorer": "explorer",
    "FrontierChart": "charts",
    "LayerChart": "charts",
    "MethodChart": "charts",
    "ScoreHistogram": "charts",
    "compare": "concept_pair",
    "open_explorer": "explorer",
    "threshold_controls": "charts",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

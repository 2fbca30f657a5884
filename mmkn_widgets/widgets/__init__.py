"""Widgets: the Explorer and its parts (anywidget), bqplot charts, plain controls."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors: what __getattr__ below gives
    from .challenge import ChallengeBox as ChallengeBox
    from .charts import FrontierChart as FrontierChart
    from .charts import LayerChart as LayerChart
    from .charts import MethodChart as MethodChart
    from .charts import ScoreHistogram as ScoreHistogram
    from .charts import threshold_controls as threshold_controls
    from .concept_pair import ConceptPair as ConceptPair
    from .concept_pair import compare as compare
    from .explorer import Explorer as Explorer
    from .explorer import open_explorer as open_explorer
    from .parts import AblationPanel as AblationPanel
    from .parts import CaptionDiff as CaptionDiff
    from .parts import MaskPainter as MaskPainter
    from .parts import NeuronTable as NeuronTable
    from .parts import PatchHeatmap as PatchHeatmap
    from .parts import ThresholdPlane as ThresholdPlane
    from .parts import TokenStrip as TokenStrip
    from .store_explorer import StoreExplorer as StoreExplorer

_MODULE_OF = {
    "AblationPanel": "parts",
    "CaptionDiff": "parts",
    "ChallengeBox": "challenge",
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


if not TYPE_CHECKING:  # a type checker that saw this would take every name for there

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

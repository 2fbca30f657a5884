"""Widgets: the Explorer and its parts (anywidget), bqplot charts, plain controls."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors: what __getattr__ below gives
    from .ablation_panel import AblationPanel as AblationPanel
    from .caption_diff import CaptionDiff as CaptionDiff
    from .charts import FrontierChart as FrontierChart
    from .charts import LayerChart as LayerChart
    from .charts import MethodChart as MethodChart
    from .charts import ScoreHistogram as ScoreHistogram
    from .concept_pair import ConceptPair as ConceptPair
    from .concept_pair import compare as compare
    from .controls import threshold_controls as threshold_controls
    from .explorer import Explorer as Explorer
    from .mask_painter import MaskPainter as MaskPainter
    from .neuron_table import NeuronTable as NeuronTable
    from .patch_heatmap import PatchHeatmap as PatchHeatmap
    from .store_explorer import StoreExplorer as StoreExplorer
    from .threshold_plane import ThresholdPlane as ThresholdPlane
    from .token_strip import TokenStrip as TokenStrip

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


if not TYPE_CHECKING:  # a type checker that saw this would take every name for there

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

"""The bqplot charts: what they count, and what they tell each other, without a browser."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import traitlets
import xarray as xr

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets.charts import (
    FrontierChart,
    LayerChart,
    MethodChart,
    ScoreHistogram,
    threshold_controls,
)


@pytest.fixture
def evidence() -> xr.Dataset:
    rng = np.random.default_rng(0)
    draw = {
        name: (("layer", "neuron"), rng.gamma(1.0, 1.0, (4, 50)).astype(np.float32))
        for name in ("difference", "gradcam")
    }
    return xr.Dataset(draw)


def test_layer_chart_counts_what_passes(evidence: xr.Dataset) -> None:
    chart = LayerChart(evidence, 1.0, 0.5)
    kept = (evidence["difference"].values > 1.0) & (evidence["gradcam"].values > 0.5)
    assert chart.counts == kept.sum(1).tolist()
    chart.threshold_d = 99.0
    assert chart.counts == [0, 0, 0, 0]
    assert chart.children[0].marks[0].y.tolist() == [0, 0, 0, 0]


def test_brush_moves_the_linked_layer_chart(evidence: xr.Dataset) -> None:
    histogram = ScoreHistogram(evidence, "gradcam")
    chart = LayerChart(evidence)
    traitlets.link((histogram, "threshold_g"), (chart, "threshold_g"))
    histogram.children[0].interaction.selected = np.array([1.5, 3.0])
    assert histogram.threshold == histogram.threshold_g == chart.threshold_g == 1.5
    assert histogram.threshold_d == 0.0
    chart.threshold_g = 0.25
    assert histogram.children[0].interaction.selected[0] == 0.25


def test_a_click_on_the_frontier_takes_its_thresholds() -> None:
    points = xr.Dataset(
        {
            "threshold_d": ("setting", [0.1, 0.2]),
            "threshold_g": ("setting", [0.3, 0.4]),
            "suppression": ("setting", [0.9, 0.5]),
            "retention": ("setting", [0.97, 0.99]),
        }
    )
    search = SimpleNamespace(
        points=points, best=0, minimum_retention=0.97, frontier=np.array([1, 0])
    )
    chart = FrontierChart(search)
    assert (chart.threshold_d, chart.threshold_g) == (0.1, 0.3)
    chart.children[0].marks[-1].selected = [1]
    assert (chart.threshold_d, chart.threshold_g, chart.selected) == (0.2, 0.4, 1)


def test_method_chart_takes_the_smaller_retention() -> None:
    part = {"mean": 0.9}
    chart = MethodChart(
        {"two_stage": {"suppression": part, "retention": {"scene": {"mean": 0.8}, "other": part}}}
    )
    assert chart.children[0].marks[0].y.ravel().tolist() == [0.9, 0.8]
    with pytest.raises(BadArgument, match="at least one method"):
        MethodChart({})


def test_controls_span_the_scores(evidence: xr.Dataset) -> None:
    sliders = threshold_controls(evidence)
    assert sliders["threshold_d"].max == pytest.approx(float(evidence["difference"].max()))
    assert sliders["threshold_g"].value == pytest.approx(
        float(np.quantile(evidence["gradcam"].values, 0.95)), rel=1e-6
    )


def test_wrong_arguments_are_named(evidence: xr.Dataset) -> None:
    with pytest.raises(BadArgument, match="variable"):
        ScoreHistogram(evidence, "activation")
    with pytest.raises(BadArgument, match="study"):
        LayerChart(xr.Dataset())

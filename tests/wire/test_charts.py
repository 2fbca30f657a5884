"""The bqplot charts: what they count, and what they tell each other, without a browser."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import traitlets
import xarray as xr
from PIL import Image

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets.charts import (
    FrontierChart,
    LayerChart,
    MethodChart,
    ScoreHistogram,
    nice_ticks,
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
    click(chart, 1)
    assert (chart.threshold_d, chart.threshold_g, chart.selected) == (0.2, 0.4, 1)
    with pytest.raises(BadArgument, match="selected"):
        chart.selected = 2


def click(chart: FrontierChart, dot: int) -> None:
    content = {"event": "element_click", "data": {"index": dot}}
    chart.children[0].marks[-1]._handle_custom_msgs(None, content, [])


def search_of(places: list[tuple[float, float]], neurons: list[int]) -> SimpleNamespace:
    """Return a search that measured (retention, suppression) with so many neurons."""
    kept, gone = np.asarray(places, float).T
    data = {"suppression": gone, "retention": kept, "neurons": np.asarray(neurons)}
    data |= {f"threshold_{k}": np.arange(len(kept)) / 10 for k in "dg"}
    points = xr.Dataset({name: ("setting", values) for name, values in data.items()})
    order = np.lexsort((-gone, -kept))
    best = [k for n, k in enumerate(order) if all(gone[k] > gone[j] for j in order[:n])]
    return SimpleNamespace(points=points, best=0, minimum_retention=0.925, frontier=np.array(best))


def test_the_frontier_is_the_outline_of_what_was_reached() -> None:
    places = [(0.99, 0.4), (0.95, 0.8), (0.9, 0.95), (0.9, 0.6), (0.85, 0.7)]
    chart = FrontierChart(search_of(places, [3, 8, 15, 30, 60]))
    _, line, dots = chart.children[0].marks
    corners = list(zip(line.x.tolist(), line.y.tolist(), strict=True))
    assert corners == [
        (0.99, 0.0),
        *((0.99, 0.4), (0.95, 0.4)),
        *((0.95, 0.8), (0.9, 0.8)),
        *((0.9, 0.95), (0.8, 0.95)),
    ]
    colors = dict(zip(zip(dots.x.tolist(), dots.y.tolist(), strict=True), dots.colors, strict=True))
    assert len(set(colors.values())) == 2
    assert colors[0.99, 0.4] == colors[0.95, 0.8] == colors[0.9, 0.95] != colors[0.9, 0.6]
    ticks = chart.children[0].axes[0]
    assert all(float(label) == float(value) for value, label in ticks.tick_labels.items())
    assert {0.85, 0.9, 0.95} <= set(ticks.tick_values.tolist())


def test_pairs_that_came_out_alike_are_one_dot_and_a_click_goes_through_them() -> None:
    """On the pocket model many thresholds reach (1, 1): they hid each other."""
    chart = FrontierChart(search_of([(1, 0), (1, 1), (1, 1), (1, 1)], [3, 30, 8, 15]))
    *_, line, dots = chart.children[0].marks
    assert len(dots.x) == 2
    assert dots.names.tolist() == ["", "×3"]
    assert len(set(zip(line.x.tolist(), line.y.tolist(), strict=True))) >= 3  # it has an extent
    seen = []
    for _ in range(4):
        click(chart, 1)
        seen.append(chart.selected)
    assert seen == [2, 3, 1, 2]  # the fewest neurons first
    assert "1 of 3 here" in chart._words
    assert dots.selected.tolist() == [1]


@pytest.mark.parametrize(
    ("low", "high", "whole"),
    [
        *((0.9, 1.0, False), (0.0, 0.925, False), (-3.2, 41.0, False), (0, 1, True), (0, 7, True)),
        *((0, 12_345, True), (1e-4, 9e-4, False), (0.81, 0.86, False)),
    ],
)
def test_ticks_are_what_they_say(low: float, high: float, whole: bool) -> None:
    made = nice_ticks(low, high, whole=whole)
    assert 2 <= len(made.values) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in made.values)
    assert [float(label.replace("−", "-")) for label in made.labels] == list(made.values)
    if whole:
        assert all(float(value).is_integer() for value in made.values)


def test_counts_have_no_ticks_below_nothing(evidence: xr.Dataset) -> None:
    chart = LayerChart(evidence, 99.0, 99.0)
    figure = chart.children[0]
    assert figure.axes[1].tick_labels == {"0": "0", "1": "1"}
    assert (figure.axes[1].scale.min, figure.axes[1].scale.max) == (0.0, 1.0)
    chart.threshold_d = chart.threshold_g = 0.0
    labels = figure.axes[1].tick_labels
    assert list(labels.values()) == ["0", "10", "20", "30", "40", "50"]
    assert figure.axes[1].scale.max == 50
    counts = ScoreHistogram(evidence).children[0].axes[1].tick_labels
    assert list(counts.values())[:3] == ["0", "1", "10"]


def test_layers_have_their_own_names() -> None:
    scores = (("layer", "neuron"), np.ones((3, 2), np.float32))
    rows = {"layer": [4, 7, 7], "expert": ("layer", [-1, 0, 1])}
    chart = LayerChart(xr.Dataset({"difference": scores, "gradcam": scores}, rows))
    assert list(chart.children[0].marks[0].x) == ["4", "7·E0", "7·E1"]
    assert chart.counts == [2, 2, 2]


def test_every_chart_leaves_a_picture_and_words(evidence: xr.Dataset) -> None:
    kept = {"scene": {"mean": 0.99}, "other": {"mean": 0.98}}
    charts = [
        LayerChart(evidence, 1.0, 0.5),
        ScoreHistogram(evidence, "gradcam"),
        FrontierChart(search_of([(0.99, 0.4), (0.95, 0.8)], [3, 8])),
        MethodChart({"two_stage": {"suppression": {"mean": 0.9}, "retention": kept}}),
    ]
    for chart in charts:
        bundle = chart._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L")
        dark = np.asarray(picture) < 128
        assert picture.width > 600
        assert 0.002 < dark.mean() < 0.8
        assert chart._title in bundle["text/plain"]
        kind, page = chart._display_()._mime_()
        assert kind == "text/html"
        assert "<img" in page
        assert "alt=" in page
    before = charts[0].picture()
    charts[0].threshold_d = 2.0
    assert charts[0].picture() != before


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

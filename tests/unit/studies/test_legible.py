"""Every plot can be read: no text is cut or lies on another, at any width and of odd inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import evaluation
from mmkn_widgets.core import Concept, counted, points_of, shortened, wrapped
from mmkn_widgets.datasets import Scene
from mmkn_widgets.studies import MaskTrust, measure_frontier, plot_compared
from mmkn_widgets.studies.tables import _figure as tables_figure

LONG = "a dining table with four chairs and a lamp above it"
COLUMN = 3.3  # inches, of a paper in two columns


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val() -> Any:
    return mmkn.datasets.pocket_world("val", 160)


@pytest.fixture(scope="module")
def study(model: Any, val: Any) -> Any:
    return mmkn.study(model, "car", val.with_concept("car", 3))


@pytest.fixture(scope="module")
def bus(model: Any, val: Any) -> Any:
    return mmkn.study(model, "bus", val.with_concept("bus", 2))


@pytest.fixture(scope="module")
def scenes() -> tuple[Any, Any]:
    test = mmkn.datasets.pocket_world("test", 120)
    return test.with_concept("car", 4), test.without_concept("car", 4)


@pytest.fixture(scope="module")
def doses(study: Any, scenes: Any) -> Any:
    counts = (1, 2, 5, 10, 12, 15, 20, 25, 30)  # closer than their numbers are wide
    return study.doses(*scenes, counts=counts, n_random=2)


@pytest.fixture(scope="module")
def effect(study: Any, scenes: Any) -> Any:
    return study.evaluate(study.neurons(), *scenes, n_random=2)


@pytest.fixture(scope="module")
def frontier(study: Any, scenes: Any) -> Any:
    neurons = study.neurons()
    ten = {
        f"method number {k}": [neurons.take(range(k, k + n)) for n in (3, 30)] for k in range(10)
    }
    return measure_frontier(study, *scenes, methods=ten, n_random=1)


def named(study: Any, word: str) -> Any:
    """Return the study under another name."""
    return study.__class__(
        study.model, Concept(word, synonyms=["car"]), study.scenes, study.evidence,
        pairs=study._pairs, options=study.options,
    )  # fmt: skip


def shown(figure: Any) -> list[Text]:
    """Return the texts that a figure shows, axis numbers included."""
    texts = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip()]
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = {id(tick) for tick in axis._update_ticks()} if axes.axison else set()
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if id(tick) not in drawn:
                    hidden |= {id(tick.label1), id(tick.label2)}
            if not axes.axison:
                hidden |= {id(axis.label), id(axis.offsetText)}
    return [one for one in texts if id(one) not in hidden]


def faults(axes: Any) -> list[str]:
    """Return which texts are cut by the figure's edge, and which lie on one another."""
    figure = axes.figure
    figure.draw_without_rendering()
    boxes = {one: one.get_window_extent() for one in shown(figure)}
    edge = figure.bbox.padded(1)
    said = [
        f"cut: {one.get_text()!r}"
        for one, box in boxes.items()
        if box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1
    ]
    for (a, first), (b, second) in combinations(boxes.items(), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        if wide > 1 and high > 2:  # a line's box is higher than its letters
            said.append(f"on one another: {a.get_text()!r}, {b.get_text()!r}")
    return said


Draw = Callable[..., Any]


@pytest.fixture
def draws(study: Any, bus: Any, doses: Any, effect: Any, frontier: Any) -> dict[str, Draw]:
    long, long_bus = named(study, LONG), named(bus, LONG)
    long_doses = doses.assign_attrs(concept=LONG)
    arguments = {**effect.provenance["arguments"], "concept": LONG}
    long_effect = dataclasses.replace(
        effect, provenance={**effect.provenance, "arguments": arguments}
    )
    empty = study.neurons().top(0)
    cuts = {"threshold_d": 2.0, "threshold_g": 1e-3}
    return {
        "thresholds": study.plot.thresholds,
        "thresholds with lines": lambda **k: study.plot.thresholds(**cuts, **k),
        "thresholds, none kept": lambda **k: study.plot.thresholds(empty, **k),
        "thresholds, long": long.plot.thresholds,
        "layers": study.plot.layers,
        "layers, none": lambda **k: study.plot.layers(empty, **k),
        "layers, long": long.plot.layers,
        "heatmap": study.plot.heatmap,
        "pair": study.plot.pair,
        "dose": lambda **k: study.plot.dose(measured=doses, **k),
        "dose, one number": lambda **k: study.plot.dose(measured=doses.isel(count=[3]), **k),
        "dose, long": lambda **k: study.plot.dose(measured=long_doses, **k),
        "effect": effect.plot,
        "effect, long": long_effect.plot,
        "compare": lambda **k: plot_compared(study, bus, **k),
        "compare, none": lambda **k: plot_compared(study, bus, empty, empty, **k),
        "compare, long": lambda **k: plot_compared(long, long_bus, **k),
        "frontier": frontier.plot,
        "frontier, long": dataclasses.replace(frontier, concept=LONG).plot,
    }


def test_no_text_is_cut_or_covered_at_the_usual_size(draws: dict[str, Draw]) -> None:
    found = {name: faults(draw()) for name, draw in draws.items()}
    assert {name: said for name, said in found.items() if said} == {}


def test_no_text_is_cut_or_covered_in_a_papers_column(draws: dict[str, Draw]) -> None:
    height = {"pair": 1.9, "frontier": 4.8, "frontier, long": 4.8}
    found = {
        name: faults(draw(figsize=(COLUMN, height.get(name, 2.9))))
        for name, draw in draws.items()
        if "long" not in name or name.startswith(("dose", "layers", "frontier"))
    }
    assert {name: said for name, said in found.items() if said} == {}


def test_a_cut_and_a_covered_text_are_found() -> None:
    _, axes = plt.subplots(figsize=(2, 2))
    axes.set_title("a title that is far longer than its figure is wide")
    axes.set_xticks([0, 0.01, 1], ["first", "second", "third"])
    said = faults(axes)
    assert any(one.startswith("cut: 'a title") for one in said)
    assert "on one another: 'first', 'second'" in said


def test_no_neuron_is_no_negative_number(study: Any) -> None:
    axes = study.plot.layers(study.neurons().top(0))
    assert axes.get_ylim()[0] == 0
    assert axes.get_title().startswith("0 neurons")
    assert study.plot.layers(study.neurons().top(1)).get_title().startswith("1 neuron of")


def test_thresholds_are_named_with_their_value(study: Any) -> None:
    axes = study.plot.thresholds(threshold_d=2.0)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "threshold_d 2" in names
    assert not any(name.startswith("threshold_g") for name in names)
    assert axes.get_xscale() == "asinh"  # no seam between straight and logarithmic


def test_one_pair_is_said_to_be_one(model: Any, val: Any) -> None:
    one = mmkn.study(model, "car", val.with_concept("car", 1))
    assert "one pair" in one.plot.thresholds().get_title()
    assert faults(one.plot.thresholds()) == []


def test_the_colour_bar_is_as_high_as_its_picture(study: Any) -> None:
    inner = study.scenes[0].image
    for size in ((240, 100), (100, 240)):
        picture = Image.new("RGB", size, "white")
        picture.paste(inner, (2, 2))
        added = study.with_scene(Scene("a folder/a long name of a picture.jpg", picture))
        axes = added.plot.heatmap(len(study.scenes))
        assert faults(axes) == []
        drawn, bar = axes.get_window_extent(), axes.figure.axes[1].get_window_extent()
        assert bar.height == pytest.approx(drawn.height, rel=0.1)


def test_a_pairs_text_has_its_own_column(study: Any) -> None:
    for width, height in ((7.2, 3.0), (3.3, 1.9), (5.0, 4.0)):
        axes = study.plot.pair(0, figsize=(width, height))
        assert faults(axes) == []
        panels = sorted(image.get_window_extent().x0 for image in axes.images)
        starts = sorted({round(text.get_window_extent().x0) for text in axes.texts})
        assert starts == pytest.approx(panels, abs=3)


def test_numbers_of_neurons_are_left_out_rather_than_squeezed(study: Any, doses: Any) -> None:
    axes = study.plot.dose(measured=doses, figsize=(COLUMN, 2.9))
    said = [label.get_text() for label in axes.get_xticklabels()]
    assert len(said) == doses.sizes["count"]
    assert said[-1] == str(int(doses["count"][-1]))
    assert "" in said
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[:2] == ["suppression", "its 95% interval"]


def test_an_effect_without_figures_says_so() -> None:
    nothing = evaluation.Effect(
        None, {"scene": None, "other": None}, None, None, {}, {"with": 1, "without": 0, "named": 0}
    )
    axes = nothing.plot()
    assert [text.get_text() for text in axes.texts] == ["nothing could be counted"]
    assert "1 scene with it, 0 without" in axes.get_title()
    assert "interval" not in axes.get_xlabel()


def test_a_frontier_without_retention_says_so(frontier: Any) -> None:
    points = frontier.points.copy(deep=True)
    points["retention"][:] = np.nan
    axes = dataclasses.replace(frontier, points=points).plot()
    assert "no retention" in axes.texts[0].get_text()
    assert faults(axes) == []


def test_marks_of_a_frontier_stay_off_its_legend_and_title(frontier: Any) -> None:
    for figsize in (None, (COLUMN, 4.8)):
        axes = frontier.plot(figsize=figsize)
        axes.figure.draw_without_rendering()
        figure, title = axes.figure, axes.title.get_window_extent()
        legend = axes.get_legend().get_window_extent()
        for mark in axes.collections:
            (size,), (place,) = (
                mark.get_sizes(),
                mark.get_offset_transform().transform(mark.get_offsets()[:1]),
            )
            radius = np.sqrt(size) / 2 * figure.dpi / 72
            box = Bbox([place - radius, place + radius])
            assert not legend.overlaps(box), mark.get_label()
            assert not title.overlaps(box), mark.get_label()
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_a_frontiers_methods_are_seen_on_a_dark_ground(frontier: Any) -> None:
    with plt.style.context("dark_background"):
        axes = frontier.plot()
    handles = axes.get_legend().legend_handles
    edges = [one.get_markeredgecolor() for one in handles if hasattr(one, "get_markeredgecolor")]
    assert "white" in edges
    assert not {"black", "#222222"} & set(edges)


def test_the_trust_in_a_mask_can_be_read(study: Any) -> None:
    shifts = [
        {"where": where, "word": -2.0, "others": 0.1, "random": None, "n_word": 3, "n_others": 3}
        for where in ("the question it was learned on", "plain text")
    ]
    trust = MaskTrust(study.neurons().top(1), [], shifts, 0, [])
    axes = trust.plot()
    assert axes.get_title() == "1 neuron silenced"
    assert faults(axes) == []


def test_small_pieces() -> None:
    _, axes = plt.subplots(figsize=(4, 2))
    width, height = points_of(axes)
    assert width == pytest.approx(4 * 72 * 0.775)
    assert height == pytest.approx(2 * 72 * 0.77)
    assert counted(0, "scene") == "0 scenes"
    assert shortened(LONG, 12) == "a dining ta…"
    assert shortened("car", 12) == "car"
    assert wrapped("antidisestablishmentarianism", 20, 10) == "antidisestablishmentarianism"
    assert wrapped("one two three four", 50, 10).count("\n") == 2


def test_a_studys_figure_can_be_read() -> None:
    def cell(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}

    row = {"suppression": cell(0.9), "retention": cell(0.98), "random_control": cell(0.03)}
    methods = {f"two_stage_image_signed_{k}": {**row, "substitution": None} for k in range(9)}
    figure = tables_figure({"methods": {**methods, "random": row | {"substitution": cell(0.0)}},
                            "concepts": ["car"]})  # fmt: skip
    assert faults(figure.axes[0]) == []
    assert figure.get_suptitle().startswith("1 concept, ")
    assert [axes.get_xlabel() for axes in figure.axes] == ["share (0 to 1)"] * 4
    assert figure.axes[0].get_xlim() == figure.axes[3].get_xlim() == (-0.05, 1.05)

"""The bqplot charts in JupyterLab: what is drawn is true, nothing scrolls; saved, and in marimo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from .notebook import NotebookPage
from .pages import ROOT
from .server import JupyterServer
from .test_marimo import serve

CELLS = [
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests' / 'wire')!r})\n"
    "import ipywidgets as widgets\n"
    "from traitlets import dlink\n"
    "from fake_study import FakeStudy\n"
    "from test_charts import search_of\n"
    "from mmkn_widgets.widgets.charts import *\n"
    "study = FakeStudy()\n"
    "difference, gradcam = ScoreHistogram(study), ScoreHistogram(study, 'gradcam')\n"
    "layers = LayerChart(study)\n"
    "dlink((difference, 'threshold'), (layers, 'threshold_d'))\n"
    "dlink((gradcam, 'threshold'), (layers, 'threshold_g'))\n"
    "widgets.VBox([widgets.HBox([difference, gradcam]), layers])",
    "places = [(.99, .4), (.95, .8), (.95, .8), (.9, .95), (.9, .6), (.85, .7)]\n"
    "frontier = FrontierChart(search_of(places, [3, 15, 8, 30, 60, 90]))\n"
    "frontier",
    "parts = {'scene': {'mean': .99}, 'other': {'mean': .98}}\n"
    "MethodChart({name: {'suppression': {'mean': gone}, 'retention': parts}\n"
    "    for name, gone in [('two_stage', .925), ('gradient', .8), ('random', .02)]})",
]
APP = """
import marimo
app = marimo.App(width="full")

@app.cell
def _():
    import sys
    sys.path[:0] = [{root!r}, {wire!r}]
    from test_charts import search_of
    from mmkn_widgets.widgets import FrontierChart
    FrontierChart(search_of([(.99, .4), (.95, .8), (.9, .95)], [3, 8, 15]))
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    return open_shared("charts.ipynb", CELLS, viewport={"width": 1400, "height": 1300})


def ticks(chart: Locator) -> list[str]:
    return [text for text in chart.locator(".tick text").all_text_contents() if text]


def test_ticks_are_true_and_nothing_scrolls(notebook: NotebookPage) -> None:
    for cell, texts in (
        (0, {"0", "1", "10", "100", "1,000"}),
        (1, {"0.85", "0.90", "0.95", "1.00", "0.0", "0.2"}),
        (2, {"0.0", "0.2", "1.0", "two_stage"}),
    ):
        notebook.scroll_to(cell)
        output = notebook.output(cell)
        expect(output.locator("svg.svg-figure, .bqplot svg").first).to_be_visible()
        notebook.page.wait_for_timeout(600)
        found = ticks(output)
        assert texts <= set(found), found
        assert not [text for text in found if text.startswith(("-", "−")) and cell]
        scrolled = output.evaluate(
            """(root) => [root, ...root.querySelectorAll("*")].filter((el) => {
                const style = getComputedStyle(el);
                const may = /auto|scroll/;
                return may.test(style.overflowY) && el.scrollHeight > el.clientHeight + 1
                    || may.test(style.overflowX) && el.scrollWidth > el.clientWidth + 1;
            }).map((el) => `${el.className} ${el.scrollWidth}/${el.clientWidth}`
                + ` ${el.scrollHeight}/${el.clientHeight}`)"""
        )
        assert scrolled == []
    assert notebook.errors == []


def test_no_layer_has_less_than_none(notebook: NotebookPage) -> None:
    notebook.scroll_to(0)
    notebook.execute("layers.threshold_d = 1e6")
    chart = notebook.output(0).locator(".bqplot").nth(2)
    expect(chart.locator(".tick text").filter(has_text="1")).not_to_have_count(0)
    notebook.page.wait_for_timeout(700)
    assert ticks(chart) == ["0", "1", "2", "3", "4", "5", "0", "1"]
    notebook.execute("layers.threshold_d = difference.threshold")


def test_the_frontier_is_drawn_and_a_dot_is_taken(notebook: NotebookPage) -> None:
    notebook.scroll_to(1)
    output = notebook.output(1)
    line = output.locator(".bqplot path.line").nth(1)
    box = line.bounding_box()
    assert box is not None
    assert box["width"] > 200
    assert box["height"] > 100
    dots = output.locator(".bqplot .dot_grp path.element, .bqplot path.dot")
    assert dots.count() == 5
    expect(output).to_contain_text("3 neurons · suppression 0.400, retention 0.990")
    drawn = {
        tuple(map(float, notebook.python(f"[float(v) for v in frontier._dots[{k}]]"))): k
        for k in range(5)
    }
    dots.nth(drawn[0.95, 0.8]).click()
    expect(output).to_contain_text("8 neurons · suppression 0.800, retention 0.950")
    expect(output).to_contain_text("1 of 2 here: click again")
    assert notebook.python("frontier.threshold_d") == 0.2
    dots.nth(drawn[0.95, 0.8]).click()
    expect(output).to_contain_text("15 neurons")
    assert notebook.python("frontier.selected") == 1


def test_a_saved_notebook_shows_the_picture(
    notebook: NotebookPage, notebooks: Path, browser: Browser, lab: JupyterServer
) -> None:
    notebook.command("docmanager:save")
    saved = notebooks / "charts-saved.ipynb"
    saved.write_text((notebooks / "charts.ipynb").read_text(encoding="utf-8"))
    cells = json.loads(saved.read_text())["cells"]
    assert "image/png" in cells[1]["outputs"][0]["data"]
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.goto(f"{lab.url}/lab/workspaces/charts/tree/{saved.name}?reset&token={lab.token}")
    picture = page.locator(".jp-OutputArea-output img").first
    expect(picture).to_be_visible(timeout=60_000)
    assert picture.evaluate("(img) => img.naturalWidth") > 600
    for cell in (1, 2):  # the first is a box of ipywidgets, which leaves none
        output = page.locator(".jp-Notebook .jp-CodeCell").nth(cell)
        expect(output.locator("img")).to_have_count(1)
        expect(output).not_to_contain_text("model not found")
    context.close()


def test_marimo_shows_a_picture_and_says_what_to_use(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serve(tmp_path_factory.mktemp("marimo-charts"), APP) as url:
        context = browser.new_context(viewport={"width": 1000, "height": 800})
        page = context.new_page()
        page.goto(url)
        picture = page.get_by_role("img", name="frontier of suppression")
        expect(picture).to_be_visible(timeout=60_000)
        assert picture.evaluate("(img) => img.naturalWidth") > 600
        expect(page.locator("figcaption")).to_contain_text("ThresholdPlane")
        context.close()

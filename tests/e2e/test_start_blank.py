"""A model and a picture, no mask: paint the object in a real JupyterLab, then compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, drag

OpenNotebook = Callable[..., NotebookPage]


@pytest.fixture
def notebook(open_notebook: OpenNotebook, write_cells: Callable[..., None]) -> NotebookPage:
    """Return a notebook with an Explorer of a picture without a mask."""
    write_cells(
        "blank.ipynb",
        [
            "import torch; torch.set_num_threads(1)\n"
            "import mmkn_widgets as mmkn\n"
            "model = mmkn.load_model('pocket')\n"
            "scene = mmkn.datasets.pocket_world('val', 60).with_concept('car', 1)[0]",
            "explorer = mmkn.Explorer(model, scene.image, 'car')\nexplorer",
        ],
    )
    made = open_notebook("blank.ipynb")
    made.run_all()
    made.scroll_to(1)
    return made


def paint(notebook: NotebookPage, root: Locator) -> None:
    """Drag the brush over the car."""
    stage = root.locator(".a-without canvas")
    x, y = notebook.python("[float(a.mean() / 96) for a in scene.mask('car').nonzero()[::-1]]")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    at = (box["x"] + x * box["width"], box["y"] + y * box["height"])
    drag(notebook.page, (at[0] - 12, at[1]), (at[0] + 12, at[1]))


def test_paint_then_compute(notebook: NotebookPage) -> None:
    explorer = ExplorerOnPage(notebook.page)
    root = explorer.root
    expect(root.locator(".a-top .chip")).to_contain_text("no scores yet")
    expect(explorer.ablate).to_be_disabled()
    paint(notebook, root)
    explorer.button("inpaint").click()
    expect(root.locator(".a-top .chip")).to_contain_text("now compute")
    explorer.button("compute").click()
    notebook.wait_for_python("explorer.facts['scenes'] == 1")
    expect(root.locator(".a-top .chip")).to_be_hidden()
    expect(explorer.ablate).to_be_enabled()
    assert notebook.python("len(explorer.neurons)") > 0
    assert notebook.errors == []


def test_the_brush_comes_first_and_compute_is_beside_it(notebook: NotebookPage) -> None:
    """Who has to paint finds the brush on the large picture; scores give the maps its place."""
    explorer = ExplorerOnPage(notebook.page)
    root = explorer.root
    beside = explorer.button("compute with this mask")
    for preset in ("compact", "full"):  # the compact one shows no painter later
        notebook.execute(f"explorer.preset = {preset!r}")
        expect(notebook.page.locator(".explorer")).to_have_attribute("data-preset", preset)
        expect(root.locator(".a-without h3")).to_have_text("paint the car")
        places = [root.locator(part).bounding_box() for part in (".a-without", ".a-plane")]
        assert places[0] is not None
        assert places[1] is not None
        assert places[0]["y"] == places[1]["y"]  # side by side: nothing has to be scrolled
        expect(beside).to_be_hidden()
    expect(explorer.button("propose thresholds")).to_be_disabled()
    paint(notebook, root)
    beside.click()
    notebook.wait_for_python("explorer.facts['scenes'] == 1")
    expect(root.locator(".a-without h3")).to_have_text("without the car")
    expect(beside).to_be_hidden()
    picture, plane = (root.locator(part).bounding_box() for part in (".a-picture", ".a-plane"))
    assert picture is not None
    assert plane is not None
    assert picture["y"] == plane["y"]
    expect(explorer.ablate).to_be_enabled()
    assert notebook.errors == []


def test_paint_and_compute_at_once_and_compute_without_paint(notebook: NotebookPage) -> None:
    """Who is told to paint and press compute does just that; with nothing painted it is said."""
    explorer = ExplorerOnPage(notebook.page)
    root = explorer.root
    explorer.button("compute").click()
    expect(root.locator(".a-top .fault")).to_contain_text("the car painted on the picture")
    paint(notebook, root)
    explorer.button("compute").click()
    notebook.wait_for_python("explorer.facts['scenes'] == 1")
    expect(root.locator(".a-top .chip")).to_be_hidden()
    expect(root.locator(".a-top .fault")).to_have_count(0)
    expect(explorer.ablate).to_be_enabled()
    assert notebook.python("len(explorer.neurons)") > 0
    assert notebook.errors == []

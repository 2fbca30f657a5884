"""Jupyter Notebook 7: the same widgets and the same panel as in JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import mmkn_widgets as mmkn

from .explorer import ExplorerOnPage
from .notebook import NotebookPage
from .server import JupyterServer

STUDY = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
study = mmkn.study(model, "car", mmkn.datasets.pocket_world("val").with_concept("car", 6))
explorer = mmkn.Explorer(study)
explorer
"""


@pytest.fixture(scope="module")
def server(notebooks: Path) -> Iterator[JupyterServer]:
    with JupyterServer(notebooks, notebooks.parent / "notebook-home", "notebook") as running:
        yield running


@pytest.fixture
def notebook(page: Page, server: JupyterServer, write_cells) -> Iterator[NotebookPage]:
    write_cells("seven.ipynb", [STUDY])
    opened = NotebookPage(page, server, "seven.ipynb")
    yield opened
    opened.close()


def test_explorer_and_panel(notebook: NotebookPage) -> None:
    notebook.run_all()
    explorer = ExplorerOnPage(notebook.page)
    explorer.ablate.click()
    after = notebook.wait_for_python("explorer.caption_after")
    assert notebook.python("model.caption(study.scenes[explorer.scene].image)") == after
    notebook.command("mmkn:open-panel")
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel.locator('[data-variable="model"] li')).to_have_count(1)
    panel.get_by_role("button", name="Restore all").click()
    notebook.wait_for_python("not model.interventions.active")


def test_pictures_and_studies_are_shown_in_a_cell(notebook: NotebookPage, notebooks: Path) -> None:
    """A page of Notebook 7 holds one document: there is no room beside it."""
    notebook.execute(STUDY + "study.scenes[0].image.save('seven.png')")
    page = notebook.page
    notebook.command("mmkn:find-in-picture", path="seven.png", concept="car")
    explorer = ExplorerOnPage(page)
    assert explorer.root.get_by_text("paint the car").first.is_visible()
    sources = [cell["source"] for cell in notebook.saved()["cells"]]
    assert sources[0] == STUDY
    assert sources[1] == ('import mmkn_widgets as mmkn\n\nmmkn.Explorer(model, "seven.png", "car")')
    notebook.command("mmkn:open-panel")
    entry = page.locator('#mmkn-neurons [data-variable="study"]')
    entry.get_by_role("button", name="Open Explorer").click()
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length === 3"
    )
    assert notebook.saved()["cells"][2]["source"].endswith("mmkn.Explorer(study)")


def test_files_from_the_tree(page: Page, server: JupyterServer, notebooks: Path) -> None:
    mmkn.NeuronSet([4, 5], [1, 2]).save(notebooks / "tree.mmkn.json")
    mmkn.datasets.pocket_world("val", 1)[0].image.save(notebooks / "tree.png")
    page.goto(f"{server.url}/tree?token={server.token}")
    listed = page.locator(".jp-DirListing-item")
    listed.filter(has_text="tree.png").click(button="right")
    entry = page.locator(".lm-Menu-item", has_text="Find Neurons in This Picture…")
    expect(entry).to_be_visible()
    page.keyboard.press("Escape")
    with page.context.expect_page() as opening:
        listed.filter(has_text="tree.mmkn.json").dblclick()
    expect(opening.value.locator(".mmkn-file h1")).to_have_text("2 neurons", timeout=30_000)


def test_a_saved_notebook_shows_its_static_picture(
    page: Page, server: JupyterServer, write_cells, notebooks: Path
) -> None:
    write_cells("seven-saved.ipynb", [STUDY])
    opened = NotebookPage(page, server, "seven-saved.ipynb")
    opened.run_all()
    ExplorerOnPage(page)
    opened.command("docmanager:save")
    opened.server.delete(f"/api/sessions/{opened.session['id']}")
    again = page.context.new_page()
    again.goto(f"{server.url}/notebooks/seven-saved.ipynb?token={server.token}")
    output = again.locator(".jp-OutputArea-output").last  # a bar of progress leaves an empty one
    expect(again.get_by_text("Loading widget")).to_have_count(0, timeout=30_000)
    expect(output).to_contain_text("neurons of “car” in pocket", timeout=30_000)
    expect(output.locator("img")).to_have_count(2)
    for session in server.get("/api/sessions"):
        server.delete(f"/api/sessions/{session['id']}")

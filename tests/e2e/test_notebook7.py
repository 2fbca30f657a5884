"""Jupyter Notebook 7: the same widgets and the same panel as in JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

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
    output = again.locator(".jp-OutputArea-output")
    expect(output).to_contain_text("neurons of “car” in pocket", timeout=30_000)
    expect(output.locator("img")).to_have_count(2)
    for session in server.get("/api/sessions"):
        server.delete(f"/api/sessions/{session['id']}")

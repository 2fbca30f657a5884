"""A notebook that was saved: opened again without its kernel, and made a page by nbconvert."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage
from .server import JupyterServer

WIRE = Path(__file__).resolve().parents[1] / "wire"
SAVE_STATE = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
CELL = f"""import sys; sys.path.insert(0, {str(WIRE)!r})
from fake_study import FakeStudy
from mmkn_widgets.widgets import Explorer
explorer = Explorer(FakeStudy())
explorer.ablate()
explorer"""


@pytest.fixture(scope="module")
def saved(open_shared: Callable[..., NotebookPage], notebooks: Path) -> dict[str, Path]:
    """Return one notebook saved twice: without the widgets' state (the default), and with it."""
    notebook = open_shared("saved.ipynb", [CELL])
    expect(notebook.output(0).locator(".mmkn")).to_be_visible()
    found = {}
    for name in ("bare", "full"):
        if name == "full":
            notebook.command(SAVE_STATE)
        notebook.command("docmanager:save")
        found[name] = notebooks / f"saved-{name}.ipynb"
        found[name].write_text((notebooks / "saved.ipynb").read_text(encoding="utf-8"))
    assert notebook.errors == []
    return found


@pytest.fixture
def reopen(browser: Browser, lab: JupyterServer) -> Iterator[Callable[[str], Page]]:
    """Return a function that opens a notebook in JupyterLab without running anything in it."""
    opened = []

    def open_it(name: str) -> Page:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        opened.append(context)
        page = context.new_page()
        page.goto(f"{lab.url}/lab/workspaces/saved/tree/{name}?reset&token={lab.token}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        return page

    yield open_it
    for context in opened:
        context.close()
    for session in lab.get("/api/sessions"):
        if session["path"].startswith("saved-"):
            lab.delete(f"/api/sessions/{session['id']}")


def test_without_state_jupyterlab_shows_the_static_picture(
    saved: dict[str, Path], reopen: Callable[[str], Page]
) -> None:
    assert "widgets" not in json.loads(saved["bare"].read_text())["metadata"]
    page = reopen(saved["bare"].name)
    output = page.locator(".jp-OutputArea-output")
    expect(output).to_contain_text("60 neurons of “car” in fake-llava", timeout=20_000)
    expect(output).to_contain_text("after: a red bus next to a big green tree on the grass")
    expect(output).not_to_contain_text("model not found")
    expect(output.locator("tr")).to_have_count(13)
    loaded = output.locator("img").evaluate_all("all => all.map((img) => img.naturalWidth)")
    assert len(loaded) == 2
    assert all(loaded)


def test_with_state_jupyterlab_shows_the_last_state_read_only(
    saved: dict[str, Path], reopen: Callable[[str], Page]
) -> None:
    assert "widgets" in json.loads(saved["full"].read_text())["metadata"]
    page = reopen(saved["full"].name)
    explorer = ExplorerOnPage(page)
    expect(explorer.root.locator(".alert")).to_contain_text("Read-only")
    expect(explorer.root.locator(".alert")).to_contain_text("last saved state")
    expect(explorer.caption_after.locator("ins")).to_have_text("bus")
    expect(explorer.ablate).to_be_disabled()
    assert explorer.ablate.text_content() == "Ablate 60 neurons"
    explorer.drag_slider("difference", 0.1)
    expect(explorer.ablate).not_to_have_text("Ablate 60 neurons")


def test_nbconvert_keeps_picture_and_text(saved: dict[str, Path], page: Page) -> None:
    notebook = nbformat.read(saved["bare"], as_version=4)
    body, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    html = saved["bare"].with_suffix(".html")
    html.write_text(body, encoding="utf-8")
    page.context.set_offline(True)
    page.goto(html.as_uri())
    static = page.locator(".mmkn-static")
    expect(static).to_be_visible()
    expect(static).to_contain_text("before: a red car next to a big green tree on the grass")
    loaded = static.locator("img").evaluate_all("all => all.map((img) => img.naturalWidth)")
    assert len(loaded) == 2
    assert all(loaded)


def test_nbconvert_of_a_notebook_with_state_carries_the_whole_widget(
    saved: dict[str, Path],
) -> None:
    """Such a page draws the widget itself, with ipywidgets' scripts from its CDN."""
    notebook = nbformat.read(saved["full"], as_version=4)
    body, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    kind = "application/vnd.jupyter.widget-state+json"
    found = re.search(rf'<script type="{re.escape(kind)}">(.*?)</script>', body, re.S)
    assert found is not None
    states: dict[str, Any] = json.loads(found.group(1))["state"]
    (explorer,) = (s for s in states.values() if s["state"].get("concept") == "car")
    assert explorer["state"]["caption_after"].split()[2] == "bus"
    buffers = {tuple(b["path"]): base64.b64decode(b["data"]) for b in explorer["buffers"]}
    scores = np.frombuffer(buffers[("difference",)], "<f4")
    assert scores.size == np.prod(explorer["state"]["shape"])
    assert "render" in explorer["state"]["_esm"]

"""The JupyterLab extension: what its panel shows of the kernel, and how its commands begin."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

MODEL = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
"""
ABLATE = """
from mmkn_widgets.interventions import ablate
model.interventions.push(ablate(model, {4: [1, 2, 3]}, name="wheels <b>&</b> doors"))
"""


@pytest.fixture
def notebook(open_notebook):
    opened = open_notebook("panel.ipynb", [MODEL, ABLATE, "x = 1"])
    opened.command("mmkn:show-panel")
    return opened


def test_an_active_ablation_shows_and_can_be_restored(notebook) -> None:
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("No model in this notebook yet")
    notebook.run_all()
    entry = panel.locator('[data-variable="model"]')
    expect(entry).to_contain_text("wheels <b>&</b> doors")  # data is text, never HTML
    expect(entry).to_contain_text("3 neurons")
    assert entry.locator("b").count() == 0
    assert notebook.python("len(model.interventions.active)") == 1
    entry.get_by_role("button", name="Restore all").click()
    expect(entry).to_contain_text("unchanged")
    assert notebook.python("len(model.interventions.active)") == 0


def test_a_change_made_in_python_appears_by_itself(notebook) -> None:
    notebook.run_all()
    entry = notebook.page.locator('#mmkn-neurons [data-variable="model"]')
    expect(entry.locator("li")).to_have_count(1)
    notebook.execute("model.interventions.clear()")
    expect(entry).to_contain_text("unchanged")


def test_asking_leaves_no_trace_in_the_kernel(notebook) -> None:
    notebook.run_all()
    expect(notebook.page.locator('#mmkn-neurons [data-variable="model"]')).to_be_visible()
    counts = [cell["execution_count"] for cell in notebook.saved()["cells"]]
    assert counts == [1, 2, 3]
    notebook.command("notebook:run-cell")
    notebook.wait_for_python("x == 1")
    assert notebook.python("[n for n in dir() if 'overview' in n or 'mmkn_view' in n]") == []


def test_a_restarted_kernel_is_recognised(notebook) -> None:
    notebook.run_all()
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel.locator('[data-variable="model"]')).to_be_visible()
    notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    expect(panel).to_contain_text("No model in this notebook yet", timeout=60_000)


def test_the_quickstart_opens_from_the_launcher(notebook, lab) -> None:
    page = notebook.page
    notebook.command("launcher:create", cwd="")
    page.locator(".jp-LauncherCard", has_text="Open mmkn quickstart").click()
    page.locator(".jp-NotebookPanel h1", has_text="neurons").first.wait_for()
    opened = page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
    assert opened == "quickstart.ipynb"


def test_a_new_explorer_notebook_never_overwrites(notebook, notebooks) -> None:
    (notebooks / "neurons.ipynb").write_text("mine")
    notebook.command("mmkn:new-explorer-notebook")
    notebook.page.locator(".jp-NotebookPanel", has_text="mmkn.Explorer(study)").wait_for()
    assert (notebooks / "neurons.ipynb").read_text() == "mine"
    assert (notebooks / "neurons-1.ipynb").exists()

"""The side panel and kernels of all sorts: without the package, of another language, dead, none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from .notebook import NotebookPage
from .server import JupyterServer

LAUNCH = "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
HIDE = "import sys; sys.modules['mmkn_widgets'] = None; "


@pytest.fixture(scope="module")
def specs(lab: JupyterServer) -> JupyterServer:
    """Give the server a kernel that lacks the package, and one that claims to be of R."""
    frail = f"import os; os.path.exists({str(lab.home / 'broken')!r}) and os._exit(1); "
    kinds = {
        "bare": ("Bare Python", "python", HIDE),
        "other": ("Statistics", "R", ""),
        "frail": ("Frail", "python", frail),
    }
    for name, (shown, language, before) in kinds.items():
        folder = lab.home / "data" / "kernels" / name
        folder.mkdir(parents=True)
        argv = [sys.executable, "-c", before + LAUNCH, "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": shown, "language": language}
        (folder / "kernel.json").write_text(json.dumps(spec))
    return lab


def write(path: Path, kernel: str, language: str, cells: list[str]) -> None:
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": language}},
    )
    nbformat.write(made, path)


@pytest.fixture
def open_with(page, specs, notebooks):
    """Return a function that opens a notebook with a kernel of a kind, and the panel."""
    opened: list[NotebookPage] = []

    def open_it(kernel: str, language: str = "python") -> NotebookPage:
        write(notebooks / f"with-{kernel}.ipynb", kernel, language, ["x = 1"])
        opened.append(NotebookPage(page, specs, f"with-{kernel}.ipynb"))
        opened[-1].command("mmkn:open-panel")
        return opened[-1]

    yield open_it
    for notebook in opened:
        live = [session["id"] for session in specs.get("/api/sessions")]
        if notebook.session["id"] in live:
            notebook.close()


def test_a_kernel_without_the_package_says_what_to_install(open_with) -> None:
    notebook = open_with("bare")
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("not installed where this kernel runs")
    expect(panel.locator("pre")).to_have_text("%pip install mmkn_widgets")
    panel.get_by_role("button", name="Insert").click()
    assert "%pip install mmkn_widgets" in [c["source"] for c in notebook.saved()["cells"]]
    notebook.command("mmkn:open-panel")
    # A command that needs the package says so, and runs nothing.
    notebook.page.evaluate(
        """() => void window.jupyterapp.commands.execute(
            'mmkn:find-in-picture', { path: 'x.png', concept: 'car' })"""
    )
    dialog = notebook.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("mmkn_widgets is not installed in its kernel")
    dialog.get_by_role("button").last.click()
    assert notebook.page.locator(".mmkn-view").count() == 0


def test_a_kernel_of_another_language_is_not_asked(open_with) -> None:
    notebook = open_with("other", "R")
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("Statistics is no Python kernel")
    assert panel.get_by_role("button").count() == 0


def test_no_kernel_and_a_new_one(open_with) -> None:
    notebook = open_with("python3")
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("No model in this notebook yet")
    session = "window.jupyterapp.shell.currentWidget.sessionContext"
    notebook.page.evaluate(f"() => {session}.shutdown()")
    expect(panel).to_contain_text("has no kernel")
    notebook.page.evaluate(f"() => {session}.changeKernel({{ name: 'python3' }})")
    expect(panel).to_contain_text("No model in this notebook yet", timeout=60_000)


def test_a_kernel_that_dies(open_with, specs) -> None:
    notebook = open_with("frail")
    panel = notebook.page.locator("#mmkn-neurons")
    notebook.execute("import mmkn_widgets as mmkn; model = mmkn.load_model('pocket')")
    expect(panel.locator('[data-variable="model"]')).to_be_visible()
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    die = f"() => void {kernel}.requestExecute({{ code: 'import os; os._exit(1)' }})"
    notebook.page.evaluate(die)  # the server starts it anew
    expect(panel).to_contain_text("No model in this notebook yet", timeout=60_000)
    (specs.home / "broken").touch()
    notebook.page.evaluate(die)  # the server gives it up
    expect(panel).to_contain_text("The kernel is dead", timeout=90_000)
    assert panel.get_by_role("button").count() == 0


def test_no_notebook(page, specs) -> None:
    page.goto(f"{specs.url}/lab/workspaces/none/?reset&token={specs.token}")
    page.wait_for_function(
        "() => window.jupyterapp?.commands.hasCommand('mmkn:open-panel')", timeout=60_000
    )
    page.evaluate("() => window.jupyterapp.commands.execute('mmkn:open-panel')")
    expect(page.locator("#mmkn-neurons")).to_contain_text("Open a notebook to see its models")

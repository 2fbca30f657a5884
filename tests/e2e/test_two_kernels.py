"""The side panel with two notebooks and busy kernels: it shows and changes one kernel, no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from .beside import NotebookBeside
from .notebook import NotebookPage, wait_for

SETUP = """
import time
import mmkn_widgets as mmkn
from mmkn_widgets.interventions import ablate
model = mmkn.load_model("pocket")
"""
CHANGE = "model.interventions.push(ablate(model, {{4: [1, 2, 3]}}, name={name!r}))"
#: a cell that stays for so long, unless the file is there
BUSY = """
import pathlib, time
calls = globals().get("calls", [])
began, already = time.monotonic(), len(calls)
while time.monotonic() - began < {seconds} and not pathlib.Path({path!r}).exists():
    time.sleep(0.02)
during = calls[already:]
"""


@pytest.fixture
def pair(
    open_notebook, write_cells, tmp_path
) -> Iterator[tuple[NotebookPage, NotebookBeside, Callable[[], None]]]:
    """Return notebooks a and b, each with a change of its own, and what ends b's busy cell."""
    signal = tmp_path / "enough"
    busy = BUSY.format(seconds=40, path=str(signal))
    write_cells("b.ipynb", [SETUP, CHANGE.format(name="of b"), busy])
    a = open_notebook("a.ipynb", [SETUP, CHANGE.format(name="of a")])
    a.command("mmkn:open-panel")
    a.run_all()
    b = NotebookBeside(a, "b.ipynb")
    yield a, b, signal.touch
    signal.touch()
    b.close()


def run_cell(notebook: NotebookPage, cell: int) -> None:
    """Start a cell and do not wait for its end."""
    notebook.page.evaluate(
        """(cell) => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.activeCellIndex = cell;
            content.deselectAll();
            void window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        cell,
    )


def is_busy(notebook: NotebookPage) -> bool:
    return any(
        session["path"] == notebook.path and session["kernel"]["execution_state"] == "busy"
        for session in notebook.server.get("/api/sessions")
    )


def runs_on(b: NotebookBeside) -> bool:
    """Whether the long cell has not ended."""
    return "[*]" in b.page.locator(".jp-InputPrompt").all_inner_texts()[-1]


def prepare(b: NotebookBeside) -> None:
    """Run b's first two cells, one after the other, and start the long one."""
    b.execute(SETUP + CHANGE.format(name="of b"))
    run_cell(b, 2)
    wait_for("b's busy cell", lambda: is_busy(b))


def test_a_busy_kernel_restores_its_own_and_no_other(pair) -> None:
    a, b, enough = pair
    panel = a.page.locator("#mmkn-neurons")
    prepare(b)
    expect(panel).to_contain_text("kernel is busy")
    expect(panel).to_contain_text("of b")
    expect(panel).not_to_contain_text("of a")
    began = time.monotonic()
    panel.get_by_role("button", name="Restore all").click()
    expect(panel).to_contain_text("unchanged", timeout=5_000)
    taken = time.monotonic() - began
    print(f"restored in {taken:.2f} s while a cell ran")
    assert taken < 3
    assert runs_on(b)
    assert a.python("len(model.interventions.active)") == 1
    enough()
    assert b.python("len(model.interventions.active)") == 0


def test_switching_notebooks_never_shows_the_other_kernel(pair) -> None:
    a, b, _ = pair
    panel = a.page.locator("#mmkn-neurons")
    prepare(b)
    expect(panel).to_contain_text("of b")
    for _ in range(3):
        a.command("docmanager:open", path="a.ipynb")
        assert "of b" not in panel.inner_text()
        expect(panel).to_contain_text("of a")
        b.show()
        assert "of a" not in panel.inner_text()
        expect(panel).to_contain_text("of b")
        expect(panel).to_contain_text("kernel is busy")


def test_a_button_acts_on_the_kernel_it_was_drawn_for(pair) -> None:
    a, b, _ = pair
    a.command("docmanager:open", path="a.ipynb")
    panel = a.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("of a")
    prepare_b = b.execute(SETUP + CHANGE.format(name="of b"))
    assert prepare_b is None
    # The click comes in the moment in which the other notebook has become the current one.
    a.page.evaluate(
        """async () => {
            const drawn = document.querySelector('#mmkn-neurons .mmkn-panel-entry button');
            await window.jupyterapp.commands.execute('docmanager:open', { path: 'b.ipynb' });
            drawn.click();
        }"""
    )
    a.wait_for_python("len(model.interventions.active) == 0")
    assert b.python("len(model.interventions.active)") == 1


def test_a_kernel_without_subshells_says_that_it_is_busy(pair) -> None:
    a, b, enough = pair
    panel = a.page.locator("#mmkn-neurons")
    b.page.evaluate(
        """() => Object.defineProperty(
            window.jupyterapp.shell.currentWidget.sessionContext.session.kernel,
            'supportsSubshells', { get: () => false })"""
    )
    b.execute(SETUP + CHANGE.format(name="of b"))
    expect(panel).to_contain_text("of b")
    run_cell(b, 2)
    expect(panel).to_contain_text("kernel is busy")
    expect(panel).to_contain_text("as it was before")
    panel.get_by_role("button", name="Restore all").click()
    time.sleep(0.5)
    assert "of b" in panel.inner_text()
    enough()
    expect(panel).to_contain_text("unchanged")
    assert a.python("len(model.interventions.active)") == 1


def test_asking_beside_a_cell_leaves_the_cell_alone(pair) -> None:
    """No hook of IPython runs: it would flush the figures that the running cell still draws."""
    a, b, enough = pair
    panel = a.page.locator("#mmkn-neurons")
    b.execute(
        "calls = []\n"
        "for name in ('pre_execute', 'post_execute'):\n"
        "    get_ipython().events.register(name, lambda name=name: calls.append(name))\n"
    )
    prepare(b)
    expect(panel).to_contain_text("of b")
    panel.get_by_role("button", name="Restore all").click()
    expect(panel).to_contain_text("unchanged")
    enough()
    assert b.python("during") == []


def test_a_restart_forgets_what_was_drawn(pair) -> None:
    a, b, _ = pair
    panel = a.page.locator("#mmkn-neurons")
    prepare(b)
    expect(panel).to_contain_text("of b")
    a.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    expect(panel).not_to_contain_text("of b")
    expect(panel).to_contain_text("No model in this notebook yet", timeout=60_000)
    assert a.python("len(model.interventions.active)") == 1

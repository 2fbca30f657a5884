"""Twenty Explorers opened and closed: what stays in the kernel and in the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, expect

from .notebook import NotebookPage

WIRE = Path(__file__).resolve().parents[1] / "wire"
CELLS = [
    f"import sys; sys.path.insert(0, {str(WIRE)!r})\n"
    "from fake_study import FakeStudy\n"
    "from mmkn_widgets.widgets import Explorer\n"
    "study = FakeStudy(layers=32, neurons=8192, scenes=2)\n"
    "model = study.model",
    "explorer = Explorer(study)\nexplorer",
]
#: what one Explorer of this size holds in either process: three float32 arrays of 1 MB, and maps
ONE = 3.0
#: what the page keeps of each: a browser never forgets a module, and each widget imports its own
MODULE = 1.0
RSS = """
import ctypes, gc, os
gc.collect(); ctypes.CDLL('libc.so.6').malloc_trim(0)
with open('/proc/self/statm') as file:
    rss = int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
"""
#: of each kind of comm how many are open
COMMS = (
    "__import__('collections').Counter("
    "comm.target_name for comm in get_ipython().kernel.comm_manager.comms.values())"
)
#: JupyterLab's side panel keeps one comm, which it opens in its own time
PANEL = "len(__import__('mmkn_widgets.widgets.panel').widgets.panel._LISTENERS)"


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    made = open_shared("memory.ipynb", CELLS)
    made.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    return made


def heap(cdp: CDPSession) -> float:
    """Return MB in use after a collection, the arrays' backing store included."""
    for _ in range(3):
        cdp.send("HeapProfiler.collectGarbage")
    used = cdp.send("Runtime.getHeapUsage")
    return float(used["usedSize"] + used.get("backingStorageSize", 0)) / 2**20


def open_and_close(notebook: NotebookPage) -> None:
    notebook.command("notebook:run-cell")
    root = notebook.output(1).locator(".mmkn")
    button = root.locator("button.primary")
    expect(button).to_have_text("Ablate 60 neurons")
    button.click()
    expect(root.locator(".captions ins")).to_have_text("bus")
    notebook.execute("kept.append(explorer); explorer.close()")  # as Out and _ keep it
    expect(notebook.page.locator(".jp-Notebook .mmkn")).to_have_count(0)


def test_twenty_explorers_leave_nothing(notebook: NotebookPage) -> None:
    notebook.execute("kept = []; explorer.close()")
    cdp = notebook.page.context.new_cdp_session(notebook.page)
    for _ in range(3):  # caches of the page, of the kernel and of the allocator fill up
        open_and_close(notebook)
    rss, page = notebook.execute(RSS, "rss"), heap(cdp)
    notebook.wait_for_python(f"{PANEL} == 1")
    comms = notebook.python(COMMS)
    assert sum(comms.values()) == comms.get("jupyter.widget", 0) + 1
    for _ in range(20):
        open_and_close(notebook)
    assert notebook.python("model.interventions.active == ()")
    assert notebook.python("len(model.interventions._observers._callbacks)") == 0
    assert notebook.python(COMMS) == comms
    assert notebook.python("len(kept)") == 23
    grown = notebook.execute(RSS, "rss") - rss, heap(cdp) - page
    print(f"20 Explorers: kernel {grown[0]:+.1f} MB, page {grown[1]:+.1f} MB")
    assert grown[0] < 20 * ONE / 3, "the kernel keeps what closed Explorers held"
    assert grown[1] < 20 * (MODULE + ONE / 6), "the page keeps what closed Explorers held"
    assert notebook.errors == []

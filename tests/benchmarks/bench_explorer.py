"""In a real JupyterLab: from a cell's last line to the painted Explorer, from a click to words."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts.browser import find_browser
from tests.e2e.conftest import ARGUMENTS, write_notebook
from tests.e2e.explorer import ExplorerOnPage
from tests.e2e.notebook import NotebookPage
from tests.e2e.server import JupyterServer

from .profile import BrowserTime, of_parts
from .report import Row

STUDY = """
import torch; torch.set_num_threads(1)
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
study = mmkn.study(model, "car", mmkn.datasets.pocket_world("val").with_concept("car", 6))
"""
SHOW = "import time\nexplorer = mmkn.Explorer(study)\nreturned = time.time()\nexplorer"
#: runs the cell that is chosen; the clock (s) when the threshold plane has pixels
PAINTED = """async () => {
  window.jupyterapp.commands.execute("notebook:run-cell");
  const start = performance.now();
  for (;;) {
    const plane = document.querySelector(".mmkn .plane canvas");
    if (plane?.width && plane.getContext("2d").getImageData(plane.width - 9, 9, 1, 1).data[3])
      return Date.now() / 1000;
    if (performance.now() - start > 30000) return NaN;
    await new Promise(requestAnimationFrame);
  }
}"""
#: clicks a button; the times until text streams in and until the caption is whole
CLICKED = """async (button) => {
  const after = document.querySelectorAll(".mmkn .captions dd")[1];
  const start = performance.now();
  let first = 0;
  button.click();
  for (;;) {
    await new Promise(requestAnimationFrame);
    const now = performance.now() - start;
    if (!first && /^a( |$)/.test(after.textContent)) first = now;
    if (first && after.querySelector("ins, del")) return [first, now];
    if (now > 30000) return [NaN, NaN];
  }
}"""
#: the same caption without a widget, in seconds
ALONE = """
import time
def alone():
    start = time.perf_counter()
    model.caption(study.scenes[0].image)
    return time.perf_counter() - start
"""
CLICKS = 9


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "notebooks"
        folder.mkdir()
        write_notebook(folder / "explorer.ipynb", [STUDY, SHOW])
        with JupyterServer(folder, Path(temporary) / "lab") as server, sync_playwright() as started:
            browser = started.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1500, "height": 1600})
            notebook = NotebookPage(page, server, "explorer.ipynb")
            notebook.command("notebook:move-cursor-down")
            notebook.execute(STUDY + ALONE)
            spent = BrowserTime(page)
            painted = float(page.evaluate(PAINTED))
            paint = (painted - float(notebook.python("returned"))) * 1000
            why_paint = spent.split()
            explorer = ExplorerOnPage(page)
            explorer.ablate.scroll_into_view_if_needed()
            firsts, wholes, beside, in_page = [], [], [], []
            for _ in range(CLICKS):
                spent = BrowserTime(page)
                first, whole = explorer.ablate.evaluate(CLICKED)
                in_page.append(spent.split())
                notebook.wait_for_python("explorer.ablation['measured'] is not None")
                alone = float(notebook.python("alone()")) * 1000
                firsts.append(first)
                wholes.append(whole - alone)
                beside.append(alone)
                explorer.button("restore all").click()
                notebook.wait_for_python("explorer.caption_after == ''")
                page.wait_for_timeout(300)
            notebook.close()
            browser.close()
    to_first, after = statistics.median(firsts), statistics.median(wholes)
    parts = [
        ("to the first new word", to_first),
        ("from there to the whole caption, less its generation", after - to_first),
    ]
    last = in_page[-1].replace("\n", "; ")
    why_click = of_parts("ms", parts) + f"\nin the page, at the last click: {last}"
    note = f"{CLICKS} clicks; the caption alone {statistics.median(beside):.0f} ms"
    return [
        Row(
            "first paint of the Explorer in JupyterLab after its cell", paint, "ms", 1500.0, "",
            why_paint.strip,
        ),
        Row("click on ablate to the first new word", statistics.median(firsts), "ms", None, note),
        Row(
            "click to the caption, beyond generation", statistics.median(wholes), "ms", 100.0, "",
            why_click.strip,
        ),
    ]  # fmt: skip

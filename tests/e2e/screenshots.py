"""Pictures of the Explorer in a real JupyterLab: ``python -m tests.e2e.screenshots [FOLDER]``.

Light and dark, wide and narrow, before and after an ablation; the side panel; each part alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from scripts.browser import find_browser

from .conftest import ARGUMENTS, write_notebook
from .explorer import ExplorerOnPage
from .notebook import NotebookPage
from .server import JupyterServer

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = {"wide": 1720, "narrow": 880}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

STUDY = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
scenes = mmkn.datasets.pocket_world("val").with_concept("car", 12)
study = mmkn.study(model, "car", scenes)
"""
SHOW = "explorer = mmkn.Explorer(study)\nexplorer"
BEFORE, AFTER = "a red car next to a tall tree", "a red house next to a tall tree"
#: part: the cell that shows it, after STUDY
PARTS = {
    "PatchHeatmap": """
top = study.neurons().top(8)
grids = study.maps([n.layer for n in top], [n.index for n in top], scene=0)
telea = mmkn.inpainting.get_inpainter("telea")
without = telea(scenes[0].image, scenes[0].mask("car"))
w.PatchHeatmap(scenes[0].image, grids, inpainted=without)""",
    "ThresholdPlane": "w.ThresholdPlane(study)",
    "NeuronTable": "w.NeuronTable(study, concept_forms=['car'])",
    "TokenStrip": """
tokens = model.token_maps(model.prepare(scenes[0].image))[0]
steps = zip(tokens.text, tokens.role, tokens.step)
w.TokenStrip(list(steps), range(len(tokens.text)), "position")""",
    "CaptionDiff": f"w.CaptionDiff({BEFORE!r}, {AFTER!r}, concept='car')",
    "MaskPainter": "w.MaskPainter(scenes[0].image, {'car': scenes[0].mask('car')})",
    "AblationPanel": "w.AblationPanel(study)",
}


def _page(browser: Browser, width: int, height: int) -> Page:
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(60_000)
    return context.new_page()


def _open(page: Page, server: JupyterServer, name: str, theme: str) -> NotebookPage:
    notebook = NotebookPage(page, server, name)
    notebook.command("apputils:change-theme", theme=theme)
    if server.app == "lab":
        notebook.command("application:toggle-left-area")  # the file browser
    notebook.run_all()
    return notebook


def _settle(page: Page) -> None:
    page.mouse.move(2, 2)
    page.wait_for_timeout(1200)


def _explorer(browser: Browser, server: JupyterServer, target: Path, kind: str, theme: str) -> None:
    page = _page(browser, WIDTHS[kind], 1300 if kind == "wide" else 2300)
    notebook = _open(page, server, "explorer.ipynb", THEMES[theme])
    notebook.scroll_to(1)
    explorer = ExplorerOnPage(page)
    _settle(page)
    explorer.root.screenshot(path=target / f"explorer_{kind}_{theme}.png")
    explorer.ablate.click()
    notebook.wait_for_python("explorer.caption_after")
    if kind == "wide":
        notebook.command("mmkn:show-panel")
    _settle(page)
    page.screenshot(path=target / f"explorer_ablated_{kind}_{theme}.png")
    notebook.close()


def _parts(browser: Browser, server: JupyterServer, target: Path, theme: str) -> None:
    page = _page(browser, 900, 1300)
    notebook = _open(page, server, "parts.ipynb", THEMES[theme])
    for cell, part in enumerate(PARTS, 1):
        notebook.scroll_to(cell)
        _settle(page)
        notebook.output(cell).locator(".mmkn").screenshot(path=target / f"part_{part}_{theme}.png")
    notebook.close()


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder = home / "notebooks"
        folder.mkdir()
        write_notebook(folder / "explorer.ipynb", [STUDY, SHOW])
        imports = "import mmkn_widgets.widgets as w\n"
        write_notebook(folder / "parts.ipynb", [imports + STUDY, *PARTS.values()])
        with JupyterServer(folder, home / "lab") as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
            for theme in THEMES:
                for kind in WIDTHS:
                    _explorer(browser, server, target, kind, theme)
                _parts(browser, server, target, theme)
            browser.close()
    for path in sorted(target.glob("*.png")):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "screenshots")

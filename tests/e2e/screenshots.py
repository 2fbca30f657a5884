"""Pictures of the widgets in a real JupyterLab: ``python -m tests.e2e.screenshots [FOLDER]``.

Light and dark: the Explorer by width, preset and state, and each part alone. The pictures that the
README shows are written anew too, small, into ``notebooks/images``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.browser import find_browser

from .conftest import ARGUMENTS, write_notebook
from .explorer import ExplorerOnPage
from .notebook import NotebookPage
from .server import JupyterServer

ROOT = Path(__file__).resolve().parents[2]
README_PICTURES = ROOT / "notebooks" / "images"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
WIDTHS = (1400, 1000, 600)
HEIGHT = 2600  # so that no part is ever out of sight

STUDY = """
import torch; torch.set_num_threads(1)
import mmkn_widgets as mmkn
import mmkn_widgets.widgets as w
model = mmkn.load_model("pocket")
val = mmkn.datasets.pocket_world("val")
scenes = val.with_concept("car", 12)
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
    "ConceptPair": "w.compare(study, mmkn.study(model, 'dog', val.with_concept('dog', 8)))",
    "StoreExplorer": """
pictures = [scene.image for scene in scenes[:4]]
mmkn.capture(model, pictures, generate=True).mmkn.explore(pictures)""",
}
#: where another object of the shown scene lies that the caption names: name, x, y as shares
OTHER = """(lambda words: next(
    [o.category, float(o.mask.nonzero()[1].mean() / o.mask.shape[1]),
     float(o.mask.nonzero()[0].mean() / o.mask.shape[0])]
    for o in explorer.study.scenes[explorer.scene].objects
    if o.category != 'car' and o.category in words)
)(explorer.caption_before.replace(',', '').split())"""
OWN = """
import io
out = io.BytesIO(); val.with_concept("dog", 1)[0].image.resize((192, 128)).save(out, "PNG")
"""


class Gallery:
    """One Explorer on a page, photographed as it is now."""

    def __init__(self, page: Page, notebook: NotebookPage, target: Path) -> None:
        self.page, self.notebook, self.target = page, notebook, target
        self.explorer = ExplorerOnPage(page)
        self.root = self.explorer.root
        box, whole = self.root.bounding_box(), page.viewport_size
        assert box is not None and whole is not None
        self._margin = whole["width"] - box["width"]

    def column(self, width: int) -> None:
        """Make the column of the notebook's outputs so wide."""
        self.page.set_viewport_size({"width": int(width + self._margin), "height": HEIGHT})
        self.page.wait_for_timeout(500)

    def shot(self, name: str, themes: Sequence[str] = tuple(THEMES), *, rest: bool = True) -> None:
        for theme in themes:
            self.notebook.command("apputils:change-theme", theme=THEMES[theme])
            if rest:
                self.page.mouse.move(2, 2)
            self.page.wait_for_timeout(500)
            self.root.screenshot(path=self.target / f"explorer_{name}_{theme}.png")

    def small(self, name: str, theme: str) -> None:
        """Write the shot as a picture for the README."""
        source = self.target / f"explorer_{name}_{theme}.png"
        picture = Image.open(BytesIO(source.read_bytes())).convert("RGB")
        README_PICTURES.mkdir(exist_ok=True)
        picture.save(README_PICTURES / f"explorer_{theme}.webp", quality=82, method=6)

    def python(self, code: str, until: str = "True") -> None:
        self.notebook.execute(code)
        self.notebook.wait_for_python(until)
        self.page.wait_for_timeout(600)


def _sizes(gallery: Gallery) -> None:
    for width in WIDTHS:
        gallery.column(width)
        gallery.shot(str(width))
    for preset in ("compact", "teaching"):
        gallery.python(f"explorer.preset = {preset!r}")
        for width in WIDTHS[1:]:
            gallery.column(width)
            gallery.shot(f"{preset}_{width}")
    gallery.python("explorer.preset = 'full'")
    gallery.column(WIDTHS[0])


def _heat(gallery: Gallery) -> None:
    root, page = gallery.root, gallery.page
    for kind in ("difference", "GradCAM"):
        root.get_by_role("radio", name=kind, exact=True).click()
        page.wait_for_timeout(1500)
        gallery.shot(f"heat_{kind}")
    root.locator(".trow").nth(2).click()
    root.get_by_role("button", name="where else?").click()
    root.locator(".shares .own").wait_for()
    root.get_by_role("button", name="also serve?").click()
    root.locator(".trow .also").first.wait_for()
    gallery.shot("neuron")
    root.get_by_role("radio", name="kept", exact=True).click()
    picture = root.locator(".a-picture canvas")
    picture.hover(position={"x": 60, "y": 200})
    page.wait_for_timeout(1500)
    gallery.shot("hover", ["light"], rest=False)


def _changes(gallery: Gallery) -> None:
    explorer, notebook, page = gallery.explorer, gallery.notebook, gallery.page
    gallery.python("import time; explorer._working('scoring', 5, 12, time.monotonic() - 3)")
    gallery.shot("computing")
    gallery.python("from mmkn_widgets.widgets.traits import READY; explorer.status = READY")
    explorer.ablate.click()
    notebook.wait_for_python("explorer.ablation['measured'] is not None")
    explorer.button("measure").click()
    notebook.wait_for_python("explorer.effect", 120)
    gallery.shot("ablated")
    for theme in THEMES:
        gallery.small("ablated", theme)
    notebook.command("mmkn:open-panel")
    gallery.page.set_viewport_size({"width": 1720, "height": 1100})
    for theme in THEMES:
        notebook.command("apputils:change-theme", theme=THEMES[theme])
        page.wait_for_timeout(600)
        page.screenshot(path=gallery.target / f"lab_{theme}.png")
    notebook.command("application:toggle-right-area")
    gallery.column(600)
    gallery.shot("ablated_600")
    gallery.column(1400)
    explorer.button("propose thresholds").click()
    notebook.wait_for_python("explorer.marks", 120)
    gallery.shot("proposed")
    explorer.button("restore all").click()
    notebook.wait_for_python("explorer.caption_after == ''")
    _, x, y = notebook.python(OTHER)
    picture = gallery.root.locator(".a-picture canvas").bounding_box()
    word = gallery.root.locator(".captions .word.concept").first.bounding_box()
    assert picture is not None and word is not None
    page.mouse.move(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"])
    page.mouse.down()
    page.mouse.move(word["x"] + word["width"] / 2, word["y"] + word["height"] / 2, steps=10)
    gallery.shot("carried", ["light"], rest=False)
    page.mouse.up()
    notebook.wait_for_python("explorer.transplanted is not None")
    gallery.shot("transplanted")
    explorer.button("restore all").click()
    gallery.python("explorer._show_study(study)")


def _edges(gallery: Gallery) -> None:
    root, notebook, page = gallery.root, gallery.notebook, gallery.page
    concept = root.locator(".a-top input").first
    concept.fill("zebra")
    concept.press("Enter")
    root.locator(".fault").wait_for()
    gallery.shot("error")
    root.locator(".fault button").click()
    concept.fill("car")
    gallery.python("explorer.threshold_d = 1e3")
    gallery.shot("nothing_kept")
    gallery.python("explorer.threshold_d, explorer.threshold_g = -1.0, -10.0")
    gallery.shot("everything_kept", ["light"])
    gallery.python("explorer._show_study(study)\n" + OWN)
    data = bytes.fromhex(notebook.python("out.getvalue().hex()"))
    file = {"name": "a long name of a picture.png", "mimeType": "image/png", "buffer": data}
    root.locator("input[type=file]").set_input_files(files=[file])  # type: ignore[list-item]
    notebook.wait_for_python("explorer.scene == 12")
    page.wait_for_timeout(1500)
    gallery.shot("own_picture")
    stage = root.locator(".a-without canvas").bounding_box()
    assert stage is not None
    page.mouse.move(stage["x"] + 60, stage["y"] + 60)
    page.mouse.down()
    page.mouse.move(stage["x"] + 110, stage["y"] + 90, steps=6)
    page.mouse.up()
    gallery.explorer.button("inpaint").click()
    notebook.wait_for_python("explorer.stale")
    gallery.shot("mask_painted")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    root.locator(".alert").wait_for()
    gallery.shot("restarted", ["light"])


def _explorer(browser: Browser, server: JupyterServer, target: Path) -> None:
    notebook = _open(browser, server, "explorer.ipynb", 1580)
    notebook.scroll_to(1)
    gallery = Gallery(notebook.page, notebook, target)
    for scene in (_sizes, _changes, _heat, _edges):
        scene(gallery)
    assert notebook.errors == []
    notebook.close()


def _parts(browser: Browser, server: JupyterServer, target: Path, theme: str) -> None:
    notebook = _open(browser, server, "parts.ipynb", 900)
    notebook.command("apputils:change-theme", theme=THEMES[theme])
    for cell, part in enumerate(PARTS, 1):
        notebook.scroll_to(cell)
        notebook.page.wait_for_timeout(1200)
        shown = notebook.output(cell).locator(".mmkn")
        shown.screenshot(path=target / f"part_{part}_{theme}.png")
    notebook.close()


def _open(browser: Browser, server: JupyterServer, name: str, width: int) -> NotebookPage:
    context = browser.new_context(viewport={"width": width, "height": HEIGHT})
    context.set_default_timeout(60_000)
    notebook = NotebookPage(context.new_page(), server, name)
    if server.app == "lab":
        notebook.command("application:toggle-left-area")  # the file browser
    notebook.run_all()
    return notebook


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder = home / "notebooks"
        folder.mkdir()
        write_notebook(folder / "explorer.ipynb", [STUDY, SHOW])
        write_notebook(folder / "parts.ipynb", [STUDY, *PARTS.values()])
        with JupyterServer(folder, home / "lab") as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
            _explorer(browser, server, target)
            for theme in THEMES:
                _parts(browser, server, target, theme)
            browser.close()
    for path in sorted(target.glob("*.png")):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "screenshots")

"""Draw the pictures of the documentation: ``python -m scripts.docs_pictures [plots] [cards]``.

Those of docs/concepts.md from the pocket model; those of docs/howto/plots.md by running the page's
own code, so that page and pictures cannot differ; the cards in a real JupyterLab. Every figure in
them is measured while it is drawn.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

import mmkn_widgets as mmkn

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "images"
PLOTS = ROOT / "docs" / "howto" / "plots.md"
INK, SOFT, BLUE, ORANGE, GREEN = "#1f2933", "#9aa5b1", "#0072b2", "#d55e00", "#009e73"
STYLE = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "figure.facecolor": "white",
}  # fmt: skip
#: of docs/concepts.md, drawn by the functions below
CONCEPTS = ("tokens.png", "patch_map.webp", "two_stage.png", "store.png")
#: picture -> rows of cards, each the last line of a cell
CARDS = {
    "cards_things": (("model", "scenes[0]"), ("val",), ("study",)),
    "cards_results": (("neurons", "model.interventions"), ("effect",), ("report",)),
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SETUP = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
val, test = mmkn.datasets.pocket_world("val"), mmkn.datasets.pocket_world("test")
scenes = val.with_concept("car", 8)
study = mmkn.study(model, "car", scenes, progress=False)
neurons = study.neurons(words=True)
cars, others = test.with_concept("car", 24), test.without_concept("car", 24)
effect = study.evaluate(neurons.top(6), cars, others, n_random=5, progress=False)
edit = mmkn.interventions.edit(model, neurons, "car", "bus", activation=study.evidence)
report = mmkn.evaluation.edit_report(edit, "car", "bus", [*cars, *others])
model.interventions.push(model.ablate(neurons, name="car off"))
model.interventions.push(model.ablate(neurons.top(3), "scale", scale=2.0, name="three louder"))
"""
_SCALE, _GAP = 1.5, 20


def keep(figure: Any, name: str) -> None:
    """Write a figure: as a PNG of at most 256 colours, or as WebP where it holds photographs."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)
    picture = Image.open(file).convert("RGB")
    if name.endswith(".webp"):
        picture.save(TARGET / name, quality=88, method=6)
    else:
        picture.quantize(256, dither=Image.Dither.NONE).save(TARGET / name, optimize=True)


# -- docs/concepts.md ------------------------------------------------------------------------


def tokens(model: Any, scene: Any, neuron: Any) -> Any:
    """Draw one neuron's activation over the sequence, and where the word is predicted."""
    store = mmkn.capture(model, scene.image, generate=True)
    values = store["activation"].sel(layer=neuron.layer, neuron=neuron.index).values
    role, text = store["role"].values.astype(str), store["token_text"].values.astype(str)
    colours = {"image": BLUE, "text": SOFT, "special": SOFT, "generated": ORANGE}
    wide = np.where(role == "image", 1.0, 1.9)  # words need room
    place = np.cumsum(wide) - wide / 2
    figure, ax = plt.subplots(figsize=(7.4, 2.5))
    ax.bar(place, values, color=[colours[one] for one in role], width=wide * 0.86)
    ax.axhline(0, color=SOFT, lw=0.6)
    shown = np.flatnonzero(role != "image")
    names = [text[n].strip() or "·" for n in shown]
    ax.set_xticks(place[shown], names, rotation=90, fontsize=7.5)
    for label, n in zip(ax.get_xticklabels(), shown, strict=True):
        label.set_color(ORANGE if role[n] == "generated" else INK)
    ax.set(xlim=(0, wide.sum()), ylabel=f"activation of L{neuron.layer}·{neuron.index}")
    ax.margins(y=0.12)
    top, found = float(values.max()), np.flatnonzero(role == "image")
    ax.text(place[found[0]], 1.04 * top, f"{len(found)} image tokens, each with a place on the "
            "picture", color=BLUE, va="bottom")  # fmt: skip
    before = next(n for n in shown if role[n] == "generated" and text[n].strip() == "car") - 1
    ax.annotate("predicts “car”", (place[before], values[before]), xytext=(-18, 2),
                textcoords="offset points", color=ORANGE, ha="right", va="center",
                arrowprops={"arrowstyle": "->", "color": ORANGE})  # fmt: skip
    return figure


def patch_map(study: Any, neurons: Any) -> Any:
    """Draw two neurons on one picture, and how well each map lies on the mask."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.6), layout="constrained")
    axes[0].imshow(study.scenes[0].image)
    axes[0].set_title("the picture", loc="left", fontsize=9)
    axes[0].set_axis_off()
    two = neurons.take([0, next(k for k, n in enumerate(neurons) if n.layer != neurons[0].layer)])
    for at, ax in enumerate(axes[1:]):
        one = two.take([at])
        study.plot.heatmap(0, one, ax=ax)
        grid = study.maps(one.rows(study.model), one.index, scene=0, signed=True)[0]
        overlap = mmkn.evaluation.heatmap_iou(grid, study.scenes[0].mask("car"))
        ax.set_title(f"L{one[0].layer}·{one[0].index}, IoU with the mask {overlap:.2f}", x=0,
                     ha="left", fontsize=9)  # fmt: skip
        ax.set_axis_off()
        bar = ax.figure.axes[-1]
        bar.set_ylabel("activation × sign", fontsize=8)
        bar.spines[:].set_visible(False)
    return figure


def two_stage(study: Any) -> Any:
    """Draw two thresholds, what passes the first and what passes both."""
    cuts = {"threshold_d": 2.0, "threshold_g": 1e-3}
    ax = study.plot.thresholds(**cuts, figsize=(5.2, 3.4))
    (right, top), (d, g) = (ax.get_xlim()[1], ax.get_ylim()[1]), cuts.values()
    ax.fill_between((d, right), g, top, color=ORANGE, alpha=0.1, lw=0, zorder=0)
    ax.set(xlim=(None, right), ylim=(None, top), xlabel="stage 1: activation difference",
           ylabel="stage 2: GradCAM score (nats)")  # fmt: skip
    return ax.figure


def store(model: Any, scenes: Any) -> Any:
    """Draw the dims of a store of three pictures."""
    made = mmkn.capture(model, [scene.image for scene in scenes[:3]])
    sizes = made.sizes
    figure, ax = plt.subplots(figsize=(6, 2.1))
    for image in range(sizes["image"]):
        x = image * 2.9
        for layer in range(sizes["layer"]):
            ax.add_patch(plt.Rectangle((x + layer * 0.13, layer * 0.12), 1.7, 1.1, fc="#e8f1f8",
                                       ec=BLUE, lw=0.8, zorder=10 - layer))  # fmt: skip
        ax.text(x + 0.85, -0.1, f"image {image}", ha="center", va="top", fontsize=9)
        ax.text(x + 0.65, 1.84, f"{sizes['layer']} layers", fontsize=8, va="center", color=BLUE)
        ax.text(x + 0.85, 0.55, f"{sizes['token']} tokens ×\n{sizes['neuron']} neurons",
                ha="center", va="center", fontsize=8, zorder=20)  # fmt: skip
    ax.set_xlim(-0.1, 8.6)
    ax.set_ylim(-0.35, 1.95)
    ax.set_axis_off()
    return figure


def concepts() -> None:
    """Draw the pictures of docs/concepts.md that are no plot of the package."""
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 8)
    study = mmkn.study(model, "car", scenes, progress=False)
    neurons = study.neurons()
    with mpl.rc_context(STYLE):
        rising = next(one for one, sign in zip(neurons, neurons.sign, strict=True) if sign > 0)
        drawn = (
            tokens(model, scenes[0], rising), patch_map(study, neurons), two_stage(study),
            store(model, scenes),
        )  # fmt: skip
        for name, figure in zip(CONCEPTS, drawn, strict=True):
            keep(figure, name)


# -- docs/howto/plots.md ---------------------------------------------------------------------


def drawn_by(page: str) -> Iterator[tuple[str, str | None]]:
    """Yield the Python blocks of a page, each with the picture that stands right below it."""
    for code, below in re.findall(r"(?ms)^```python\n(.*?)^```\s*(\S[^\n]*)?", page):
        found = re.match(r"!\[[^\]]*\]\(\.\./images/([\w.]+)\)", below)
        yield code, found[1] if found else None


def plots() -> None:
    """Run the page's code; what a block draws is the picture below it."""
    names: dict[str, Any] = {}
    for code, name in drawn_by(PLOTS.read_text(encoding="utf-8")):
        exec(compile(code, PLOTS.name, "exec"), names)
        if name is not None:
            keep(plt.gcf(), name)


# -- cards -----------------------------------------------------------------------------------


def _laid_out(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Put pictures of one ground in rows."""
    gap = round(_GAP * _SCALE)
    wide = max(sum(one.width + 2 * gap for one in row) for row in rows)
    high = sum(max(one.height for one in row) + gap for row in rows) + gap
    sheet = Image.new("RGB", (wide, high), rows[0][0].getpixel((1, 1)))
    y = gap
    for row in rows:
        x = gap
        for one in row:
            sheet.paste(one, (x, y))
            x += one.width + 2 * gap
        y += max(one.height for one in row) + gap
    return sheet


def cards() -> None:
    """Show the cards in JupyterLab, light and dark, and photograph them."""
    from playwright.sync_api import sync_playwright

    from scripts.browser import find_browser
    from tests.e2e.conftest import ARGUMENTS, write_notebook
    from tests.e2e.notebook import NotebookPage
    from tests.e2e.server import JupyterServer

    lines = [line for rows in CARDS.values() for row in rows for line in row]
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        home = Path(temporary)
        (home / "notebooks").mkdir()
        write_notebook(home / "notebooks" / "cards.ipynb", [SETUP, *lines])
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        with JupyterServer(home / "notebooks", home / "lab") as server:
            page = browser.new_page(
                viewport={"width": 940, "height": 2000}, device_scale_factor=_SCALE
            )
            notebook = NotebookPage(page, server, "cards.ipynb")
            notebook.command("application:toggle-left-area")
            notebook.run_all()
            for theme, name in THEMES.items():
                notebook.command("apputils:change-theme", theme=name)
                page.wait_for_timeout(1000)
                shots: dict[str, Image.Image] = {}
                for cell, line in enumerate(lines, 1):
                    notebook.scroll_to(cell)
                    page.wait_for_timeout(300)
                    card = notebook.output(cell).locator(".mmkn-repr")
                    box = card.evaluate(
                        """card => { const own = card.getBoundingClientRect();
                        const tables = [...card.querySelectorAll('table')];
                        const right = Math.max(...tables.map(t => t.getBoundingClientRect().right));
                        return {x: own.x, y: own.y, width: right - own.x, height: own.height}; }"""
                    )
                    shots[line] = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
                for picture, rows in CARDS.items():
                    sheet = _laid_out([[shots[line] for line in row] for row in rows])
                    sheet.save(TARGET / f"{picture}_{theme}.webp", quality=72, method=6)
        browser.close()


def pictures() -> set[str]:
    """Return the names of all that this draws."""
    page = PLOTS.read_text(encoding="utf-8")
    named = {name for _, name in drawn_by(page) if name is not None}
    return {*CONCEPTS, *named, *(f"{name}_{theme}.webp" for name in CARDS for theme in THEMES)}


def main(wanted: Sequence[str]) -> None:
    mpl.use("Agg")
    TARGET.mkdir(parents=True, exist_ok=True)
    if not wanted or "plots" in wanted:
        concepts()
        plots()
    if not wanted or "cards" in wanted:
        cards()
    for name in sorted(pictures()):
        print(name, f"{(TARGET / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])

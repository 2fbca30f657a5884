"""Draw the pictures of the documentation: ``python scripts/docs_pictures.py``.

Those of docs/concepts.md and docs/howto/plots.md, from the pocket model. Every figure in them is
measured while it is drawn. Written as palette PNGs into docs/images.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

import mmkn_widgets as mmkn

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images"
INK, SOFT, BLUE, ORANGE, GREEN = "#1f2933", "#9aa5b1", "#0072b2", "#d55e00", "#009e73"
mpl.rcParams |= {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "figure.facecolor": "white", "svg.fonttype": "none",
}  # fmt: skip


def keep(figure: Any, name: str) -> None:
    """Write a figure as a PNG of at most 256 colours."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)
    picture = Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    TARGET.mkdir(parents=True, exist_ok=True)
    picture.save(TARGET / f"{name}.png", optimize=True)


def photo(ax: Any, image: Any, title: str) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_axis_off()


def tokens(model: Any, scene: Any, neuron: Any) -> None:
    """One neuron's activation over the sequence, and where the word is predicted."""
    store = mmkn.capture(model, scene.image, generate=True)
    values = store["activation"].sel(layer=neuron.layer, neuron=neuron.index).values
    role, text = store["role"].values.astype(str), store["token_text"].values.astype(str)
    colours = {"image": BLUE, "text": SOFT, "special": SOFT, "generated": ORANGE}
    figure, ax = plt.subplots(figsize=(7.4, 2.3))
    ax.bar(range(len(values)), values, color=[colours[one] for one in role], width=0.9)
    ax.axhline(0, color=SOFT, lw=0.6)
    at = list(range(len(values)))
    shown = [n for n in at if role[n] != "image"]
    ax.set_xticks(shown, [text[n].strip() or "·" for n in shown], rotation=90, fontsize=7)
    ax.set_ylabel(f"activation of L{neuron.layer}·{neuron.index}")
    found = np.flatnonzero(role == "image")
    ax.annotate(f"{len(found)} image tokens, each with a place on the picture",
                (found.mean(), ax.get_ylim()[1]), ha="center", color=BLUE)  # fmt: skip
    before = next(n for n in at if role[n] == "generated" and text[n].strip() == "car") - 1
    ax.annotate("predicts “car”", (before, values[before]), xytext=(-26, 2),
                textcoords="offset points", color=ORANGE, ha="right", va="center",
                arrowprops={"arrowstyle": "->", "color": ORANGE})  # fmt: skip
    keep(figure, "tokens")


def pair(scene: Any, gone: Any) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.3))
    photo(axes[0], scene.image, "original")
    photo(axes[1], np.where(scene.mask("car"), 255, 40).astype(np.uint8), "mask of the car")
    axes[1].images[0].set_cmap("gray")
    photo(axes[2], gone, "inpainted")
    keep(figure, "pair")


def patch_map(study: Any, scene: Any, neurons: Any) -> None:
    top = neurons.top(8)
    maps = np.asarray(study.maps([n.layer for n in top], [n.index for n in top], scene=0))
    figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.3))
    photo(axes[0], scene.image, "the picture")
    for ax, grid, neuron in zip(axes[1:], maps, top, strict=False):
        photo(ax, scene.image, f"L{neuron.layer}·{neuron.index}")
        spread = mmkn.evaluation.heatmap_iou(grid, scene.mask("car"))
        painted = np.asarray(Image.fromarray(grid.astype(np.float32)).resize(
            scene.image.size, Image.Resampling.BILINEAR))  # fmt: skip
        bound = float(np.abs(painted).max())
        seen = np.clip(np.abs(painted) / bound * 1.6, 0, 0.85)  # where nothing is, the picture is
        ax.imshow(painted, cmap="RdBu_r", vmin=-bound, vmax=bound, alpha=seen)
        ax.text(0, 1.16 * scene.image.height, f"IoU with the mask {spread:.2f}", fontsize=8)
    keep(figure, "patch_map")


def two_stage(study: Any, neurons: Any) -> None:
    d = study.evidence["difference"].values.ravel()
    g = study.evidence["gradcam"].values.ravel()
    width = study.evidence.sizes["neuron"]
    kept = np.zeros(d.size, bool)
    kept[[n.layer * width + n.index for n in neurons]] = True
    cut_d, cut_g = d[kept].min(), g[kept].min()
    figure, ax = plt.subplots(figsize=(5.2, 3))
    floor = 1e-5
    ax.scatter(np.maximum(d[~kept], floor), g[~kept], s=5, color=SOFT, lw=0,
               label=f"{(~kept).sum():,} others")  # fmt: skip
    ax.scatter(d[kept], g[kept], s=12, color=ORANGE, lw=0, label=f"{kept.sum()} kept")
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1e-2)
    ax.axvline(cut_d, color=BLUE, lw=1)
    ax.axhline(cut_g, color=GREEN, lw=1)
    ax.text(cut_d, ax.get_ylim()[0], " threshold_d", color=BLUE, va="bottom", fontsize=8)
    ax.text(ax.get_xlim()[0], cut_g, " threshold_g", color=GREEN, va="bottom", fontsize=8)
    ax.set_xlabel("stage 1: activation difference")
    ax.set_ylabel("stage 2: GradCAM score")
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    keep(figure, "two_stage")


def effect(study: Any, neurons: Any) -> None:
    test = mmkn.datasets.pocket_world("test")
    found = study.evaluate(neurons, test.with_concept("car", 60), test.without_concept("car", 60))
    rows = [
        ("suppression", found.suppression, ORANGE),
        ("suppression, random neurons", found.random_control["mean"], SOFT),
        ("retention, same scenes", found.retention["scene"], BLUE),
        ("retention, other scenes", found.retention["other"], BLUE),
    ]
    figure, ax = plt.subplots(figsize=(5.4, 1.7))
    for place, (_, value, colour) in enumerate(rows[::-1]):
        ax.barh(place, value, color=colour, height=0.62)
        ax.text(value + 0.015, place, f"{value:.3f}", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows[::-1]])
    ax.set_xlim(0, 1.12)
    ax.set_xticks([0, 0.5, 1])
    keep(figure, "effect")


def layers(neurons: Any, model: Any) -> None:
    counts = neurons.layer_histogram()
    figure, ax = plt.subplots(figsize=(5.4, 1.5))
    names = [site.layer for site in model.sites]
    ax.bar(names, [counts.get(name, 0) for name in names], color=ORANGE, width=0.7)
    ax.set_xticks(names)
    ax.set_xlabel("layer")
    ax.set_ylabel("neurons")
    keep(figure, "layers")


def store(model: Any, scenes: Any) -> None:
    made = mmkn.capture(model, [scene.image for scene in scenes[:3]])
    sizes = made.sizes
    figure, ax = plt.subplots(figsize=(6, 2.1))
    for image in range(sizes["image"]):
        x = image * 2.9
        for layer in range(sizes["layer"]):
            ax.add_patch(plt.Rectangle((x + layer * 0.13, layer * 0.12), 1.7, 1.1, fc="#e8f1f8",
                                       ec=BLUE, lw=0.8, zorder=10 - layer))  # fmt: skip
        ax.text(x + 0.85, -0.1, f"image {image}", ha="center", va="top", fontsize=8)
    ax.text(0.85, 0.55, f"{sizes['token']} tokens ×\n{sizes['neuron']} neurons", ha="center",
            va="center", fontsize=8, zorder=20)  # fmt: skip
    ax.text(0.65, 1.84, f"{sizes['layer']} layers", fontsize=8, va="center", color=BLUE)
    ax.set_xlim(-0.1, 8.6)
    ax.set_ylim(-0.35, 1.95)
    ax.set_axis_off()
    keep(figure, "store")


def plots(study: Any) -> None:
    """What `study.plot` draws by itself."""
    keep(study.plot.thresholds().figure, "plot_thresholds")
    keep(study.plot.layers().figure, "plot_layers")
    keep(study.plot.heatmap(0).figure, "plot_heatmap")
    study.plot.pair(0)
    keep(plt.gcf(), "plot_pair")


def main() -> None:
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 12)
    study = mmkn.study(model, "car", scenes)
    neurons, scene = study.neurons(), scenes[0]
    telea = mmkn.inpainting.get_inpainter("telea")
    tokens(model, scene, neurons[0])
    pair(scene, telea(scene.image, scene.mask("car")))
    patch_map(study, scene, neurons)
    two_stage(study, neurons)
    layers(neurons, model)
    effect(study, neurons)
    store(model, scenes)
    plots(study)
    for path in sorted(TARGET.glob("*.png")):
        print(path.name, f"{path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

"""What a study shows on matplotlib Axes: ``study.plot.thresholds()`` and its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import (
    COLORS,
    axes_for,
    bad_argument,
    counted,
    label_axes,
    legend_beside,
    open_frame,
    points_of,
    shade,
    shortened,
    wrapped,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from PIL.Image import Image

    from ..attribution import NeuronSet
    from ..core import Concept
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["Plotted", "StudyPlots", "plot_compared"]

_Size = tuple[float, float]
_UNITS = {"nats": "nats", "logit": "logits"}


class Plotted(Protocol):
    """What the plots ask of a study."""

    model: MultimodalModel
    concept: Concept
    evidence: xr.Dataset
    scenes: tuple[Scene, ...]
    options: dict[str, Any]

    def neurons(self) -> NeuronSet:
        """Return the default set."""

    def caption(self, scene: int) -> str:
        """Return a scene's caption."""

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return a scene with and without the concept."""

    def has_pair(self, scene: int) -> bool:
        """Return whether there is a mask."""

    def maps(self, rows: Any, indices: Any, *, scene: int, signed: bool = False) -> np.ndarray:
        """Return the neurons' activations over the picture."""

    def doses(self, *args: Any, **options: Any) -> xr.Dataset:
        """Return the effect by number of neurons."""


class StudyPlots:
    """The plots of a study; each takes ``ax=`` or ``figsize=`` (inches) and returns the Axes.

    Parameters
    ----------
    study : Study

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> study.plot.layers().get_ylabel()
    'neurons'
    >>> study.plot
    <plots of <Study 'car' ...>: dose, heatmap, layers, pair, thresholds>
    """

    def __init__(self, study: Plotted) -> None:
        self._study = study

    def __repr__(self) -> str:
        names = sorted(name for name in vars(type(self)) if not name.startswith("_"))
        return f"<plots of {self._study!r}: {', '.join(names)}>"

    def __call__(self, **options: Any) -> Axes:
        """Draw `thresholds`, as ``array.plot()`` draws what suits an array."""
        return self.thresholds(**options)

    def layers(
        self,
        neurons: NeuronSet | None = None,
        *,
        ax: Axes | None = None,
        figsize: _Size | None = None,
    ) -> Axes:
        """Draw how many neurons each layer holds, beside an even spread of as many.

        Parameters
        ----------
        neurons : NeuronSet, optional
            By default ``study.neurons()``.
        ax, figsize
            See the class.
        """
        from matplotlib.ticker import MaxNLocator

        chosen = self._chosen(neurons)
        axes = axes_for(ax, figsize, (5.0, 2.8))
        layers = sorted(set(self._study.evidence["layer"].values.tolist()))
        held = chosen.layer_histogram()
        heights = [held.get(layer, 0) for layer in layers]
        drawn = axes.bar(layers, heights, color=COLORS["blue"], width=0.8)
        if len(layers) <= 16:
            axes.bar_label(drawn, fontsize="small", padding=1)
            axes.set_xticks(layers)
        finite = np.isfinite(self._study.evidence["difference"].values).sum(1)
        rows = self._study.evidence["layer"].values
        share = [float(finite[rows == layer].sum()) / max(int(finite.sum()), 1) for layer in layers]
        even = np.asarray(share) * len(chosen)
        axes.plot(
            layers, even, color=COLORS["red"], linestyle=":", marker="_", markersize=11,
            markeredgewidth=1.6, linewidth=1, label="drawn from all layers alike",
        )  # fmt: skip
        aside = 0.7 if len(layers) > 1 else 2.0
        axes.set(
            xlim=(layers[0] - aside, layers[-1] + aside), ylim=(0, 1.2 * max(*heights, *even, 1))
        )  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.legend(frameon=False, fontsize="small")
        open_frame(axes, "y")
        label_axes(
            axes, xlabel="layer (0: nearest the input)", ylabel="neurons",
            title=f"{counted(len(chosen), 'neuron')} of {self._word}",
        )  # fmt: skip
        return axes

    def thresholds(
        self,
        neurons: NeuronSet | None = None,
        *,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        ax: Axes | None = None,
        figsize: _Size | None = None,
    ) -> Axes:
        """Draw every neuron by its two scores, and which are kept.

        Parameters
        ----------
        neurons : NeuronSet, optional
            Those that are marked; by default what the thresholds keep, without thresholds
            ``study.neurons()``.
        threshold_d, threshold_g : float, optional
            Drawn as lines, in the units of the evidence.
        ax, figsize
            See the class.
        """
        study: Any = self._study
        if neurons is None and not (threshold_d is None and threshold_g is None):
            neurons = study.neurons(threshold_d=threshold_d, threshold_g=threshold_g)
        chosen = self._chosen(neurons)
        axes = axes_for(ax, figsize, (5.2, 3.8))
        evidence = self._study.evidence
        d, g = evidence["difference"].values, evidence["gradcam"].values
        kept = chosen.mask(self._study.model)
        others = ~kept & np.isfinite(d) & np.isfinite(g)
        axes.scatter(
            d[others], g[others], s=7, color=COLORS["grey"], alpha=0.35, linewidths=0,
            rasterized=True, label=f"others ({int(others.sum()):,})",
        )  # fmt: skip
        axes.scatter(
            d[kept], g[kept], s=14, color=COLORS["red"], marker="D", linewidths=0,
            label=f"kept ({int(kept.sum()):,})",
        )  # fmt: skip
        _both_ways(axes, "x", d[others | kept])
        _both_ways(axes, "y", g[others | kept])
        for name, value, draw, style in (
            ("threshold_d", threshold_d, axes.axvline, "--"),
            ("threshold_g", threshold_g, axes.axhline, ":"),
        ):
            if value is not None:
                draw(
                    value, color=COLORS["blue"], linewidth=1.3, linestyle=style,
                    label=f"{name} {value:.3g}",
                )  # fmt: skip
        signed = self._study.options["difference"] == "signed"
        units = _UNITS.get(str(evidence.attrs.get("units")), "units of y")
        pairs = evidence.sizes.get("scene", len(self._study.scenes))
        axes.legend(
            framealpha=0.85,
            edgecolor="none",
            fontsize="small",
            handletextpad=0.3,
            loc="upper left" if threshold_g is None else "lower left",
        )
        open_frame(axes)
        label_axes(
            axes,
            xlabel=("signed" if signed else "absolute") + " activation difference (activation)",
            ylabel=f"activation × gradient ({units})",
            title=f"{self._word}: {counted(int((others | kept).sum()), 'neuron')}, "
            + (f"mean of {pairs:,} pairs" if pairs != 1 else "one pair"),
        )
        return axes

    def heatmap(
        self,
        scene: int = 0,
        neurons: NeuronSet | None = None,
        *,
        signed: bool = True,
        opacity: float = 0.65,
        cmap: str = "cividis",
        ax: Axes | None = None,
        figsize: _Size | None = None,
    ) -> Axes:
        """Draw where on a picture the neurons fire: their mean activation over the patches.

        Parameters
        ----------
        scene : int
            Which of the study's scenes.
        neurons : NeuronSet, optional
            At least one; by default ``study.neurons()``.
        signed : bool
            Multiply each neuron's map by the sign of its mean activation where the word is
            predicted: neurons that mean the word by being negative would cancel the others.
        opacity : float
            Of the map, 0 to 1.
        cmap : str
            A matplotlib colour map; ``"cividis"`` reads the same to colour-blind people.
        ax, figsize
            See the class.
        """
        chosen = self._chosen(neurons)
        if not len(chosen):
            raise bad_argument("neurons", chosen, "at least one neuron")
        place = self._place(scene)
        rows = chosen.rows(self._study.model)
        mean = self._study.maps(rows, chosen.index, scene=place, signed=signed).mean(0)
        picture = self._study.pictures(place)[0]
        tall = picture.height / picture.width
        axes = axes_for(ax, figsize, (4.4, float(np.clip(0.75 + 2.85 * tall, 1.8, 5.5))))
        extent = (0, picture.width, picture.height, 0)
        axes.imshow(picture.convert("L"), cmap="gray", extent=extent, vmin=0, vmax=255)
        shown = axes.imshow(mean, cmap=cmap, alpha=opacity, extent=extent, interpolation="bilinear")
        if self._study.has_pair(place):
            from ..attribution import scene_mask

            mask = scene_mask(self._study.scenes[place], self._study.concept)
            for color, width in (("black", 2.6), ("white", 1.2)):  # seen on dark and on light
                axes.contour(
                    mask.astype(float), levels=[0.5], colors=color, linewidths=width,
                    extent=extent, origin="upper",
                )  # fmt: skip
        bar = axes.figure.colorbar(
            shown, ax=axes, fraction=0.046 * min(tall, 1), aspect=20 * max(tall, 1), pad=0.03
        )  # fmt: skip
        bar.set_label("mean activation × sign" if signed else "mean activation")
        bar.ax.tick_params(labelsize="small")
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        axes.tick_params(labelsize="small")
        width, height = points_of(axes)
        label_axes(
            axes, xlabel="pixels", ylabel="pixels", margin=max(0.0, width - height / tall) / 2,
            title=f"{counted(len(chosen), 'neuron')} of {self._word}, "
            f"scene {shortened(str(self._study.scenes[place].id), 20)}",
        )  # fmt: skip
        return axes

    def pair(self, scene: int = 0, *, ax: Axes | None = None, figsize: _Size | None = None) -> Axes:
        """Draw a scene, its mask and the scene without the concept, with both captions.

        Parameters
        ----------
        scene : int
            Which of the study's scenes.
        ax, figsize
            See the class.

        Raises
        ------
        BadArgument
            If the scene has no mask of the concept.
        """
        place = self._place(scene)
        if not self._study.has_pair(place):
            raise bad_argument("scene", scene, f"a scene with a mask of {self._word}")
        from ..attribution import scene_mask

        original, gone = self._study.pictures(place)
        model = self._study.model
        with model.interventions.suspended():
            after = str(model.caption(gone, self._study.options["prompt"]))
        mask = scene_mask(self._study.scenes[place], self._study.concept)
        axes = axes_for(ax, figsize, (7.2, 3.0))
        told = {
            "original": (original, self._study.caption(place)),
            "mask": (shade(original, mask), f"{mask.mean():.1%} of the pixels"),
            "inpainted": (gone, after),
        }
        _three_panels(axes, told, original.size)
        return axes

    def dose(
        self,
        with_concept: Any = None,
        without_concept: Any = (),
        *,
        measured: xr.Dataset | None = None,
        ax: Axes | None = None,
        figsize: _Size | None = None,
        **options: Any,
    ) -> Axes:
        """Draw what switching off more and more neurons does, beside random neurons.

        Parameters
        ----------
        with_concept, without_concept
            As for `Study.doses`: scenes that chose nothing.
        measured : xarray.Dataset, optional
            What `Study.doses` has returned, instead of scenes.
        ax, figsize
            See the class.
        **options
            Of `Study.doses`.
        """
        if (measured is None) == (with_concept is None):
            raise bad_argument("with_concept", with_concept, "scenes, or measured=study.doses(...)")
        if measured is None:
            measured = self._study.doses(with_concept, without_concept, **options)
        return _plot_doses(measured, axes_for(ax, figsize, (5.6, 3.4)))

    @property
    def _word(self) -> str:
        return repr(shortened(self._study.concept.word))

    def _chosen(self, neurons: NeuronSet | None) -> NeuronSet:
        return self._study.neurons() if neurons is None else neurons

    def _place(self, scene: int) -> int:
        total = len(self._study.scenes)
        if isinstance(scene, bool) or not isinstance(scene, int | np.integer):
            raise bad_argument("scene", scene, f"a number from 0 to {total - 1}")
        if not -total <= scene < total:
            raise bad_argument("scene", scene, f"a number from 0 to {total - 1}")
        return int(scene) % total


def _both_ways(axes: Axes, which: str, values: np.ndarray) -> None:
    """Make an axis logarithmic to both sides of 0, with as many ticks as there is room for.

    Straight, without a seam, below a size which a tenth of the neurons exceed tenfold.
    """
    known = np.abs(values[np.isfinite(values)])
    positive = known[known > 0]
    if not positive.size:
        return
    low = int(np.floor(np.log10(max(np.quantile(positive, 0.9) / 10, 1e-12))))
    high = max(int(np.ceil(np.log10(positive.max()))), low + 1)
    sides = (-1, 1) if (values < 0).any() else (1,)
    room, label = (0.85 * points_of(axes)[0], 34) if which == "x" else (points_of(axes)[1], 17)
    points = room / (len(sides) * np.arcsinh(10.0 ** (high - low)))  # of one unit of arcsinh
    step = max(1, int(np.ceil(label / (points * np.log(10)))))
    powers = [
        power for power in range(high, low - 1, -step)
        if points * np.arcsinh(10.0 ** (power - low)) >= label
    ]  # fmt: skip
    ticks = sorted({0.0, *(side * 10.0**power for power in powers for side in sides)})
    (axes.set_xscale if which == "x" else axes.set_yscale)("asinh", linear_width=10.0**low)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(ticks, ["0" if not tick else _power(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def _power(tick: float) -> str:
    return f"${'-' if tick < 0 else ''}10^{{{round(np.log10(abs(tick)))}}}$"


def _three_panels(
    axes: Axes, told: dict[str, tuple[Image, str]], size: tuple[int, int], font: float = 8.0
) -> None:
    """Draw pictures of one size side by side, each with its name above and a text below."""
    width, height = size
    gap, line = max(2, width // 16), 1.3 * font
    whole = len(told) * width + (len(told) - 1) * gap
    room_x, room_y = points_of(axes)
    room_x, room_y = room_x * 1.2, room_y * 1.2  # the usual margins have nothing to hold here
    scale = room_x / whole  # points of a pixel
    least, below = min(scale, 0.55 * room_y / height), 0.0
    for _ in range(4):  # smaller pictures have longer texts below
        scale = max(min(scale, (room_y - below - 2 * line) / height), least)
        texts = {name: wrapped(text, width * scale, font) for name, (_, text) in told.items()}
        below = line * (1 + max(text.count("\n") + 1 for text in texts.values()))
    for at, (name, (panel, _)) in enumerate(told.items()):
        left = at * (width + gap)
        axes.imshow(panel.convert("RGB"), extent=(left, left + width, height, 0))
        axes.text(left, -0.3 * font / scale, name, va="bottom", fontsize=font, fontweight="bold")
        axes.text(
            left, height + 0.5 * font / scale, texts[name], va="top", fontsize=font,
            linespacing=1.25,
        )  # fmt: skip
    below = min(below, max(room_y - 2 * line - height * scale, line))
    axes.set(xlim=(0, whole), ylim=(height + below / scale, -2 * line / scale))
    axes.set_aspect("equal")
    axes.set_axis_off()


def _plot_doses(measured: xr.Dataset, axes: Axes) -> Axes:
    count = measured["count"].values
    low, high = (measured[f"suppression_{end}"].values for end in ("low", "high"))
    if np.isfinite(low).any():
        axes.fill_between(
            count, low, high, color=COLORS["blue"], alpha=0.18, linewidth=0,
            label="its 95% interval", zorder=1,
        )  # fmt: skip
    lines: Sequence[tuple[str, str, str, Any]] = (
        ("suppression", COLORS["blue"], "o", "-"),
        ("retention", COLORS["green"], "s", "-"),
        ("substitution", COLORS["orange"], "^", (0, (4, 2))),
    )
    for name, color, marker, style in lines:
        if np.isfinite(measured[name].values).any():
            axes.plot(
                count, measured[name], color=color, marker=marker, linestyle=style, markersize=4.5,
                linewidth=1.6, label=name, zorder=3 if name == "suppression" else 2.5,
                clip_on=False,
            )  # fmt: skip
    random = measured["random"].values
    if np.isfinite(random).any():
        axes.fill_between(
            count, random.min(1), random.max(1), color=COLORS["grey"], alpha=0.25, linewidth=0
        )
        axes.plot(
            count, random.mean(1), color=COLORS["grey"], marker="x", linestyle=":", markersize=4.5,
            linewidth=1.4, label=f"suppression, {random.shape[1]} × random",
        )  # fmt: skip
    axes.set_xscale("log")
    spread = max(float(count.max() / count.min()), 1.2) ** 0.04
    axes.set(xlim=(count.min() / spread, count.max() * spread), ylim=(-0.03, 1.05))
    shown = _told_apart(count, points_of(axes)[0])
    axes.set_xticks(count, [f"{n}" if n in shown else "" for n in count.tolist()])
    axes.minorticks_off()
    open_frame(axes, "y")
    named, without = measured.attrs["named"], measured.attrs["scenes_without"]
    label_axes(
        axes,
        xlabel="neurons switched off, best first",
        ylabel="share (0 to 1)",
        title=f"{shortened(str(measured.attrs['concept']))!r}: {counted(named, 'caption')} naming "
        f"it, {counted(without, 'scene')} without",
    )
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda at: _DOSE_ORDER.get(names[at], 9))
    legend_beside(axes, [handles[at] for at in order])
    return axes


_DOSE_ORDER = {"suppression": 0, "its 95% interval": 1, "retention": 2, "substitution": 3}


def _told_apart(count: np.ndarray, room: float, apart: float = 17.0) -> set[int]:
    """Return the counts whose numbers have so many points between them: the last one, and so on."""
    place = np.log(count) / max(float(np.log(count.max() / count.min())), 1e-9) * room
    shown: list[int] = []
    for at in np.argsort(-count):
        if not shown or place[shown[-1]] - place[at] >= apart:
            shown.append(int(at))
    return {int(count[at]) for at in shown}


def plot_compared(
    a: Plotted,
    b: Plotted,
    neurons_a: NeuronSet | None = None,
    neurons_b: NeuronSet | None = None,
    *,
    ax: Axes | None = None,
    figsize: _Size | None = None,
) -> Axes:
    """Draw every neuron by its stage-2 score for two concepts of one model.

    Parameters
    ----------
    a, b : Study
    neurons_a, neurons_b : NeuronSet, optional
        By default ``study.neurons()`` of each.
    ax : matplotlib.axes.Axes, optional
    figsize : (float, float), optional
        Inches.

    Returns
    -------
    matplotlib.axes.Axes
        The title says how many neurons both would share if each were drawn at random from the
        layers that it lies in.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> car, bus = (mmkn.study(model, w, val.with_concept(w, 2)) for w in ("car", "bus"))
    >>> plot_compared(car, bus).get_xlabel()
    "activation × gradient of 'car' (nats)"
    """
    chosen = [
        study.neurons() if given is None else given
        for study, given in ((a, neurons_a), (b, neurons_b))
    ]
    scores = [study.evidence["gradcam"].values for study in (a, b)]
    if scores[0].shape != scores[1].shape:
        raise bad_argument("b", f"scores of shape {scores[1].shape}", f"shape {scores[0].shape}")
    mask_a, mask_b = (one.mask(a.model) for one in chosen)
    known = np.isfinite(scores[0]) & np.isfinite(scores[1])
    axes = axes_for(ax, figsize, (5.8, 4.0))
    x, y = scores
    words = [shortened(study.concept.word, 18) for study in (a, b)]
    parts = (
        (known & ~mask_a & ~mask_b, "others", COLORS["grey"], "o", 6, 0.3),
        (mask_a & ~mask_b, f"{words[0]} alone", COLORS["blue"], "o", 16, 0.9),
        (mask_b & ~mask_a, f"{words[1]} alone", COLORS["orange"], "s", 16, 0.9),
        (mask_a & mask_b, "both", COLORS["red"], "D", 24, 1.0),
    )
    for part, name, color, marker, size, alpha in parts:
        axes.scatter(
            x[part], y[part], s=size, color=color, marker=marker, alpha=alpha, linewidths=0,
            label=f"{name} ({int(part.sum()):,})", rasterized=name == "others",
        )  # fmt: skip
    _both_ways(axes, "x", x[known])
    _both_ways(axes, "y", y[known])
    width = known.sum(1)
    chance = float((mask_a.sum(1) * mask_b.sum(1) / np.maximum(width, 1)).sum())
    units = [_UNITS.get(str(study.evidence.attrs.get("units")), "units of y") for study in (a, b)]
    open_frame(axes)
    label_axes(
        axes,
        xlabel=f"activation × gradient of {words[0]!r} ({units[0]})",
        ylabel=f"activation × gradient of {words[1]!r} ({units[1]})",
        title=f"{int((mask_a & mask_b).sum())} shared; by chance, same layers: {chance:.1f}",
    )
    legend_beside(axes)
    return axes

"""What a study shows on matplotlib Axes: ``study.plot.thresholds()`` and its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import COLORS, axes_for, bad_argument, open_frame, shade

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
        chosen = self._chosen(neurons)
        axes = axes_for(ax, figsize, (5.0, 2.8))
        layers = sorted(set(self._study.evidence["layer"].values.tolist()))
        held = chosen.layer_histogram()
        heights = [held.get(layer, 0) for layer in layers]
        drawn = axes.bar(layers, heights, color=COLORS["blue"], width=0.8)
        if len(layers) <= 16:
            axes.bar_label(drawn, fontsize=8, padding=1)
            axes.set_xticks(layers)
        finite = np.isfinite(self._study.evidence["difference"].values).sum(1)
        rows = self._study.evidence["layer"].values
        share = [float(finite[rows == layer].sum()) / max(int(finite.sum()), 1) for layer in layers]
        even = np.asarray(share) * len(chosen)
        axes.plot(
            layers, even, color=COLORS["red"], linestyle="--", marker="_", linewidth=1.2,
            label="drawn from all layers alike",
        )  # fmt: skip
        axes.set(
            xlabel="layer (0: nearest the input)",
            ylabel="neurons",
            title=f"{len(chosen)} neurons of {self._word}",
        )
        axes.legend(frameon=False, fontsize=8)
        axes.margins(y=0.15)
        open_frame(axes, "y")
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
        for value, draw in ((threshold_d, axes.axvline), (threshold_g, axes.axhline)):
            if value is not None:
                draw(value, color=COLORS["blue"], linewidth=1.2, linestyle="--")
        signed = self._study.options["difference"] == "signed"
        units = _UNITS.get(str(evidence.attrs.get("units")), "units of y")
        axes.set(
            xlabel=("signed" if signed else "absolute") + " activation difference (activation)",
            ylabel=f"activation × gradient ({units})",
            title=f"{self._word}: {int((others | kept).sum()):,} neurons, "
            f"mean of {evidence.sizes.get('scene', len(self._study.scenes))} pairs",
        )
        axes.legend(framealpha=0.85, edgecolor="none", fontsize=8, loc="upper left")
        open_frame(axes)
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
        axes = axes_for(ax, figsize, (4.4, 3.6))
        extent = (0, picture.width, picture.height, 0)
        axes.imshow(picture.convert("L"), cmap="gray", extent=extent, vmin=0, vmax=255)
        shown = axes.imshow(mean, cmap=cmap, alpha=opacity, extent=extent, interpolation="bilinear")
        if self._study.has_pair(place):
            from ..attribution import scene_mask

            mask = scene_mask(self._study.scenes[place], self._study.concept)
            axes.contour(
                mask.astype(float), levels=[0.5], colors="white", linewidths=1.4, extent=extent,
                origin="upper",
            )  # fmt: skip
        bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("mean activation × sign" if signed else "mean activation")
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        axes.set(
            xlabel="pixels", ylabel="pixels",
            title=f"{len(chosen)} neurons of {self._word}, scene {self._study.scenes[place].id}",
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
        width, height = original.size
        gap = max(2, width // 16)
        told = {
            "original": (original, self._study.caption(place)),
            "mask": (shade(original, mask), f"{mask.mean():.1%} of the pixels"),
            "inpainted": (gone, after),
        }
        for at, (name, (panel, text)) in enumerate(told.items()):
            left = at * (width + gap)
            axes.imshow(panel.convert("RGB"), extent=(left, left + width, height, 0))
            axes.text(left, -0.03 * height, name, va="bottom", fontsize=9, fontweight="bold")
            axes.text(
                left, 1.04 * height, _wrapped(text, 30), va="top", fontsize=8, linespacing=1.25
            )
        axes.set(xlim=(0, 3 * width + 2 * gap), ylim=(1.42 * height, -0.12 * height))
        axes.set_aspect("equal")
        axes.set_axis_off()
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
        return repr(self._study.concept.word)

    def _chosen(self, neurons: NeuronSet | None) -> NeuronSet:
        return self._study.neurons() if neurons is None else neurons

    def _place(self, scene: int) -> int:
        total = len(self._study.scenes)
        if isinstance(scene, bool) or not isinstance(scene, int | np.integer):
            raise bad_argument("scene", scene, f"a number from 0 to {total - 1}")
        if not -total <= scene < total:
            raise bad_argument("scene", scene, f"a number from 0 to {total - 1}")
        return int(scene) % total


def _both_ways(axes: Axes, which: str, values: np.ndarray, most: int = 4) -> None:
    """Make an axis logarithmic to both sides of 0, with about `most` ticks on each.

    Straight below a size which a tenth of the neurons exceed tenfold.
    """
    known = np.abs(values[np.isfinite(values)])
    positive = known[known > 0]
    if not positive.size:
        return
    low = int(np.floor(np.log10(max(np.quantile(positive, 0.9) / 10, 1e-12))))
    high = max(int(np.ceil(np.log10(positive.max()))), low + 1)
    powers = range(high, low - 1, -max(1, round((high - low) / most)))
    sides = (-1, 1) if (values < 0).any() else (1,)
    ticks = sorted({0.0, *(side * 10.0**power for power in powers for side in sides)})
    (axes.set_xscale if which == "x" else axes.set_yscale)("symlog", linthresh=10.0**low)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(ticks)
    axis.set_ticks([], minor=True)


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _plot_doses(measured: xr.Dataset, axes: Axes) -> Axes:
    count = measured["count"].values
    axes.fill_between(
        count, measured["suppression_low"], measured["suppression_high"],
        color=COLORS["blue"], alpha=0.18, linewidth=0,
    )  # fmt: skip
    lines: Sequence[tuple[str, str, str, str]] = (
        ("suppression", COLORS["blue"], "o", "-"),
        ("retention", COLORS["green"], "s", "-"),
        ("substitution", COLORS["orange"], "^", "-"),
    )
    for name, color, marker, style in lines:
        if np.isfinite(measured[name].values).any():
            axes.plot(
                count, measured[name], color=color, marker=marker, linestyle=style, markersize=4.5,
                linewidth=1.6, label=name,
            )  # fmt: skip
    random = measured["random"].values
    if np.isfinite(random).any():
        axes.fill_between(
            count, random.min(1), random.max(1), color=COLORS["grey"], alpha=0.25, linewidth=0
        )
        axes.plot(
            count, random.mean(1), color=COLORS["grey"], marker="x", linestyle="--", markersize=4.5,
            linewidth=1.4, label=f"suppression, {random.shape[1]} × random",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(count, [str(n) for n in count])
    axes.minorticks_off()
    axes.set(
        xlabel="neurons switched off, best first",
        ylabel="share (0 to 1)",
        ylim=(-0.03, 1.05),
        title=f"{measured.attrs['concept']!r}: {measured.attrs['named']} captions that name it, "
        f"{measured.attrs['scenes_without']} scenes without",
    )
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    open_frame(axes, "y")
    return axes


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
    words = [study.concept.word for study in (a, b)]
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
    _both_ways(axes, "x", x[known], most=2)
    _both_ways(axes, "y", y[known])
    width = known.sum(1)
    chance = float((mask_a.sum(1) * mask_b.sum(1) / np.maximum(width, 1)).sum())
    units = [_UNITS.get(str(study.evidence.attrs.get("units")), "units of y") for study in (a, b)]
    axes.set(
        xlabel=f"activation × gradient of {words[0]!r} ({units[0]})",
        ylabel=f"activation × gradient of {words[1]!r} ({units[1]})",
        title=f"{int((mask_a & mask_b).sum())} shared; by chance, same layers: {chance:.1f}",
    )
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    open_frame(axes)
    return axes

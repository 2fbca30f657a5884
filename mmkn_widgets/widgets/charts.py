"""Charts (bqplot) and plain controls for dashboards of one's own, linked by the Explorer's traits.

Every chart is an ordinary ipywidget with the traits ``threshold_d`` and ``threshold_g``:
``traitlets.link((chart, "threshold_d"), (explorer, "threshold_d"))`` keeps two in step. The arrays
stay in the kernel; only bars and points travel.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bqplot
import ipywidgets
import numpy as np
import traitlets

from ..attribution import CANDIDATES, passes, quantile_threshold
from ..core import bad_argument

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FrontierChart",
    "LayerChart",
    "MethodChart",
    "ScoreHistogram",
    "threshold_controls",
]

_ACCENT, _QUIET, _GOOD = "#2f5fd0", "#9aa3b2", "#1a7f4b"
_MARGIN = {"top": 30, "bottom": 42, "left": 56, "right": 18}
#: charts side by side in an HBox share its width; a figure is wider than it says by its toolbar
_SHARE = {"flex": "1 1 280px", "min_width": "0", "overflow": "hidden"}
_HEIGHT = 260
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Ticks:
    """Where an axis has its ticks, and what they are called; every label is the tick's value.

    Attributes
    ----------
    values : tuple of float
    labels : tuple of str
    """

    values: tuple[float, ...]
    labels: tuple[str, ...]

    def put(self, axis: bqplot.Axis) -> None:
        """Give them to an axis of bqplot."""
        axis.tick_values = np.asarray(self.values, float)
        # JavaScript looks the label up by the number as it writes it: 1 and not 1.0
        axis.tick_labels = {
            str(int(value)) if float(value).is_integer() else repr(float(value)): label
            for value, label in zip(self.values, self.labels, strict=True)
        }


def nice_ticks(low: float, high: float, most: int = 5, *, whole: bool = False) -> Ticks:
    """Return round ticks inside a range, written with as many digits as they need.

    Parameters
    ----------
    low, high : float
    most : int
        Ticks at most, at least 2.
    whole : bool
        Only whole numbers: counts.
    """
    span = high - low
    if not span > 0:
        return Ticks((float(low),), (_digits(low, 3),))
    rough = span / most
    power = 10.0 ** np.floor(np.log10(rough))
    steps = [power * step for step in _STEPS]
    if whole:
        steps = [step for step in (1.0, *steps, *(10 * s for s in steps)) if step.is_integer()]
    step = next(one for one in steps if one >= rough * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    count = int(np.floor(high / step + 1e-9)) - first + 1
    values = [round(float((first + k) * step), 12) for k in range(count)]
    places = max((len(f"{v:.10f}".rstrip("0").partition(".")[2]) for v in values), default=0)
    return Ticks(tuple(values), tuple(_number(value, places) for value in values))


def count_ticks(most: int) -> Ticks:
    """Return ticks of counts on an axis of log10(1 + count): 0, 1, 10, 100 and so on."""
    counts = [0, *(10**k for k in range(len(str(max(most, 1)))) if 10**k <= max(most, 1))]
    return Ticks(tuple(float(np.log10(1 + n)) for n in counts), tuple(f"{n:,}" for n in counts))


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}".replace("-", "−")


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}g}".replace("-", "−")


class _Chart(ipywidgets.VBox):
    """A bqplot figure with a line of words beneath, and a picture of it for where no widget lives.

    The picture is in the notebook that is saved, and what marimo shows: bqplot lives in Jupyter.
    """

    _words = ""

    def _make(
        self, title: str, x: bqplot.Axis, y: bqplot.Axis, marks: list[Any], **more: Any
    ) -> None:
        figure = bqplot.Figure(
            title=title,
            axes=[x, y],
            marks=marks,
            fig_margin=_MARGIN,
            layout=ipywidgets.Layout(width="100%", min_width="0", height=f"{_HEIGHT}px"),
            title_style={"font-size": "13px"},
            background_style={"fill-opacity": "0"},
            **more,
        )
        self._said = ipywidgets.HTML(layout={"width": "auto", "margin": "0 8px 4px 12px"})
        super().__init__([figure, self._said], layout=_SHARE)

    def _say(self, words: str) -> None:
        self._words = words
        self._said.value = (
            f'<span style="font-size: 12px; line-height: 1.4">{html.escape(words)}</span>'
        )

    @property
    def _title(self) -> str:
        return str(self.children[0].title)

    def _paint(self, axes: Any) -> None:
        """Draw what is shown on matplotlib axes."""
        raise NotImplementedError

    def picture(self) -> bytes:
        """Return the chart as it stands, as a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 2.9), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(self._title.partition(":")[0], fontsize=10, fontweight="bold")
        self._paint(axes)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel(textwrap.fill(self._words, 100), fontsize=7.5, color="#555b66")
        out = io.BytesIO()
        FigureCanvasAgg(figure).print_png(out)
        return out.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        png = base64.b64encode(self.picture()).decode()
        words = f"{self._title}: {self._words}"
        still = _figure(png, words, "Static picture. Run the cell for the live chart.")
        return {**bundle, "text/plain": words, "image/png": png, "text/html": still}

    def _display_(self) -> Any:
        """Return what marimo shows: the picture, with its words."""
        words = f"{self._title}: {self._words}"
        png = base64.b64encode(self.picture()).decode()
        return _Page(
            _figure(
                png,
                words,
                "A picture of the chart as it stands: bqplot charts are alive in Jupyter. "
                "In marimo ThresholdPlane is, or run the cell again.",
            )
        )


class _Page:
    def __init__(self, page: str) -> None:
        self._page = page

    def _mime_(self) -> tuple[str, str]:
        return "text/html", self._page


def _figure(png: str, words: str, caption: str) -> str:
    """Return a picture as HTML."""
    return (
        f'<figure class="mmkn-static" style="margin: 0; max-width: 520px"><img style="width: 100%" '
        f'alt="{html.escape(words, quote=True)}" src="data:image/png;base64,{png}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _ticked(axes: Any, x: Ticks | None, y: Ticks | None) -> None:
    if x is not None:
        axes.set_xticks(x.values, x.labels)
    if y is not None:
        axes.set_yticks(y.values, y.labels)


def _evidence(study: Any) -> xr.Dataset:
    evidence: xr.Dataset = study.evidence if hasattr(study, "evidence") else study
    if "difference" not in evidence or "gradcam" not in evidence:
        raise bad_argument("study", study, "a Study, or a Dataset with 'difference' and 'gradcam'")
    return evidence


class LayerChart(_Chart):
    """How many neurons of each layer pass both thresholds (figure 2 of Sato and Takagi 2025).

    Parameters
    ----------
    study : Study or xarray.Dataset
        With float32 ``difference`` and ``gradcam`` of dims (layer, neuron).
    threshold_d, threshold_g : float
        Start values; traits afterwards.

    Attributes
    ----------
    counts : list of int
        Neurons kept per layer, read-only.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> d, g = np.float32([[0.9, 0.1, 0.8]]), np.float32([[0.2, 0.9, 0.5]])
    >>> dims = ("layer", "neuron")
    >>> scores = xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": [4]})
    >>> LayerChart(scores, 0.5, 0.1).counts
    [2]
    """

    threshold_d = traitlets.Float()
    threshold_g = traitlets.Float()
    counts = traitlets.List(traitlets.Int(), read_only=True)

    def __init__(self, study: Any, threshold_d: float = 0.0, threshold_g: float = 0.0) -> None:
        evidence = _evidence(study)
        self._difference = np.asarray(evidence["difference"].values, np.float32)
        self._cam = np.asarray(evidence["gradcam"].values, np.float32)
        self._layers = _row_names(evidence)
        self._scale = bqplot.LinearScale(min=0, max=1)
        scales = {"x": bqplot.OrdinalScale(), "y": self._scale}
        self._bars = bqplot.Bars(
            x=self._layers,
            y=np.zeros(len(self._layers), int),
            scales=scales,
            colors=[_ACCENT],
            padding=0.25,
        )
        self._axis = bqplot.Axis(scale=scales["y"], side="left", label="neurons")
        self._make(
            "neurons kept per layer",
            bqplot.Axis(scale=scales["x"], label="layer", grid_lines="none"),
            self._axis,
            [self._bars],
        )
        self.observe(self._count, ["threshold_d", "threshold_g"])
        self.threshold_d, self.threshold_g = float(threshold_d), float(threshold_g)
        self._count()

    def _count(self, _change: object = None) -> None:
        counts = passes(self._difference, self._cam, self.threshold_d, self.threshold_g).sum(1)
        most = max(int(counts.max()), 1)
        self._ticks = nice_ticks(0, most, whole=True)
        self._scale.max = float(most)
        self._ticks.put(self._axis)
        self._bars.y = counts
        kept = f"{int(counts.sum()):,} of {int(np.isfinite(self._difference).sum()):,}"
        self._say(
            f"{kept} neurons kept: difference above {_digits(self.threshold_d, 3)}, "
            f"GradCAM above {_digits(self.threshold_g, 3)}"
        )
        self.set_trait("counts", [int(count) for count in counts])

    def _paint(self, axes: Any) -> None:
        axes.bar(self._layers, self.counts, color=_ACCENT, width=0.75)
        axes.set(xlabel="layer", ylabel="neurons", ylim=(0, max(*self.counts, 1)))
        _ticked(axes, None, self._ticks)


def _row_names(evidence: xr.Dataset) -> list[str]:
    """Return what the rows are called: the layer, with its expert where it has some."""
    rows = evidence.sizes[evidence["difference"].dims[0]]
    layers = evidence["layer"].values if "layer" in evidence.coords else np.arange(rows)
    if "expert" not in evidence.coords:
        return [str(layer) for layer in layers]
    experts = np.broadcast_to(evidence["expert"].values, rows)
    return [
        str(layer) if expert < 0 else f"{layer}·E{expert}"
        for layer, expert in zip(layers, experts, strict=True)
    ]


class ScoreHistogram(_Chart):
    """A histogram of one score with a brush: its lower edge is the threshold.

    Parameters
    ----------
    study : Study or xarray.Dataset
    variable : {"difference", "gradcam"}
        The score; sets ``threshold_d`` or ``threshold_g``.
    bins : int
        Bars of the histogram.

    Attributes
    ----------
    threshold : float
        The brush's lower edge, at first the 95th percentile; also under the name ``threshold_d``
        or ``threshold_g``.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> d, g = np.float32([[0.9, 0.1, 0.8]]), np.float32([[0.2, 0.9, 0.5]])
    >>> dims = ("layer", "neuron")
    >>> scores = xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": [4]})
    >>> chart = ScoreHistogram(scores, "gradcam", bins=3)
    >>> chart.threshold == chart.threshold_g
    True
    """

    threshold = traitlets.Float()
    threshold_d = traitlets.Float()
    threshold_g = traitlets.Float()

    def __init__(self, study: Any, variable: str = "difference", bins: int = 60) -> None:
        if variable not in ("difference", "gradcam"):
            raise bad_argument("variable", variable, "'difference' or 'gradcam'")
        values = np.asarray(_evidence(study)[variable].values, np.float32).ravel()
        values = values[np.isfinite(values)]
        self._values, self._variable = values, variable
        self._counts, self._edges = np.histogram(values, bins=bins)
        self._highest = float(self._edges[-1])
        most = int(self._counts.max())
        self._ticks = (nice_ticks(float(self._edges[0]), self._highest), count_ticks(most))
        scales = {
            "x": bqplot.LinearScale(min=float(self._edges[0]), max=self._highest),
            "y": bqplot.LinearScale(min=0, max=float(np.log10(1 + most))),
        }
        bars = bqplot.Bars(
            x=(self._edges[:-1] + self._edges[1:]) / 2,
            y=np.log10(1 + self._counts),
            scales=scales,
            colors=[_QUIET],
            padding=0.1,
        )
        self._brush = bqplot.interacts.BrushIntervalSelector(scale=scales["x"], color=_ACCENT)
        self._name = "activation difference" if variable == "difference" else "GradCAM score"
        across = bqplot.Axis(scale=scales["x"], label=self._name)
        up = bqplot.Axis(scale=scales["y"], side="left", label="neurons, logarithmic")
        for ticks, axis in zip(self._ticks, (across, up), strict=True):
            ticks.put(axis)
        own = "threshold_d" if variable == "difference" else "threshold_g"
        self._make("a brush sets the threshold", across, up, [bars], interaction=self._brush)
        traitlets.link((self, "threshold"), (self, own))
        self._brush.observe(self._from_brush, "selected")
        self.observe(self._to_brush, "threshold")
        self.threshold = quantile_threshold(values, 1 - CANDIDATES) if values.size else 0.0
        self._to_brush(None)

    def _from_brush(self, _change: object) -> None:
        selected = self._brush.selected
        if selected is not None and len(selected) == 2:
            self.threshold = float(selected[0])

    def _to_brush(self, _change: object) -> None:
        selected = self._brush.selected
        if selected is None or len(selected) != 2 or float(selected[0]) != self.threshold:
            self._brush.selected = np.asarray([self.threshold, max(self.threshold, self._highest)])
        above = int((self._values > np.float32(self.threshold)).sum())
        self._say(f"{above:,} of {self._values.size:,} neurons above {_digits(self.threshold, 3)}")

    def _paint(self, axes: Any) -> None:
        left, width = self._edges[:-1], np.diff(self._edges)
        kept = left + width > self.threshold
        colors = np.where(kept, _ACCENT, _QUIET)
        axes.bar(left, np.log10(1 + self._counts), width * 0.9, align="edge", color=colors)
        axes.axvline(self.threshold, color=_ACCENT, linewidth=1.2)
        axes.set(xlabel=self._name, ylabel="neurons, logarithmic")
        _ticked(axes, *self._ticks)


class FrontierChart(_Chart):
    """Suppression against retention of every measured pair of thresholds; a click takes the pair.

    Parameters
    ----------
    search : ThresholdSearch
        From ``study.propose_thresholds()``.

    Attributes
    ----------
    threshold_d, threshold_g : float
        Of the chosen setting; the proposed one at the start.
    selected : int
        Index of the chosen setting in ``search.points``. Settings that came out alike are one dot;
        a click goes through them, the fewest neurons first.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 60)
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> search = study.propose_thresholds(quantiles_d=[0.95], kept=[10], n_random=1)
    >>> FrontierChart(search).threshold_d == search.threshold_d
    True
    """

    threshold_d = traitlets.Float()
    threshold_g = traitlets.Float()
    selected = traitlets.Int()

    def __init__(self, search: Any) -> None:
        points = search.points
        self._points = points
        self._least = float(search.minimum_retention)
        places = np.stack([points["retention"].values, points["suppression"].values], 1)
        # measured pairs that came out alike are one dot: a click goes through them
        self._dots, at = np.unique(places.round(6), axis=0, return_inverse=True)
        counts = points["neurons"].values if "neurons" in points else np.zeros(len(places))
        self._here = [
            sorted(np.flatnonzero(at.ravel() == k).tolist(), key=lambda j: (counts[j], j))
            for k in range(len(self._dots))
        ]
        edge = places[np.asarray(search.frontier, int)]
        edge = edge[np.argsort(-edge[:, 0], kind="stable")]
        low = max(0.0, np.floor(20 * min(places[:, 0].min(), self._least) - 1) / 20)
        self._box = (float(low), 1.0)
        self._stairs = _stairs(edge, float(low))
        self._ticks = (nice_ticks(*self._box), nice_ticks(0.0, 1.0))
        margin = 0.02 * (1 - float(low))  # a dot on the edge is whole
        scales = {
            "x": bqplot.LinearScale(min=float(low), max=1.0 + margin),
            "y": bqplot.LinearScale(min=0.0, max=1.04),
        }
        best = {tuple(one) for one in edge.round(6).tolist()}
        self._good = [tuple(one) in best for one in self._dots.tolist()]
        labels = [f"×{len(here)}" if len(here) > 1 else "" for here in self._here]
        self._marks = bqplot.Scatter(
            x=self._dots[:, 0],
            y=self._dots[:, 1],
            scales=scales,
            colors=[_GOOD if good else _QUIET for good in self._good],
            default_size=70,
            names=np.asarray(labels),
            display_names=True,
            interactions={"click": "select"},
            selected_style={"fill": _ACCENT, "stroke": _ACCENT},
        )
        line = bqplot.Lines(
            x=self._stairs[:, 0],
            y=self._stairs[:, 1],
            scales=scales,
            colors=[_GOOD],
            stroke_width=2,
        )
        limit = bqplot.Lines(
            x=[self._least] * 2,
            y=[0.0, 1.04],
            scales=scales,
            colors=[_QUIET],
            line_style="dashed",
            stroke_width=1,
        )
        across = bqplot.Axis(scale=scales["x"], label="retention", grid_lines="none")
        up = bqplot.Axis(scale=scales["y"], side="left", label="suppression")
        for ticks, axis in zip(self._ticks, (across, up), strict=True):
            ticks.put(axis)
        self._make(
            "frontier of suppression and retention: click a pair",
            across,
            up,
            [limit, line, self._marks],
        )
        self._marks.on_element_click(self._clicked)
        self.observe(self._take, "selected")
        self.selected = int(search.best)
        self._take()

    def _clicked(self, _mark: object, content: Any) -> None:
        here = self._here[int(content["data"]["index"])]
        at = here.index(self.selected) + 1 if self.selected in here else 0
        self.selected = here[at % len(here)]
        self._show_dot()

    def _show_dot(self) -> None:
        dot = next(k for k, here in enumerate(self._here) if self.selected in here)
        self._marks.selected = [dot]

    @traitlets.validate("selected")
    def _known(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < self._points.sizes["setting"]:
            wanted = f"0 to {self._points.sizes['setting'] - 1}, a setting of search.points"
            raise bad_argument("selected", proposal["value"], wanted)
        return int(proposal["value"])

    def _take(self, _change: object = None) -> None:
        one = self._points.isel(setting=self.selected)
        self.threshold_d, self.threshold_g = float(one["threshold_d"]), float(one["threshold_g"])
        self._show_dot()
        here = next(here for here in self._here if self.selected in here)
        count = f"{int(one['neurons']):,} neurons · " if "neurons" in one else ""
        instead = ""
        if "substitution" in one:
            instead = f", substitution {_number(float(one['substitution']), 3)}"
        among = f" · {here.index(self.selected) + 1} of {len(here)} here: click again for the next"
        shown = (_digits(self.threshold_d, 3), _digits(self.threshold_g, 3))
        self._say(
            f"{count}suppression {_number(float(one['suppression']), 3)}, retention "
            f"{_number(float(one['retention']), 3)}{instead} · thresholds "
            f"{shown[0]} and {shown[1]}{among if len(here) > 1 else ''}"
            f" · green: the frontier, dashed: retention {_digits(self._least, 3)}"
        )

    def _paint(self, axes: Any) -> None:
        axes.axvline(self._least, color=_QUIET, linewidth=1, linestyle="--")
        axes.plot(self._stairs[:, 0], self._stairs[:, 1], color=_GOOD, linewidth=1.8)
        chosen = [self.selected in here for here in self._here]
        for dot, here, good, on in zip(self._dots, self._here, self._good, chosen, strict=True):
            color = _ACCENT if on else _GOOD if good else _QUIET
            axes.plot(*dot, "o", color=color, markersize=6, clip_on=False)
            if len(here) > 1:
                axes.annotate(f"×{len(here)}", dot, (-8, -12), textcoords="offset points", size=8)
        axes.set(xlabel="retention", ylabel="suppression", xlim=self._box, ylim=(0, 1))
        _ticked(axes, *self._ticks)


def _stairs(edge: np.ndarray, low: float) -> np.ndarray:
    """Return the outline of what was reached: (retention, suppression) from below to the left.

    Parameters
    ----------
    edge : numpy.ndarray, shape (point, 2)
        The frontier, by falling retention.
    low : float
        Where the axis begins.
    """
    line = [(edge[0, 0], 0.0)]
    for (kept, gone), after in zip(edge, [*edge[1:, 0], low], strict=True):
        line += [(kept, gone), (max(float(after), low), gone)]
    return np.asarray(line, float)


class MethodChart(_Chart):
    """Suppression and retention of several methods, side by side.

    Parameters
    ----------
    methods : mapping of str to mapping
        The ``methods`` part of a study's result: ``{name: {"suppression": {"mean": ...},
        "retention": {"scene": {"mean": ...}, "other": ...}}}``.

    Examples
    --------
    >>> kept = {"scene": {"mean": 0.99}, "other": {"mean": 0.98}}
    >>> figures = {"suppression": {"mean": 0.9}, "retention": kept}
    >>> chart = MethodChart({"two_stage": figures})
    >>> type(chart.children[0]).__name__
    'Figure'
    """

    def __init__(self, methods: Mapping[str, Mapping[str, Any]]) -> None:
        if not methods:
            raise bad_argument("methods", dict(methods), "at least one method's figures")
        names = list(methods)
        gone = [methods[name]["suppression"]["mean"] for name in names]
        kept = [_least(methods[name]["retention"]) for name in names]
        self._shown = (names, gone, kept)
        self._ticks = nice_ticks(0.0, 1.0)
        scales = {"x": bqplot.OrdinalScale(), "y": bqplot.LinearScale(min=0.0, max=1.0)}
        bars = bqplot.Bars(
            x=names,
            y=[gone, kept],
            scales=scales,
            type="grouped",
            colors=[_ACCENT, _GOOD],
            labels=["suppression", "retention"],
            padding=0.2,
        )
        up = bqplot.Axis(scale=scales["y"], side="left")
        self._ticks.put(up)
        self._make(
            "methods",
            bqplot.Axis(scale=scales["x"], grid_lines="none", tick_rotate=-20 * (len(names) > 3)),
            up,
            [bars],
        )
        self._say("blue: suppression · green: retention")

    def _paint(self, axes: Any) -> None:
        names, gone, kept = self._shown
        at = np.arange(len(names))
        axes.bar(at - 0.2, gone, 0.38, color=_ACCENT)
        axes.bar(at + 0.2, kept, 0.38, color=_GOOD)
        axes.set(ylim=(0, 1))
        _ticked(axes, None, self._ticks)
        axes.set_xticks(at, names, rotation=20 if len(names) > 3 else 0)


def _least(retention: Mapping[str, Any]) -> float:
    known = [part["mean"] for part in retention.values() if part is not None]
    return min(known) if known else float("nan")


def threshold_controls(study: Any, *, steps: int = 200) -> dict[str, Any]:
    """Return two sliders over a study's score ranges, by the names of their arguments.

    Parameters
    ----------
    study : Study or xarray.Dataset
        With ``difference`` and ``gradcam`` of dims (layer, neuron).
    steps : int
        Positions of each slider.

    Returns
    -------
    dict of str to ipywidgets.FloatSlider
        ``threshold_d`` and ``threshold_g``, to unpack into ``ipywidgets.interact`` (or
        ``interactive_output``); they start at the 95th percentiles.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> scores = np.linspace(0, 1, 12, dtype="float32").reshape(2, 6)
    >>> evidence = xr.Dataset({n: (("layer", "neuron"), scores) for n in ("difference", "gradcam")})
    >>> sorted(threshold_controls(evidence))
    ['threshold_d', 'threshold_g']
    """
    if steps < 2:
        raise bad_argument("steps", steps, "at least 2")
    evidence = _evidence(study)
    sliders = {}
    for name, variable, label in (
        ("threshold_d", "difference", "difference"),
        ("threshold_g", "gradcam", "GradCAM"),
    ):
        values = np.asarray(evidence[variable].values, float)
        values = values[np.isfinite(values)]
        low, high = min(0.0, float(values.min())), float(values.max())
        sliders[name] = ipywidgets.FloatSlider(
            value=quantile_threshold(values, 1 - CANDIDATES),
            min=low,
            max=high if high > low else low + 1.0,
            step=(high - low) / steps or 1.0 / steps,
            description=label,
            readout_format=".3g",
            continuous_update=True,
        )
    return sliders

"""Charts (bqplot) and plain controls for dashboards of one's own, linked by the Explorer's traits.

Every chart is an ordinary ipywidget with the traits ``threshold_d`` and ``threshold_g``:
``traitlets.link((chart, "threshold_d"), (explorer, "threshold_d"))`` keeps two in step. The arrays
stay in the kernel; only bars and points travel.
"""

from __future__ import annotations

from collections.abc import Mapping
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
_MARGIN = {"top": 34, "bottom": 42, "left": 56, "right": 18}
#: charts side by side in an HBox share its width
_SHARE = {"flex": "1 1 280px", "min_width": "0"}


def _figure(title: str, x: bqplot.Axis, y: bqplot.Axis, marks: list[Any], **more: Any) -> Any:
    """Return a quiet figure: no grid colours of its own, theme background."""
    layout = ipywidgets.Layout(width="100%", min_width="240px", height="260px")
    return bqplot.Figure(
        title=title,
        axes=[x, y],
        marks=marks,
        fig_margin=_MARGIN,
        layout=layout,
        title_style={"font-size": "13px"},
        background_style={"fill-opacity": "0"},
        **more,
    )


def _evidence(study: Any) -> xr.Dataset:
    evidence: xr.Dataset = study.evidence if hasattr(study, "evidence") else study
    if "difference" not in evidence or "gradcam" not in evidence:
        raise bad_argument("study", study, "a Study, or a Dataset with 'difference' and 'gradcam'")
    return evidence


class LayerChart(ipywidgets.VBox):
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
        layers = np.arange(len(self._difference))
        scales = {"x": bqplot.OrdinalScale(), "y": bqplot.LinearScale(min=0)}
        self._bars = bqplot.Bars(
            x=layers, y=layers * 0, scales=scales, colors=[_ACCENT], padding=0.25
        )
        figure = _figure(
            "neurons kept per layer",
            bqplot.Axis(scale=scales["x"], label="layer", grid_lines="none"),
            bqplot.Axis(scale=scales["y"], side="left", label="neurons", num_ticks=5),
            [self._bars],
        )
        super().__init__([figure], layout=_SHARE)
        self.observe(self._count, ["threshold_d", "threshold_g"])
        self.threshold_d, self.threshold_g = float(threshold_d), float(threshold_g)
        self._count()

    def _count(self, _change: object = None) -> None:
        counts = passes(self._difference, self._cam, self.threshold_d, self.threshold_g).sum(1)
        self._bars.y = counts
        self.set_trait("counts", [int(count) for count in counts])


class ScoreHistogram(ipywidgets.VBox):
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
        counts, edges = np.histogram(values, bins=bins)
        self._highest = float(edges[-1])
        scales = {"x": bqplot.LinearScale(), "y": bqplot.LinearScale(min=0)}
        bars = bqplot.Bars(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.log10(1 + counts),
            scales=scales,
            colors=[_QUIET],
            padding=0.1,
        )
        self._brush = bqplot.interacts.BrushIntervalSelector(scale=scales["x"], color=_ACCENT)
        name = "activation difference" if variable == "difference" else "GradCAM score"
        figure = _figure(
            "a brush sets the threshold",
            bqplot.Axis(scale=scales["x"], label=name, num_ticks=5, tick_format=".2~g"),
            bqplot.Axis(scale=scales["y"], side="left", label="log10(1 + neurons)", num_ticks=4),
            [bars],
            interaction=self._brush,
        )
        own = "threshold_d" if variable == "difference" else "threshold_g"
        super().__init__([figure], layout=_SHARE)
        traitlets.link((self, "threshold"), (self, own))
        self._brush.observe(self._from_brush, "selected")
        self.observe(self._to_brush, "threshold")
        self.threshold = quantile_threshold(values, 1 - CANDIDATES) if values.size else 0.0

    def _from_brush(self, _change: object) -> None:
        selected = self._brush.selected
        if selected is not None and len(selected) == 2:
            self.threshold = float(selected[0])

    def _to_brush(self, _change: object) -> None:
        selected = self._brush.selected
        if selected is None or len(selected) != 2 or float(selected[0]) != self.threshold:
            self._brush.selected = np.asarray([self.threshold, max(self.threshold, self._highest)])


class FrontierChart(ipywidgets.VBox):
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
        Index of the chosen setting in ``search.points``.

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
        least = min(float(points["retention"].min()), float(search.minimum_retention))
        low = max(0.0, np.floor(20 * least - 1) / 20)  # room left of the least, in steps of .05
        scales = {
            "x": bqplot.LinearScale(min=low, max=1.0),
            "y": bqplot.LinearScale(min=0.0, max=1.0),
        }
        marks = bqplot.Scatter(
            x=points["retention"].values,
            y=points["suppression"].values,
            scales=scales,
            colors=[_QUIET],
            default_size=44,
            interactions={"click": "select"},
            selected_style={"fill": _ACCENT, "stroke": _ACCENT},
            selected=[search.best],
        )
        edge = search.frontier
        line = bqplot.Lines(
            x=points["retention"].values[edge],
            y=points["suppression"].values[edge],
            scales=scales,
            colors=[_GOOD],
            stroke_width=1.5,
        )
        limit = bqplot.Lines(
            x=[search.minimum_retention] * 2,
            y=[0.0, 1.0],
            scales=scales,
            colors=[_QUIET],
            line_style="dashed",
            stroke_width=1,
        )
        figure = _figure(
            "suppression against retention: click a pair",
            bqplot.Axis(scale=scales["x"], label="retention", num_ticks=5, tick_format=".2f"),
            bqplot.Axis(scale=scales["y"], side="left", label="suppression"),
            [limit, line, marks],
        )
        super().__init__([figure], layout=_SHARE)
        marks.observe(self._clicked, "selected")
        self.observe(self._take, "selected")
        self.selected = int(search.best)
        self._take()

    def _clicked(self, change: Any) -> None:
        if change["new"] is not None and len(change["new"]):
            self.selected = int(change["new"][-1])

    def _take(self, _change: object = None) -> None:
        self.threshold_d = float(self._points["threshold_d"][self.selected])
        self.threshold_g = float(self._points["threshold_g"][self.selected])


class MethodChart(ipywidgets.VBox):
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
    >>> len(MethodChart({"two_stage": figures}).children)
    1
    """

    def __init__(self, methods: Mapping[str, Mapping[str, Any]]) -> None:
        if not methods:
            raise bad_argument("methods", dict(methods), "at least one method's figures")
        names = list(methods)
        gone = [methods[name]["suppression"]["mean"] for name in names]
        kept = [_least(methods[name]["retention"]) for name in names]
        scales = {"x": bqplot.OrdinalScale(), "y": bqplot.LinearScale(min=0.0, max=1.0)}
        bars = bqplot.Bars(
            x=names,
            y=[gone, kept],
            scales=scales,
            type="grouped",
            colors=[_ACCENT, _GOOD],
            labels=["suppression", "retention"],
            display_legend=True,
            padding=0.2,
        )
        figure = _figure(
            "methods",
            bqplot.Axis(scale=scales["x"], grid_lines="none", tick_rotate=-30),
            bqplot.Axis(scale=scales["y"], side="left", num_ticks=5),
            [bars],
            legend_location="top-right",
        )
        super().__init__([figure], layout=_SHARE)


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

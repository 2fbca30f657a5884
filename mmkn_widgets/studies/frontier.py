"""The frontier of every method: what silencing costs against what it does, on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import (
    COLORS,
    BadArgument,
    NeuronSet,
    axes_for,
    bad_argument,
    counted,
    html_card,
    html_table,
    label_axes,
    legend_beside,
    open_frame,
    points_of,
    provenance,
    reporting,
    shortened,
    whole_number,
    whole_numbers,
)
from ..datasets import as_scenes
from .run import METHODS, select_neurons

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

    from ..core import CancelToken, Progress
    from ..datasets import Scene
    from .study import Study

__all__ = ["COMPARED", "FIGURES", "SIZES", "Frontier", "measure_frontier"]

#: Methods that are compared where nobody says which.
COMPARED = (
    "two_stage",
    "gradcam",
    "contribution",
    "contrastive_mean",
    "contrastive_maximum",
    "contrastive_exclusive",
    "learned_mask",
)
#: Numbers of neurons, of every method.
SIZES = (5, 20, 60, 200)
#: What is measured of every set.
FIGURES = (
    "suppression",
    "suppression_low",
    "suppression_high",
    "retention",
    "retention_scene",
    "retention_other",
    "identical",
    "substitution",
    "random",
    "random_max",
)
_MEASURING = 100


@dataclass(frozen=True, repr=False)
class Frontier:
    """Neuron sets of several methods and sizes, measured on the same scenes.

    Attributes
    ----------
    points : xarray.Dataset
        One entry along ``point`` for each set: ``method``, ``neurons`` (how many), and `FIGURES`,
        shares from 0 to 1: ``suppression`` with its 95% bootstrap interval over scenes,
        ``retention`` (the smaller of ``retention_scene`` and ``retention_other``), ``identical``,
        ``substitution``, and ``random`` and ``random_max``, the mean and largest suppression by as
        many random neurons of the same layers. NaN where there was nothing to count.
    sets : tuple of NeuronSet
        In the order of the points.
    concept : str
    n_scenes : dict
        ``with``, ``without`` the concept, and ``named``: with it and naming it before.
    left_out : dict of str to str
        Methods that gave no set, and why.
    provenance : dict

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> test = mmkn.datasets.pocket_world("test", 60)
    >>> found = measure_frontier(
    ...     study, test.with_concept("car", 4), test.without_concept("car", 4),
    ...     methods=["two_stage", "gradcam"], counts=[5, 30], n_random=1,
    ... )
    >>> found
    <Frontier of 'car': 4 sets of 2 methods, 4 + 4 scenes>
    >>> len(found.sets[1]), float(found.points["suppression"][1])
    (30, 1.0)
    """

    points: xr.Dataset
    sets: tuple[NeuronSet, ...]
    concept: str
    n_scenes: dict[str, int]
    left_out: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        n = self.n_scenes
        return (
            f"<Frontier of {self.concept!r}: {len(self.sets)} sets of {len(self.methods)} methods, "
            f"{n['with']} + {n['without']} scenes>"
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in their order."""
        return tuple(dict.fromkeys(str(name) for name in self.points["method"].values))

    @property
    def best(self) -> np.ndarray:
        """The points that no other beats in suppression and retention both, by retention."""
        return outline(self.points["suppression"].values, self.points["retention"].values)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the points as a table: method, neurons and all figures."""
        return self.points.to_dataframe()[["method", "neurons", *FIGURES]]

    def _repr_html_(self) -> str:
        n, best = self.n_scenes, set(self.best.tolist())
        shown = ("suppression", "random", "retention", "identical", "substitution")
        rows = [
            [
                str(self.points["method"].values[k]),
                int(self.points["neurons"][k]),
                *(_figure(self.points[name].values[k]) for name in shown),
                "yes" if k in best else "",
            ]
            for k in range(len(self.sets))
        ]
        head = ["method", "neurons", "suppression", "random neurons", "retention", "unchanged"]
        table = html_table([*head, "substitution", "on the frontier"], rows)
        out = [(name, why) for name, why in self.left_out.items()]
        return html_card(
            "Frontier",
            [
                ("scenes", f"{n['with']} with it ({n['named']} named), {n['without']} without"),
                *((f"left out: {name}", why) for name, why in out),
            ],
            table,
            about=repr(self.concept),
        )

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Axes:
        """Draw suppression against retention of every set.

        A mark's area grows with the number of neurons, its shape and colour are the method's, and
        the darker it is filled, the more captions name an object that is not there instead
        (substitution). Crosses are random neurons in place of each set. The line goes through the
        sets that no other beats in both. Marks that would lie on one another stand around their
        place, which a dot shows.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        figsize : (float, float), optional
            Inches.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return _plot(self, axes_for(ax, figsize, (7.4, 4.4)))


def outline(gone: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the points that no other beats in both, by falling retention."""
    order = np.lexsort((-np.nan_to_num(gone, nan=-1), -np.nan_to_num(kept, nan=-1)))
    chosen, highest = [], -np.inf
    for point in order:
        if gone[point] > highest and np.isfinite(kept[point]):
            chosen.append(int(point))
            highest = gone[point]
    return np.asarray(chosen, int)


def _figure(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def measure_frontier(
    study: Study,
    with_concept: Any,
    without_concept: Any = (),
    *,
    methods: Sequence[str] | Mapping[str, Any] = COMPARED,
    counts: Sequence[int] = SIZES,
    learning: Any = None,
    concept: Any = None,
    vocabulary: Any = None,
    n_random: int = 5,
    seed: int = 0,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> Frontier:
    """Choose neurons by several methods in several numbers, silence each set, and measure.

    Parameters
    ----------
    study : Study
        Its scenes choose.
    with_concept, without_concept : sequence of Scene, or what stands for them
        Scenes that measure, and that chose nothing; as for
        `mmkn_widgets.evaluation.measure_effect`.
    methods : sequence of str, or mapping of str to NeuronSet or list of NeuronSet
        Names of ``mmkn study --methods``; or sets of one's own under names of one's own.
    counts : sequence of int
        How many neurons of every method.
    learning : scenes without the concept, optional
        What methods may learn from (learned masks, contrastive scores);
        by default as many of the study's data set as it has scenes.
    concept : str, Concept or list of str, optional
        What counts as naming it; by default the study's concept with its kinds, see
        `mmkn_widgets.evaluation.with_kinds`.
    vocabulary : mapping or sequence, optional
        As for `mmkn_widgets.evaluation.measure_effect`.
    n_random : int
        Draws of the random control of every set.
    seed : int
        Of these draws, of the bootstrap, and of methods that draw.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    Frontier

    Raises
    ------
    BadArgument
        If no scene shows the concept, or no method gives a set.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> test = mmkn.datasets.pocket_world("test", 60)
    >>> mine = {"mine": study.neurons().top(5)}
    >>> cars = test.with_concept("car", 4)
    >>> measure_frontier(study, cars, methods=mine, n_random=0).methods
    ('mine',)
    """
    import xarray as xr

    from ..attribution import random_like
    from ..core import as_concept, as_vocabulary, with_kinds
    from ..evaluation import Captioner, known_words

    wanted = with_kinds(study.concept) if concept is None else as_concept(concept)
    present, absent = (
        as_scenes(given, study.concept, name=name, masks=False, shows=shows, n=_MEASURING)
        for name, given, shows in (
            ("with_concept", with_concept, True),
            ("without_concept", without_concept, False),
        )
    )
    if not len(present):
        raise bad_argument("with_concept", [], "at least one scene that shows the concept")
    n_random, seed = whole_number("n_random", n_random, lowest=0), whole_number("seed", seed)
    sizes = sorted(set(whole_numbers("counts", counts, lowest=1).tolist()))
    scenes, split = [*present, *absent], len(present)
    known = known_words(present, absent) if vocabulary is None else as_vocabulary(vocabulary)
    writer = Captioner(study.model, study.options["prompt"], cancel=cancel)
    with reporting(progress) as step:
        chosen, left_out = _chosen(study, methods, sizes, learning, seed, step, cancel)
        if not chosen:
            raise bad_argument("methods", list(methods), f"some that give neurons ({left_out})")
        names, sets = [name for name, _ in chosen], [one for _, one in chosen]
        first = writer.before(scenes, None, step)
        after = writer.under(scenes, sets, step, "captions of every set")
        named = [at for at in range(split) if wanted.named_in(first[at])]
        random = np.full((len(sets), max(n_random, 1)), np.nan)
        if named and n_random:
            drawn = [random_like(study.model, s, seed + k) for s in sets for k in range(n_random)]
            still = writer.named_under(
                [scenes[at] for at in named], [first[at] for at in named], drawn, wanted, step
            )
            random = (1 - np.asarray(still, float).mean(1)).reshape(len(sets), n_random)
    rows = [_measured(present, first, then, split, wanted, known, seed) for then in after]
    columns = {name: np.asarray([row[name] for row in rows], float) for name in FIGURES[:-2]}
    columns |= {"random": random.mean(1), "random_max": random.max(1)}
    points = xr.Dataset(
        {
            "method": ("point", np.asarray(names)),
            "neurons": ("point", np.asarray([len(one) for one in sets])),
            **{name: ("point", values) for name, values in columns.items()},
        }
    )
    made = provenance(
        "measure_frontier",
        model=study.model.name,
        weights=study.model.weights_hash,
        concept=wanted.to_dict(),
        methods=names,
        counts=sizes,
        scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
        chosen_on=[f"{scene.source}/{scene.id}" for scene in study.scored],
        n_random=n_random,
        seed=seed,
    )
    n = {"with": split, "without": len(absent), "named": len(named)}
    return Frontier(points, tuple(sets), wanted.word, n, left_out, made)


def _chosen(
    study: Study,
    methods: Sequence[str] | Mapping[str, Any],
    sizes: Sequence[int],
    learning: Any,
    seed: int,
    progress: Progress | None,
    cancel: CancelToken | None,
) -> tuple[list[tuple[str, NeuronSet]], dict[str, str]]:
    """Return distinct sets by method and size, and why methods have none."""
    if isinstance(methods, Mapping):
        given = {
            str(name): [one] if isinstance(one, NeuronSet) else list(one)
            for name, one in methods.items()
        }
        return [(name, one) for name, sets in given.items() for one in sets if len(one)], {}
    for name in methods:
        if name not in METHODS:
            raise bad_argument("methods", name, "of " + ", ".join(METHODS))
    if learning is None:
        absent: Sequence[Scene] = study.scenes_without(len(study.scored))
    else:
        absent = list(as_scenes(learning, study.concept, name="learning", masks=False, shows=False))
    found: list[tuple[str, NeuronSet]] = []
    left_out: dict[str, str] = {}
    for number, name in enumerate(methods):
        seen: set[tuple[Any, ...]] = set()
        for size in sizes:
            if cancel is not None:
                cancel.raise_if_cancelled()
            if progress is not None:
                progress(f"choosing by {name}", number, len(methods))
            try:
                one = select_neurons(
                    study, name, size, without_concept=absent, seed=seed, cancel=cancel
                )
            except BadArgument as error:  # such as a word that no other is there to be held against
                left_out[name] = str(error)
                break
            key = tuple(sorted(one.places))
            if key and key not in seen:
                seen.add(key)
                found.append((name, one))
        if not seen:
            left_out.setdefault(name, "it chooses no neuron")
    if progress is not None:
        progress("choosing", len(methods), len(methods))
    return found, left_out


def _measured(
    present: Sequence[Scene],
    first: Sequence[str],
    then: Sequence[str],
    split: int,
    wanted: Any,
    known: Any,
    seed: int,
) -> dict[str, float]:
    from ..evaluation import bootstrap_ci, identical, retention, substitution, suppression

    gone = [
        float(not wanted.named_in(b))
        for a, b in zip(first[:split], then[:split], strict=True)
        if wanted.named_in(a)
    ]
    low, high = bootstrap_ci(np.asarray(gone), seed=seed)
    kept = retention(first[:split], then[:split], first[split:], then[split:], wanted, known)
    same = slice(split, None) if len(first) > split else slice(None)
    instead = substitution(
        then[:split], [scene.categories for scene in present], known.without(wanted), first[:split]
    )
    values = {
        "suppression": suppression(first[:split], then[:split], wanted),
        "suppression_low": low,
        "suppression_high": high,
        "retention": kept["headline"],
        "retention_scene": kept["scene"],
        "retention_other": kept["other"],
        "identical": identical(first[same], then[same]),
        "substitution": instead,
    }
    return {name: np.nan if value is None else float(value) for name, value in values.items()}


_MARKERS = "osD^vPXp<>h8"


def _area(count: Any, counts: np.ndarray, shrink: float) -> Any:
    """Return the area of the mark of so many neurons, in square points."""
    return shrink**2 * (22 + 130 * count / max(int(counts.max()), 1))


def _apart(kept: np.ndarray, gone: np.ndarray, area: np.ndarray, shrink: float = 1.0) -> np.ndarray:
    """Return how far each mark stands from its place, in points: those on one spot around it."""
    moved = np.zeros((len(kept), 2))
    spots = np.round(np.nan_to_num([kept, gone], nan=-1).T * 40).astype(int)
    for spot in np.unique(spots, axis=0):
        here = np.flatnonzero((spots == spot).all(1))
        if len(here) > 1:
            here = here[np.argsort(area[here], kind="stable")]
            turn = np.arange(len(here)) * 2.39996  # the golden angle: seeds of a sunflower
            away = 8.0 * shrink * np.sqrt(np.arange(len(here)) + 0.6)
            moved[here] = np.stack([away * np.cos(turn), away * np.sin(turn)], 1)
    return moved


def _plot(found: Frontier, axes: Axes) -> Axes:
    from matplotlib import colors as mpl_colors
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation

    points = found.points
    gone, kept = points["suppression"].values, points["retention"].values
    instead = np.nan_to_num(points["substitution"].values)
    count = points["neurons"].values
    methods = np.asarray([str(name) for name in points["method"].values])
    room_x, room_y = points_of(axes)
    shrink = float(np.clip(room_x / 330, 0.5, 1))  # smaller marks in a paper's column
    area = _area(count, count, shrink)
    edge = found.best
    if len(edge):
        low = float(np.nanmin(kept))
        line = [(kept[edge[0]], 0.0)]
        for at, after in zip(edge, [*kept[edge[1:]], low], strict=True):
            line += [(kept[at], gone[at]), (after, gone[at])]
        axes.plot(*np.transpose(line), color=COLORS["grey"], linewidth=1.0, zorder=1)
    axes.scatter(
        kept, points["random"].values, s=22, marker="x", color=COLORS["grey"], linewidths=1,
        zorder=2, label="random neurons",
    )  # fmt: skip
    palette = [COLORS[name] for name in ("blue", "red", "green", "pink", "sky", "orange")]
    palette.append(axes.xaxis.label.get_color())  # black, on a dark ground white
    handles = []
    moved = _apart(kept, gone, area, shrink)
    for at in np.flatnonzero(np.abs(moved).any(1)):
        axes.plot(kept[at], gone[at], ".", color=COLORS["grey"], markersize=3, zorder=4)
    for number, name in enumerate(found.methods):
        color, marker = palette[number % len(palette)], _MARKERS[number % len(_MARKERS)]
        for at in np.flatnonzero(methods == name):
            right, up = (moved[at] / 72).tolist()
            place = ScaledTranslation(right, up, axes.figure.dpi_scale_trans)
            axes.scatter(
                kept[at], gone[at], s=area[at], marker=marker, edgecolors=color, linewidths=1.3,
                c=[mpl_colors.to_rgba(color, 0.05 + 0.95 * float(instead[at]))], zorder=3,
                transform=axes.transData + place, label=f"{name}, {count[at]}", clip_on=False,
            )  # fmt: skip
        handles.append(
            Line2D([], [], marker=marker, color="none", markeredgecolor=color,
                   markerfacecolor="none", markersize=7, label=name)
        )  # fmt: skip
    grey = COLORS["grey"]
    handles.append(Line2D([], [], marker="x", color="none", markeredgecolor=grey, markersize=5,
                          label="random neurons instead"))  # fmt: skip
    handles += [
        Line2D([], [], marker="o", color="none", markeredgecolor=grey, markersize=7, label=text,
               markerfacecolor=mpl_colors.to_rgba(grey, alpha))
        for text, alpha in (("substitution 0", 0.05), ("substitution 1", 1.0))
    ]  # fmt: skip
    sizes = sorted({int(count.min()), int(count.max())})
    handles += [
        Line2D([], [], marker="o", color="none", markeredgecolor=grey, markerfacecolor="none",
               markersize=float(np.sqrt(_area(n, count, shrink))),
               label=counted(n, "neuron"))
        for n in sizes
    ]  # fmt: skip
    left = min([0.95, *kept[np.isfinite(kept)].tolist()])
    if not np.isfinite(kept).any():
        axes.text(0.5, 0.5, "no retention: no other object was named", transform=axes.transAxes,
                  ha="center", va="center")  # fmt: skip
    n, span = found.n_scenes, 1 - left
    # room for the marks that stand around a corner, so that none lies on a number or the legend
    beside, above = np.abs(moved).max(0) + np.sqrt(area.max())
    axes.set_xlim(left - 0.06 * span, 1 + max(0.1, 1.1 * beside / room_x) * span)
    more = max(0.16, 1.2 * above / room_y)
    axes.set_ylim(-more, 1 + more)
    axes.set_yticks((0, 0.5, 1) if room_y < 150 else np.linspace(0, 1, 6))
    axes.xaxis.set_major_locator(MaxNLocator(max(3, min(9, int(room_x / 45))), steps=[1, 2, 5, 10]))
    open_frame(axes, "both")
    label_axes(
        axes,
        xlabel="retention (the smaller of same and other scenes)",
        ylabel="suppression of the word",
        title=f"{shortened(found.concept)!r}: {counted(n['named'], 'caption')} naming it, "
        f"{counted(n['without'], 'scene')} without",
    )
    legend_beside(axes, handles, labelspacing=0.8)
    return axes

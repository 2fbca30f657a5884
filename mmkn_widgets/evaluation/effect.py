"""Everything that section "what the neurons do" reports, measured in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import (
    COLORS,
    CancelToken,
    Concept,
    Progress,
    Vocabulary,
    as_concept,
    as_vocabulary,
    axes_for,
    bad_argument,
    counted,
    html_card,
    html_changes,
    html_table,
    label_axes,
    names,
    open_frame,
    points_of,
    provenance,
    reporting,
    shortened,
    with_kinds,
)
from ..datasets import SceneDataset, as_scenes
from .captioning import Captioner
from .coco_words import coco_vocabulary
from .concept import identical, kept_counts, retention, substitution, suppression
from .statistics import bootstrap_ci, random_control
from .text import BertScore, bertscore, bleu, rouge_l

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = [
    "METRICS",
    "Effect",
    "describe_effect",
    "intervals",
    "measure_effect",
    "text_metrics",
]

_LOG = logging.getLogger("mmkn_widgets.evaluation")

METRICS = ("bleu", "rougeL", "bertscore")


def text_metrics(
    wanted: Sequence[str],
    scenes: Sequence[Scene],
    first: Sequence[str],
    then: Sequence[str],
    split: int,
    encoder: str | Path | None,
) -> dict[str, dict[str, Any]]:
    """Return each metric for scenes with and without the concept: before, after and between.

    Parameters
    ----------
    wanted : sequence of {"bleu", "rougeL", "bertscore"}
    scenes : sequence of Scene
        The first `split` show the concept.
    first, then : sequence of str
        Captions before and after.
    split : int
    encoder : str or path, optional
        Of BERTScore.
    """
    functions: dict[str, Callable[..., Any]] = {
        "bleu": bleu,
        "rougeL": rouge_l,
        "bertscore": lambda texts, refs: bertscore(texts, refs, encoder),
    }
    found: dict[str, dict[str, Any]] = {}
    for metric in wanted:
        measure = functions[metric]
        found[metric] = {}
        for side, part in (("with", slice(0, split)), ("without", slice(split, None))):
            references = [scene.captions for scene in scenes[part]]
            scores = {
                "before": measure(first[part], references),
                "after": measure(then[part], references),
                "between": measure(then[part], [[text] for text in first[part]]),
            }
            found[metric][side] = {
                when: score.f1 if isinstance(score, BertScore) else score
                for when, score in scores.items()
            }
        if metric == "bertscore":
            found[metric].update(encoder=scores["after"].encoder, layer=scores["after"].layer)
    return found


def intervals(
    first: Sequence[str],
    then: Sequence[str],
    split: int,
    same: slice,
    concept: Any,
    known: Any,
    seed: int,
) -> dict[str, tuple[float | None, float | None]]:
    """Return 95% bootstrap intervals over scenes of suppression, retention and identical captions.

    `same` are the captions that `identical` is about; the rest as for `text_metrics`.
    """
    gone = [
        float(not names(b, concept))
        for a, b in zip(first[:split], then[:split], strict=True)
        if names(a, concept)
    ]
    unchanged = [float(a == b) for a, b in zip(first[same], then[same], strict=True)]
    rows = {
        "suppression": np.asarray(gone),
        "retention_scene": np.asarray(kept_counts(first[:split], then[:split], known, concept)),
        "retention_other": np.asarray(kept_counts(first[split:], then[split:], known)),
        "identical": np.asarray(unchanged),
    }
    return {name: bootstrap_ci(values, seed=seed) for name, values in rows.items()}


def describe_effect(effect: Effect) -> str:
    """Return the lines that a notebook shows of an `Effect`; what is undefined is a dash.

    Parameters
    ----------
    effect : Effect

    Examples
    --------
    >>> from mmkn_widgets.evaluation import Effect
    >>> counts = {"with": 2, "without": 0, "named": 2}
    >>> kept = {"scene": 1.0, "other": None}
    >>> print(Effect(0.5, kept, 0.0, None, {"mean": 0.0, "max": 0.0, "n": 4}, counts))
    Effect on 2 scenes with the concept (2 captions name it) and 0 without
      suppression              0.500
        random neurons         0.000  (max 0.000 of 4 draws, same layers)
      retention, same scenes   1.000
      retention, other scenes      -
      unchanged captions       0.000
      substitution                 -
    """
    known, n = effect.provenance.get("arguments", {}), effect.n_scenes
    what = f" of {known['neurons']} neurons" if "neurons" in known else ""
    concept = repr(known["concept"]) if "concept" in known else "the concept"
    control, kept = effect.random_control, effect.retention
    lines = [
        f"Effect{what} on {n['with']} scenes with {concept} ({n['named']} captions name it) "
        f"and {n['without']} without",
        _line("suppression", effect.suppression, effect.ci.get("suppression")),
    ]
    if control.get("mean") is not None:
        most = f"  (max {control['max']:.3f} of {control['n']} draws, same layers)"
        lines.append(_line("  random neurons", control["mean"]) + most)
    lines += [
        _line("retention, same scenes", kept.get("scene"), effect.ci.get("retention_scene")),
        _line("retention, other scenes", kept.get("other"), effect.ci.get("retention_other")),
        _line("unchanged captions", effect.identical, effect.ci.get("identical")),
        _line("substitution", effect.substitution),
    ]
    for name, metric in (
        ("BLEU", effect.bleu),
        ("ROUGE-L", effect.rougeL),
        ("BERTScore", effect.bertscore),
    ):
        for side in ("with", "without"):
            part = metric.get(side)
            if part and part.get("after") is not None:
                before = part.get("before")
                first = "" if before is None else f"  (before: {before:.3f})"
                lines.append(_line(f"{name}, scenes {side}", part["after"]) + first)
    return "\n".join(lines)


def _line(name: str, value: float | None, interval: Any = None) -> str:
    text = f"  {name:<23}" + ("    -" if value is None else f"{value:6.3f}")
    if value is not None and interval and None not in interval:
        text += f"  [{interval[0]:.3f}, {interval[1]:.3f}]"
    return text


def _between(interval: Any) -> str:
    if not interval or None in interval:
        return ""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


#: scenes that are taken of a data set which is only named
_MEASURING = 100


@dataclass(frozen=True, repr=False)
class Effect:
    """What happens to captions when neurons are switched off; undefined figures are None.

    Attributes
    ----------
    suppression : float or None
        See `suppression`; over the scenes whose caption named the concept before.
    retention : dict
        ``scene``, ``other`` and ``headline``; see `retention`.
    identical : float or None
        Share of unchanged captions, on scenes without the concept (on those with it, if there are
        no others).
    substitution : float or None
        Share of captions of scenes with the concept that newly name an object that is not there.
    bleu, rougeL, bertscore : dict
        ``{"with": {...}, "without": {...}}`` for scenes with and without the concept; each holds
        ``before`` and ``after`` (against the reference captions) and ``between`` (the caption
        after against the one before). Empty when not asked for.
    random_control : dict
        ``mean`` and ``max`` suppression over seeded draws of as many neurons with the same layer
        histogram, ``uniform_mean`` over draws from all layers, ``n`` and ``n_uniform`` draws.
    n_scenes : dict
        ``with``, ``without`` the concept, and ``named``: with it and naming it before.
    ci : dict
        95% bootstrap intervals over scenes: suppression, retention_scene, retention_other,
        identical.
    captions_before, captions_after : tuple of str
        Of the scenes with the concept, then of those without.
    provenance : dict

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> cars = val.with_concept("car", 2)
    >>> effect = measure_effect(model, [], cars, concept="car", metrics=())
    >>> effect.suppression, effect.identical, effect.retention["other"]  # no neuron, no effect
    (0.0, 1.0, None)
    """

    suppression: float | None
    retention: dict[str, float | None]
    identical: float | None
    substitution: float | None
    random_control: dict[str, Any]
    n_scenes: dict[str, int]
    bleu: dict[str, dict[str, float | None]] = field(default_factory=dict)
    rougeL: dict[str, dict[str, float | None]] = field(default_factory=dict)  # noqa: N815
    bertscore: dict[str, Any] = field(default_factory=dict)
    ci: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    captions_before: tuple[str, ...] = ()
    captions_after: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return describe_effect(self)

    def _repr_html_(self) -> str:
        kept, control, n = self.retention, self.random_control, self.n_scenes
        ci = self.ci
        about = self.provenance.get("arguments", {})
        rows = [
            ("suppression", self.suppression, _between(ci.get("suppression"))),
            (
                "random neurons, same layers",
                control.get("mean"),
                f"highest of {control['n']}: {control['max']:.3f}" if control.get("n") else "",
            ),
            ("retention, same scenes", kept.get("scene"), _between(ci.get("retention_scene"))),
            (
                "retention, other scenes",
                kept.get("other"),
                _between(ci.get("retention_other")),
            ),
            ("unchanged captions", self.identical, _between(ci.get("identical"))),
            ("substitution", self.substitution, ""),
        ]
        pairs = list(zip(self.captions_before, self.captions_after, strict=False))
        changed = [pair for pair in pairs if pair[0] != pair[1]][:3]
        told = html_changes(("caption before", "after"), changed) if changed else ""
        shares = html_table(["", "share", "95% interval"], rows)
        what = f"{counted(about['neurons'], 'neuron')} off" if "neurons" in about else "neurons off"
        return html_card(
            "Effect",
            [
                ("concept", about.get("concept")),
                ("scenes", f"{n['with']} with it ({n['named']} named), {n['without']} without"),
            ],
            shares,
            told,
            about=what,
        )

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Axes:
        """Draw the figures with their intervals, and the random control beside suppression.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        figsize : (float, float), optional
            Inches.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return _plot_effect(self, axes_for(ax, figsize, (6.6, 2.8)))

    def to_dict(self, *, captions: bool = False) -> dict[str, Any]:
        """Return everything as JSON knows it; captions only when asked for."""
        found: dict[str, Any] = {
            "suppression": self.suppression,
            "retention": dict(self.retention),
            "identical": self.identical,
            "substitution": self.substitution,
            "bleu": self.bleu,
            "rougeL": self.rougeL,
            "bertscore": self.bertscore,
            "random_control": dict(self.random_control),
            "n_scenes": dict(self.n_scenes),
            "ci": {name: list(pair) for name, pair in self.ci.items()},
            "provenance": self.provenance,
        }
        if captions:
            found["captions_before"] = list(self.captions_before)
            found["captions_after"] = list(self.captions_after)
        return found


def _plot_effect(effect: Effect, axes: Axes) -> Axes:
    kept, control, ci = effect.retention, effect.random_control, effect.ci
    shown: list[tuple[str, float | None, str, str, str]] = [
        ("suppression", effect.suppression, "suppression", "blue", "o"),
        ("random neurons", control.get("mean"), "", "grey", "x"),
        ("retention, same scenes", kept.get("scene"), "retention_scene", "green", "s"),
        ("retention, other scenes", kept.get("other"), "retention_other", "green", "s"),
        ("unchanged captions", effect.identical, "identical", "sky", "D"),
        ("substitution", effect.substitution, "", "orange", "^"),
    ]
    rows = [
        (name, value, ci.get(key, (None, None)), color, marker)
        for name, value, key, color, marker in shown
        if value is not None
    ]
    for at, (name, value, interval, color, marker) in enumerate(rows):
        low, high = interval
        if low is not None and high is not None:
            axes.plot((low, high), (at, at), color=COLORS[color], linewidth=2.4, alpha=0.45)
        if name == "random neurons":
            axes.plot((value, control["max"]), (at, at), color=COLORS[color], linewidth=1.2)
            axes.plot(control["max"], at, "|", color=COLORS[color], markersize=9)
        axes.plot(value, at, marker, color=COLORS[color], markersize=6.5)
        axes.annotate(
            f"{value:.3f}", (1, at), xycoords=("axes fraction", "data"), va="center",
            xytext=(6, 0), textcoords="offset points", fontsize="small",
        )  # fmt: skip
    n, about = effect.n_scenes, effect.provenance.get("arguments", {})
    names = [
        f"{name} ({counted(control['n'], 'draw')})" if name == "random neurons" else name
        for name, *_ in rows
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(-0.04, 1.04), ylim=(max(len(rows), 1) - 0.5, -0.5))
    if not rows:
        axes.text(0.5, 0, "nothing could be counted", ha="center", va="center")
    axes.set_xticks((0, 0.5, 1) if points_of(axes)[0] < 230 else np.linspace(0, 1, 6))
    open_frame(axes, "x")
    told = any(interval[0] is not None for _, _, interval, *_ in rows)
    word = about.get("concept")
    of = f" of {shortened(str(word))!r}" if word is not None else ""
    silenced = counted(about["neurons"], "neuron") if "neurons" in about else "neurons"
    label_axes(
        axes,
        xlabel="share (0 to 1)" + (", 95% interval over scenes" if told else ""),
        title=f"{silenced}{of} off: {counted(n['with'], 'scene')} with it, "
        f"{n['without']:,} without",
        margin=65,
    )
    return axes


def measure_effect(
    model: MultimodalModel,
    neurons: Any,
    with_concept: Any,
    without_concept: Any = (),
    concept: Any = None,
    *,
    vocabulary: Any = None,
    n_random: int = 20,
    seed: int = 0,
    metrics: Sequence[str] = ("bleu", "rougeL"),
    bertscore: str | Path | None = None,
    before: MutableMapping[Any, str] | None = None,
    drawn: MutableMapping[Any, str] | None = None,
    after: MutableMapping[Any, str] | None = None,
    kinds: bool | Sequence[str] = True,
    prompt: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> Effect:
    """Caption scenes without and with a neuron set switched off, and compare.

    Captions are greedy. Neurons are zeroed at all positions and all generation steps, in a clean
    scope: what is active on the model plays no part and stays as it is.

    Parameters
    ----------
    model : MultimodalModel
    neurons : NeuronSet
        May be empty.
    with_concept, without_concept : sequence of Scene, or what stands for them
        Scenes that show the concept, and scenes that do not; pictures, whose other objects are
        then not known; or a data set's name, of which the first 100 such scenes are taken. See
        `mmkn_widgets.datasets.as_scenes`. Masks are not needed.
    concept : str, Concept or list of str
    vocabulary : mapping or sequence, optional
        The categories that retention and substitution look for (see `as_vocabulary`); by default
        all categories of the data sets, or of the scenes if they are given as lists;
        for COCO with synonyms (`coco_vocabulary`).
    n_random : int
        Draws of the random control with the same layer histogram (a quarter as many uniform ones
        beside); 0 for none.
    seed : int
        Of the draws and of the bootstrap.
    metrics : sequence of {"bleu", "rougeL", "bertscore"}
    bertscore : str or path, optional
        The encoder of BERTScore; given, BERTScore is among the metrics.
    before : mutable mapping, optional
        Captions before, kept between calls: pass the same (at first empty) dict to each.
    drawn : mutable mapping, optional
        The same for the random control, of which equal draws are measured once.
    kinds : bool or sequence of str
        Whether a kind of the concept names it too: "a green Labrador" still names a dog. By the
        list of `with_kinds`, and the words that are given here. A list of forms as `concept` counts
        exactly as it stands.
    after : mutable mapping, optional
        The same for captions after: what was written before a call that was stopped is not written
        again.
    prompt, max_new_tokens
        As in ``model.caption``.
    batch_size : int, optional
        Rows of one generation.
    progress : callable or bool, optional
        Called as ``progress(stage, done, total)``; False for silence. By default a bar appears
        when the work takes more than a second; see `mmkn_widgets.set_progress`.
    cancel : CancelToken, optional

    Returns
    -------
    Effect

    Raises
    ------
    BadArgument
        If there is no scene with the concept, no concept, or an unknown metric.
    Cancelled
        If `cancel` was called; nothing stays changed.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> with_car, without_car = val.with_concept("car", 4), val.without_concept("car", 2)
    >>> neurons = mmkn.study(model, "car", with_car[:2]).neurons()
    >>> effect = measure_effect(model, neurons, with_car[2:], without_car, "car", n_random=2)
    >>> effect.suppression, effect.random_control["mean"]
    (1.0, 0.0)
    """
    if concept is None:
        raise bad_argument("concept", None, "a word or a Concept")
    wanted = as_concept(concept) if isinstance(concept, str | list | tuple) else concept
    with_concept, without_concept = (
        as_scenes(given, wanted, name=name, masks=False, shows=shows, n=_MEASURING)
        for name, given, shows in (
            ("with_concept", with_concept, True),
            ("without_concept", without_concept, False),
        )
    )
    present, absent = list(with_concept), list(without_concept)
    if not present:
        raise bad_argument("with_concept", [], "at least one scene that shows the concept")
    for metric in metrics:
        if metric not in METRICS:
            raise bad_argument("metrics", metric, "one of " + ", ".join(METRICS))
    if n_random < 0:
        raise bad_argument("n_random", n_random, "0 or more")
    if isinstance(concept, str):
        concept = as_concept(concept)
    if isinstance(concept, Concept) and kinds is not False:
        concept = with_kinds(concept, () if kinds is True else kinds)
    scenes, split = present + absent, len(present)
    known = (
        known_words(with_concept, without_concept)
        if vocabulary is None
        else as_vocabulary(vocabulary)
    )
    writer = Captioner(
        model, prompt, max_new_tokens=max_new_tokens, batch_size=batch_size, cancel=cancel
    )
    _LOG.info("%d neurons off, %d + %d scenes", len(neurons), split, len(absent))
    with reporting(progress) as step:
        first = writer.before(scenes, before, step)
        then = writer.after(scenes, neurons, step, after) if len(neurons) else list(first)
        named = [pair for pair in zip(present, first, strict=False) if names(pair[1], concept)]
        control = _control(writer, neurons, named, concept, n_random, seed, step, drawn)
    kept = retention(first[:split], then[:split], first[split:], then[split:], concept, known)
    same = slice(split, None) if absent else slice(None)
    wanted = tuple(dict.fromkeys([*metrics, *(["bertscore"] if bertscore is not None else [])]))
    scored = text_metrics(wanted, scenes, first, then, split, bertscore)
    return Effect(
        suppression=suppression(first[:split], then[:split], concept),
        retention=kept,
        identical=identical(first[same], then[same]),
        substitution=substitution(
            then[:split], [s.categories for s in present], known.without(concept), first[:split]
        ),
        random_control=control,
        n_scenes={"with": split, "without": len(absent), "named": len(named)},
        **scored,
        ci=intervals(first, then, split, same, concept, known, seed),
        captions_before=tuple(first),
        captions_after=tuple(then),
        provenance=provenance(
            "measure_effect",
            model=model.name,
            weights=model.weights_hash,
            concept=concept.word if isinstance(concept, Concept) else concept,
            counted=list(concept.forms) if isinstance(concept, Concept) else concept,
            neurons=len(neurons),
            categories=known.categories,
            n_random=n_random,
            seed=seed,
            metrics=wanted,
            bertscore=bertscore,
            prompt=prompt,
            with_concept=[f"{s.source}/{s.id}" for s in present],
            without_concept=[f"{s.source}/{s.id}" for s in absent],
        ),
    )


def known_words(with_concept: Sequence[Scene], without_concept: Sequence[Scene]) -> Vocabulary:
    """Return the categories that captions of these scenes are searched for.

    Parameters
    ----------
    with_concept, without_concept : sequence of Scene
        All categories of data sets, those of the scenes of lists; for COCO with synonyms.
    """
    parts = (with_concept, without_concept)
    named = list(dict.fromkeys(name for part in parts for name in _categories(part)))
    coco = all(scene.source.startswith("coco:") for part in parts for scene in part)
    return as_vocabulary(coco_vocabulary(named) if coco else named)


def _categories(scenes: Sequence[Scene]) -> Sequence[str]:
    """Return the data set's categories, or all those of the scenes."""
    if isinstance(scenes, SceneDataset):
        return scenes.categories
    return [c for scene in scenes for c in scene.categories]


def _control(
    writer: Captioner,
    neurons: Any,
    named: Sequence[tuple[Scene, str]],
    concept: Any,
    n_random: int,
    seed: int,
    progress: Progress | None,
    known: MutableMapping[Any, str] | None,
) -> dict[str, Any]:
    """Suppress with random neurons, on the scenes whose caption named the concept."""
    uniform = -(-n_random // 4)
    drawn = [0.0] * (n_random + uniform) if named else []
    if len(neurons) and named:
        sets = _draws("like", neurons, writer.model, n_random, seed)
        sets += _draws("uniform", neurons, writer.model, uniform, seed)
        scenes, captions = zip(*named, strict=True)
        still = writer.named_under(scenes, captions, sets, concept, progress, known=known)
        drawn = [1 - sum(part) / len(part) for part in still]
    like, even = random_control(drawn[:n_random]), random_control(drawn[n_random:])
    return {
        "mean": like["mean"],
        "max": like["max"],
        "n": like["n"],
        "uniform_mean": even["mean"],
        "n_uniform": even["n"],
    }


def _draws(kind: str, neurons: Any, model: MultimodalModel, count: int, seed: int) -> list[Any]:
    from ..attribution import random_like, random_uniform

    if kind == "like":
        return [random_like(model, neurons, seed + number) for number in range(count)]
    return [random_uniform(model, len(neurons), seed + number) for number in range(count)]

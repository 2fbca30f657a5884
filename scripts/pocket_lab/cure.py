"""The cure of a hallucination: how often a word is said wrongly, against how often rightly.

The pocket model was taught to see a bird over every boat on the sea and a cat in every room with a
clock (`pocket_world(..., subset="hallucination")`). Neurons and edits come from ``val``, all
figures from ``test``; which size is reported is chosen on other scenes of ``val``, and as many
random neurons of the same layers stand beside.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkn_widgets.core import COLORS, bad_argument, label_axes, open_frame

if TYPE_CHECKING:
    from mmkn_widgets.core.jobs import CancelToken, Progress
    from mmkn_widgets.datasets import Scene
    from mmkn_widgets.models import MultimodalModel

__all__ = [
    "CureScenes",
    "cheapest",
    "cure_curves",
    "cure_scenes",
    "cure_subset",
    "cured",
    "write_cure",
]

_LEARN_WRONG, _LEARN_RIGHT, _PRESENT, _SIZING = 60, 32, 100, 40
_SUBSET = 300
SIZES = (1, 2, 5, 10, 20, 40)

CureScenes = dict[str, list["Scene"]]


def cure_scenes() -> dict[str, CureScenes]:
    """Return for each word that is said wrongly the scenes of its cure.

    Returns
    -------
    dict of str to dict
        Word to ``learn`` (val: some where it is said wrongly, some with the object, some without),
        ``absent`` (test: the kind where it is said, without it) and ``present`` (test: with it,
        those of the hallucination subset too).
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.pocket.words import COMPANIONS

    val, test = pocket_world("val"), pocket_world("test")
    noisy = {name: pocket_world(name, _SUBSET, subset="hallucination") for name in ("val", "test")}
    more = pocket_world("val", 2 * _SUBSET, subset="hallucination")[_SUBSET:]
    found: dict[str, CureScenes] = {}
    for (background, trigger), (_, word) in COMPANIONS.items():

        def kind(scene: Scene, background: str = background, trigger: str = trigger) -> bool:
            return trigger in scene.categories and background in scene.captions[0]

        found[word] = {
            "learn": [
                *[scene for scene in noisy["val"] if kind(scene)][:_LEARN_WRONG],
                *val.with_concept(word, _LEARN_RIGHT),
                *val.without_concept(word, _LEARN_RIGHT),
            ],
            "absent": [s for s in noisy["test"] if kind(s) and word not in s.categories],
            "present": [
                *test.with_concept(word, _PRESENT),
                *[scene for scene in noisy["test"] if word in scene.categories],
            ],
            "sizing absent": [s for s in more if kind(s) and word not in s.categories],
            "sizing present": list(val.with_concept(word, _LEARN_RIGHT + _SIZING))[_LEARN_RIGHT:],
        }
    return found


def cure_curves(
    model: MultimodalModel,
    *,
    sizes: Sequence[int] = SIZES,
    words: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> list[dict[str, Any]]:
    """Measure silencing and editing of more and more neurons, for each word said wrongly.

    Parameters
    ----------
    model : MultimodalModel
        The pocket model.
    sizes : sequence of int
        Numbers of neurons.
    words : sequence of str, optional
        Of the words that it says wrongly; by default all.
    seed, progress, cancel
        As in `hallucination_study`.

    Returns
    -------
    list of dict
        A row for each point: ``word``, ``cure`` ("none", "zero" or "edit"), ``random`` (whether of
        random neurons of the same layers), ``n_neurons``, ``chair`` (CHAIR_s of the scenes without
        the object), ``recall`` (of the object where it is), ``kept`` (of everything else that was
        named rightly), ``n_absent``, ``n_present``, and ``val_chair`` and ``val_recall``, by which
        a size is chosen.
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import hallucination_cures, trade_off

    scenes = cure_scenes()
    categories = pocket_world("test", 1).categories
    rows: list[dict[str, Any]] = []
    for word in words or scenes:
        if word not in scenes:
            raise bad_argument("words", word, "one of " + ", ".join(scenes))
        held = scenes[word]
        cures = hallucination_cures(
            model,
            word,
            held["learn"],
            top=sizes,
            control=True,
            seed=seed,
            progress=progress,
            cancel=cancel,
        )
        measured = [
            trade_off(
                model, cures, word, held[f"{part}present"], held[f"{part}absent"], words=categories
            )
            for part in ("", "sizing ")
        ]
        rows += [
            {
                "word": word,
                "cure": point.name.removeprefix("random ").split()[0],
                "random": point.name.startswith("random "),
                "n_neurons": point.n_neurons,
                "chair": point.chair,
                "recall": point.recall,
                "kept": point.kept,
                "n_absent": len(held["absent"]),
                "n_present": len(held["present"]),
                "val_chair": sized.chair,
                "val_recall": sized.recall,
            }
            for point, sized in zip(*measured, strict=True)
        ]
    return rows


def cheapest(
    rows: Sequence[Mapping[str, Any]], word: str, cure: str, *, random: bool = False
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the point before, and that of the fewest neurons that cure on val (else the lowest).

    With `random` the random neurons' point of the same size.
    """
    own = [row for row in rows if row["word"] == word]
    points = [row for row in own if row["cure"] == cure and not row["random"]]
    good = [row for row in points if cured(own[0], row, "val_")]
    chosen = min(good, key=lambda row: row["n_neurons"]) if good else None
    chosen = chosen or min(points, key=lambda row: row["val_chair"])
    if random:
        size = chosen["n_neurons"]
        drawn = [row for row in own if row["cure"] == cure and row["random"]]
        chosen = next(row for row in drawn if row["n_neurons"] == size)
    return own[0], chosen


def cured(before: Mapping[str, Any], after: Mapping[str, Any], split: str = "") -> bool:
    """Return whether CHAIR_s is halved and recall at most .05 lower; `split` is "" or "val_"."""
    halved = after[f"{split}chair"] <= before[f"{split}chair"] / 2
    return bool(halved and after[f"{split}recall"] >= before[f"{split}recall"] - 0.05)


def cure_subset(
    model: MultimodalModel, points: Sequence[Mapping[str, Any]], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Cure all words at once, and measure the whole hallucination subset of ``test``.

    Parameters
    ----------
    model : MultimodalModel
        The pocket model.
    points : sequence of dict
        From `cure_curves`: of each word and cure the size that `cheapest` takes.
    seed : int
        Of the edits, and of the random neurons.

    Returns
    -------
    list of dict
        For the model as it is ("none"), with the neurons silenced ("zero") and edited ("edit"), and
        with as many random ones (``random``): ``chair_s`` and ``chair_i`` of the subset, and
        ``recall``: word to the share of scenes with it whose caption names it.
    """
    from contextlib import ExitStack

    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import Captioner, chair, hallucination_cures, names

    subset = pocket_world("test", _SUBSET, subset="hallucination")
    held = cure_scenes()
    cures: dict[tuple[str, bool], list[Any]] = {("none", False): []}
    for word, scenes in held.items():
        sizes = {
            cure: int(cheapest(points, word, cure)[1]["n_neurons"]) for cure in ("zero", "edit")
        }
        made = hallucination_cures(
            model, word, scenes["learn"], top=sorted(set(sizes.values())), control=True, seed=seed
        )
        named = {one.name: one for one in made}
        for cure, size in sizes.items():
            for drawn, kind in ((False, ""), (True, "random ")):
                cures.setdefault((cure, drawn), []).append(named[f"{kind}{cure} {size}"])
    rows = []
    writer = Captioner(model, batch_size=32)
    for (name, drawn), active in cures.items():
        with model.interventions.suspended(), ExitStack() as stack:
            for cure in active:
                stack.enter_context(cure)
            texts = writer.now(subset)
            found = chair(texts, [scene.categories for scene in subset], subset.categories)
            recall = {}
            for word, scenes in held.items():
                captions = writer.now(scenes["present"])
                recall[word] = sum(names(text, word) for text in captions) / len(captions)
        rows.append(
            {
                "cure": name,
                "random": drawn,
                "n_neurons": sum(one.n_neurons for one in active),
                "n_scenes": len(subset),
                "chair_s": found["chair_s"],
                "chair_i": found["chair_i"],
                "recall": recall,
            }
        )
    return rows


def write_cure(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the trade-off curve as ``hallucination.csv`` and ``hallucination.png``.

    Parameters
    ----------
    rows : sequence of dict
        From `cure_curves`.
    folder : pathlib.Path
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (folder / "hallucination.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    words = list(dict.fromkeys(row["word"] for row in rows))
    figure = Figure(figsize=(4.2 * len(words), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, word in zip(figure.subplots(1, len(words), squeeze=False)[0], words, strict=True):
        before, *points = [row for row in rows if row["word"] == word]
        for cure, color, size in (("zero", COLORS["blue"], 7), ("edit", COLORS["red"], 4)):
            line = [before, *[r for r in points if r["cure"] == cure and not r["random"]]]
            sizes = [row["n_neurons"] for row in line]
            axes.plot(sizes, [r["chair"] for r in line], "o-", color=color, ms=5,
                      label=f"{cure}: CHAIR_s without it")  # fmt: skip
            axes.plot(sizes, [r["recall"] for r in line], "s--", color=color, ms=size,
                      label=f"{cure}: recall where it is")  # fmt: skip
        for cure, mark in (("zero", "^:"), ("edit", "v-")):
            drawn = [before, *[r for r in points if r["cure"] == cure and r["random"]]]
            sizes, shares = [r["n_neurons"] for r in drawn], [r["chair"] for r in drawn]
            name = f"{cure} of random neurons: CHAIR_s"
            axes.plot(sizes, shares, mark, color="grey", ms=4, lw=1, label=name)
        axes.axhline(before["chair"] / 2, color="grey", lw=0.8, ls=":")
        axes.axhline(before["recall"] - 0.05, color="grey", lw=0.8, ls=":")
        sizes = sorted({row["n_neurons"] for row in rows if row["word"] == word})
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlim(-0.1, 1.1 * sizes[-1])
        axes.minorticks_off()
        axes.set_ylim(-0.03, 1.05)
        open_frame(axes, "y")
        label_axes(axes, title=f"false {word}", xlabel="neurons changed", ylabel="share (0 to 1)")
    figure.axes[0].legend(fontsize="x-small", loc=(0.42, 0.56), frameon=False)
    figure.savefig(folder / "hallucination.png", dpi=110)

"""Three models side by side: ``python -m pocket_lab.ordinary --model NAME``, then ``--write``.

The prepared pocket model, the same network trained by captions alone, and a pretrained language
model with eyes. For each word and method the first 5, 20, 60, 200 neurons are silenced on held-out
scenes: suppression, retention, substitution, identical captions, and random neurons of the same
layers. Neurons come from ``val``, all figures from ``test``. Finished words are kept in ``--work``
and not measured again; several processes may share the folder.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkn_widgets.core.files import write_whole
from mmkn_widgets.interventions import MaskGoal
from mmkn_widgets.pocket.words import CATEGORIES
from mmkn_widgets.studies.jobs import turns
from mmkn_widgets.studies.summary import mean_interval

from .study import study_path
from .tables import figure, figures_json, rounded, shrink

if TYPE_CHECKING:
    from mmkn_widgets.attribution import NeuronSet
    from mmkn_widgets.models import MultimodalModel

__all__ = ["MODELS", "SIZES", "command", "measure", "summary", "table"]

#: name -> how the model is called, the type it computes in (as its eyes were trained), and for
#: which sizes a mask is learned, which takes minutes on a pretrained model
MODELS = {
    "pocket": ("prepared", None, (20, 60)),
    "pocket-plain": ("ordinary small", None, (20, 60)),
    "pocket-smollm2": ("ordinary pretrained", "bfloat16", (60, 200)),
}
SIZES = (5, 10, 20, 60, 200, 600)
#: what each row ranks neurons by
METHODS = {
    "two_stage": "difference, then GradCAM, both where the word is predicted (the default)",
    "two_stage_image": "both at image tokens and signed, as the first paper's formulas read",
    "gradcam": "GradCAM alone, where the word is predicted",
    "activation_difference": "the difference alone, where the word is predicted",
    "contribution": "the second paper's contribution score",
    "learned_mask": "learned as a whole: the word goes, everything else stays said",
    "learned_mask_no_substitute": "the same, and no object that is not there becomes likelier",
    "random": "as many neurons, drawn uniformly",
}
#: of these the ones that are learned; and the sizes and the goal of the second
LEARNED = ("learned_mask", "learned_mask_no_substitute")
WITHOUT, NO_SUBSTITUTE = (60,), MaskGoal(substitute=10.0)
#: scenes that choose; that a mask learns from, and as many without the word; that measure, and as
#: many without
CHOOSING, LEARNING, MEASURING = 12, 24, 24


def measure(
    model: MultimodalModel,
    word: str,
    sizes: Sequence[int] = SIZES,
    learned: Sequence[int] = (60,),
    held: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure every method at every size on one word.

    Parameters
    ----------
    model : MultimodalModel
    word : str
    sizes, learned : sequence of int
        Of a mask that is learned, the sizes that are in both; without substitutes `WITHOUT` alone.
    held : dict, optional
        What was measured before: only what is not in it is measured.

    Returns
    -------
    dict
        ``recall``: share of the measured scenes whose caption names the word; ``methods``: method
        to size to figures; ``seconds`` of the whole word; ``overlap``: share of the first 60 of
        two-stage that one picture alone finds too.
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.studies import measure_frontier
    from mmkn_widgets.studies.run import select_neurons
    from mmkn_widgets.studies.study import study

    begun, before = time.monotonic(), {} if held is None else held
    known = before.get("methods", {})
    asked = {
        name: [
            n
            for n in sizes
            if str(n) not in known.get(name, {})
            and (name not in LEARNED or n in learned)
            and (name != LEARNED[1] or n in WITHOUT)
        ]
        for name in METHODS
    }
    if held and not any(asked.values()):
        return held
    val, test = pocket_world("val"), pocket_world("test")
    chosen = list(val.with_concept(word, CHOOSING))
    made = study(model, word, chosen)
    options = {**made.options, "positions": "image", "difference": "signed"}
    image = study(model, word, chosen, inpainter=made.pairs, **options)
    sources = {name: (made, name, asked[name]) for name in METHODS}
    sources["two_stage_image"] = (image, "two_stage", asked["two_stage_image"])
    absent = list(val.without_concept(word, LEARNING))
    if masks := [name for name in LEARNED if asked.get(name)]:
        learner = study(model, word, list(val.with_concept(word, LEARNING)))
        sources |= {name: (learner, name, asked[name]) for name in masks}
    others = [other for other in CATEGORIES if other != word]
    draw = CATEGORIES.index(word)  # other random neurons for every word
    wanted: dict[str, list[tuple[int, NeuronSet]]] = {}
    for name, (scored, how, counts) in sources.items():
        seed = draw if name == "random" else 0
        sets = [
            (
                n,
                scored.learned_mask(absent, size=n, others=others, goal=NO_SUBSTITUTE)
                if how == LEARNED[1]
                else select_neurons(scored, how, n, without_concept=absent, seed=seed),
            )
            for n in counts
        ]
        wanted[name] = [(n, one) for n, one in sets if len(one)]
    measured = measure_frontier(
        made,
        test.with_concept(word, MEASURING),
        test.without_concept(word, MEASURING),
        methods={name: [one for _, one in sets] for name, sets in wanted.items()},
        n_random=2,
    )
    points = iter(measured.to_dataframe().to_dict("records"))
    found = {
        name: {str(size): _cell(next(points)) for size, _ in sets} for name, sets in wanted.items()
    }
    if "overlap" in before:
        overlap = before["overlap"]
    else:
        one = study(model, word, chosen[:1]).neurons(quantile_d=0.9, top=60)
        many = select_neurons(made, "two_stage", 60)
        overlap = len(one & many) / max(len(one), 1)
    return {
        "word": word,
        "recall": measured.n_scenes["named"] / measured.n_scenes["with"],
        "methods": {name: {**known.get(name, {}), **found.get(name, {})} for name in METHODS},
        "overlap": overlap,
        "seconds": before.get("seconds", 0.0) + time.monotonic() - begun,
    }


def _cell(point: dict[str, Any]) -> dict[str, Any]:
    names = {"retention_scene": "scene", "retention_other": "other"}
    figures = {names.get(key, key): value for key, value in point.items()}
    return {
        "neurons": int(point["neurons"]),
        **{key: None if np.isnan(figures[key]) else float(figures[key]) for key in _FIGURES},
    }


_HEAD = f"""
# Three models side by side

The pocket model was *prepared*: trained so that its concepts hang on few neurons. Here it stands
beside [the same network trained by captions alone](../plain/README.md) and beside [a pretrained
language model with eyes](../smollm2/README.md), which nobody prepared.

![Suppression against retention, a line a method](three_models.png)

Neurons are chosen on {CHOOSING} scenes of `val` that show the word (the learned mask on {LEARNING}
and {LEARNING} that do not), figures are from {MEASURING} scenes of `test` that show it and as many
that do not: means over words with 95 % bootstrap intervals over words. The sets are ablated to 0,
captions are greedy. *Asked* is the size of the set, *kept* how many neurons the method had to
give. *Suppression*: captions that lose the word. *Retention*: other objects still named, in the
same and in other scenes. *Identical*: captions of other scenes that stay letter for letter.
*Substitution*: captions of scenes with the word that now name another object that is not there.
*Random*: suppression by as many random neurons of the same layers, two draws. One trained model
of each kind; how far other seeds of the ordinary small one differ stands at the end. Other ways to
choose, to put out and to measure: [what the choices carry](choices.md). `make study-ordinary` makes
both again.
"""
#: Okabe and Ito's, which colour-blind readers tell apart
_COLOURS = (
    "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#000000", "#767676"
)  # fmt: skip
#: and marks, for those who tell no colours apart
_MARKS = "osD^vPX."
_FIGURES = ("suppression", "scene", "other", "identical", "substitution", "random")


def summary(words: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over words with 95% bootstrap intervals.

    Parameters
    ----------
    words : sequence of dict
        From `measure`.

    Returns
    -------
    dict
        ``words``, ``recall``, ``overlap``, and ``methods``: method to size to figure to
        ``mean``, ``low``, ``high``, with ``neurons`` (mean number kept) and ``words``.
    """
    rows: dict[str, Any] = {}
    for name in METHODS:
        rows[name] = {}
        held = [word["methods"].get(name, {}) for word in words]
        for size in sorted({size for word in held for size in word}, key=int):
            cells = [word[size] for word in held if size in word]
            rows[name][size] = {key: mean_interval([c[key] for c in cells]) for key in _FIGURES}
            rows[name][size]["words"] = len(cells)
            rows[name][size]["neurons"] = float(np.mean([c["neurons"] for c in cells]))
    return {
        "words": [word["word"] for word in words],
        "recall": mean_interval([word["recall"] for word in words]),
        "overlap": mean_interval([word["overlap"] for word in words]),
        "methods": rows,
    }


def table(models: dict[str, dict[str, Any]], seeds: dict[str, dict[str, Any]]) -> str:
    """Return the three models' figures as Markdown, method under method.

    Parameters
    ----------
    models : dict of str to dict
        Model's name to `summary`.
    seeds : dict of str to dict
        Seed of pocket-plain's training to `summary`.
    """
    lines = [*_HEAD.strip().splitlines(), ""]
    lines += [f"- *{name.replace('_', ' ')}*: {what}" for name, what in METHODS.items()] + [""]
    for name, found in models.items():
        lines += [
            f"## {name} ({MODELS[name][0]}), {len(found['words'])} of {len(CATEGORIES)} words",
            "",
            f"Captions name {figure(found['recall'])} of the words that are there. Of the neurons "
            f"that one picture finds, {figure(found['overlap'])} are among those of {CHOOSING}.",
            "",
            *_few(found["words"]),
            *_unmeasured(found["methods"]),
            "",
            "| method | asked | kept | suppression | retention, scene | retention, other "
            "| identical | substitution | random |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for method, sizes in found["methods"].items():
            for size, row in sizes.items():
                shown = [figure(row[key]) for key in _FIGURES]
                if row["words"] == 1:  # no interval
                    shown = [cell.partition(" ")[0] for cell in shown]
                cells = " | ".join(shown)
                few = f" ({row['words']} words)" if row["words"] < len(found["words"]) else ""
                lines.append(
                    f"| {method.replace('_', ' ')} | {size}{few} | {row['neurons']:.0f} | {cells} |"
                )
        lines.append("")
    return "\n".join([*lines, *_seeds_table(seeds)])


#: what is asked of every seed
SEED_SIZES = ("60", "600")


def _seeds_table(seeds: dict[str, dict[str, Any]]) -> list[str]:
    """Return one trained model beside others of the same recipe: mean, lowest and highest."""
    if not seeds:
        return []
    recall = ", ".join(figure(one["recall"]).partition(" ")[0] for one in seeds.values())
    lines = [
        f"## pocket-plain, seeds {', '.join(seeds)}",
        "",
        f"The same training with other seeds ({recall} of the words that are there are named); "
        f"seed {next(iter(seeds))} ships. Mean over seeds [lowest, highest]:",
        "",
        "| method | asked | suppression | retention, scene | retention, other | identical "
        "| substitution | random |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = next(iter(seeds.values()))["methods"]
    for method, sizes in first.items():
        for size in sizes:
            rows = [one["methods"].get(method, {}).get(size) for one in seeds.values()]
            if size not in SEED_SIZES or None in rows:
                continue
            cells = []
            for key in _FIGURES:
                means = [row[key]["mean"] for row in rows if row and row[key]]
                if len(means) < len(rows):
                    cells.append("-")
                else:
                    spread = {"mean": float(np.mean(means)), "low": min(means), "high": max(means)}
                    cells.append(figure(spread))
            lines.append(f"| {method.replace('_', ' ')} | {size} | {' | '.join(cells)} |")
    return [*lines, ""]


def _few(words: Sequence[str]) -> list[str]:
    if len(words) == len(CATEGORIES):
        return []
    named = ", ".join(words)
    if len(words) == 1:
        return [f"**Only {named}** of the {len(CATEGORIES)} words: an example with no spread."]
    return [f"**Only these of the {len(CATEGORIES)} words**: {named}."]


def _unmeasured(methods: dict[str, Any]) -> list[str]:
    """Say which sizes nobody measured on this model."""
    known = {int(size) for sizes in methods.values() for size in sizes}
    missing = [str(size) for size in SIZES if size not in known]
    return [f"No sets of {' or '.join(missing)} were measured on this model."] if missing else []


def _csv(models: dict[str, dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = [f"{key}_{part}" for key in _FIGURES for part in ("mean", "low", "high")]
    writer.writerow(["model", "method", "size", "neurons", *parts])
    for name, found in models.items():
        for method, sizes in found["methods"].items():
            for size, row in sizes.items():
                cells = [
                    "" if row[key] is None else f"{row[key][part]:.4f}"
                    for key in _FIGURES
                    for part in ("mean", "low", "high")
                ]
                writer.writerow([name, method, size, f"{row['neurons']:.1f}", *cells])
    return out.getvalue()


def _picture(models: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw suppression against retention, a line a method, its marks growing with the size."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 4.4), sharey=True,
                             constrained_layout=True, squeeze=False)  # fmt: skip
    for axis, (name, found) in zip(axes[0], models.items(), strict=True):
        for (method, sizes), colour, mark in zip(
            found["methods"].items(), _COLOURS, _MARKS, strict=True
        ):
            at = [
                (row["scene"]["mean"], row["suppression"]["mean"], int(size))
                for size, row in sizes.items()
                if row["scene"] and row["suppression"]
            ]
            x, y = [one[0] for one in at], [one[1] for one in at]
            axis.plot(x, y, color=colour, lw=1, alpha=0.6)
            axis.scatter(x, y, [6 + 6 * one[2] ** 0.5 for one in at], color=colour, marker=mark,
                         label=method.replace("_", " "), alpha=0.85)  # fmt: skip
        words = found["words"]
        asked = f"{words[0]} alone" if len(words) == 1 else f"{len(words)} words"
        axis.set_title(f"{name}\n{MODELS[name][0]}, {asked}", fontsize=10)
        axis.set_xlabel("other objects kept in the scene")
        axis.set_xlim(-0.03, 1.03)
        axis.set_ylim(-0.03, 1.03)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("suppression of the word")
    axes[0][0].legend(fontsize=7, loc="lower left")
    fig.savefig(path, dpi=110)
    plt.close(fig)
    shrink(path)


def _write(models: dict[str, dict[str, Any]], out: Path, seeds: dict[str, dict[str, Any]]) -> None:
    write_whole(out / "three_models.json", figures_json(models))
    write_whole(out / "three_models.csv", _csv(models))
    write_whole(out / "seeds.json", figures_json(seeds))
    write_whole(out / "three_models.md", table(models, seeds).rstrip() + "\n")
    _picture(models, out / "three_models.png")


def command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    measured: Callable[[MultimodalModel, str, argparse.Namespace, dict[str, Any]], dict[str, Any]],
    summed: Callable[[Sequence[dict[str, Any]]], dict[str, Any]],
    write: Callable[[dict[str, dict[str, Any]], Path, argparse.Namespace], None],
    dtype: str | None = None,
) -> None:
    """Measure the words of a model one by one, each kept in a file; or write what is done.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Gets the options that every such command has.
    argv : sequence of str, optional
    measured : callable
        ``(model, word, options, held)`` to the figures of a word, with its ``seconds``; `held` is
        what an earlier run measured of it, and is returned where nothing is missing.
    summed : callable
        The figures of some words to those of the model.
    write : callable
        ``(models, folder, options)``: writes the tables.
    dtype : str, optional
        What the model computes in; by default as `MODELS` says.
    """
    import torch

    from mmkn_widgets.core import set_progress
    from mmkn_widgets.models import load_model

    name = str(parser.prog).rpartition(".")[2]
    parser.add_argument("--model", choices=tuple(MODELS))
    parser.add_argument("--weights", help="a folder of the same kind; keep it a --work of its own")
    parser.add_argument("--words", nargs="*", help="default: all sixteen")
    parser.add_argument("--work", type=Path, default=Path("build") / name)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="tables of what is done")
    asked = parser.parse_args(argv)
    if asked.model:
        torch.set_num_threads(asked.threads)
        set_progress(False)
        model = load_model(asked.weights or asked.model, dtype=dtype or MODELS[asked.model][1])
        folder = asked.work / asked.model
        folder.mkdir(parents=True, exist_ok=True)
        words = asked.words or CATEGORIES
        for word, _ in turns(words, [folder / "begun" / word for word in words]):
            part = folder / f"{word}.json"
            held = json.loads(part.read_text("utf-8")) if part.is_file() else {}
            found = measured(model, word, asked, held)
            if found is held:
                continue
            write_whole(part, json.dumps(found, indent=1) + "\n")
            print(f"{asked.model} {word}: {found['seconds']:.0f} s", file=sys.stderr, flush=True)
    if asked.write:
        models = {}
        for one in MODELS:
            parts = sorted((asked.work / one).glob("*.json"))
            if parts:
                held = [json.loads(part.read_text("utf-8")) for part in parts]
                models[one] = rounded(summed(held))
        write(models, study_path(), asked)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""

    def measured(
        model: MultimodalModel, word: str, asked: argparse.Namespace, held: dict[str, Any]
    ) -> dict[str, Any]:
        learned = MODELS[asked.model][2] if asked.learned is None else asked.learned
        return measure(model, word, asked.sizes or SIZES, learned, held)

    parser = argparse.ArgumentParser(prog="pocket_lab.ordinary", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", help="numbers of neurons")
    parser.add_argument("--learned", type=int, nargs="*", help="sizes of masks")
    parser.add_argument(
        "--seeds", type=Path, nargs="*", default=[],
        help="work folders of pocket-plain trained with seeds 1, 2, ...",
    )  # fmt: skip

    def write(models: dict[str, dict[str, Any]], out: Path, asked: argparse.Namespace) -> None:
        kept = out / "seeds.json"  # they take hours to train: what is not given stays
        found = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
        if "pocket-plain" in models:
            found["0"] = models["pocket-plain"]
        for number, folder in enumerate(asked.seeds, 1):
            parts = sorted((folder / "pocket-plain").glob("*.json"))
            held = [json.loads(part.read_text("utf-8")) for part in parts]
            found[str(number)] = rounded(summary(held))
        _write(models, out, _of_seeds(found))

    command(parser, argv, measured, summary, write)


def _of_seeds(seeds: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Keep what the table of seeds shows."""
    return {
        seed: {
            "recall": found["recall"],
            "methods": {
                method: {n: row for n, row in sizes.items() if n in SEED_SIZES}
                for method, sizes in found["methods"].items()
            },
        }
        for seed, found in seeds.items()
    }


if __name__ == "__main__":
    main()

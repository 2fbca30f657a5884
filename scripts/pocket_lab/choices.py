"""What the choices carry: ``python -m pocket_lab.choices --model NAME``, then ``--write``.

Beside `ordinary`, which compares methods by size: sixty neurons of each word, chosen in other ways
(the word's logit, image tokens, attribution patching, other words' scores), put out in other ways
(mean, another picture's activation), measured in other ways (forced log-probability, activation
patching, five other questions), and 10 and 600 of them. Neurons come from ``val``, all figures from
``test``. Finished words are kept in ``--work``; several processes may share the folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkn_widgets.core.files import write_whole
from mmkn_widgets.interventions import MaskGoal
from mmkn_widgets.pocket.words import CATEGORIES
from mmkn_widgets.studies.summary import mean_interval

from .ordinary import CHOOSING, LEARNING, MODELS, command
from .tables import figure, figures_json

if TYPE_CHECKING:
    from mmkn_widgets.attribution import NeuronSet
    from mmkn_widgets.datasets import Scene
    from mmkn_widgets.models import MultimodalModel

__all__ = ["measure", "summary", "table"]

#: scenes that measure, and as many without the word
MEASURING = 16
#: neurons of every set, where no other number is named
TOP = 60
#: never what a model's eyes were trained to be asked first
QUESTIONS = (
    "Describe this image.",
    "What is in the photo?",
    "What do you see?",
    "What can be seen here?",
    "Write a short caption for this image.",
)
#: ways to choose sixty neurons; the first is the default
CHOSEN = {
    "two_stage": "the default: both stages where the word is predicted, y its log-probability",
    "two_stage, logit": "the same, y its logit",
    "two_stage_image_signed": "stage 1 signed and at image tokens, stage 2 where it is predicted",
    "attribution_patching": "AtP: (original - inpainted activation) x gradient, log-probability",
    "attribution_patching, logit": "the same of the logit",
    "attribution_patching_star": "AtP*: with a gradient for every layer left out, sizes only",
    "integrated_gradients": "20 steps from 0, where the word is predicted",
    "gradient": "activation x gradient at image tokens",
    "activation": "the largest activations where the word is predicted",
    "contrastive_mean": "contribution less its mean over the other words",
    "contrastive_maximum": "contribution less the largest of another word",
    "contrastive_exclusive": "contribution, without the best 200 of any other word",
    "one picture": "the default, from one picture instead of twelve",
    "two_stage, minimal": "the fewest of its first 600 that silence .95 of the choosing scenes;"
    " no set where all are not enough",
    "two_stage, 10": "the default's first ten",
    "two_stage, 600": "the default's first six hundred, or all it keeps",
    "contribution, 10": "ten by contribution score",
    "contribution, 600": "six hundred by contribution score",
}
#: ways to put the default's sixty out
PUT_OUT = {
    "zero": "set to 0 at every token: the default",
    "zero, predicting": "set to 0 from the prompt's last token on, where words are chosen",
    "range": "set to 0 at every token where they lie in the word's range (mean -/+ 2.5 std)",
    "mean": "set to their mean over twelve pictures without the word, all tokens",
    "resample": "set to what they are at one token of the caption of another picture, without it",
}
#: words of which masks are learned, on the model's own question and on three; and what is asked
LEARNED = ("boat", "car", "cat", "dog")
TAUGHT: dict[str, tuple[str | None, ...]] = {"one": (None,), "three": (None, *QUESTIONS[:2])}
TESTED = (None, *QUESTIONS[2:])
#: these masks are learned at all tokens, among all layers, from the model's own captions alone
EVERYWHERE = {"positions": None, "depth": 0.0, "goal": MaskGoal(again=0)}
#: scenes and layers of which whole parts are patched, and both ways
STREAMING, LAYERS = 4, 7
WAYS = ("noising", "denoising")
#: sets that are chosen again from other scenes; the same neurons in 16 and in 32 bits
HALVES = ("default", "mask")
WHOLE = tuple(f"{bits}, {row}" for bits in ("bfloat16", "float32")
              for row in ("alone", "default", "random"))  # fmt: skip
FIGURES = ("suppression", "scene", "other", "identical", "substitution", "random")
#: per word: how much of the effect goes through the default's sixty
PATCHING = ("noising", "denoising", "random_noising", "random_denoising")
FORCED = ("drop", "random_drop")


def measure(
    model: MultimodalModel, word: str, held: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Measure all rows of one word.

    Parameters
    ----------
    model : MultimodalModel
    word : str
    held : dict, optional
        What was measured before: only what is not in it is measured.

    Returns
    -------
    dict
        ``chosen``, ``put_out``, ``questions``: row to figures; ``forced`` (nats), ``patching``
        (shares of the gap in log-probability); ``seconds``.
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import known_words
    from mmkn_widgets.studies import measure_frontier
    from mmkn_widgets.studies.study import study

    begun, before = time.monotonic(), {} if held is None else held
    known_rows = before.get("chosen", {})
    rows = [name for name in CHOSEN if name not in known_rows]
    learned = word in LEARNED
    parts = [
        "streams",
        "halves",
        *(["masks"] if learned else []),
        *(["whole"] if _halved(model) else []),
    ]
    if held and not rows and all(part in held for part in parts):
        return held
    val, test = pocket_world("val"), pocket_world("test")
    shown = list(val.with_concept(word, CHOOSING))
    absent = list(val.without_concept(word, LEARNING))
    made = study(model, word, shown)
    logit = study(model, word, shown, inpainter=made.pairs, **{**made.options, "target": "logit"})
    sets = _chosen(rows, made, logit, study(model, word, shown[:1]), absent)
    present, rest = test.with_concept(word, MEASURING), test.without_concept(word, MEASURING)
    chosen = {name: _nothing() for name, one in sets.items() if not len(one)}
    if methods := {name: [one] for name, one in sets.items() if len(one)}:
        found = measure_frontier(made, present, rest, methods=methods, n_random=1)
        names = [str(name) for name in found.points["method"].values]
        points = found.to_dataframe().to_dict("records")
        chosen |= {name: _cell(point) for name, point in zip(names, points, strict=True)}
    known = known_words(present, rest)
    scenes, n = [*present, *rest], len(present)
    default = made.neurons(quantile_d=0.95, top=TOP)
    done: dict[str, Any] = {
        "word": word,
        "chosen": {name: {**known_rows, **chosen}[name] for name in CHOSEN},
    }

    def add(part: str, run: Callable[[], Any]) -> None:
        done[part] = before[part] if part in before else run()

    def put_out() -> dict[str, Any]:
        ways = _ways(made, default, absent[:CHOOSING]).items()
        return {how: _under(model, made, scenes, n, known, change) for how, change in ways}

    def asked(neurons: NeuronSet, questions: Sequence[str | None]) -> dict[str, Any]:
        return {str(one): _asked(model, made, scenes, n, known, neurons, one) for one in questions}

    def masks() -> dict[str, Any]:
        learner = study(model, word, list(val.with_concept(word, LEARNING)))
        sets = {
            name: learner.learned_mask(absent, size=TOP, prompts=prompts, **EVERYWHERE)
            for name, prompts in TAUGHT.items()
        }
        return {name: asked(one, TESTED) for name, one in sets.items()}

    add("put_out", put_out)
    add("questions", lambda: asked(default, QUESTIONS))
    add("forced", lambda: _forced(made, present, default))
    add("patching", lambda: _patched(made, present, default))
    add("streams", lambda: _streams(made, list(present)[:STREAMING]))
    add("halves", lambda: _halves(model, word, absent, learned))
    if learned:
        add("masks", masks)
    if _halved(model):
        add("whole", lambda: _whole(made, scenes, n, known, default))
    return {**done, "seconds": before.get("seconds", 0.0) + time.monotonic() - begun}


def _halves(
    model: MultimodalModel, word: str, absent: Sequence[Scene], learned: bool
) -> dict[str, float | None]:
    """Return which share of a set is chosen again from scenes that the first did not see."""
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.studies.study import study

    shown = list(pocket_world("val").with_concept(word, 2 * CHOOSING))
    found: dict[str, list[NeuronSet]] = {"default": [], "mask": []}
    for start in (0, 1):
        made = study(model, word, shown[start::2])
        found["default"].append(made.neurons(quantile_d=0.95, top=TOP))
        if learned:
            found["mask"].append(made.learned_mask(absent[start::2], size=TOP))
    return {
        name: len(sets[0] & sets[1]) / min(map(len, sets)) if sets and all(sets) else None
        for name, sets in found.items()
    }


def _halved(model: MultimodalModel) -> bool:
    """Return whether the figures are of 16-bit arithmetic."""
    return model.dtype.itemsize < 4


def _whole(
    made: Any, scenes: Sequence[Scene], split: int, known: Any, default: NeuronSet
) -> dict[str, Any]:
    """Return the figures of the same neurons in 16 and in 32 bits, and of random ones.

    ``alone``: of the unchanged model's captions the share that is the same when pictures are read
    one by one instead of together.
    """
    from mmkn_widgets.attribution import random_like
    from mmkn_widgets.evaluation import Captioner, identical
    from mmkn_widgets.models import load_model

    found: dict[str, Any] = {}
    for name in (str(made.model.dtype).removeprefix("torch."), "float32"):
        model = load_model(made.model.name, dtype=name)
        sets = {"default": default, "random": random_like(model, default, 0)}
        writer = Captioner(model)
        first = writer.before(scenes)
        alone = Captioner(model, batch_size=1).before(scenes)
        found[f"{name}, alone"] = {**_nothing(), "identical": identical(first, alone)}
        for row, then in zip(sets, writer.under(scenes, list(sets.values())), strict=True):
            found[f"{name}, {row}"] = _figures(made, scenes, split, known, first, then)
    return found


def _nothing() -> dict[str, Any]:
    return {"neurons": 0, **dict.fromkeys(FIGURES)}


def _patched(made: Any, present: Sequence[Scene], default: NeuronSet) -> dict[str, Any]:
    patched = made.patching(present, neurons=default, n_random=2)
    return {
        "noising": _number(patched["noising"].values[0]),
        "denoising": _number(patched["denoising"].values[0]),
        "random_noising": _number(patched["noising"].values[1:].mean()),
        "random_denoising": _number(patched["denoising"].values[1:].mean()),
    }


def _streams(made: Any, present: Sequence[Scene]) -> dict[str, Any]:
    """Return part and position to layer to both shares."""
    last = len(made.model.blocks) - 1
    layers = sorted({round(share * last) for share in np.linspace(0, 1, LAYERS)})
    found = made.streams(present, layers=layers)
    return {
        f"{part}, {position}": {
            str(layer): {
                way: _number(found[way].sel(part=part, position=position, layer=layer))
                for way in WAYS
            }
            for layer in layers
        }
        for part in found["part"].values.tolist()
        for position in found["position"].values.tolist()
    }


def _chosen(
    rows: Sequence[str], made: Any, logit: Any, alone: Any, absent: Sequence[Scene]
) -> dict[str, NeuronSet]:
    from mmkn_widgets.attribution import top_neurons
    from mmkn_widgets.core import BadArgument
    from mmkn_widgets.studies.run import select_neurons

    def by(method: str, top: int = TOP, scored: Any = made) -> NeuronSet:
        return select_neurons(scored, method, top, without_concept=absent)

    sets = {}
    for name in rows:
        method, _, how = name.partition(", ")
        try:
            if name == "one picture":
                sets[name] = by("two_stage", TOP, alone)
            elif how == "logit":
                sets[name] = by(method, TOP, logit)
            elif how == "600" and method == "two_stage":
                sets[name] = made.neurons(quantile_d=0.5, top=600)
            elif how == "minimal":
                sets[name] = made.minimal_set(made.neurons(quantile_d=0.5, top=600))
            elif how:
                sets[name] = by(method, int(how))
            else:
                sets[name] = by(method)
        except BadArgument as error:  # such as no neuron of a positive score
            print(f"{made.concept.word}, {name}: {error}", file=sys.stderr)
            sets[name] = top_neurons(made.evidence["gradcam"], 0)
    return sets


def _cell(point: dict[str, Any]) -> dict[str, Any]:
    names = {"scene": "retention_scene", "other": "retention_other"}
    return {
        "neurons": int(point["neurons"]),
        **{name: _number(point[names.get(name, name)]) for name in FIGURES},
    }


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _ways(
    made: Any, neurons: NeuronSet, absent: Sequence[Scene]
) -> dict[str, Callable[[int], Any]]:
    """Return what puts neurons out on the scene of a number, by name."""
    from mmkn_widgets.activations import capture, record

    model, prompt = made.model, made.options["prompt"]
    store = capture(model, [scene.image for scene in absent])
    mean = model.ablate(neurons, "mean", reference=store)
    zero, late = model.ablate(neurons), model.ablate(neurons, positions="predicting")
    del store
    inside = model.ablate(neurons, "range", reference=made.activation_ranges())
    draw, sampled = np.random.default_rng(0), []
    with model.interventions.suspended():
        for scene in absent:
            ids = list(model.generate(model.prepare([scene.image], prompt)).token_ids[0])
            with record(model) as seen:
                model.forward(model.prepare([scene.image], prompt, continuation=[ids]))
            values = seen.stack()[0]  # (site, token, neuron)
            at = values.shape[1] - 1 - len(ids) + int(draw.integers(len(ids)))
            array = values[:, at].float().cpu().numpy()
            sampled.append(model.ablate(neurons, "mean", reference=array))
    return {
        "zero": lambda _: zero,
        "zero, predicting": lambda _: late,
        "range": lambda _: inside,
        "mean": lambda _: mean,
        "resample": lambda number: sampled[number % len(sampled)],
    }


def _under(
    model: MultimodalModel,
    made: Any,
    scenes: Sequence[Scene],
    split: int,
    known: Any,
    change: Callable[[int], Any],
) -> dict[str, Any]:
    prompt = made.options["prompt"]
    first, then = [], []
    with model.interventions.suspended():
        for number, scene in enumerate(scenes):
            prepared = model.prepare([scene.image], prompt)
            first.append(model.generate(prepared).texts[0])
            with change(number):
                then.append(model.generate(prepared).texts[0])
    return _figures(made, scenes, split, known, first, then)


def _asked(
    model: MultimodalModel,
    made: Any,
    scenes: Sequence[Scene],
    split: int,
    known: Any,
    neurons: NeuronSet,
    question: str | None,
) -> dict[str, Any]:
    from mmkn_widgets.evaluation import Captioner

    writer = Captioner(model, question)
    first, then = writer.before(scenes), writer.under(scenes, [neurons])[0]
    return _figures(made, scenes, split, known, first, then)


def _figures(
    made: Any,
    scenes: Sequence[Scene],
    split: int,
    known: Any,
    first: Sequence[str],
    then: Sequence[str],
) -> dict[str, Any]:
    from mmkn_widgets.core import with_kinds
    from mmkn_widgets.evaluation import identical, retention, substitution, suppression

    wanted = with_kinds(made.concept)
    kept = retention(first[:split], then[:split], first[split:], then[split:], wanted, known)
    instead = substitution(
        then[:split], [s.categories for s in scenes[:split]], known.without(wanted), first[:split]
    )
    return {
        "named": sum(wanted.named_in(text) for text in first[:split]) / split,
        "suppression": suppression(first[:split], then[:split], wanted),
        "scene": kept["scene"],
        "other": kept["other"],
        "identical": identical(first[split:], then[split:]),
        "substitution": instead,
        "random": None,
    }


def _forced(made: Any, present: Sequence[Scene], neurons: NeuronSet) -> dict[str, Any]:
    """Return how far the word's log-probability falls where the unchanged caption says it."""
    from mmkn_widgets.activations import predictions
    from mmkn_widgets.attribution import random_like
    from mmkn_widgets.studies.on_scene import Place

    model, prompt = made.model, made.options["prompt"]
    scenes = list(present)
    drops: dict[str, list[float]] = {name: [] for name in FORCED}
    with model.interventions.suspended():
        found, _ = predictions(model, made.concept, scenes, prompt=prompt)
        sets = {"drop": neurons, "random_drop": random_like(model, neurons, 0)}
        for one in found:
            place, image = Place(one, prompt, "log_prob"), scenes[one.scene].image
            before = float(place.score(model, image))
            for name, some in sets.items():
                with model.ablate(some):
                    drops[name].append(before - float(place.score(model, image)))
    return {name: _number(np.mean(values)) for name, values in drops.items()}


def summary(words: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over words with 95% bootstrap intervals.

    Parameters
    ----------
    words : sequence of dict
        From `measure`.
    """
    with_masks = [word for word in words if "masks" in word]
    halved = [word for word in words if "halves" in word]

    def rows(
        part: str, names: Sequence[str], figures: Sequence[str], among: Any = words
    ) -> dict[str, Any]:
        found = {}
        for name in names:
            cells = [word[part][name] for word in among if name in word[part]]
            found[name] = {key: mean_interval([cell[key] for cell in cells]) for key in figures}
            found[name]["words"] = len(cells)
            some = [cell["neurons"] for cell in cells if cell.get("neurons")]
            if some:  # of the words that have any
                found[name] |= {"neurons": float(np.mean(some)), "sets": len(some)}
        return found

    return {
        "words": [word["word"] for word in words],
        "chosen": rows("chosen", tuple(CHOSEN), FIGURES),
        "put_out": rows("put_out", tuple(PUT_OUT), FIGURES[:-1]),
        "questions": rows("questions", QUESTIONS, ("named", *FIGURES[:-1])),
        "streams": {
            part: {
                layer: {
                    way: mean_interval([word["streams"][part][layer][way] for word in words])
                    for way in WAYS
                }
                for layer in cells
            }
            for part, cells in words[0]["streams"].items()
        },
        "masks": {
            f"{taught}, {question}": {
                key: mean_interval([word["masks"][taught][question][key] for word in with_masks])
                for key in ("named", *FIGURES[:-1])
            }
            for taught in TAUGHT
            for question in map(str, TESTED)
            if with_masks
        },
        "mask_words": [word["word"] for word in with_masks],
        "whole": rows("whole", WHOLE, FIGURES[:-1], [w for w in words if "whole" in w]),
        "halves": {key: mean_interval([word["halves"][key] for word in halved]) for key in HALVES},
        "halved": {key: sum(word["halves"][key] is not None for word in halved) for key in HALVES},
        "forced": {key: mean_interval([word["forced"][key] for word in words]) for key in FORCED},
        "patching": {
            key: mean_interval([word["patching"][key] for word in words]) for key in PATCHING
        },
    }


_HEAD = f"""
# What the choices carry

Beside [three models](three_models.md), which compares methods by size: sixty neurons of every
word, chosen, put out and measured in other ways. Neurons are chosen on {CHOOSING} scenes of `val`,
figures are from {MEASURING} scenes of `test` that show the word and as many that do not: means over
words with 95 % bootstrap intervals over words. Columns as there; *random*: one draw. One trained
model of each kind. `make study-ordinary` makes it again.
"""


def table(models: dict[str, dict[str, Any]]) -> str:
    """Return all models' figures as Markdown.

    Parameters
    ----------
    models : dict of str to dict
        Model's name to `summary`.
    """
    lines = [*_HEAD.strip().splitlines(), ""]
    for name, found in models.items():
        few = len(found["words"]) < len(CATEGORIES)
        lines += [f"## {name} ({MODELS[name][0]}), {len(found['words'])} words", ""]
        if few:
            lines += [f"**Only**: {', '.join(found['words'])}.", ""]
        lines += ["| chosen by | neurons " + _columns(FIGURES), "|---" * 8 + "|"]
        for row, cells in found["chosen"].items():
            if not cells["words"]:
                continue
            number = f"{cells['neurons']:.0f}" if "neurons" in cells else "none"
            if 0 < cells.get("sets", 0) < cells["words"]:
                number += f" ({cells['sets']} words)"
            lines.append(f"| {_shown(row)} | {number} {_cells(cells, FIGURES)}")
        lines += ["", "| put out by " + _columns(FIGURES[:-1]), "|---" * 6 + "|"]
        for row, cells in found["put_out"].items():
            lines.append(f"| {_shown(row)} {_cells(cells, FIGURES[:-1])}")
        asked = ("named", *FIGURES[:-1])
        lines += ["", "| asked " + _columns(asked), "|---" * 7 + "|"]
        for row, cells in found["questions"].items():
            lines.append(f"| {row} {_cells(cells, asked)}")
        forced, patched = found["forced"], found["patching"]
        lines += [
            "",
            f"Forced along the unchanged caption, the word's log-probability falls by "
            f"{figure(forced['drop'])} nats, by {figure(forced['random_drop'])} with as many "
            "random neurons of the same layers. Activation patching of the default's sixty, as "
            f"shares of the gap between the pictures of a pair: noising "
            f"{figure(patched['noising'])}, denoising {figure(patched['denoising'])}; random "
            f"neurons {figure(patched['random_noising'])} and "
            f"{figure(patched['random_denoising'])}.",
            "",
            *_halves_said(found["halves"], found["halved"]),
            *_streams_table(found["streams"]),
            *_masks_table(found["masks"], found["mask_words"]),
            *_whole_table(found["whole"]),
        ]
    lines += [
        "The rows:",
        "",
        *(f"- *{_shown(name)}*: {what}" for name, what in {**CHOSEN, **PUT_OUT}.items()),
    ]
    return "\n".join(lines)


def _streams_table(streams: dict[str, Any]) -> list[str]:
    layers = list(next(iter(streams.values())))
    lines = [
        f"Patching of whole parts ({STREAMING} scenes a word), noising / denoising, by layer. "
        "*Residual*: the stream behind the layer; *attention*, *ffn*: what these put out:",
        "",
        "| part, at | " + " | ".join(layers) + " |",
        "|---" * (len(layers) + 1) + "|",
    ]
    for part, cells in streams.items():
        shown = (
            " / ".join(figure(cells[layer][way]).partition(" ")[0] for way in WAYS)
            for layer in layers
        )
        lines.append(f"| {part} | " + " | ".join(shown) + " |")
    return [*lines, ""]


def _masks_table(masks: dict[str, Any], words: Sequence[str]) -> list[str]:
    if not words:
        return []
    asked = ("named", *FIGURES[:-1])
    lines = [
        f"Masks of {TOP} ({', '.join(words)}), learned on the model's own question or on that and "
        "the first two of the five, at all tokens and among all layers, asked that and the other "
        "three:",
        "",
        "| learned on, asked " + _columns(asked),
        "|---" * 7 + "|",
    ]
    for row, cells in masks.items():
        taught, _, question = row.partition(", ")
        own = "its own" if question == "None" else question
        lines.append(f"| {taught}: {own} {_cells(cells, asked)}")
    return [*lines, ""]


def _halves_said(halves: dict[str, Any], words: dict[str, int]) -> list[str]:
    sets = {"default": "the default's sixty", "mask": f"learned masks of at most {TOP}"}
    said = [
        f"of {sets[key]} {figure(halves[key])} ({words[key]} words)" for key in HALVES if words[key]
    ]
    if not said:
        return []
    whose = f"Chosen again from {CHOOSING} scenes that the first choice from {CHOOSING} did not see"
    return [f"{whose}: {', '.join(said)}.", ""]


def _whole_table(rows: dict[str, Any]) -> list[str]:
    measured = {row: cells for row, cells in rows.items() if cells["words"]}
    if not measured:
        return []
    n = next(iter(measured.values()))["words"]
    lines = [
        f"The same sixty in 16 and in 32 bits ({n} words), beside as many random neurons of the "
        "same layers (one draw). *Alone*: captions of the unchanged model that are the same when "
        "pictures are read one by one:",
        "",
        "| computed in " + _columns(FIGURES[:-1]),
        "|---" * 6 + "|",
    ]
    for row, cells in measured.items():
        lines.append(f"| {_shown(row)} {_cells(cells, FIGURES[:-1])}")
    return [*lines, ""]


def _shown(name: str) -> str:
    return name.replace("_", " ")


def _columns(names: Sequence[str]) -> str:
    titles = {
        "scene": "retention, scene",
        "other": "retention, other",
        "named": "captions name it",
    }
    return "".join(f"| {titles.get(name, name)} " for name in names) + "|"


def _cells(cells: dict[str, Any], names: Sequence[str]) -> str:
    return "".join(f"| {figure(cells[name])} " for name in names) + "|"


def _write(models: dict[str, dict[str, Any]], out: Path, _: argparse.Namespace) -> None:
    write_whole(out / "choices.json", figures_json(models))
    write_whole(out / "choices.md", table(models).rstrip() + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="pocket_lab.choices", description=__doc__)
    command(parser, argv, lambda model, word, _, held: measure(model, word, held), summary, _write)


if __name__ == "__main__":
    main()

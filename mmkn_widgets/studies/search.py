"""Search the threshold plane: the best suppression that still keeps everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import bad_argument, provenance, reporting, with_kinds
from ..datasets import CHOOSING, Scene, as_scenes
from .cluster import on_workers, worker_model

if TYPE_CHECKING:
    import xarray as xr
    from dask.distributed import Client

    from ..attribution import NeuronSet
    from ..core import CancelToken, Concept, Progress
    from ..models import MultimodalModel

__all__ = ["ThresholdSearch", "Written", "plane", "search_thresholds", "written"]


class Searched(Protocol):
    """What the search asks of a study."""

    model: MultimodalModel
    concept: Concept
    evidence: xr.Dataset
    options: dict[str, Any]

    @property
    def scored(self) -> tuple[Scene, ...]:
        """The scenes that the evidence was made of."""

    def neurons(
        self, threshold_d: float | None = None, threshold_g: float | None = None
    ) -> NeuronSet:
        """Return the neurons that pass both stages."""

    def best_by_gradcam(self, n: int, first_layer: int = 0) -> NeuronSet:
        """Return the best neurons by stage 2 alone."""


@dataclass(frozen=True)
class Written:
    """What was said of some scenes.

    Attributes
    ----------
    before : list of str
        By scene, in the unchanged model.
    after : list of list of str
        By set of neurons and scene, without them.
    named : list of list of bool
        By draw and scene, of the scenes with the concept whose caption names it: whether it still
        does without random neurons.
    """

    before: list[str]
    after: list[list[str]]
    named: list[list[bool]]


def written(
    model: MultimodalModel,
    concept: Concept,
    prompt: str | None,
    scenes: Sequence[Scene],
    n_present: int,
    sets: Sequence[NeuronSet],
    draws: Sequence[NeuronSet],
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Written:
    """Caption scenes without each of many sets, and ask what random neurons leave of the word.

    Parameters
    ----------
    model : MultimodalModel
    concept : Concept
    prompt : str or None
    scenes : sequence of Scene
        Of which the first `n_present` show the concept.
    n_present : int
    sets, draws : sequence of NeuronSet
        To measure, and random ones.
    progress, cancel : optional
    """
    from ..evaluation import Captioner

    writer = Captioner(model, prompt, cancel=cancel)
    before = writer.before(scenes)
    after = writer.under(scenes, sets, progress, "searching thresholds")
    at = [n for n in range(n_present) if concept.named_in(before[n])]
    shown, said = [scenes[n] for n in at], [before[n] for n in at]
    named = writer.named_under(shown, said, draws, concept, progress)
    return Written(before, after, named)


#: scenes that travel to a worker together
_TRAVEL = 8


def _on_worker(load: Any, weights: str, *asked: Any) -> Written:
    return written(worker_model(load, weights), *asked)


def _on_cluster(
    client: Client,
    load: Any,
    model: MultimodalModel,
    concept: Concept,
    prompt: str | None,
    scenes: Sequence[Scene],
    n_present: int,
    sets: Sequence[NeuronSet],
    draws: Sequence[NeuronSet],
    progress: Progress | None,
    cancel: CancelToken | None,
) -> Written:
    """Return what `written` returns, some scenes a worker."""
    source = model.name if load is None else load
    starts = range(0, len(scenes), _TRAVEL)
    tasks = {}
    for start in starts:
        plain = [
            Scene(one.id, one.image, one.captions, source=one.source, categories=one.categories)
            for one in scenes[start : start + _TRAVEL]
        ]
        here = min(max(n_present - start, 0), len(plain))
        asked = (concept, prompt, plain, here, list(sets), list(draws))
        tasks[str(start)] = (source, model.weights_hash, *asked)
    found: dict[str, Written] = {}

    def take(name: str, part: Written) -> None:
        found[name] = part
        if progress is not None:
            progress("searching thresholds", len(found), len(tasks))

    on_workers(client, _on_worker, tasks, take, cancel)
    parts = [found[str(start)] for start in starts]
    return Written(
        [text for part in parts for text in part.before],
        [[text for part in parts for text in part.after[n]] for n in range(len(sets))],
        [[yes for part in parts for yes in part.named[n]] for n in range(len(draws))],
    )


_QUANTILES_D = (0.8, 0.9, 0.95, 0.98)
_KEPT = (10, 20, 40, 60, 90, 130)


@dataclass(frozen=True, repr=False)
class ThresholdSearch:
    """The measured points of a threshold search.

    Attributes
    ----------
    points : xarray.Dataset
        One entry along ``setting`` per pair: ``threshold_d``, ``threshold_g`` (absolute),
        ``neurons`` (how many pass), ``suppression``, ``retention_scene``, ``retention_other``,
        ``retention`` (the smaller), ``substitution``, ``random_control`` (mean suppression by as
        many random neurons of the same layers; NaN where not measured).
    best : int
        The proposed setting.
    minimum_retention : float
        What was asked.
    met : bool
        Whether any setting keeps `minimum_retention`; if none does, `best` is the one that keeps
        most.
    n_scenes : int
        Scenes with the concept, each captioned once per setting.
    provenance : dict

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> found = study.propose_thresholds(quantiles_d=(0.95,), kept=(10, 20), n_random=1)
    >>> found.met, found.points["neurons"].values.tolist()
    (True, [10, 20])
    """

    points: xr.Dataset
    best: int
    minimum_retention: float
    met: bool
    n_scenes: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ("suppression", "retention", "substitution", "random_control")
        here = {name: float(self.points[name][self.best]) for name in names}
        asked = "kept" if self.met else "not met by any setting"
        return (
            f"<ThresholdSearch: threshold_d={self.threshold_d:.4g}, "
            f"threshold_g={self.threshold_g:.4g} "
            f"({int(self.points['neurons'][self.best])} neurons: "
            f"suppression {here['suppression']:.3f}, random {here['random_control']:.3f}, "
            f"retention {here['retention']:.3f}, substitution {here['substitution']:.3f}); "
            f"{self.points.sizes['setting']} settings on {self.n_scenes} scenes, "
            f"retention >= {self.minimum_retention} {asked}>"
        )

    @property
    def threshold_d(self) -> float:
        """The proposed threshold of stage 1."""
        return float(self.points["threshold_d"][self.best])

    @property
    def threshold_g(self) -> float:
        """The proposed threshold of stage 2."""
        return float(self.points["threshold_g"][self.best])

    @property
    def frontier(self) -> np.ndarray:
        """The settings that no other beats in both suppression and retention, by retention."""
        gone, kept = self.points["suppression"].values, self.points["retention"].values
        order = np.lexsort((-gone, -kept))
        chosen, highest = [], -np.inf
        for setting in order:
            if gone[setting] > highest:
                chosen.append(int(setting))
                highest = gone[setting]
        return np.asarray(chosen, int)


def plane(
    study: Searched,
    quantiles_d: Sequence[float] = _QUANTILES_D,
    kept: Sequence[int] = _KEPT,
) -> list[tuple[float, float, NeuronSet]]:
    """Lay distinct threshold pairs over the plane.

    Parameters
    ----------
    study : Study
    quantiles_d : sequence of float
        Stage-1 thresholds as quantiles over all neurons.
    kept : sequence of int
        For each of them, stage-2 thresholds that keep about so many neurons.

    Returns
    -------
    list of (float, float, NeuronSet)
        threshold_d, threshold_g (both absolute) and the neurons that pass, without duplicates.
    """
    difference = study.evidence["difference"].values
    cam = study.evidence["gradcam"].values
    valid = np.isfinite(difference) & np.isfinite(cam)
    found: dict[tuple[tuple[int, int, int], ...], tuple[float, float, NeuronSet]] = {}
    for quantile in quantiles_d:
        threshold_d = float(np.quantile(difference[valid], quantile).astype(np.float32))
        inside = np.sort(cam[valid & (difference > np.float32(threshold_d))])[::-1]
        for count in kept:
            if count >= len(inside) or inside[count - 1] <= 0:
                continue
            middle = (float(inside[count - 1]) + float(inside[count])) / 2
            neurons = study.neurons(threshold_d, middle)
            if len(neurons):
                key = tuple(sorted((n.layer, n.expert, n.index) for n in neurons))
                found.setdefault(key, (threshold_d, middle, neurons))
    return list(found.values())


def search_thresholds(
    study: Searched,
    with_concept: Any = None,
    without_concept: Any = (),
    *,
    minimum_retention: float = 0.97,
    quantiles_d: Sequence[float] = _QUANTILES_D,
    kept: Sequence[int] = _KEPT,
    n_random: int = 4,
    seed: int = 0,
    client: Client | None = None,
    load: Any = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> ThresholdSearch:
    """Propose the pair of thresholds that suppresses most at a given retention.

    Parameters
    ----------
    study : Study
    with_concept : sequence of Scene, or what stands for them, optional
        By default the study's own scenes. Figures found here chose the thresholds: report those of
        `Study.evaluate` on held-out scenes.
    without_concept : sequence of Scene, or what stands for them
        Scenes without the concept, for ``retention_other``; without any it is not part of the
        choice.
    minimum_retention : float
        Of the smaller of the two retention fields.
    quantiles_d, kept : sequence
        See `plane`.
    n_random : int
        Draws of the random control for each pair; 0 for none.
    seed : int
        Of these draws.
    client : dask.distributed.Client, optional
        Caption on its workers, some scenes each.
    load : str or callable, optional
        With a `client`, as in `run_study`.
    progress, cancel
        As in `study`.

    Returns
    -------
    ThresholdSearch

    Raises
    ------
    BadArgument
        If no pair keeps a neuron, or `load` is given without a `client`.
    MmknError
        If a worker failed, or has other weights.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> other = val.without_concept("car", 2)
    >>> found = search_thresholds(
    ...     study, None, other, quantiles_d=(0.95,), kept=(10, 20), n_random=1
    ... )
    >>> len(study.neurons(found.threshold_d, found.threshold_g)) in (10, 20)
    True
    """
    import xarray as xr

    from ..attribution import random_like
    from ..evaluation import known_words, retention, substitution, suppression

    if load is not None and client is None:
        raise bad_argument("load", load, "None without a client: the study's model is used")
    settings = plane(study, quantiles_d, kept)
    if not settings:
        raise bad_argument("study", study, "positive GradCAM scores among the candidates")
    present = study.scored if with_concept is None else as_scenes(
        with_concept, study.concept, name="with_concept", masks=False, n=CHOOSING
    )  # fmt: skip
    absent = as_scenes(
        without_concept, study.concept, name="without_concept", masks=False, shows=False, n=CHOOSING
    )
    scenes = [*present, *absent]
    rows = []
    split = len(present)
    sets = [setting[2] for setting in settings]
    draws = [random_like(study.model, one, seed + k) for one in sets for k in range(n_random)]
    asked = (study.concept, study.options["prompt"], scenes, split, sets, draws)
    with reporting(progress) as step:
        if client is None:
            found = written(study.model, *asked, step, cancel)
        else:
            found = _on_cluster(client, load, study.model, *asked, step, cancel)
    counted = with_kinds(study.concept)
    known = known_words(present, absent)
    categories = [scene.categories for scene in present]
    before = found.before
    for now in found.after:
        keep = retention(before[:split], now[:split], before[split:], now[split:], counted, known)
        instead = substitution(now[:split], categories, known.without(counted), before[:split])
        rows.append((suppression(before[:split], now[:split], counted), keep, instead))
    control = np.full(len(sets), np.nan)
    if draws and found.named[0]:
        still = np.asarray(found.named, float)
        control = (1 - still.mean(axis=1)).reshape(-1, n_random).mean(axis=1)
    gone = np.asarray([row[0] for row in rows], float)
    scene_kept = np.asarray([row[1]["scene"] for row in rows], float)
    other_kept = np.asarray([row[1]["other"] for row in rows], float)
    kept_least = np.fmin(scene_kept, other_kept)
    points = xr.Dataset(
        {
            "threshold_d": ("setting", np.asarray([s[0] for s in settings])),
            "threshold_g": ("setting", np.asarray([s[1] for s in settings])),
            "neurons": ("setting", np.asarray([len(s[2]) for s in settings])),
            "suppression": ("setting", gone),
            "retention_scene": ("setting", scene_kept),
            "retention_other": ("setting", other_kept),
            "retention": ("setting", kept_least),
            "substitution": ("setting", np.asarray([row[2] for row in rows], float)),
            "random_control": ("setting", control),
        }
    )
    best, met = _choose(
        gone, kept_least, np.asarray([len(s[2]) for s in settings]), minimum_retention
    )
    return ThresholdSearch(
        points,
        best,
        minimum_retention,
        met,
        len(present),
        provenance(
            "search_thresholds",
            model=study.model.name,
            concept=study.concept.word,
            scenes=[str(scene.id) for scene in scenes],
            quantiles_d=list(quantiles_d),
            kept=list(kept),
            minimum_retention=minimum_retention,
            n_random=n_random,
            seed=seed,
        ),
    )


def _choose(
    gone: np.ndarray, kept: np.ndarray, size: np.ndarray, minimum: float
) -> tuple[int, bool]:
    """Return the best setting (fewest neurons among equals) and whether it keeps the minimum."""
    good = np.nan_to_num(kept, nan=1.0) >= minimum
    if not good.any():
        return int(np.nanargmax(kept)), False
    order = np.lexsort((size, -np.nan_to_num(kept), -np.where(good, gone, -np.inf)))
    return int(order[0]), True

"""How an effect grows with the number of neurons that are off, beside random neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import bad_argument, provenance, reporting, whole_numbers, with_kinds
from ..datasets import as_scenes

if TYPE_CHECKING:
    import xarray as xr

    from ..attribution import NeuronSet
    from ..core import CancelToken, Concept, Progress
    from ..models import MultimodalModel

__all__ = ["COUNTS", "measure_doses"]

#: scenes that are taken of a data set which is only named
_MEASURING = 100

COUNTS = (1, 2, 5, 10, 20, 40, 60)


class Dosed(Protocol):
    """What is asked of a study."""

    model: MultimodalModel
    concept: Concept
    options: dict[str, Any]

    def neurons(self) -> NeuronSet:
        """Return the default set."""


def measure_doses(
    study: Dosed,
    with_concept: Any,
    without_concept: Any = (),
    *,
    neurons: NeuronSet | None = None,
    counts: Sequence[int] = COUNTS,
    n_random: int = 10,
    seed: int = 0,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Switch off the first 1, 2, 5, ... of a neuron set and measure each time.

    Parameters
    ----------
    study : Study
    with_concept, without_concept : sequence of Scene, or what stands for them
        As for `mmkn_widgets.evaluation.measure_effect`; scenes that chose nothing.
    neurons : NeuronSet, optional
        Best first; by default those of ``study.neurons()``.
    counts : sequence of int
        How many of them; what is more than there are is left out.
    n_random : int
        Draws of the random control at each count: as many neurons of the same layers.
    seed : int
        Of these draws, and of the bootstrap.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    xarray.Dataset
        Over ``count``, shares from 0 to 1: ``suppression`` with ``suppression_low`` and
        ``suppression_high`` (95% bootstrap interval over scenes), ``retention`` (the smaller of
        same and other scenes), ``substitution``, and over ``(count, draw)`` ``random``, the
        suppression by random neurons. NaN where there was nothing to count.

    Raises
    ------
    BadArgument
        If no scene shows the concept, or no count is left.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> test = mmkn.datasets.pocket_world("test", 30)
    >>> cars = test.with_concept("car", 2)
    >>> study.doses(cars, counts=(1, 30), n_random=1).suppression.values.tolist()
    [0.0, 1.0]
    """
    import xarray as xr

    from ..attribution import random_like
    from ..evaluation import (
        Captioner,
        bootstrap_ci,
        known_words,
        retention,
        substitution,
        suppression,
    )

    chosen = study.neurons() if neurons is None else neurons
    asked = whole_numbers("counts", counts, lowest=1).tolist()
    sizes = sorted({n for n in asked if n <= len(chosen)})
    if not sizes:
        raise bad_argument("counts", list(counts), f"numbers up to {len(chosen)}, all there are")
    wanted = with_kinds(study.concept)
    present, absent = (
        as_scenes(given, wanted, name=name, masks=False, shows=shows, n=_MEASURING)
        for name, given, shows in (
            ("with_concept", with_concept, True),
            ("without_concept", without_concept, False),
        )
    )
    if not len(present):
        raise bad_argument("with_concept", [], "at least one scene that shows the concept")
    scenes, split = [*present, *absent], len(present)
    vocabulary = known_words(present, absent)
    writer = Captioner(study.model, study.options["prompt"], cancel=cancel)
    sets = [chosen.top(n) for n in sizes]
    with reporting(progress) as step:
        first = writer.before(scenes, None, step)
        after = writer.under(scenes, sets, step, "captions by number of neurons")
        named = [at for at in range(split) if wanted.named_in(first[at])]
        random = np.full((len(sizes), n_random), np.nan)
        if named and n_random:
            drawn = [random_like(study.model, s, seed + k) for s in sets for k in range(n_random)]
            still = writer.named_under(
                [scenes[at] for at in named], [first[at] for at in named], drawn, wanted, step
            )
            random = (1 - np.asarray(still, float).mean(1)).reshape(len(sizes), n_random)
    rows = []
    categories = [scene.categories for scene in present]
    for then in after:
        gone = np.asarray([float(not wanted.named_in(then[at])) for at in named])
        low, high = bootstrap_ci(gone, seed=seed)
        kept = retention(
            first[:split], then[:split], first[split:], then[split:], wanted, vocabulary
        )
        rows.append(
            (
                suppression(first[:split], then[:split], wanted),
                low,
                high,
                kept["headline"],
                substitution(then[:split], categories, vocabulary.without(wanted), first[:split]),
            )
        )
    names = ("suppression", "suppression_low", "suppression_high", "retention", "substitution")
    columns = np.asarray([[np.nan if v is None else v for v in row] for row in rows], float)
    made = xr.Dataset(
        {name: ("count", columns[:, at]) for at, name in enumerate(names)},
        coords={"count": sizes},
        attrs={
            "concept": wanted.word,
            "scenes": split,
            "scenes_without": len(scenes) - split,
            "named": len(named),
            "provenance": str(
                provenance(
                    "doses",
                    model=study.model.name,
                    weights=study.model.weights_hash,
                    concept=wanted.word,
                    scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
                    n_random=n_random,
                    seed=seed,
                )
            ),
        },
    )
    made["random"] = (("count", "draw"), random)
    return made

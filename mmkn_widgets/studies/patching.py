"""Activation patching: how much of what the object does to the word goes through some neurons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..activations import predictions
from ..core import CancelToken, bad_argument, provenance, reporting, whole_number
from ..datasets import as_scenes
from .on_scene import Place

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image

    from ..attribution import NeuronSet
    from ..core import Concept, Progress
    from ..datasets import Scene
    from ..models import MultimodalModel, Prepared

__all__ = ["MEASURING", "Patched", "described", "measure_patching", "same_length"]

#: scenes that are taken of a data set which is only named
MEASURING = 100


class _Pairs(Protocol):
    def inpainted(self, scene: Scene, concept: Concept) -> Image: ...


class Patched(Protocol):
    """What is asked of a study."""

    model: MultimodalModel
    concept: Concept
    options: dict[str, Any]

    @property
    def pairs(self) -> _Pairs:
        """Paints the object over."""

    def neurons(self) -> NeuronSet:
        """Return the default set."""


def measure_patching(
    study: Patched,
    with_concept: Any,
    *,
    neurons: NeuronSet | None = None,
    n_random: int = 5,
    seed: int = 0,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Give neurons the activations of the other picture of the pair, and read the word's score.

    *Noising*: on the original picture they have what they are on the inpainted one; how much of the
    way does the score fall? *Denoising*: on the inpainted picture they have what they are on the
    original; how much of the way does it come back? All tokens are patched, the picture's, the
    prompt's and those of the caption up to the word. The answer to the first is what is lost
    without them, to the second what they bring alone.

    Parameters
    ----------
    study : Study
        Gives the model, the concept, the inpainter, the question and the units of y.
    with_concept : sequence of Scene, or what stands for them
        Scenes with a mask of the concept, and that chose nothing. Those whose caption does not name
        it are left out.
    neurons : NeuronSet, optional
        By default those of ``study.neurons()``.
    n_random : int
        Draws of the random control: as many neurons of the same layers.
    seed : int
        Of these draws.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    xarray.Dataset
        Over ``set`` (``"neurons"``, ``"random 1"``, ...): ``noising`` and ``denoising``, the share
        of the gap, from sums over scenes; below 0 where the score goes the other way, above 1 where
        it goes further, NaN where inpainting does not lower it. Over ``(set, scene)``: ``noised``
        and ``denoised``, the score; over ``scene``: ``original`` and ``inpainted``. Attributes:
        ``units``, ``left_out`` (scene to why, JSON), ``provenance``.

    Raises
    ------
    BadArgument
        If no scene is left, or there are no neurons.

    References
    ----------
    .. [1] Heimersheim and Nanda 2024, "How to use and interpret activation patching",
       arXiv 2404.15255.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> test = mmkn.datasets.pocket_world("test", 60)
    >>> found = measure_patching(study, test.with_concept("car", 4), n_random=1)
    >>> found["set"].values.tolist(), bool(found["noising"][0] > 10 * abs(found["noising"][1]))
    (['neurons', 'random 1'], True)
    """
    import xarray as xr

    from ..attribution import random_like

    model, concept = study.model, study.concept
    chosen = study.neurons() if neurons is None else neurons
    n_random = whole_number("n_random", n_random, lowest=0)
    seed = whole_number("seed", seed, lowest=0)
    scenes = list(as_scenes(with_concept, concept, name="with_concept", masks=True, n=MEASURING))
    if not scenes:
        raise bad_argument("with_concept", [], "at least one scene that shows the concept")
    sets = [chosen, *(random_like(model, chosen, seed + k) for k in range(n_random))]
    if not len(chosen):
        raise bad_argument("neurons", chosen, "at least one neuron")
    with reporting(progress) as step, model.interventions.suspended():
        found, left_out = predictions(
            model,
            concept,
            scenes,
            caption=study.options["caption"],
            prompt=study.options["prompt"],
            cancel=cancel,
        )
        scores: list[list[float]] = []
        for done, one in enumerate(found):
            if cancel is not None:
                cancel.raise_if_cancelled()
            place = Place(one, study.options["prompt"], study.options["target"])
            shown = scenes[one.scene].image
            gone = study.pairs.inpainted(scenes[one.scene], concept)
            scores.append(_scores(model, place, shown, gone, sets))
            if step is not None:
                step(f"patching neurons for {concept.word}", done + 1, len(found))
    y = np.asarray(scores, float).T
    original, inpainted, noised, denoised = y[0], y[1], y[2::2], y[3::2]
    gap = float((original - inpainted).sum())
    width = gap if gap > 0 else np.nan
    return xr.Dataset(
        {
            "noising": ("set", (original - noised).sum(1) / width),
            "denoising": ("set", (denoised - inpainted).sum(1) / width),
            "original": ("scene", original),
            "inpainted": ("scene", inpainted),
            "noised": (("set", "scene"), noised),
            "denoised": (("set", "scene"), denoised),
        },
        coords={
            "set": ["neurons", *(f"random {k + 1}" for k in range(n_random))],
            "scene": [str(scenes[one.scene].id) for one in found],
        },
        attrs={
            "n_neurons": len(chosen),
            **described(
                study,
                "measure_patching",
                scenes,
                left_out,
                n_neurons=len(chosen),
                n_random=n_random,
                seed=seed,
            ),
        },
    )


def described(
    study: Patched, method: str, scenes: Sequence[Scene], left_out: Any, **arguments: Any
) -> dict[str, Any]:
    """Return what a patching's result says of itself: concept, units, scenes, provenance."""
    options, model, concept = study.options, study.model, study.concept
    return {
        "concept": concept.word,
        "units": "nats" if options["target"] == "log_prob" else "logits",
        "left_out": json.dumps(left_out),
        "provenance": json.dumps(
            provenance(
                method,
                model=model.name,
                weights=model.weights_hash,
                concept=concept.to_dict(),
                scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
                **arguments,
                **{name: options[name] for name in ("prompt", "target", "caption")},
            )
        ),
    }


def _scores(
    model: MultimodalModel, place: Place, shown: Image, gone: Image, sets: Sequence[NeuronSet]
) -> list[float]:
    """Return y on both pictures of a pair, then noised and denoised for each set."""
    from ..interventions import ablate

    pair = shown, gone
    ready = [place.prepared(model, image) for image in pair]
    same_length(*ready)
    found = [float(place.score(model, image)) for image in pair]
    for neurons in sets:
        for image, other in zip(pair, reversed(ready), strict=True):
            with ablate(model, neurons, "from_inpainted", reference=other):
                found.append(float(place.score(model, image)))
    return found


def same_length(shown: Prepared, gone: Prepared) -> None:
    """Refuse a pair whose pictures are not read as equally many tokens."""
    if shown.lengths != gone.lengths:
        raise bad_argument(
            "with_concept",
            f"a pair of {shown.n_tokens} and {gone.n_tokens} tokens",
            "equally many; the inpainter has to keep the picture's size",
        )

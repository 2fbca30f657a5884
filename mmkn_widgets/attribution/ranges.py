"""Where a neuron's activation lies while the model is about to say a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..activations import predictions, record
from ..core import CancelToken, Concept, Progress, as_concept, bad_argument, provenance, real_number
from .scoring import batches, in_encoder

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["activation_ranges"]

_BATCH = 16


def activation_ranges(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    spread: float = 2.5,
    caption: str = "greedy",
    prompt: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Return every neuron's range of activation where a word is predicted.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        That show it; no mask is needed. Two or more whose caption names it.
    spread : float
        Standard deviations on either side of the mean.
    caption, prompt
        As in `collect`.
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        float32 over (layer, neuron): ``low`` and ``high`` (mean -/+ `spread` times ``std``),
        ``mean`` and ``std`` (over scenes, n - 1), NaN where a layer is narrower. What
        ``model.ablate(neurons, "range", reference=...)`` takes.

    Raises
    ------
    BadArgument
        If fewer than two captions name the concept.

    References
    ----------
    .. [1] Haider et al. 2025, "Neurons speak in ranges", arXiv 2502.06809.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val").with_concept("car", 4)
    >>> found = activation_ranges(model, "car", scenes)
    >>> found["low"].dims, bool((found["low"] <= found["high"]).all())
    (('layer', 'neuron'), True)
    """
    import xarray as xr

    if in_encoder(model):
        raise bad_argument("model", "an encoder's neurons", "a model loaded with stack='decoder'")
    spread = real_number("spread", spread, lowest=0)
    wanted, shown = as_concept(concept), list(scenes)
    shape = (len(model.sites), model.n_neurons)
    total, squares, n = np.zeros(shape), np.zeros(shape), 0
    with model.interventions.suspended():
        found, skipped = predictions(
            model, wanted, shown, caption=caption, prompt=prompt, cancel=cancel
        )
        if len(found) < 2:
            raise bad_argument(
                "scenes", f"{len(found)} whose caption names {wanted.word!r}", "two or more"
            )
        for batch in batches(found, _BATCH):
            if cancel is not None:
                cancel.raise_if_cancelled()
            prepared = model.prepare(
                [shown[one.scene].image for one in batch],
                prompt,
                continuation=[list(one.prefix) for one in batch],
            )
            with record(model) as seen:
                model.forward(prepared)
            last = seen.stack()[:, :, -1].double().cpu().numpy()  # (scene, site, neuron)
            total += last.sum(0)
            squares += (last**2).sum(0)
            n += len(batch)
            if progress is not None:
                progress(f"reading activations for {wanted.word}", n, len(found))
    mean = total / n
    std = np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1))
    outside = np.arange(shape[1])[None] >= np.asarray([s.width for s in model.sites])[:, None]
    values = {"low": mean - spread * std, "high": mean + spread * std, "mean": mean, "std": std}
    for array in values.values():
        array[outside] = np.nan
    return xr.Dataset(
        {name: (("layer", "neuron"), array.astype(np.float32)) for name, array in values.items()},
        coords={
            "layer": [site.layer for site in model.sites],
            "expert": ("layer", [site.expert for site in model.sites]),
            "neuron": np.arange(shape[1]),
        },
        attrs={
            "concept": wanted.word,
            "scenes": n,
            "skipped": json.dumps(skipped),
            "provenance": json.dumps(
                provenance(
                    "activation_ranges",
                    model=model.name,
                    weights=model.weights_hash,
                    concept=wanted.to_dict(),
                    scenes=[f"{scene.source}/{scene.id}" for scene in shown],
                    spread=spread,
                    caption=caption,
                    prompt=prompt,
                )
            ),
        },
    )

"""What every neuron adds to every word that captions name: its share in other concepts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import find_span
from ..attribution import as_concept, through, unaccounted
from ..core import neuron_coords

if TYPE_CHECKING:
    import xarray as xr

    from ..core import CancelToken, Progress
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["shares_of", "word_shares"]

_BATCH = 16


def word_shares(
    model: MultimodalModel,
    scenes: Sequence[Scene],
    words: Iterable[str],
    *,
    prompt: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Measure what each neuron adds to the logit of each word, where captions predict it.

    Parameters
    ----------
    model : MultimodalModel
    scenes : sequence of Scene
        Their greedy captions are read; no mask is needed.
    words : iterable of str
        Such as the categories of a data set.
    prompt : str, optional
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        ``contribution`` (word, layer, neuron), float32: ``O[l,p*,i] (W_U[t] . W_out[l][:,i])``,
        p* the position that predicts the word's first token t, mean over the captions that name
        it, in logits before the final norm, and behind a norm that follows the FFN as in
        `mmkn_widgets.attribution.collect` (attribute ``leaves_out``); ``activation`` likewise;
        ``captions`` (word): how many name it. Words that no caption names are left out.

    References
    ----------
    .. [1] Pan et al. 2024, arXiv 2311.07470, equation 4 (`contribution`).

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> val = mmkn.datasets.pocket_world("val", 4)
    >>> shares = word_shares(model, val, val.categories)
    >>> shares["contribution"].dims
    ('word', 'layer', 'neuron')
    """
    import xarray as xr

    shape = (len(model.sites), model.n_neurons)
    concepts = {str(word): as_concept(word) for word in words}
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for begin in range(0, len(scenes), _BATCH):
        if cancel is not None:
            cancel.raise_if_cancelled()
        images = [scene.image for scene in scenes[begin : begin + _BATCH]]
        with model.interventions.suspended():
            written = model.generate(model.prepare(images, prompt), cancel=cancel).token_ids
        for number, (image, ids) in enumerate(zip(images, written, strict=True)):
            if cancel is not None:
                cancel.raise_if_cancelled()
            spans = {word: find_span(model, ids, concept) for word, concept in concepts.items()}
            places = {word: span[0] for word, span in spans.items() if span is not None}
            for word, values in _at(model, image, prompt, list(ids), places, shape).items():
                sums[word] = sums.get(word, 0) + values
                counts[word] = counts.get(word, 0) + 1
            if progress is not None:
                progress("reading captions of other words", begin + number + 1, len(scenes))
    named = sorted(sums)
    means = np.asarray([sums[word] / counts[word] for word in named], np.float32)
    means = means.reshape(len(named), 2, *shape)
    dims = ("word", "layer", "neuron")
    return xr.Dataset(
        {
            "contribution": (dims, means[:, 0]),
            "activation": (dims, means[:, 1]),
            "captions": ("word", [counts[word] for word in named]),
        },
        coords={
            "word": named,
            **neuron_coords(model),
        },
        attrs={
            "scenes": len(scenes),
            "units": "logits before the final norm",
            "leaves_out": json.dumps(unaccounted(model)),
        },
    )


def shares_of(shares: xr.Dataset, row: int, index: int) -> list[dict[str, Any]]:
    """Return one neuron's share in every word, the largest first.

    Returns
    -------
    list of dict
        ``name``, ``contribution`` (logits), ``activation``, ``rank`` (1 is the neuron of all that
        adds most to this word), ``captions``.
    """
    contribution = shares["contribution"].values
    found = []
    for place, word in enumerate(shares["word"].values.tolist()):
        own = float(contribution[place, row, index])
        found.append(
            {
                "name": str(word),
                "contribution": own,
                "activation": float(shares["activation"].values[place, row, index]),
                "rank": int((contribution[place] > own).sum()) + 1,
                "captions": int(shares["captions"].values[place]),
            }
        )
    return sorted(found, key=lambda share: -share["contribution"])


def _at(
    model: MultimodalModel,
    image: Any,
    prompt: str | None,
    ids: list[int],
    places: dict[str, int],
    shape: tuple[int, int],
) -> dict[str, np.ndarray]:
    """Return contribution and activation of every neuron where each word is predicted."""
    import torch

    from ..activations import record

    if not places:
        return {}
    out = {word: np.zeros((2, *shape), np.float32) for word in places}
    prepared = model.prepare([image], prompt, continuation=[ids])
    with model.interventions.suspended(), torch.no_grad(), record(model) as seen:
        model.forward(prepared, logits_to_keep=1)
    more = seen.values[0].shape[1] - int(prepared.lengths[0])  # embeddings put in front
    first = int(prepared.prompt_lengths[0]) + more
    at = [first + place - 1 for place in places.values()]
    directions = model.unembedding[[ids[place] for place in places.values()]].float()
    for site in model.sites:
        w_out = model.w_out(site.layer, site.expert)
        here = seen.values[site.row][0, at].float()
        seen_by = through(model, site, here, directions)
        written = (seen_by.to(w_out.device) @ w_out.float()).to(here.device)
        for number, word in enumerate(places):
            out[word][0, site.row, : site.width] = (here[number] * written[number]).cpu().numpy()
            out[word][1, site.row, : site.width] = here[number].cpu().numpy()
    return out

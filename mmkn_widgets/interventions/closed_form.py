"""The edit that needs no training: push every column from one word's direction to another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..activations import predictions
from ..core import Concept, array_over_neurons, bad_argument
from .reference import record_values

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["closed_form", "signs_of", "word_direction"]

#: r of `word_direction`, in units of the mean eigenvalue of U^T U.
RIDGE = 0.01


def word_direction(model: MultimodalModel, source: Concept, targets: Sequence[Concept]) -> Tensor:
    """Return the direction in which to push: from one word to another, or away from one.

    Parameters
    ----------
    model : MultimodalModel
        Gives the unembedding and the tokenizer.
    source : Concept
        The word to leave.
    targets : sequence of Concept
        The words to go to (their mean). Without one: the direction that lowers the source's logit
        and leaves all others, in the least-squares sense, ``-(U^T U + r I)^-1 u_source``, so that
        the next best word is said; ``-u_source`` itself would lower every word like it.

    Returns
    -------
    Tensor of float32, shape (hidden,)
        Of length 1.
    """
    unembedding = model.unembedding
    start = unembedding[source.first_tokens(model.tokenizer)[0]].float()
    if targets:
        ids = [one.first_tokens(model.tokenizer)[0] for one in targets]
        direction = torch.stack([unembedding[i].float() for i in ids]).mean(0) - start
    else:
        gram = unembedding.float().T @ unembedding.float()
        gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        direction = -torch.linalg.solve(gram, start)
    norm = direction.norm()
    if norm == 0:
        raise bad_argument("target", [one.word for one in targets], f"other than {source.word!r}")
    unit: torch.Tensor = direction / norm
    return unit.cpu()


def signs_of(
    model: MultimodalModel,
    concept: Concept,
    activation: Any,
    scenes: Sequence[Any] | None,
    prompt: str | None = None,
) -> np.ndarray:
    """Return the sign of each neuron's mean activation where the concept is predicted.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    concept : Concept
        Predicted in the greedy captions of `scenes`.
    activation : array over (layer, neuron), or evidence with ``activation``, or None
        The mean activation, if it is known.
    scenes : sequence of Scene, optional
        To capture it from, with nothing active.
    prompt : str, optional
        The captioning prompt.

    Returns
    -------
    numpy.ndarray of float32, shape (sites, neurons)
        -1, 0 or 1.
    """
    if activation is not None:
        if hasattr(activation, "data_vars"):
            if "activation" not in activation.data_vars:
                raise bad_argument(
                    "activation", list(activation.data_vars), "evidence with 'activation'"
                )
            activation = activation["activation"]
        signs: np.ndarray = np.sign(array_over_neurons(model, activation, "activation"))
        return signs
    shown = [s for s in scenes or () if any(concept.named_in(c) for c in s.categories)]
    if not shown:
        raise bad_argument(
            "activation", None, f"evidence of {concept.word!r}, or scenes that show it"
        )
    with model.interventions.suspended():
        found, _ = predictions(model, concept, shown, prompt=prompt)
    total = np.zeros((len(model.sites), model.n_neurons), dtype=np.float64)
    for one in found:
        prepared = model.prepare([shown[one.scene].image], prompt, continuation=[list(one.prefix)])
        values = record_values(model, prepared, range(len(model.sites)))[0]
        for row, value in values.items():
            total[row, : value.shape[-1]] += value[-1].float().cpu().numpy()
    return np.sign(total).astype(np.float32)


def closed_form(
    model: MultimodalModel,
    rows: Mapping[int, np.ndarray],
    signs: np.ndarray,
    direction: Tensor,
    alpha: float,
) -> dict[int, Tensor]:
    """Return ``alpha * mean column norm * direction * sign`` for every neuron.

    Parameters
    ----------
    model : MultimodalModel
        Gives the original columns.
    rows : mapping of int to numpy.ndarray
        Site row to neurons; the mean norm is over all of them.
    signs : numpy.ndarray, shape (sites, neurons)
        Signs of the activations.
    direction : Tensor, shape (hidden,)
        From `word_direction`.
    alpha : float
        Size.

    Returns
    -------
    dict of int to Tensor of float32, shape (hidden, neuron)
    """
    originals = {r: model.interventions.original_columns(r, index) for r, index in rows.items()}
    norms = torch.cat([columns.float().norm(dim=0).cpu() for columns in originals.values()])
    size = alpha * float(norms.mean())
    return {
        row: size * direction[:, None] * torch.from_numpy(signs[row, index]).float()[None, :]
        for row, index in rows.items()
    }

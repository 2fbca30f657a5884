"""Neurons and hidden states as words, through the model's own unembedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core import bad_argument, whole_number, whole_numbers
from .state import plain_torch

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = ["decode", "decode_rows", "logit_lens"]


def decode(
    model: ModelParts,
    layer: int,
    indices: Sequence[int],
    *,
    expert: int = -1,
    k: int = 10,
    norm: bool = False,
    signs: Sequence[float] | None = None,
) -> list[list[str]]:
    """Return the words that neurons write: the largest entries of ``W_U W_out[:, i]``.

    Parameters
    ----------
    model : ModelParts
    layer : int
    indices : sequence of int
    expert : int
        Routed expert, -1 for dense layers.
    k : int
        Words per neuron.
    norm : bool
        Apply the final norm to the column first.
    signs : sequence of float, optional
        Sign of each neuron's activation: a neuron that fires negatively writes the words at the
        other end.

    Returns
    -------
    list of list of str
        Largest first.

    References
    ----------
    .. [1] Pan et al. 2024, arXiv 2311.07470, section 3.1.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> [len(words) for words in decode(mmkn.load_model("pocket"), 4, [0, 1], k=3)]
    [3, 3]
    """
    site = model.site(layer, expert)
    row, most = site.row, site.width - 1
    indices = whole_numbers("indices", indices, lowest=0, highest=most).tolist()
    per_neuron = None
    if signs is not None:
        per_neuron = np.zeros((len(model.sites), model.n_neurons), np.float32)
        per_neuron[row, np.asarray(indices, int)] = np.asarray(signs, np.float32)
    return decode_rows(model, [row] * len(indices), indices, k=k, norm=norm, signs=per_neuron)


@plain_torch(False)
def decode_rows(
    model: ModelParts,
    rows: Sequence[int] | np.ndarray,
    indices: Sequence[int] | np.ndarray,
    *,
    k: int = 10,
    norm: bool = False,
    signs: np.ndarray | None = None,
) -> list[list[str]]:
    """Decode neurons of any layers.

    Parameters
    ----------
    model : ModelParts
    rows, indices : sequence of int
        Site row and index of each neuron.
    k, norm
        As in `decode`.
    signs : numpy.ndarray, shape (site, neuron), optional
        Of the activations.

    Returns
    -------
    list of list of str
    """
    k = whole_number("k", k, lowest=1)
    row_of = whole_numbers("rows", rows, lowest=0, highest=len(model.sites) - 1)
    index_of = whole_numbers("indices", indices)
    if row_of.shape != index_of.shape:
        raise bad_argument("indices", f"{len(index_of)} of them", f"{len(row_of)}, one for a row")
    words: list[list[str]] = [[] for _ in row_of]
    unembedding = model.unembedding
    real = _words_known(model)
    for row in np.unique(row_of):
        site = model.sites[int(row)]
        places = np.flatnonzero(row_of == row)
        whole_numbers("indices", index_of[places], lowest=0, highest=site.width - 1)
        for start in range(0, len(places), 256):
            part = places[start : start + 256]
            columns = model.w_out(site.layer, site.expert)[:, index_of[part].tolist()].T
            if signs is not None:
                sign = np.where(signs[row, index_of[part]] < 0, -1.0, 1.0)
                columns = columns * torch.as_tensor(
                    sign, dtype=columns.dtype, device=columns.device
                ).unsqueeze(1)
            columns = columns.to(unembedding.device, unembedding.dtype)
            if norm and model.final_norm is not None:
                columns = model.final_norm(columns).to(unembedding.device)
            best = (columns @ unembedding[:real].T).topk(min(k, real), -1).indices.tolist()
            for place, ids in zip(part, best, strict=True):
                words[place] = [_word(model, token) for token in ids]
    return words


def _word(model: ModelParts, token: int) -> str:
    if model.tokenizer is None:
        return str(token)
    return str(model.tokenizer.decode([token])).strip() or repr(
        model.tokenizer.convert_ids_to_tokens([token])[0]
    )


@plain_torch(False)
def logit_lens(model: ModelParts, hidden: torch.Tensor, k: int = 1) -> list[list[str]]:
    """Return the words that the unembedding reads in hidden states.

    Parameters
    ----------
    model : ModelParts
    hidden : torch.Tensor, shape (n, hidden)
        Residual stream behind the last block, before the final norm.
    k : int

    Returns
    -------
    list of list of str
        The `k` likeliest words of each, over the whole vocabulary.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> token = model.tokenizer.convert_tokens_to_ids("car")
    >>> logit_lens(model, model.unembedding[[token]])
    [['car']]
    """
    if k < 1:
        raise bad_argument("k", k, "a whole number from 1")
    unembedding = model.unembedding
    hidden = hidden.to(unembedding.device, unembedding.dtype)
    if model.final_norm is not None:
        hidden = model.final_norm(hidden).to(unembedding.device)  # its own may be another
    real = _words_known(model)
    best = (hidden @ unembedding[:real].T).topk(min(k, real), -1).indices.tolist()
    return [[_word(model, token) for token in ids] for ids in best]


def _words_known(model: ModelParts) -> int:
    """Return the rows of the unembedding that are words; behind them may be padding."""
    rows = int(model.unembedding.shape[0])
    return rows if model.tokenizer is None else min(rows, len(model.tokenizer))

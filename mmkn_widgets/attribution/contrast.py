"""Contrastive scores: what a neuron does for a concept, less what it does for other concepts.

A neuron that serves every word scores high for each of them. What is left of its score when the
other concepts' is taken away tells it from one that serves this word alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ..core import NeuronIndex, NeuronSet, bad_argument, provenance, whole_number

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["CONTRASTS", "contrast", "served"]

#: What may be taken away of a score.
CONTRASTS = ("mean", "maximum", "exclusive")
#: A neuron belongs to a word if it is among its best so many.
_TOP = 200


def contrast(
    scores: xr.DataArray, word: str, against: str = "mean", *, top: int = _TOP
) -> xr.DataArray:
    """Return a word's score of every neuron, held against the scores of the other words.

    Parameters
    ----------
    scores : xarray.DataArray, dims (word, layer, neuron)
        One score of several words in one unit, such as ``study.word_shares()["contribution"]``.
    word : str
        One of its words.
    against : {"mean", "maximum", "exclusive"}
        What is taken away: the mean or the largest score of the other words; or nothing, but
        neurons that are among the `top` of another word have no score (NaN).
    top : int
        Of ``exclusive``.

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron), in the unit of `scores`.

    Raises
    ------
    BadArgument
        If the word has no score, no other has one, or `against` is unknown.

    Examples
    --------
    >>> import xarray as xr
    >>> values = [[[3.0, 2.0]], [[3.0, 0.0]], [[1.0, 1.0]]]
    >>> scores = xr.DataArray(values, {"word": ["dog", "cat", "car"]}, ("word", "layer", "neuron"))
    >>> contrast(scores, "dog").values.tolist()
    [[1.0, 1.5]]
    >>> contrast(scores, "dog", "maximum").values.tolist()
    [[0.0, 1.0]]
    """
    if against not in CONTRASTS:
        raise bad_argument("against", against, "one of " + ", ".join(CONTRASTS))
    words = [str(one) for one in scores["word"].values]
    if word not in words or len(words) < 2:
        raise bad_argument("word", word, f"one of several words with a score; known: {words}")
    top = whole_number("top", top, lowest=1)
    own = scores.isel(word=words.index(word), drop=True)
    rest = scores.isel(word=[n for n, one in enumerate(words) if one != word])
    if against == "exclusive":
        taken = np.zeros(own.size, bool)
        for values in rest.values.reshape(len(words) - 1, -1):
            taken[_best(values, top)] = True
        found = own.where(~taken.reshape(own.shape))
    else:
        found = own - (rest.mean("word") if against == "mean" else rest.max("word"))
    made = provenance(
        "contrast",
        word=word,
        others=[one for one in words if one != word],
        against=against,
        top=top,
    )
    return (
        found.astype(np.float32)
        .rename(f"contrastive_{against}")
        .assign_attrs(provenance=json.dumps(made))
    )


def _best(values: np.ndarray, top: int) -> np.ndarray:
    """Return the flat ids of the largest positive values."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:top]
    best: np.ndarray = order[values[order] > 0]
    return best


def served(
    scores: xr.DataArray, neurons: NeuronSet, word: str | None = None, *, top: int = _TOP
) -> pd.DataFrame:
    """Return which concepts each neuron serves, beside its own.

    Parameters
    ----------
    scores : xarray.DataArray, dims (word, layer, neuron)
        As for `contrast`.
    neurons : NeuronSet
    word : str, optional
        The concept that the neurons were chosen for; it is not among those that they serve beside.
    top : int
        A neuron serves a word if its score is above 0 and among the word's `top` largest.

    Returns
    -------
    pandas.DataFrame
        A row a neuron, in the set's order: ``layer``, ``expert`` (where there are experts),
        ``index``, the score of `word` under its name, ``serves`` (the other words, the largest
        score first, with commas) and ``others`` (how many).

    Examples
    --------
    >>> import xarray as xr
    >>> values = [[[3.0, 2.0]], [[3.0, 0.0]], [[1.0, -1.0]]]
    >>> coords = {"word": ["dog", "cat", "car"], "layer": [4], "neuron": [0, 1]}
    >>> scores = xr.DataArray(values, coords, ("word", "layer", "neuron"))
    >>> served(scores, mmkn.NeuronSet([4, 4], [0, 1]), "dog", top=1)["serves"].tolist()
    ['cat, car', '']
    """
    import pandas as pd

    top = whole_number("top", top, lowest=1)
    words = [str(one) for one in scores["word"].values]
    if word is not None and word not in words:
        raise bad_argument("word", word, f"a word with a score: {', '.join(words)}")
    index = NeuronIndex.of_labelled(scores.isel(word=0, drop=True))
    flat = scores.values.reshape(len(words), -1)
    theirs = [set(_best(values, top).tolist()) for values in flat]
    experts = ["expert"] if index.rows[0][1] >= 0 else []
    columns = ["layer", *experts, "index", *([] if word is None else [word]), "serves", "others"]
    rows = []
    for neuron, place in zip(neurons, index.ids(neurons).tolist(), strict=True):
        here = [n for n, one in enumerate(words) if one != word and place in theirs[n]]
        here.sort(key=lambda n: -float(flat[n, place]))
        row: dict[str, int | float] = {"layer": neuron.layer}
        if experts:
            row["expert"] = neuron.expert
        row["index"] = neuron.index
        if word is not None:
            row[word] = float(flat[words.index(word), place])
        rows.append({**row, "serves": ", ".join(words[n] for n in here), "others": len(here)})
    return pd.DataFrame(rows, columns=columns)  # also where there is no neuron

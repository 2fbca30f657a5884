"""Put what a part of the picture holds where a word of the caption is predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution import as_concept
from ..core.errors import bad_argument

if TYPE_CHECKING:
    from ..core.jobs import CancelToken
    from .study import Study

__all__ = ["Transplanted", "last_third", "transplant_to_word", "word_start"]


@dataclass(frozen=True)
class Transplanted:
    """A caption written with a part of the picture in the place of one word.

    Attributes
    ----------
    before, after : str
        Without and with the transplant; what is active on the model acts in both.
    word : str
        The word whose predicting position was changed.
    index : int
        Its place among the caption's words, from 0.
    said : str
        What the model wrote there.
    success : bool or None
        Whether that names the object; None when the part has no name.
    layers : tuple of int
        Whose activations were replaced, all neurons of each.
    """

    before: str
    after: str
    word: str
    index: int
    said: str
    success: bool | None
    layers: tuple[int, ...]


def last_third(model: Any) -> tuple[int, ...]:
    """Return the last third of a model's layers, where the word is written (pocket: 4 and 5)."""
    layers = sorted({int(site.layer) for site in model.sites})
    return tuple(layers[-max(1, round(len(layers) / 3)) :])


def word_start(model: Any, token_ids: Sequence[int], index: int) -> int | None:
    """Return the first token of a caption's word, counted from 0 between spaces, or None.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> ids = model.tokenizer("a red car", add_special_tokens=False)["input_ids"]
    >>> word_start(model, ids, 2), word_start(model, ids, 3)
    (2, None)
    """
    ids = list(token_ids)
    for n in range(1, len(ids) + 1):
        if len(model.decode(ids[:n]).split()) > index:
            return n - 1
    return None


def transplant_to_word(
    study: Study,
    scene: int,
    index: int,
    mask: np.ndarray,
    *,
    object: str = "",
    layers: Sequence[int] | None = None,
    on_token: Callable[[str, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> Transplanted:
    """Write a scene's caption with a part of the picture in the place of a word.

    The FFN activations at the position that predicts the word are replaced by their mean over the
    part's patches; the caption is written anew from there.

    Parameters
    ----------
    study : Study
    scene : int
    index : int
        Which word of the caption, counted from 0 between spaces.
    mask : numpy.ndarray of bool, shape (height, width)
        The part, in the picture's pixels; a patch belongs to it when more than .4 is covered.
    object : str
        The part's name, where it has one.
    layers : sequence of int, optional
        By default the last third.
    on_token, cancel : optional
        As in ``model.caption``.

    Returns
    -------
    Transplanted

    Raises
    ------
    BadArgument
        If the caption has no such word, or the mask covers no patch.
    NotSupported
        If the image tokens have no place on the picture.
    """
    from ..interventions import transplant
    from ..interventions.transplantation import names, patch_mean

    model, image, prompt = study.model, study.scenes[scene].image, study.options["prompt"]
    chosen = last_third(model) if layers is None else tuple(int(layer) for layer in layers)
    values = patch_mean(model, image, mask, prompt)
    with model.interventions.inner():
        prepared = model.prepare(image, prompt)
        before = model.generate(prepared, cancel=cancel)
        start = word_start(model, before.token_ids[0], index)
        if start is None:
            raise bad_argument("index", index, f"a word of the caption {before.texts[0]!r}")
        place = int(prepared.prompt_lengths[0]) + start - 1
        put = transplant(
            model,
            values,
            layers=chosen,
            positions=[place],
            name=f"{object or 'patches'} for a word",
        )
        with put:
            after = model.generate(prepared, on_token=on_token, cancel=cancel)
    text = after.texts[0]
    length = len(object.split()) or 1
    said = " ".join(text.split()[index : index + length])
    success = names(as_concept(object), said) if object else None
    word = before.texts[0].split()[index]
    return Transplanted(before.texts[0], text, word, index, said, success, chosen)

"""From pictures to the activation store, dims (image, layer, token, neuron)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import CancelToken, Progress, bad_argument, reporting
from ..models import plain_torch
from .job import Job
from .picture import Pile, single
from .record import record, site_rows

if TYPE_CHECKING:
    import xarray as xr

    from ..models import MultimodalModel, TokenMap

__all__ = ["capture", "image_activations"]

_LOG = logging.getLogger("mmkn_widgets.activations")


def capture(
    model: MultimodalModel,
    images: Any,
    prompt: str | None = None,
    *,
    continuation: str | Sequence[int] | None = None,
    generate: bool = False,
    max_new_tokens: int | None = None,
    gradients: Any = None,
    target: str = "log_prob",
    layers: Sequence[int] | None = None,
    roles: Sequence[str] | None = None,
    site: str = "input",
    reduced: bool = False,
    image_ids: Sequence[str] | None = None,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Run pictures through the model and keep every FFN activation.

    Parameters
    ----------
    model : MultimodalModel
    images : picture, list of pictures, data set or its name
        As in ``model.caption``. One picture: the store has no ``image`` dim. A list in the list
        is several pictures of one prompt, see ``picture`` over tokens and
        ``patch_map(picture=...)``. A data set, its name (``"pocket:val"``) or a Hugging Face data
        set: all of its pictures.
    prompt : str, optional
        By default the model's own captioning prompt.
    continuation : str or sequence of int, optional
        Text that the model is made to have written (teacher forcing).
    generate : bool
        Also capture the steps of greedy decoding (the KV cache stays on), along the same token
        axis. With gradients the caption is then forced in the one pass that makes both.
    max_new_tokens : int, optional
    gradients : str, Concept, int or callable, optional
        Also keep ``gradient``, dy/dO. y is the score of a concept's first token where the caption
        predicts it; of a token id at the last position; or what a function of the logits
        (token, vocabulary) returns.
    target : {"log_prob", "logit"}
        The score of a token.
    layers : sequence of int, optional
        Keep only these layers.
    roles : sequence of str, optional
        Keep only tokens of these roles: ``"text"``, ``"image"``, ``"special"``, ``"generated"``.
    site : {"input", "act"}
        The input of the down projection (a neuron's activation), or the activation function's
        output.
    reduced : bool
        Keep only ``activation_max`` and ``activation_mean`` over the tokens of each role.
    image_ids : sequence of str, optional
        Names along ``image``; numbers by default.
    out : str or pathlib.Path, optional
        Write a zarr store, one picture at a time (memory of one picture), and return it opened
        lazily. Pictures that are there already are not captured again; each is read once to see
        that it is whole, and a damaged one is captured anew.
    progress : callable or bool, optional
        Called as ``progress(stage, done, total)``; False for silence. By default a bar appears
        when the work takes more than a second; see `mmkn_widgets.set_progress`.
    cancel : CancelToken, optional
        Stops the work between two pictures.

    Returns
    -------
    xarray.Dataset
        Variable ``activation`` (and ``gradient``) of dims ([image,] layer, token, neuron), in the
        model's dtype (bfloat16 as float32, exactly); coords ``token_id``, ``token_text``,
        ``role``, ``step``, ``patch_row``, ``patch_col``, ``picture``, ``valid`` over
        ([image,] token), ``expert`` over layer, ``geometry`` over image; attrs with model,
        weights hash, prompt, site, dtype and provenance. Narrow layers are padded with 0.

    Raises
    ------
    BadArgument
        If the store does not fit into memory or on the disk; the message gives the choices.

    Notes
    -----
    The first call of `progress`, and a line of the logger ``mmkn_widgets.activations`` (level
    INFO), tell the size before anything is captured; `needed_bytes` tells it beforehand.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> store.activation.dims, store.activation.shape[::2] == (len(model.sites), model.n_neurons)
    (('layer', 'token', 'neuron'), True)
    >>> store.mmkn.patch_map(neuron=7, layer=4).shape
    (96, 96)
    """
    from ..datasets import as_dataset

    data = as_dataset(images, name="images")
    images = images if data is None else list(data)
    one = not isinstance(images, list | tuple)
    pictures = [images] if one else list(images)
    if not pictures:
        raise bad_argument("images", images, "at least one picture")
    ids = [str(i) for i in range(len(pictures))] if image_ids is None else list(map(str, image_ids))
    if len(set(ids)) != len(pictures) or len(ids) != len(pictures):
        raise bad_argument("image_ids", ids[:5], "one distinct name for each picture")
    if target not in ("log_prob", "logit"):
        raise bad_argument("target", target, "'log_prob' or 'logit'")
    if continuation is not None and generate:
        raise bad_argument("generate", True, "False with a continuation, which is the caption")
    job = Job(
        model, prompt, site_rows(model, layers), roles, site, continuation, generate,
        max_new_tokens, gradients, target, reduced,
    )  # fmt: skip
    from .accessor import remember

    remember(model)
    folder = None if out is None else Path(out)
    size = job.check(pictures[0], len(pictures), folder)
    _LOG.info("capturing %d pictures, %s in all", len(pictures), size)
    with reporting(progress) as step:
        if step is not None:
            step(f"capturing, {size} in all", 0, len(pictures))
        if folder is not None:
            return _to_disk(job, pictures, ids, folder, one, step, cancel)
        pile = Pile(len(pictures))
        for place, picture in enumerate(pictures):
            if cancel is not None:
                cancel.raise_if_cancelled()
            pile.add(job.run(picture))
            if step is not None:
                step("capturing", place + 1, len(pictures))
        store = pile.dataset(ids, job.attrs())
        return single(store) if one else store


def _to_disk(
    job: Job,
    pictures: Sequence[Any],
    ids: Sequence[str],
    folder: Path,
    one: bool,
    progress: Progress | None,
    cancel: CancelToken | None,
) -> xr.Dataset:
    from .read_store import open_store
    from .zarr_store import StoreWriter

    with StoreWriter(folder, {**job.attrs(), "single": one}) as writer:
        for place, picture in enumerate(pictures):
            if cancel is not None:
                cancel.raise_if_cancelled()
            source = job.fingerprint(picture)
            there = ids[place] in writer.finished
            if there and writer.source(ids[place]) not in ("", source):
                raise bad_argument(
                    "out", f"{folder}, whose picture {ids[place]!r} is another one",
                    "a new folder, or the pictures that it was begun with",
                )  # fmt: skip
            if not there or not writer.is_whole(ids[place]):
                writer.add(ids[place], job.run(picture), source)
            if progress is not None:
                progress("capturing", place + 1, len(pictures))
    return open_store(folder)


@plain_torch(False)
def image_activations(
    model: MultimodalModel, image: Any, prompt: str | None = None
) -> tuple[np.ndarray, TokenMap]:
    """Return one picture's activations at its image tokens, and its token map.

    Returns
    -------
    numpy.ndarray of float32, shape (site, image token, neuron)
    TokenMap
    """
    prepared = model.prepare(image, prompt)
    with record(model, pack=0) as seen:
        model.forward(prepared, logits_to_keep=1)
    tokens = model.token_maps(prepared)[0]
    return seen.stack()[0][:, tokens.image_positions].float().numpy(), tokens

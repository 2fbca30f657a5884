"""From pictures to the activation store, dims (image, layer, token, neuron)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._errors import NotSupported, bad_argument
from .._jobs import CancelToken, Progress
from .._provenance import provenance
from .differentiate import aim, value_of
from .memory import check_room, needed_bytes, readable
from .picture import Picture, Pile, single, token_coords
from .places import geometry_to_text
from .record import record, site_rows

if TYPE_CHECKING:
    import xarray as xr

    from ..models import MultimodalModel, TokenMap

__all__ = ["FORMAT", "STORE_VERSION", "capture", "image_activations"]

FORMAT = "mmkn-activations"
STORE_VERSION = 1


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
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Run pictures through the model and keep every FFN activation.

    Parameters
    ----------
    model : MultimodalModel
    images : picture or list of pictures
        As in ``model.caption``. One picture: the store has no ``image`` dim.
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
        lazily. Pictures that are there already are not captured again.
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        Variable ``activation`` (and ``gradient``) of dims ([image,] layer, token, neuron), in the
        model's dtype (bfloat16 as float32, exactly); coords ``token_id``, ``token_text``,
        ``role``, ``step``, ``patch_row``, ``patch_col``, ``valid`` over ([image,] token),
        ``expert`` over layer, ``geometry`` over image; attrs with model, weights hash, prompt,
        site, dtype and provenance. Narrow layers are padded with 0.

    Raises
    ------
    BadArgument
        If the store does not fit into memory or on the disk; the message gives the choices.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> dict(store.sizes)
    {'layer': 6, 'token': 69, 'neuron': 512}
    >>> store.mmkn.patch_map(neuron=7, layer=4).shape
    (96, 96)
    """
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
    job = _Job(
        model, prompt, site_rows(model, layers), roles, site, continuation, generate,
        max_new_tokens, gradients, target, reduced,
    )  # fmt: skip
    from .accessor import remember

    remember(model)
    folder = None if out is None else Path(out)
    size = job.check(pictures[0], len(pictures), folder)
    if progress is not None:
        progress(f"capturing, {size} in all", 0, len(pictures))
    if folder is not None:
        return _to_disk(job, pictures, ids, folder, one, progress, cancel)
    pile = Pile(len(pictures))
    for place, picture in enumerate(pictures):
        if cancel is not None:
            cancel.raise_if_cancelled()
        pile.add(job.run(picture))
        if progress is not None:
            progress("capturing", place + 1, len(pictures))
    store = pile.dataset(ids, job.attrs())
    return single(store) if one else store


def _to_disk(
    job: _Job,
    pictures: Sequence[Any],
    ids: Sequence[str],
    folder: Path,
    one: bool,
    progress: Progress | None,
    cancel: CancelToken | None,
) -> xr.Dataset:
    from .zarr_store import StoreWriter, open_store

    with StoreWriter(folder, {**job.attrs(), "single": one}) as writer:
        for place, picture in enumerate(pictures):
            if cancel is not None:
                cancel.raise_if_cancelled()
            if ids[place] not in writer.finished:
                writer.add(ids[place], job.run(picture))
            if progress is not None:
                progress("capturing", place + 1, len(pictures))
    return open_store(folder)


class _Job:
    """One capture's options, applied to one picture after the other."""

    def __init__(
        self,
        model: MultimodalModel,
        prompt: str | None,
        rows: list[int],
        roles: Sequence[str] | None,
        site: str,
        continuation: Any,
        generate: bool,
        max_new_tokens: int | None,
        gradients: Any,
        target: str,
        reduced: bool,
    ) -> None:
        self.model, self.prompt, self.rows, self.roles = model, prompt, rows, roles
        self.site, self.continuation, self.generate = site, continuation, generate
        self.max_new_tokens, self.gradients, self.target = max_new_tokens, gradients, target
        self.reduced = reduced
        self.shown_prompt = prompt

    def check(self, picture: Any, n: int, folder: Path | None) -> str:
        """Refuse what does not fit; return the store's size for people."""
        prepared = self.model.prepare(picture, self.prompt)
        self.shown_prompt = prepared.prompts[0] if prepared.prompts else self.prompt
        steps = (self.max_new_tokens or 64) if self.generate else 0
        graph = self.gradients is not None
        options = {"rows": len(self.rows), "gradients": graph}
        held = 1 if folder is not None or self.reduced else n
        tokens = prepared.n_tokens + steps
        memory = needed_bytes(self.model, tokens, held, **options)
        disk = needed_bytes(self.model, tokens, n, on_disk=True, **options)
        if self.roles is None:
            check_room(memory, 0 if self.reduced else disk, n, folder)
        return readable(memory if folder is None else disk)

    def attrs(self) -> dict[str, Any]:
        """Return the store's attributes; the writer resumes only a store that has the same."""
        described = {
            "prompt": self.prompt,
            "site": self.site,
            "layers": sorted({self.model.sites[row].layer for row in self.rows}),
            "roles": None if self.roles is None else list(self.roles),
            "continuation": self.continuation,
            "generate": self.generate,
            "max_new_tokens": self.max_new_tokens,
            "gradients": _named(self.gradients),
            "target": self.target,
            "reduced": self.reduced,
        }
        return {
            "format": FORMAT,
            "version": STORE_VERSION,
            "model": self.model.name,
            "revision": self.model.revision,
            "weights": self.model.weights_hash,
            "prompt": self.shown_prompt or "",
            "site": self.site,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "provenance": json.dumps(provenance("capture", model=self.model.name, **described)),
        }

    def run(self, picture: Any) -> Picture:
        """Capture one picture."""
        with torch.no_grad():
            arrays, tokens = self._differentiated(picture) if self.gradients is not None else (
                self._plain(picture)
            )  # fmt: skip
        n = min(next(iter(arrays.values())).shape[1], len(tokens))
        coords = token_coords(tokens, n, self.roles)
        keep = coords.pop("keep")
        cut: Any = slice(0, n) if len(keep) == n else torch.from_numpy(keep)
        sites = [self.model.sites[row] for row in self.rows]
        made = Picture(
            {name: _to_numpy(value[:, cut]) for name, value in arrays.items()},
            coords,
            [site.layer for site in sites],
            [site.expert for site in sites],
            geometry_to_text(tokens.geometry),
        )
        if self.reduced:
            made.reduce()
            made.arrays = {}
        return made

    def _plain(self, picture: Any) -> tuple[dict[str, torch.Tensor], TokenMap]:
        model = self.model
        prepared = model.prepare(picture, self.prompt, continuation=self._forced())
        more = (self.max_new_tokens or 64) if self.generate else 0
        with record(model, rows=self.rows, site=self.site, pack=more) as seen:
            if self.generate:
                made = model.generate(prepared, max_new_tokens=self.max_new_tokens).token_ids
            else:
                made = None
                model.forward(prepared, logits_to_keep=1)
        return {"activation": seen.stack()[0]}, model.token_maps(prepared, made)[0]

    def _differentiated(self, picture: Any) -> tuple[dict[str, torch.Tensor], TokenMap]:
        model = self.model
        given = self._forced()
        prepared = model.prepare(picture, self.prompt, continuation=given)
        if given is not None:
            written: Sequence[int] = prepared.continuation[0]
        elif callable(self.gradients) or isinstance(self.gradients, int):
            written = self._caption(prepared) if self.generate else []
        else:
            written = self._caption(prepared)
        wanted = aim(
            model, self.gradients, written, whole=self.generate or self.continuation is not None
        )
        if list(prepared.continuation[0] if prepared.continuation else []) != wanted.continuation:
            prepared = model.prepare(picture, self.prompt, continuation=[wanted.continuation])
        keep = None if wanted.function is not None else wanted.back
        with record(model, rows=self.rows, site=self.site, gradients=True) as seen:
            output = model.forward(prepared, logits_to_keep=keep, grad=True)
        if getattr(output, "logits", None) is None:
            raise NotSupported("gradients: the model's output has no logits")
        with torch.enable_grad():
            y = value_of(output.logits, wanted, self.target)
            found = seen.gradients(y)
        values = seen.stack()[0].detach()
        seen.values = found
        return {"activation": values, "gradient": seen.stack()[0]}, model.token_maps(prepared)[0]

    def _caption(self, prepared: Any) -> list[int]:
        made = self.model.generate(prepared, max_new_tokens=self.max_new_tokens)
        return list(made.token_ids[0])

    def _forced(self) -> Any:
        if self.continuation is None:
            return None
        text = self.continuation
        return [text] if isinstance(text, str) else [list(text)]


def _named(gradients: Any) -> Any:
    if gradients is None or isinstance(gradients, int | str):
        return gradients
    if hasattr(gradients, "to_dict"):
        return gradients.to_dict()
    return getattr(gradients, "__qualname__", repr(type(gradients)))


def _to_numpy(values: torch.Tensor) -> np.ndarray:
    """Return an array of the same values; bfloat16, which numpy lacks, as float32."""
    found = values.detach().cpu()
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy()


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
    with torch.no_grad(), record(model, pack=0) as seen:
        model.forward(prepared, logits_to_keep=1)
    tokens = model.token_maps(prepared)[0]
    return seen.stack()[0][:, tokens.image_positions].float().numpy(), tokens

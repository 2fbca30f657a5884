"""From pictures to the activation store: an xarray Dataset of dims (image, layer, token, neuron)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._errors import BadArgument, bad_argument
from .._jobs import CancelToken, Progress
from .._provenance import provenance
from .record import record

if TYPE_CHECKING:
    import xarray as xr

    from ..models import MultimodalModel, TokenMap

__all__ = ["capture", "image_activations", "needed_bytes"]

STORE_VERSION = 1


def needed_bytes(model: MultimodalModel, n_tokens: int, n_images: int = 1, layers: int = 0) -> int:
    """Return the size of a store in bytes, in the model's own dtype."""
    size = torch.empty((), dtype=model.dtype).element_size()
    return n_images * (layers or len(model.sites)) * n_tokens * model.n_neurons * size


def _available() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def capture(
    model: MultimodalModel,
    images: Any,
    prompt: str | None = None,
    *,
    generate: bool = False,
    max_new_tokens: int | None = None,
    layers: Sequence[int] | None = None,
    roles: Sequence[str] | None = None,
    site: str = "input",
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
    generate : bool
        Also capture the steps of greedy decoding (the KV cache stays on), along the same token
        axis.
    max_new_tokens : int, optional
    layers : sequence of int, optional
        Keep only these layers.
    roles : sequence of str, optional
        Keep only tokens of these roles: ``"text"``, ``"image"``, ``"special"``, ``"generated"``.
    site : {"input", "act"}
        The input of the down projection (a neuron's activation), or the activation function's
        output.
    image_ids : sequence of str, optional
        Names along ``image``; numbers by default.
    out : str or pathlib.Path, optional
        Write a zarr store, one picture at a time (memory of one picture), and return it opened
        lazily. Pictures that are there already are not captured again.
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        Variable ``activation`` of dims ([image,] layer, token, neuron), in the model's dtype
        (bfloat16 as float32, exactly); coords ``token_text``, ``role``, ``step``, ``patch_row``,
        ``patch_col``, ``valid`` over ([image,] token) and ``expert`` over layer; attrs with
        model, weights hash, prompt, site, dtype and versions.

    Raises
    ------
    BadArgument
        If the store does not fit into memory; the message gives the choices.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> dict(store.sizes)
    {'layer': 6, 'token': 69, 'neuron': 512}
    """
    single = not isinstance(images, list | tuple)
    pictures = [images] if single else list(images)
    if not pictures:
        raise bad_argument("images", images, "at least one picture")
    ids = [str(i) for i in range(len(pictures))] if image_ids is None else list(map(str, image_ids))
    if len(set(ids)) != len(pictures):
        raise bad_argument("image_ids", ids[:5], "one distinct name per picture")
    rows = _rows(model, layers)
    options = {"generate": generate, "max_new_tokens": max_new_tokens, "site": site}
    if out is not None:
        from .zarr_store import StoreWriter

        with StoreWriter(Path(out), _attrs(model, prompt, options)) as writer:
            for place, picture in enumerate(pictures):
                if cancel is not None:
                    cancel.raise_if_cancelled()
                if ids[place] not in writer.finished:
                    writer.add(ids[place], _one(model, picture, prompt, rows, roles, options))
                if progress is not None:
                    progress("capturing", place + 1, len(pictures))
        from .zarr_store import open_store

        return open_store(out)
    parts = []
    for place, picture in enumerate(pictures):
        if cancel is not None:
            cancel.raise_if_cancelled()
        parts.append(_one(model, picture, prompt, rows, roles, options, len(pictures) - len(parts)))
        if progress is not None:
            progress("capturing", place + 1, len(pictures))
    store = parts[0] if single else join(parts, ids)
    store.attrs.update(_attrs(model, prompt, options))
    return store


def _rows(model: MultimodalModel, layers: Sequence[int] | None) -> list[int]:
    if layers is None:
        return list(range(len(model.sites)))
    wanted = set(layers)
    rows = [site.row for site in model.sites if site.layer in wanted]
    missing = wanted - {site.layer for site in model.sites}
    if missing or not rows:
        known = sorted({site.layer for site in model.sites})
        raise bad_argument("layers", sorted(missing) or layers, f"layers of the model: {known}")
    return rows


def _attrs(model: MultimodalModel, prompt: str | None, options: dict[str, Any]) -> dict[str, Any]:
    made = provenance("capture", prompt=prompt, **options)
    return {
        "format": "mmkn-activations",
        "version": STORE_VERSION,
        "model": model.name,
        "weights": model.weights_hash,
        "prompt": prompt or "the model's captioning prompt",
        "site": options["site"],
        "dtype": str(model.dtype).removeprefix("torch."),
        "provenance": json.dumps(made),
    }


def _one(
    model: MultimodalModel,
    picture: Any,
    prompt: str | None,
    rows: list[int],
    roles: Sequence[str] | None,
    options: dict[str, Any],
    n_left: int = 1,
) -> xr.Dataset:
    """Capture one picture."""
    prepared = model.prepare(picture, prompt)
    need = needed_bytes(model, prepared.n_tokens, n_left, len(rows))
    free = _available()
    if need > 0.9 * free:
        raise BadArgument(
            f"images: {n_left} pictures need {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are "
            "free; give fewer layers=, roles=('image',), fewer pictures, or out=FOLDER"
        )
    with torch.no_grad(), record(model, rows=rows, site=options["site"], batch=1) as seen:
        if options["generate"]:
            written = model.generate(prepared, max_new_tokens=options["max_new_tokens"]).token_ids
        else:
            written = None
            model.forward(prepared, logits_to_keep=1)
    token_map = model.token_maps(prepared, written)[0]
    values = seen.stack()[0].cpu()
    n = min(values.shape[1], len(token_map.ids))
    return dataset(model, rows, values[:, :n], token_map, roles)


def dataset(
    model: MultimodalModel,
    rows: Sequence[int],
    values: torch.Tensor,
    tokens: TokenMap,
    roles: Sequence[str] | None = None,
) -> xr.Dataset:
    """Label one picture's activations (layer, token, neuron)."""
    import xarray as xr

    n = values.shape[1]
    keep = np.arange(n)
    if roles is not None:
        keep = np.flatnonzero(np.isin(np.asarray(tokens.role[:n]), list(roles)))
        if not len(keep):
            raise bad_argument(
                "roles", list(roles), f"roles of its tokens: {sorted(set(tokens.role))}"
            )
        values = values[:, keep]
    array = values.float().numpy() if values.dtype == torch.bfloat16 else values.numpy()
    text = [tokens.text[i] for i in keep]
    return xr.Dataset(
        {"activation": (("layer", "token", "neuron"), array)},
        coords={
            "layer": [model.sites[row].layer for row in rows],
            "expert": ("layer", [model.sites[row].expert for row in rows]),
            "token": np.arange(len(keep)),
            "token_id": ("token", np.asarray(tokens.ids)[keep]),
            "token_text": ("token", np.asarray(text, dtype=str)),
            "role": ("token", np.asarray([tokens.role[i] for i in keep], dtype=str)),
            "step": ("token", np.asarray(tokens.step)[keep]),
            "patch_row": ("token", np.asarray(tokens.patch_row)[keep]),
            "patch_col": ("token", np.asarray(tokens.patch_col)[keep]),
            "valid": ("token", np.ones(len(keep), bool)),
            "neuron": np.arange(array.shape[-1]),
        },
    )


def join(parts: Sequence[xr.Dataset], ids: Sequence[str]) -> xr.Dataset:
    """Join pictures along ``image``, tokens padded to the longest and marked in ``valid``."""
    import xarray as xr

    longest = max(part.sizes["token"] for part in parts)
    fills = {"activation": 0, "token_id": -1, "step": -1, "patch_row": -1, "patch_col": -1}
    texts = {"token_text": "", "role": "special"}
    padded = []
    for part in parts:
        n = part.sizes["token"]
        flat = part.reset_coords(
            [c for c in part.coords if part[c].dims == ("token",) and c != "token"]
        )
        flat = flat.drop_vars("token").pad(
            token=(0, longest - n), constant_values={**fills, **texts, "valid": False}
        )
        padded.append(flat.assign(activation=flat["activation"].astype(part["activation"].dtype)))
    joined = xr.concat(padded, dim="image", data_vars="all", coords="minimal", compat="override")
    for name in ("token_id", "step", "patch_row", "patch_col"):
        joined[name] = joined[name].astype(np.int64)
    joined["valid"] = joined["valid"].astype(bool)
    names = [*fills, *texts, "valid"]
    names.remove("activation")
    joined = joined.assign_coords(image=list(ids), token=np.arange(longest))
    return joined.set_coords(names).transpose("image", "layer", "token", "neuron")


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
    with torch.no_grad(), record(model, batch=1) as seen:
        model.forward(prepared, logits_to_keep=1)
    tokens = model.token_maps(prepared)[0]
    places = [i for i, role in enumerate(tokens.role) if role == "image"]
    return seen.stack()[0][:, places].float().cpu().numpy(), tokens

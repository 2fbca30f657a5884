"""Put marks on the picture and look which image token changes most."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

__all__ = ["image_embeddings", "occlusion"]


def image_embeddings(model: Any, picture: Any) -> torch.Tensor:
    """Return what enters the language model's first block at the image tokens, (token, hidden).

    Of a list, which is one prompt's pictures, the tokens of all of them.
    For pictures turned into codes: what is rounded to codes, one vector a code.
    """
    seen: list[torch.Tensor] = []

    def keep(_module: Any, args: Any, kwargs: Any) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"]).detach().clone())

    codes: list[torch.Tensor] = []

    def before_rounding(_module: Any, args: Any) -> None:
        codes.append(args[0].detach().flatten(0, -4).flatten(2).transpose(1, 2)[0].double())

    handles = [model.blocks[0].register_forward_pre_hook(keep, with_kwargs=True)]
    for module in model.hf.modules():
        if "VectorQuantizer" in type(module).__name__:
            handles.append(module.register_forward_pre_hook(before_rounding))
    try:
        prepared = model.prepare(_row(picture))
        model.forward(prepared)
    finally:
        for handle in handles:
            handle.remove()
    tokens = model.token_maps(prepared)[0]
    if codes:  # codes of a VQ tokenizer jump: what is rounded to codes moves smoothly
        placed = np.isfinite(tokens.geometry.boxes).all(axis=1)
        out = torch.zeros(len(placed), codes[0].shape[1], dtype=torch.float64)
        out[torch.from_numpy(placed)] = codes[0]
        return out
    hidden = seen[0]
    if hidden.dim() == 3:
        hidden = hidden.reshape(-1, hidden.shape[-1])
    else:  # several residual streams: the first
        hidden = hidden[0, :, 0] if hidden.shape[1] == len(tokens) else hidden[0, 0]
    return hidden[tokens.image_positions].double()


def _row(picture: Any) -> Any:
    return [picture] if isinstance(picture, list) else picture


def occlusion(
    model: Any, picture: Any, cells: int = 6, which: int | None = None
) -> tuple[int, int]:
    """Return (marks that landed on a token whose box meets them, marks made).

    A mark inverts the inner two thirds of one token's box, a few tokens in turn. The token whose
    embedding changes most, as a share of how much it changes when the whole picture is inverted,
    must be one whose box meets the mark. Of a list, which is one prompt's pictures, picture number
    `which` is marked, and the token must be one of that picture's.
    """
    tokens = model.token_maps(model.prepare(_row(picture)))[0]
    geometry = tokens.geometries[which or 0]
    boxes = np.concatenate([one.boxes for one in tokens.geometries])
    nowhere = ~np.isfinite(boxes).all(axis=1)  # newlines, separators
    boxes[tokens.picture[tokens.image_positions] != (which or 0)] = np.nan

    def with_pixels(changed: np.ndarray) -> Any:
        one = Image.fromarray(changed)
        if which is None:
            return one
        return [*picture[:which], one, *picture[which + 1 :]]

    height, width = geometry.picture_size
    inside = np.flatnonzero(
        np.isfinite(boxes).all(axis=1)
        & (boxes[:, 0] > -1)
        & (boxes[:, 1] > -1)
        & (boxes[:, 2] < width + 1)
        & (boxes[:, 3] < height + 1)
    )
    if not len(inside):
        return 0, 0
    chosen = inside[np.linspace(0, len(inside) - 1, min(cells, len(inside))).astype(int)]
    plain = image_embeddings(model, picture)
    pixels = np.asarray(picture if which is None else picture[which])
    whole = (image_embeddings(model, with_pixels(255 - pixels)) - plain).norm(dim=1)
    agreeing = 0
    for token in chosen:
        x0, y0, x1, y1 = boxes[token]
        dx, dy = (x1 - x0) / 6, (y1 - y0) / 6
        left, top = max(int(np.ceil(x0 + dx)), 0), max(int(np.ceil(y0 + dy)), 0)
        right, bottom = max(int(x1 - dx), left + 1), max(int(y1 - dy), top + 1)
        marked = pixels.copy()
        marked[top:bottom, left:right] = 255 - marked[top:bottom, left:right]
        changed = (image_embeddings(model, with_pixels(marked)) - plain).norm(dim=1)
        share = changed / whole.clamp_min(float(whole.median()) * 1e-2 + 1e-12)
        share[nowhere] = 0.0
        most = boxes[int(share.argmax())]
        meets = most[0] < right and most[2] > left and most[1] < bottom and most[3] > top
        agreeing += bool(meets and float(share.max()) > 0)
    return agreeing, len(chosen)

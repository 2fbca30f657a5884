"""Put a mark on the picture and look which image token changes most."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

__all__ = ["image_embeddings", "occlusion"]


def image_embeddings(model: Any, picture: Image.Image) -> torch.Tensor:
    """Return what enters the language model's first block at the image tokens, (token, hidden)."""
    seen: list[torch.Tensor] = []

    def keep(_module: Any, args: Any, kwargs: Any) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"]).detach().clone())

    handle = model.blocks[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        prepared = model.prepare(picture)
        model.forward(prepared)
    finally:
        handle.remove()
    tokens = model.token_maps(prepared)[0]
    hidden = seen[0]
    hidden = hidden.reshape(-1, hidden.shape[-1]) if hidden.dim() == 3 else hidden[0, :, 0]
    return hidden[tokens.image_positions].double()


def occlusion(model: Any, picture: Image.Image, cells: int = 6) -> tuple[int, int]:
    """Return (marks that landed on a token whose box holds them, marks made).

    A mark inverts the inner half of one token's box; the token whose embedding changes most,
    relative to how much it changes for marks elsewhere, must be one whose box holds the mark.
    """
    geometry = model.token_maps(model.prepare(picture))[0].geometry
    boxes = geometry.boxes
    height, width = geometry.picture_size
    inside = np.flatnonzero(
        np.isfinite(boxes).all(axis=1)
        & (boxes[:, 0] > -1)
        & (boxes[:, 1] > -1)
        & (boxes[:, 2] < width + 1)
        & (boxes[:, 3] < height + 1)
    )
    if geometry.attention is not None or not len(inside):
        return 0, 0
    chosen = inside[np.linspace(0, len(inside) - 1, min(cells, len(inside))).astype(int)]
    plain = image_embeddings(model, picture)
    agreeing = 0
    for token in chosen:
        x0, y0, x1, y1 = boxes[token]
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        marked = np.asarray(picture).copy()
        dx, dy = max((x1 - x0) / 3, 0.5), max((y1 - y0) / 3, 0.5)
        part = (
            slice(max(int(round(y - dy)), 0), max(int(round(y + dy)), 1)),
            slice(max(int(round(x - dx)), 0), max(int(round(x + dx)), 1)),
        )
        marked[part] = 255 - marked[part]
        changed = (image_embeddings(model, Image.fromarray(marked)) - plain).norm(dim=1)
        agreeing += int(changed.argmax()) in geometry.tokens_at(x, y)
    return agreeing, len(chosen)

"""The size of what is captured from a model, in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = ["needed_bytes", "readable"]


def needed_bytes(
    model: ModelParts,
    n_tokens: int,
    n_images: int = 1,
    *,
    rows: int | None = None,
    gradients: bool = False,
    on_disk: bool = False,
) -> int:
    """Return the size of a store in bytes.

    Parameters
    ----------
    model : ModelParts
    n_tokens : int
        Tokens of one picture, generated ones included.
    n_images : int
    rows : int, optional
        Layers (and experts) kept; all by default.
    gradients : bool
        Whether a gradient stands beside every activation.
    on_disk : bool
        numpy has no bfloat16: it takes 2 bytes on disk, 4 in memory. Other types do not differ.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")  # float32
    >>> needed_bytes(model, n_tokens=10) == len(model.sites) * 10 * model.n_neurons * 4
    True
    """
    size = torch.empty((), dtype=model.dtype).element_size()
    if model.dtype == torch.bfloat16 and not on_disk:
        size = 4
    n_rows = len(model.sites) if rows is None else rows
    return n_images * n_rows * n_tokens * model.n_neurons * size * (2 if gradients else 1)


def readable(n_bytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> readable(423_000_000), readable(3 * 2**30), readable(900)
    ('403 MiB', '3.0 GiB', '1 KiB')
    """
    if n_bytes >= 2**30:
        return f"{n_bytes / 2**30:.1f} GiB"
    return f"{n_bytes / 2**20:.0f} MiB" if n_bytes >= 2**20 else f"{-(-n_bytes // 1024)} KiB"

"""Bring tensors off a graphics card into main memory while it computes on."""

from __future__ import annotations

import warnings
from typing import Any

import torch

__all__ = ["Carrier", "room"]


class Carrier:
    """Copies to main memory that a card makes beside its computation.

    A copy from CUDA runs on a stream of its own, behind what the card was asked to compute before,
    into memory that is pinned (`room`), so that neither Python nor the card's next layer waits for
    it. What was copied may be read after `wait`. On every other device a copy is made at once;
    where there is no CUDA, nothing of it is called.

    Examples
    --------
    >>> carrier, place = Carrier(), torch.zeros(1, 3)
    >>> carrier.copy(place, torch.ones(1, 3))
    >>> carrier.wait()
    >>> place.tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, Any] = {}

    def copy(self, place: torch.Tensor, value: torch.Tensor) -> None:
        """Copy a value, or have it copied, to its place in main memory.

        Parameters
        ----------
        place : torch.Tensor, shape (batch, ...)
        value : torch.Tensor
            Of the same shape, wherever it is.
        """
        if not _is_card(value):
            place.copy_(value)
            return
        device = value.device
        stream = self._streams.get(device)
        if stream is None:
            stream = self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # row by row: only a copy to one piece of memory needs no detour that waits
            for here, row in zip(place, value, strict=True):
                here.copy_(row, non_blocking=True)
        value.record_stream(stream)  # its memory is given to no other tensor before

    def wait(self) -> None:
        """Return when every copy is there."""
        for stream in self._streams.values():
            stream.synchronize()


def room(shape: tuple[int, ...], like: torch.Tensor, *, zero: bool) -> torch.Tensor:
    """Return main memory for copies of a tensor: pinned, where it comes from a card.

    Parameters
    ----------
    shape : tuple of int
    like : torch.Tensor
        Whose type it gets, and from whose device copies will come.
    zero : bool
        Whether it is filled with zeros; else it holds anything.

    Warns
    -----
    RuntimeWarning
        If the system gives no pinned memory; copies then wait for each other.
    """
    if _is_card(like):
        try:
            made = torch.empty(shape, dtype=like.dtype, pin_memory=True)
            return made.zero_() if zero else made
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            warnings.warn(
                f"the system gives no pinned memory ({said}); the card waits for each copy",
                RuntimeWarning,
                stacklevel=2,
            )
    return (torch.zeros if zero else torch.empty)(shape, dtype=like.dtype)


def _is_card(value: torch.Tensor) -> bool:
    return value.device.type == "cuda"

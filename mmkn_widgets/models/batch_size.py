"""How many go into one pass; fewer, said in a warning, where the memory is full."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

__all__ = ["BatchSize"]

T = TypeVar("T")
R = TypeVar("R")


class BatchSize:
    """How many go into one pass, halved for good whenever a pass finds the memory full.

    Parameters
    ----------
    value : int
        At most so many at once.
    what : str
        What they are, in the plural, for the warning.

    Attributes
    ----------
    value : int
        What is tried next.

    Examples
    --------
    >>> size = BatchSize(3, "numbers")
    >>> [(list(part), total) for part, total in size.over(range(5), sum)]
    [([0, 1, 2], 3), ([3, 4], 7)]
    """

    def __init__(self, value: int, what: str = "pictures") -> None:
        self.value, self.what = value, what

    def over(
        self, items: Sequence[T], run: Callable[[Sequence[T]], R]
    ) -> Iterator[tuple[Sequence[T], R]]:
        """Yield parts of the items, in their order, each with what `run` made of it.

        Parameters
        ----------
        items : sequence
        run : callable
            ``run(part)``. When it raises ``torch.OutOfMemoryError`` it is called again with the
            first half of the part, so that it must have changed nothing that a second call minds.

        Raises
        ------
        torch.OutOfMemoryError
            If one alone is too many.

        Warns
        -----
        RuntimeWarning
            With the number that did not fit and the number that is tried next.
        """
        start = 0
        while start < len(items):
            part = items[start : start + self.value]
            full = ""
            try:
                made = run(part)
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise
                full = str(error).partition("\n")[0].partition(". ")[0]
            if full:  # out of the handler: the error holds the frames, and they the tensors
                self.value = len(part) // 2
                warnings.warn(
                    f"the memory is full with {len(part)} {self.what} at once ({full}); going on "
                    f"with {self.value}",
                    RuntimeWarning,
                    stacklevel=3,
                )
                continue
            yield part, made
            start += len(part)

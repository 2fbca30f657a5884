"""A prompt with several pictures: one geometry each, and which of them is meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._errors import BadArgument, bad_argument
from .geometry import Geometry

__all__ = ["one_picture", "several"]


def several(geometries: Sequence[Geometry]) -> Geometry:
    """Return what stands for all pictures' tokens together: it refuses to paint and says why.

    Examples
    --------
    >>> several([Geometry.grid(1, 2, (4, 8)), Geometry.grid(2, 2, (4, 4))]).n_tokens
    6
    """
    total = sum(geometry.n_tokens for geometry in geometries)
    reason = (
        f"the prompt holds {len(geometries)} pictures; choose one with picture=0 to "
        f"{len(geometries) - 1}"
    )
    return Geometry.none(total, geometries[0].picture_size, reason)


def one_picture(geometries: Sequence[Geometry], picture: int | None) -> tuple[Geometry, slice]:
    """Return one picture's geometry, and where its tokens are among all image tokens.

    Raises
    ------
    BadArgument
        If it is not said which of several, or there is no such picture.

    Examples
    --------
    >>> grids = [Geometry.grid(1, 2, (4, 8)), Geometry.grid(2, 2, (4, 4))]
    >>> one_picture(grids, 1)[1]
    slice(2, 6, None)
    """
    n = len(geometries)
    if picture is None and n > 1:
        raise BadArgument(f"picture: the prompt holds {n} pictures; give one of 0 to {n - 1}")
    which = picture or 0
    if not 0 <= which < n:
        raise bad_argument("picture", picture, f"0 to {n - 1}" if n > 1 else "0, there is one")
    starts = np.cumsum([0, *[geometry.n_tokens for geometry in geometries]])
    return geometries[which], slice(int(starts[which]), int(starts[which + 1]))

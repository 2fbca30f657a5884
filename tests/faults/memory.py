"""What a process holds, and how fast that grows: a slope with its 95 % confidence interval."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

__all__ = ["held_kb", "slope"]


def held_kb() -> float:
    """Return this process's own memory in KB, after what is free has been given back.

    Pages of libraries are left out: the system drops and reads them again as it likes.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return float(found[1])


def slope(
    at: Sequence[float], held: Sequence[float], blocks: int = 12
) -> tuple[float, float, float]:
    """Return how fast memory grows, and its 95 % confidence interval.

    Neighbouring samples are alike (the allocator keeps and returns in steps), so that the means of
    `blocks` blocks are regressed, not the samples. The first fifth, caches being filled, is left
    out.
    """
    skip = len(at) // 5
    x, y = np.asarray(at[skip:], float), np.asarray(held[skip:], float)
    n = min(blocks, len(x))
    means = [(part.mean(), rest.mean()) for part, rest in zip(
        np.array_split(x, n), np.array_split(y, n), strict=True)]  # fmt: skip
    fit = stats.linregress(*zip(*means, strict=True))
    half = stats.t.ppf(0.975, n - 2) * fit.stderr
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)

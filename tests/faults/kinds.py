"""The kinds of fault, and how many of each are tried at a share of 1."""

from __future__ import annotations

import importlib
import math

from .tally import Tally

__all__ = ["COUNTS", "run_kind"]

#: trials at a share of 1; of "together" seconds, of "rounds" rounds
COUNTS = {
    "kills": 200,
    "hooks": 1000,
    "points": 3000,
    "interrupts": 300,
    "files": 500,
    "fuzz": 100_000,
    "hostile": 200,
    "together": 600,
    "rounds": 500,
}


def run_kind(kind: str, share: float, seed: int) -> Tally:
    """Try one kind; what its machinery itself raises is a failure too."""
    tally = Tally(kind)
    run = importlib.import_module(f"{__package__}.{kind}").run
    with tally.timed():
        try:
            run(tally, max(1, math.ceil(COUNTS[kind] * share)), seed)
        except Exception as error:
            tally.fail("the machine itself", error)
    return tally

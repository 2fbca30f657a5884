"""Kills in the middle of every kind of save: at each of its steps, and at random moments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.unit.core.killed import KINDS

from .tally import Tally, share_out

SCRIPT = Path(__file__).resolve().parents[1] / "unit" / "core" / "killed.py"
SAID = re.compile(r"(\w+): (\d+) kills at steps, (\d+) at random")


def run(tally: Tally, count: int, seed: int) -> None:
    """Kill savers; a reader then gets the older version or the newer, whole, and nothing is left.

    The count is of kills at random moments; those at steps come on top. Of a small count a part of
    the kinds is tried, drawn by the seed.
    """
    kinds = list(KINDS)
    kinds = [kinds[(seed + k) % len(kinds)] for k in range(min(count, len(kinds)))]
    steps = 0
    for kind, n in share_out(count, kinds).items():
        asked = [kind, "--kills", str(n), "--seed", str(seed)]
        if count >= 200:
            asked += ["--stride", "1"]
        done = subprocess.run(  # a process of its own: it forks
            [sys.executable, "-W", "ignore", str(SCRIPT), *asked], capture_output=True, text=True
        )
        said = SAID.search(done.stdout)
        if done.returncode or not said:
            tally.tried += n
            tally.fail(kind, done.stderr[-800:] or done.stdout[-800:])
            continue
        steps += int(said[2])
        tally.tried += int(said[2]) + int(said[3])
    tally.note = f"{steps} before steps, the rest at random; {len(kinds)} kinds of save"

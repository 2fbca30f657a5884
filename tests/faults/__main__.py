"""Try everything that may go wrong: ``python -m tests.faults``; a table and faults.json.

Exits 1 if anything failed. ``--share .05`` tries a twentieth, ``--only files fuzz`` two kinds.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from .kinds import COUNTS, run_kind
from .tally import Tally, table, write_json

ROOT = Path(__file__).resolve().parents[2]


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts (1)")
    parser.add_argument("--only", nargs="+", choices=COUNTS, metavar="KIND", help=", ".join(COUNTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=ROOT / "faults.json", help="where counts go")
    asked = parser.parse_args(given)
    if not 0 < asked.share <= 100:
        parser.error(f"--share: got {asked.share}, expected a number above 0, such as .05")
    warnings.simplefilter("ignore")
    tallies: list[Tally] = []
    for kind in asked.only or COUNTS:
        tallies.append(run_kind(kind, asked.share, asked.seed))
        print(table(tallies[-1:]).splitlines()[1], file=sys.stderr, flush=True)
        write_json(tallies, asked.json, share=asked.share, seed=asked.seed)
    print(table(tallies))
    return int(any(t.failed or not t.tried for t in tallies))


if __name__ == "__main__":
    sys.exit(main())

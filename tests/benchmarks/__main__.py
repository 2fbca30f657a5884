"""Run every measurement: ``python -m tests.benchmarks [NAME ...]``, a table and bench.json.

A figure over its budget is marked, not an error: the machine decides it as much as the code. Below
the table, and in bench.json, stands a profile of each that says where its time goes.
A measurement that fails is one.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# One thread: threads that wait for a busy core would be measured instead of the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from .report import Row, profiles, table, write_json

ROOT = Path(__file__).resolve().parents[2]


def main(wanted: list[str]) -> int:
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    rows: list[Row] = []
    failed = 0
    for name in names:
        if wanted and name.removeprefix("bench_") not in wanted:
            continue
        start = time.perf_counter()
        try:
            found = importlib.import_module(f"{__package__}.{name}").measure()
            rows += [row.explained() for row in found]
        except Exception as error:
            failed += 1
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(table(rows))
    if said := profiles(rows):
        print(f"\n{said}")
    write_json(rows, ROOT / "bench.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

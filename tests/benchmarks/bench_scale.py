"""Thousands of pictures: pictures a second and peak memory, whose slope has to be flat.

``SCALE=10,100,1000,5000`` says how many pictures; each number runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.pocket.coco import write_coco

from .bench_memory import _memory
from .report import Row

WORD = "car"
#: what is run on so many pictures, and the most bytes that one more may cost: its pixels are 27 kB
WAYS = {"study": 20_000, "evidence": 20_000}
_SIZES = tuple(int(n) for n in os.environ.get("SCALE", "10,100,1000").split(","))
#: with fewer, the batch itself grows with the number of pictures
_FULL = 100
#: scenes of the folder for each one that shows the word
_SHARE = 8


def _prepared(way: str, folder: str, out: str) -> Callable[..., None]:
    """Return what runs a way on so many pictures, the model and the data loaded."""
    model = mmkn.load_model("pocket")
    data = mmkn.datasets.coco(folder, "test")

    def measure(count: int, place: str, progress: Any = False) -> None:
        if way == "evidence":
            mmkn.study(model, WORD, data.with_concept(WORD, count), progress=progress)
            return
        mmkn.studies.run_study(
            model, f"coco:{folder}:test", concepts=[WORD], methods=["two_stage"],
            n_scenes=count // 2, n_random=4, out=Path(out) / place, progress=progress,
        )  # fmt: skip

    return measure


def _held(way: str, folder: str, n: int) -> None:
    """Print which lines of Python hold more at the end of `n` pictures than of a tenth of them."""
    torch.set_num_threads(1)
    seen = []
    with tempfile.TemporaryDirectory() as out:
        measure = _prepared(way, folder, out)
        measure(10, "warm")
        for count in (n // 10, n):
            last: list[tracemalloc.Snapshot] = []

            def step(_stage: str, done: int, total: int, last: Any = last) -> None:
                if done == total:
                    last[:] = [tracemalloc.take_snapshot()]

            tracemalloc.start()
            measure(count, f"held-{count}", step)
            tracemalloc.stop()
            seen.append(last[0])
    print("what Python holds at the last step:")
    for one in seen[1].compare_to(seen[0], "lineno")[:5]:
        frame = one.traceback[0]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        print(f"{one.size_diff / (n - n // 10):+.3g} bytes a picture, {where}")


def _run(way: str, folder: str, n: int) -> None:
    """Print the peak and what it is above the loaded model, in bytes, and the seconds taken.

    Seconds of this process's one thread: what others do on the machine does not count.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        measure = _prepared(way, folder, out)
        measure(10, "warm")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before, start = _memory("VmRSS"), time.process_time()
        measure(n, "measured")
        print(_memory("VmHWM"), _memory("VmHWM") - before, time.process_time() - start)


def _apart(function: str, way: str, folder: Path, n: int) -> str:
    """Return what one of the functions above prints in a process of its own."""
    given = f"{way!r}, {str(folder)!r}, {n}"
    code = f"from tests.benchmarks.bench_scale import {function}; {function}({given})"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def measure() -> list[Row]:
    """Return each way's figures at each size, and its slope."""
    rows: list[Row] = []
    if not Path("/proc/self/clear_refs").exists():  # only Linux says a process's peak since a time
        return rows
    with tempfile.TemporaryDirectory() as made:
        folder = write_coco("test", _SHARE * (max(_SIZES) + 60), made)
        for way, most in WAYS.items():
            peaks = []
            for n in _SIZES:
                printed = _apart("_run", way, folder, n)
                peak, more, took = map(float, printed.split()[-3:])
                peaks.append(peak)
                load = f"load {os.getloadavg()[0]:.1f}"
                rows.append(Row(f"{way}, {n} pictures", n / took, "a CPU second", None, load))
                note = f"{more / 1e6:.0f} MB above the loaded model"
                rows.append(Row(f"{way}, {n} pictures: peak", peak / 1e6, "MB", None, note))
            filled = [at for at, n in enumerate(_SIZES) if n >= _FULL]
            if len(filled) > 1:
                line = np.polyfit([_SIZES[at] for at in filled], [peaks[at] for at in filled], 1)
                note = f"from {_FULL} pictures on, which fill a batch"
                name, slope = f"{way}: one picture more", float(line[0])
                why = partial(_apart, "_held", way, folder, max(_SIZES))
                # now, if at all: the folder of pictures is gone when the rows are judged
                rows.append(Row(name, slope, "bytes", most, note, why).explained())
    return rows

"""Thousands of pictures: pictures a second and peak memory, whose slope has to be flat.

``SCALE=10,100,1000,5000`` says how many pictures; each number runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def _run(way: str, folder: str, n: int) -> None:
    """Print the peak and what it is above the loaded model, in bytes, and the seconds taken.

    Seconds of this process's one thread: what others do on the machine does not count.
    """
    torch.set_num_threads(1)
    model = mmkn.load_model("pocket")
    data = mmkn.datasets.coco(folder, "test")
    with tempfile.TemporaryDirectory() as out:

        def measure(count: int, place: str) -> None:
            if way == "evidence":
                mmkn.study(model, WORD, data.with_concept(WORD, count), progress=False)
                return
            mmkn.studies.run_study(
                model, f"coco:{folder}:test", concepts=[WORD], methods=["two_stage"],
                n_scenes=count // 2, n_random=4, out=Path(out) / place, progress=False,
            )  # fmt: skip

        measure(10, "warm")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before, start = _memory("VmRSS"), time.process_time()
        measure(n, "measured")
        print(_memory("VmHWM"), _memory("VmHWM") - before, time.process_time() - start)


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
                given = f"{way!r}, {str(folder)!r}, {n}"
                code = f"from tests.benchmarks.bench_scale import _run; _run({given})"
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=True
                )
                peak, more, took = map(float, done.stdout.split()[-3:])
                peaks.append(peak)
                load = f"load {os.getloadavg()[0]:.1f}"
                rows.append(Row(f"{way}, {n} pictures", n / took, "a CPU second", None, load))
                note = f"{more / 1e6:.0f} MB above the loaded model"
                rows.append(Row(f"{way}, {n} pictures: peak", peak / 1e6, "MB", None, note))
            filled = [at for at, n in enumerate(_SIZES) if n >= _FULL]
            if len(filled) > 1:
                line = np.polyfit([_SIZES[at] for at in filled], [peaks[at] for at in filled], 1)
                note = f"from {_FULL} pictures on, which fill a batch"
                rows.append(Row(f"{way}: one picture more", float(line[0]), "bytes", most, note))
    return rows

"""Ctrl-C at random moments: real signals from outside the work."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import mmkn_widgets as mmkn

from .hooks import WORK
from .state import ModelState, warm_pocket
from .tally import Tally, share_out


def run(tally: Tally, count: int, seed: int) -> None:
    """Send one SIGINT into each turn of a task, at any moment of it."""
    model = warm_pocket()
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    draw, hit = random.Random(seed), 0
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name, n in share_out(count, list(WORK)).items():
            WORK[name](model, scenes)
            start = time.perf_counter()
            WORK[name](model, scenes)
            lasts = time.perf_counter() - start
            state, failures = ModelState(model), len(tally.failed)
            for _ in range(n):
                if len(tally.failed) > failures:
                    model, failures = warm_pocket(), len(tally.failed)
                    state = ModelState(model)
                wait = draw.uniform(0, lasts)
                with tally.one(f"{name}, after {wait:.3f} of {lasts:.3f} s"):
                    timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
                    try:
                        timer.start()
                        WORK[name](model, scenes)
                        timer.join()
                        time.sleep(0.5)  # the signal is on its way
                    except KeyboardInterrupt:
                        hit += 1
                    finally:
                        timer.join()
                    state.check()
    finally:
        signal.signal(signal.SIGINT, own)
    tally.note = f"{hit} during the work"

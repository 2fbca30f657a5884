"""Ctrl-C at the places where Python looks for it: on entering a function, after a call of C.

A signal at a random moment comes most often in the middle of torch, and is met as its call ends.
What stays after Ctrl-C is what was about to be put back: it came on the way into an `__exit__`, or
between two lines. So each such place of a task is tried, of the package's own code and of the
blocks that it enters.
"""

from __future__ import annotations

import inspect
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import mmkn_widgets as mmkn

from .hooks import WORK
from .state import ModelState, warm_pocket
from .tally import Tally, share_out

#: whose code is stopped: what enters and leaves blocks
_WHERE = (
    "mmkn_widgets/",
    "/tests/unit/core/test_shield.py",
    "/contextlib.py",
    "torch/autograd/grad_mode.py",
    "torch/utils/_contextlib.py",
    "torch/utils/_device.py",
    "torch/amp/autocast_mode.py",
    "torch/random.py",
    "torch/utils/hooks.py",
)

Place = tuple[str, int, str]


class Points:
    """Counts how often each place is passed; Ctrl-C comes at one passing of one of them."""

    def __init__(self) -> None:
        self.passed: dict[Place, int] = {}
        self._chosen: tuple[Place, int] | None = None
        self._ours: dict[CodeType, bool] = {}
        self.hit = False

    def _see(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "c_return"):
            return
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            # a generator that goes on has no such place: it is thrown into, or stands in its try
            resumed = event == "call" and code.co_flags & inspect.CO_GENERATOR
            ours = any(part in code.co_filename for part in _WHERE)
            self._ours[code] = ours
            if resumed:
                return
        if not ours or (event == "call" and code.co_flags & inspect.CO_GENERATOR):
            return
        place = (f"{code.co_filename.rpartition('/')[2]} {code.co_name}", frame.f_lineno, event)
        n = self.passed[place] = self.passed.get(place, 0) + 1
        if self._chosen == (place, n):
            self.hit = True
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def watching(self, chosen: tuple[Place, int] | None = None) -> Iterator[None]:
        """Watch this thread; without a choice, count only."""
        self.passed, self._chosen, self.hit = {}, chosen, False
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)


def stopped_everywhere(work: Callable[[], Any]) -> Iterator[tuple[str, BaseException | None]]:
    """Stop a small task at every passing of every place; yield after each, with what it raised."""
    points = Points()
    work()
    with points.watching():
        work()
    for place, total in list(points.passed.items()):
        for n in range(1, total + 1):
            raised: BaseException | None = None
            try:
                with points.watching((place, n)):
                    work()
            except KeyboardInterrupt as error:
                raised = error  # kept, as a notebook does, with the frames and what they hold
            yield f"{place[0]} line {place[1]} ({place[2]}, passing {n})", raised


def try_points(
    tally: Tally,
    name: str,
    work: Callable[[Any], Any],
    model: Any,
    count: int | None,
    draw: random.Random,
) -> int:
    """Stop a task at `count` of its places (None: at all); return how many it has."""
    points = Points()
    work(model)
    with points.watching():
        work(model)
    places = dict(points.passed)
    # the first and the last passing of each: what is entered for the first time, and left
    every = [(place, n) for place, total in places.items() for n in sorted({1, total})]
    chosen = every if count is None or count >= len(every) else draw.sample(every, count)
    state, failures = ModelState(model), len(tally.failed)
    for place, n in chosen:
        if len(tally.failed) > failures:
            model, failures = warm_pocket(), len(tally.failed)
            work(model)
            state = ModelState(model)
        with tally.one(f"{name}, {place[0]} line {place[1]} ({place[2]}, passing {n})"):
            kept: BaseException | None = None
            try:
                with points.watching((place, n)):
                    work(model)
            except KeyboardInterrupt as error:
                kept = error  # as a notebook does, with the frames and what they hold
            state.check()
            del kept
    return len(every)


def run(tally: Tally, count: int, seed: int) -> None:
    """Stop every task at places drawn by the seed."""
    model = warm_pocket()
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    draw, total = random.Random(seed), 0
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name, n in share_out(count, list(WORK)).items():
            total += try_points(tally, name, lambda m, k=name: WORK[k](m, scenes), model, n, draw)
            model = warm_pocket()
    finally:
        signal.signal(signal.SIGINT, own)
    tally.note = f"of {total:,} in {len(WORK)} tasks"

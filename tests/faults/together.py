"""Two Explorers of one model under random clicks, and two threads that write captions with it."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import mmkn_widgets as mmkn
from tests.wire.conftest import Page

from .memory import held_kb, slope
from .state import ModelState, warm_pocket
from .tally import Tally

#: KB a minute that are surely growth
MOST = 1000.0


class _Log(logging.Handler):
    """Keeps what widgets log as unexpected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.said.append(f"{record.getMessage()}: {error!r}")


def _clicks(page: Page, draw: random.Random) -> Callable[[], Any]:
    """Return one click of a hand that knows no plan."""
    made = page.widget

    def some() -> list[bytes]:
        ids = draw.sample(range(3072), draw.randint(1, 40))
        chosen = made.kept[:20] if draw.random() < 0.5 and len(made.kept) else ids
        return [np.asarray(chosen, "<i4").tobytes()]

    def ask(name: str, buffers: Any = (), **args: Any) -> None:
        if draw.random() < 0.7:
            page.ask(name, buffers, **args)
        else:
            page.send(name, buffers, **args)  # the next click does not wait

    def turn(name: str, value: Any) -> None:
        made.set_state({name: value})

    moves: list[Callable[[], Any]] = [
        lambda: ask("ablate", some(), mode=draw.choice(["zero", "mean", "scale"]), scale=-0.5),
        lambda: ask("ablate", some(), mode="from_inpainted"),
        lambda: ask("restore"),
        lambda: ask("undo"),
        lambda: ask("redo"),
        lambda: ask("neuron", id=draw.randrange(3072)),
        lambda: ask("maps", ids=draw.sample(range(3072), 3), scene=0),
        lambda: ask("tokens", id=draw.randrange(3072)),
        lambda: ask("patch_scores", some()),
        lambda: ask("cancel"),
        lambda: ask("hello"),
        lambda: turn("scene", draw.randrange(len(made.study.scenes))),
        lambda: turn("threshold_d", draw.uniform(0, 1)),
        lambda: turn("rows_off", draw.sample(range(6), draw.randint(0, 2))),
        lambda: turn("unchecked", draw.sample(range(3072), draw.randint(0, 3))),
        lambda: turn("signed", draw.random() < 0.5),
        lambda: turn("_view_count", draw.randint(0, 1)),
    ]
    weights = [8, 2, 6, 4, 4, 1, 3, 3, 1, 1, 1, 6, 4, 2, 2, 1, 2]
    return lambda: draw.choices(moves, weights)[0]()


def run(tally: Tally, count: int, seed: int) -> None:
    """Click and write for so many seconds; then everything must come back."""
    model = warm_pocket()
    state = ModelState(model)
    scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 3)
    studies = [mmkn.study(model, "car", scenes), mmkn.study(model, "tree", scenes)]
    truth = [model.caption(scene.image) for scene in scenes]
    pages = [Page(mmkn.Explorer(study)) for study in studies]
    for page in pages:  # a busy machine is no fault, and what hangs is seen at the end
        page.widget.wait = functools.partial(page.widget.wait, 600)
    log, stop = _Log(), time.monotonic() + count
    logger = logging.getLogger("mmkn_widgets")
    logger.addHandler(log)
    done: dict[str, int] = {"clicks": 0, "captions": 0}
    lock = threading.Lock()

    def repeat(name: str, what: str, act: Callable[[], Any]) -> Callable[[], None]:
        def work() -> None:
            while time.monotonic() < stop:
                with lock:
                    done[what] += 1
                    tally.tried += 1
                try:
                    act()
                except Exception as error:
                    tally.fail(name, error)
                    if len(tally.failed) > 50:
                        return

        return work

    def writer(draw: random.Random) -> Callable[[], Any]:
        def plain() -> None:
            assert model.caption(draw.choice(list(scenes)).image)

        def own() -> None:
            index = draw.sample(range(512), 5)
            with model.ablate({draw.randrange(6): index}):
                assert model.caption(draw.choice(list(scenes)).image) is not None

        return lambda: draw.choice([plain, own])()

    works = [
        *(repeat(f"hand {k}", "clicks", _clicks(page, random.Random(seed * 10 + k)))
          for k, page in enumerate(pages)),
        *(repeat(f"writer {k}", "captions", writer(random.Random(seed * 10 + 5 + k)))
          for k in range(2)),
    ]  # fmt: skip
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    minutes: list[float] = []
    held: list[float] = []
    start = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1.0, max(0.1, count / 40)))
        for page in pages:
            del page.messages[:-200]  # what a browser would have drawn and forgotten
        minutes.append((time.monotonic() - start) / 60)
        held.append(held_kb())
        if time.monotonic() > stop + 120:
            tally.fail("a thread hangs", "two minutes after the end it still works")
            return
    logger.removeHandler(log)
    for line in log.said:
        tally.fail("a widget's log", line)
    with tally.one("the end"):
        for page in pages:
            page.widget.wait()
        for page in pages:
            said, _ = page.ask("restore")
            assert said["ok"], said
        assert not model.interventions.active, "a restore was lost"
        for page in pages:
            page.widget.wait()
            assert page.widget.caption_after == "", "the page shows a change that is gone"
            assert page.widget.ablation["active"] == []
        assert [model.caption(scene.image) for scene in scenes] == truth
        for page in pages:
            page.widget.close()
        state.check()
    tally.note = f"{done['clicks']:,} clicks, {done['captions']:,} captions"
    if len(held) >= 20:
        found, low, high = slope(minutes, held)
        tally.note += f"; memory {found:+.0f} KB a minute, 95 % from {low:+.0f} to {high:+.0f}"
        if count >= 300 and low > MOST:
            tally.fail("memory grows", tally.note)

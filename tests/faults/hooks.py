"""An error or Ctrl-C at every event of every hook: set, called, removed."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

import mmkn_widgets as mmkn
from tests.unit.studies.test_interrupts import NEURONS, TASKS

from .state import ModelState, warm_pocket
from .tally import Tally, share_out


def _ablate_and_caption(model: Any, scenes: Any) -> None:
    with model.ablate(NEURONS):
        model.caption(scenes[0].image)
    before = model.interventions.entries
    model.interventions.push(model.ablate({2: [7]}, "scale", scale=-1.0))
    try:
        model.caption(scenes[0].image, max_new_tokens=3)
    finally:
        try:
            model.interventions.undo()
        except BaseException:
            if model.interventions.entries != before:  # whole or not at all: it is done again
                model.interventions.undo()
            raise


WORK: dict[str, Callable[[Any, Any], Any]] = {
    **{name: TASKS[name] for name in ("capture", "study", "edit", "find", "integrated", "lens")},
    "ablate and caption": _ablate_and_caption,
}


class Injected(Exception):
    """What no code of the package expects."""


class Events:
    """Counts the events of hooks; at one of them something is raised.

    An error comes where torch or a hook could raise one: before a hook is set, in its call, after
    it was removed. Ctrl-C comes at any of them, and after a hook was set and before it is removed.
    """

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, at: int, interrupt: bool = False) -> None:
        """Count from 0; raise at an event (0: never)."""
        self.n, self.at, self.interrupt, self.where = 0, at, interrupt, ""

    def event(self, where: str, error: bool = True) -> None:
        if not (error or self.interrupt):
            return
        self.n += 1
        if self.n == self.at:
            self.where = where
            if self.interrupt:
                signal.raise_signal(signal.SIGINT)
            else:
                raise Injected(where)

    @contextmanager
    def watching(self) -> Iterator[Events]:
        """See every hook that is set within a block."""
        remove = RemovableHandle.remove
        owners: list[tuple[Any, str]] = [
            (torch.nn.Module, "register_forward_hook"),
            (torch.nn.Module, "register_forward_pre_hook"),
            (torch.nn.Module, "register_full_backward_hook"),
            (torch.Tensor, "register_hook"),
        ]
        held = [(owner, name, getattr(owner, name)) for owner, name in owners]

        def counted(name: str, register: Any) -> Any:
            def set_one(owner: Any, hook: Any, *args: Any, **named: Any) -> Any:
                def called(*given: Any, **more: Any) -> Any:
                    self.event(f"a call ({name})")
                    return hook(*given, **more)

                self.event(f"before {name}")
                handle = register(owner, called, *args, **named)
                self.event(f"after {name}", error=False)
                return handle

            return set_one

        def counted_remove(handle: Any) -> None:
            self.event("before remove", error=False)
            remove(handle)
            self.event("after remove")

        for owner, name, register in held:
            setattr(owner, name, counted(name, register))
        RemovableHandle.remove = counted_remove  # type: ignore[method-assign]
        try:
            yield self
        finally:
            RemovableHandle.remove = remove  # type: ignore[method-assign]
            for owner, name, register in held:
                setattr(owner, name, register)


def run(tally: Tally, count: int, seed: int) -> None:
    """Raise at chosen events of every task; the model must be as before each time."""
    model = warm_pocket()
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    draw, passed = random.Random(seed), 0
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name, n in share_out(count, list(WORK)).items():
            WORK[name](model, scenes)  # what an architecture sets once and keeps is set now
            state, failures = ModelState(model), len(tally.failed)
            with Events().watching() as events:
                totals = {}
                for interrupt in (False, True):
                    events.begin(0, interrupt)
                    WORK[name](model, scenes)
                    totals[interrupt] = events.n
                passed += totals[False]
                for turn in range(n):
                    interrupt = bool(turn % 2)
                    # spread over all events, each trial somewhere in its own stretch
                    length = totals[interrupt] * 2 / n
                    at = 1 + int((turn // 2 + draw.random()) * length) % totals[interrupt]
                    events.begin(0)
                    if len(tally.failed) > failures:  # it counts once, not in all that follow
                        model, failures = warm_pocket(), len(tally.failed)
                        state = ModelState(model)
                    events.begin(at, interrupt)
                    with tally.one(f"{name}, event {at}{' (Ctrl-C)' if interrupt else ''}"):
                        try:
                            WORK[name](model, scenes)
                        except (Injected, KeyboardInterrupt):
                            pass
                        except mmkn.MmknError as error:
                            if not _caused(error):  # in words, and by what was injected
                                raise
                        where = events.where
                        assert where, "nothing was raised"
                        events.begin(0)
                        try:
                            state.check()
                        except AssertionError as error:
                            raise AssertionError(f"{where}: {error}") from error
    finally:
        signal.signal(signal.SIGINT, own)
    tally.note = f"{passed:,} events in {len(WORK)} tasks"


def _caused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, (Injected, KeyboardInterrupt)):
            return True
        error = error.__cause__ or error.__context__
    return False

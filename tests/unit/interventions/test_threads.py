"""Interrupts at any moment, cancelled generations, and several threads at once."""

from __future__ import annotations

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mmkn_widgets.core.errors import Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.interventions import ablate, ablate_rows, perturb
from tests.unit.interventions.helpers import greedy, logits, n_hooks, same_bits, snapshot

NEURONS = {0: list(range(12)), 2: list(range(12))}


@pytest.mark.parametrize("step", [0, 1, 4])
def test_an_interrupt_in_the_middle_of_a_generation(model: Any, inputs: Any, step: int) -> None:
    batch, before = inputs(1), snapshot(model)
    plain = greedy(model, batch)
    calls = iter(range(100))

    def interrupts(_: Any) -> None:
        if next(calls) == step:
            raise KeyboardInterrupt

    handle = model.sites[1].hook(interrupts)
    with pytest.raises(KeyboardInterrupt), ablate(model, NEURONS), perturb(model, NEURONS):
        greedy(model, batch)
    handle.remove()
    assert not model.interventions.active
    assert n_hooks(model) == 0
    assert same_bits(model, before)
    assert greedy(model, batch) == plain
    assert model.lock.acquire(blocking=False)  # nobody holds it any more
    model.lock.release()


def test_a_cancelled_generation(model: Any, inputs: Any) -> None:
    batch, before, token = model.prepare(inputs(1)), snapshot(model), CancelToken()
    with pytest.raises(Cancelled), ablate(model, NEURONS), perturb(model, NEURONS):
        model.generate(batch, max_new_tokens=8, cancel=token, on_token=lambda *_: token.cancel())
    assert not model.interventions.active
    assert n_hooks(model) == 0
    assert same_bits(model, before)


def test_interrupts_at_random_moments(model: Any, inputs: Any) -> None:
    batch, before = inputs(1), snapshot(model)
    plain = logits(model, batch)
    chance = random.Random(5)

    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)  # as Ctrl-C does

    old = signal.signal(signal.SIGALRM, interrupt)
    # a process in the background ignores Ctrl-C
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped = 0
    try:
        for _ in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 8e-3))
                with perturb(model, NEURONS), ablate(model, NEURONS), model.interventions.inner():
                    model.interventions.push(perturb(model, NEURONS))
                    logits(model, batch)
                    model.interventions.undo()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                stopped += 1
            assert not model.interventions.active
            assert n_hooks(model) == 0
            assert same_bits(model, before)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        signal.signal(signal.SIGINT, own)
    assert stopped > 30
    np.testing.assert_array_equal(logits(model, batch), plain)


def test_two_views_see_one_stack(model: Any) -> None:
    told: list[int] = []
    model.interventions.observe(lambda event: told.append(len(event.active)))
    mine = ablate(model, {0: [1]})
    with ThreadPoolExecutor(2) as pool:
        pool.submit(model.interventions.push, mine).result()
        assert pool.submit(lambda: model.interventions.active).result() == (mine,)
    assert model.interventions.active == (mine,)
    model.interventions.clear()
    assert told == [1, 0]


def test_a_clean_scope_is_the_threads_own(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    plain = logits(model, batch)
    model.interventions.push(ablate(model, NEURONS))
    model.interventions.push(perturb(model, {1: [1, 2, 3]}, 4))
    changed = logits(model, batch)
    enough = threading.Event()
    wrong: list[str] = []

    def clean() -> None:
        while not enough.is_set():
            with model.interventions.suspended(), model.lock:
                if not np.array_equal(logits(model, batch), plain):
                    wrong.append("not clean")
            with model.interventions.suspended(), ablate_rows(model, [{0: [3]}]), model.lock:
                logits(model, batch)

    threads = [threading.Thread(target=clean) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        with model.lock:
            if not np.array_equal(logits(model, batch), changed):
                wrong.append("not changed")
    enough.set()
    for thread in threads:
        thread.join()
    assert not wrong
    np.testing.assert_array_equal(logits(model, batch), changed)
    model.interventions.clear()
    np.testing.assert_array_equal(logits(model, batch), plain)


def test_no_generation_changes_half_way(model: Any, inputs: Any) -> None:
    """While one thread pushes and pops, every generation of another is of one state or other."""
    batch = model.prepare(inputs(1))
    off = model.generate(batch, max_new_tokens=8).token_ids
    change = ablate(model, NEURONS)
    with change:
        on = model.generate(batch, max_new_tokens=8).token_ids
    assert on != off
    enough = threading.Event()

    def push_and_pop() -> None:
        while not enough.is_set():
            with change:
                pass

    thread = threading.Thread(target=push_and_pop)
    thread.start()
    seen = [model.generate(batch, max_new_tokens=8).token_ids for _ in range(40)]
    enough.set()
    thread.join()
    assert all(one in (on, off) for one in seen)
    assert model.generate(batch, max_new_tokens=8).token_ids == off
    assert n_hooks(model) == 0


def test_many_threads_leave_nothing_behind(model: Any, inputs: Any) -> None:
    batch, before = inputs(1), snapshot(model)
    plain = logits(model, batch)

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(12):
            neurons = {chance.randrange(3): [chance.randrange(24)]}
            made = chance.choice([ablate, perturb])(model, neurons)
            with made:
                assert made in model.interventions.active

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    assert not model.interventions.active
    assert same_bits(model, before)
    assert n_hooks(model) == 0
    np.testing.assert_array_equal(logits(model, batch), plain)


def test_a_change_from_within_a_forward_does_not_wait_for_itself(model: Any, inputs: Any) -> None:
    batch, stack = inputs(1), model.interventions

    def pushes(_: Any) -> None:
        if not stack.active:
            stack.push(ablate(model, NEURONS))

    handle = model.sites[1].hook(pushes)
    with model.lock:
        logits(model, batch)
        assert len(stack.active) == 1
    handle.remove()
    stack.clear()
    assert n_hooks(model) == 0

"""One thread, in order, whatever its jobs do."""

from __future__ import annotations

import threading
import time

import pytest

from mmkn_widgets.models import Worker


def test_jobs_run_in_order_on_one_other_thread() -> None:
    worker, seen = Worker("test worker"), []
    futures = [
        worker.submit(lambda n=n: seen.append((n, threading.current_thread().name)))
        for n in range(20)
    ]
    for future in futures:
        future.result(timeout=5)
    assert seen == [(n, "test worker") for n in range(20)]
    assert worker.submit(lambda: worker.is_current).result(timeout=5)
    assert not worker.is_current


def test_an_error_reaches_the_caller_and_the_next_job_runs() -> None:
    worker = Worker()
    broken = worker.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.result(timeout=5)
    assert worker.submit(sum, [1, 2], start=3).result(timeout=5) == 6


def test_a_waiting_job_can_be_cancelled() -> None:
    worker, go, ran = Worker(), threading.Event(), []
    first = worker.submit(go.wait, 5)
    second = worker.submit(ran.append, 1)
    assert second.cancel()
    go.set()
    assert first.result(timeout=5)
    worker.submit(time.sleep, 0).result(timeout=5)
    assert ran == []


def test_no_thread_before_the_first_job() -> None:
    names = {thread.name for thread in threading.enumerate()}
    Worker("never used")
    assert {thread.name for thread in threading.enumerate()} <= names

"""What is shielded is finished, in the foreground and where the process ignores Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mmkn_widgets.core.shield import Deferred, Handles, finish


@pytest.fixture(autouse=True)
def _foreground() -> Iterator[None]:
    """Take Ctrl-C as a process in the foreground does, wherever the tests run."""
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, own)


class Hook:
    """A hook that knows whether it is set."""

    def __init__(self, held: list[Hook], before: Callable[[], None], after: Callable[[], None]):
        self._held, self._after = held, after
        before()
        held.append(self)
        after()

    def remove(self) -> None:
        if self in self._held:
            self._held.remove(self)
        self._after()


def test_an_interrupt_waits_and_then_comes() -> None:
    steps: list[str] = []

    def action() -> None:
        signal.raise_signal(signal.SIGINT)
        steps.append("done")

    with pytest.raises(KeyboardInterrupt):
        finish(action)
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_within_another_waits_for_the_outer() -> None:
    steps: list[str] = []

    def inner() -> None:
        with Deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("inner")
        steps.append("outer")

    with pytest.raises(KeyboardInterrupt):
        finish(inner)
    assert steps == ["inner", "outer"]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_where_nothing_is_raised_nothing_is_changed(handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    steps: list[str] = []
    with Deferred():
        assert signal.getsignal(signal.SIGINT) is handler
        if handler is signal.SIG_IGN:
            signal.raise_signal(signal.SIGINT)
        steps.append("whole")
    finish(lambda: steps.append("finished"))
    assert steps == ["whole", "finished"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    with Deferred():
        pass
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_raises_nothing_is_asked_once() -> None:
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    with Deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert not came
    assert came == [signal.SIGINT]


def test_other_threads_have_nothing_to_defer() -> None:
    seen: list[Any] = []

    def work() -> None:
        with Deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("at", range(1, 10))
def test_handles_are_set_and_removed_whole_wherever_the_interrupt_comes(at: int) -> None:
    held: list[Any] = []
    events = iter(range(1, 100))

    def event() -> None:
        if next(events) == at:
            signal.raise_signal(signal.SIGINT)

    reached: list[int] = []
    hooks = Handles(Hook(held, event, event) for _ in range(3))
    with pytest.raises(KeyboardInterrupt), hooks:
        reached.append(len(held))
    assert not held
    assert reached in ([], [3])
    assert (reached == [3]) == (at > 6)  # before that it comes when the three are set


def test_handles_that_cannot_all_be_set_are_not_set() -> None:
    held: list[Any] = []

    def hooks() -> Iterator[Hook]:
        yield Hook(held, lambda: None, lambda: None)
        raise ValueError("no such site")

    with pytest.raises(ValueError, match="no such site"), Handles(hooks()):
        raise AssertionError
    assert not held


def test_a_handle_that_fails_to_go_keeps_no_other() -> None:
    held: list[Any] = []
    inside: list[bool] = []

    def fail() -> None:
        if inside:
            raise ValueError("gone already")

    hooks = Handles(Hook(held, lambda: None, fail) for _ in range(3))
    hooks.__enter__()
    inside.append(len(held) == 3)
    with pytest.raises(ValueError, match="gone already"):
        hooks.remove()
    assert not held


def test_in_a_process_that_ignores_it_everything_runs_to_its_end() -> None:
    code = """
        import signal
        from mmkn_widgets.core.shield import Deferred, finish
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with Deferred():
            signal.raise_signal(signal.SIGINT)
        finish(lambda: signal.raise_signal(signal.SIGINT))
        print("whole", signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child inherits it
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["whole", "True"], done.stderr

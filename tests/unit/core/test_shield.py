"""What is shielded is finished, in the foreground and where the process ignores Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mmkn_widgets.core.shield import Deferred, Handles, ending, finish, leaving, sure
from tests.faults.points import stopped_everywhere


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


class Door:
    """What a block opens and closes; the ways it does so."""

    def __init__(self) -> None:
        self.open = 0

    def shut(self) -> None:
        self.open -= 1 if self.open else 0

    @sure
    def held(self) -> Iterator[int]:
        with ending(self.shut):
            self.open += 1
            yield self.open

    @sure
    def twice(self) -> Iterator[None]:
        with threading.RLock(), self.held(), self.held():
            yield

    def __enter__(self) -> Door:
        try:
            self.open += 1
            return self
        except BaseException:
            self.shut()
            raise

    @leaving
    def __exit__(self, *_: object) -> None:
        self.shut()


def _by_held(door: Door) -> None:
    with door.held() as number:
        assert number == 1


def _by_twice(door: Door) -> None:
    with door.twice():
        assert door.open == 2


def _by_itself(door: Door) -> None:
    with door:
        assert door.open == 1


def _as_decorator(door: Door) -> None:
    assert door.held()(lambda: door.open)() == 1


def _with_an_error(door: Door) -> None:
    with contextlib.suppress(ValueError), door.twice():
        raise ValueError("inside")


def _hooks(door: Door) -> None:
    held: list[Any] = []

    def after() -> None:
        door.open = len(held)

    with Handles(Hook(held, lambda: None, after) for _ in range(2)):
        assert door.open == 2


@pytest.mark.parametrize(
    "way", [_by_held, _by_twice, _by_itself, _as_decorator, _with_an_error, _hooks]
)
def test_wherever_python_looks_for_an_interrupt_what_was_opened_is_closed(
    way: Callable[[Door], None],
) -> None:
    door = Door()
    kept = []  # a notebook keeps the last error, with its frames
    for where, raised in stopped_everywhere(lambda: way(door)):
        assert door.open == 0, where
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where
        kept.append(raised)
    assert len(kept) > 10
    assert sum(raised is not None for raised in kept) > len(kept) / 2


def test_contextlib_leaves_it_open_somewhere() -> None:
    """The machine above can fail."""
    door = Door()

    @contextlib.contextmanager
    def held() -> Iterator[None]:
        door.open += 1
        try:
            yield
        finally:
            door.shut()

    def work() -> None:
        with held():
            pass

    kept, left = [], []
    for where, raised in stopped_everywhere(work):
        kept.append(raised)
        left += [where] if door.open else []
        door.open = 0
    assert any("__exit__" in where for where in left)


def test_an_error_passes_through_as_with_contextlib() -> None:
    seen: list[BaseException] = []

    @sure
    def translated() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(error)
            raise KeyError("in other words") from error

    with pytest.raises(KeyError, match="in other words") as raised, translated():
        raise ValueError("raw")
    assert raised.value.__cause__ is seen[0]
    for given in (RuntimeError("other"), StopIteration(3)):
        with pytest.raises(type(given)) as raised, translated():
            raise given
        assert raised.value is given
    try:
        raise ValueError("handled")
    except ValueError:
        with translated():  # it ends well, within a handler of another error
            pass
    assert len(seen) == 1


def test_a_block_that_is_asked_about_is_not_left() -> None:
    door = Door()
    with door:
        assert hasattr(door, "__exit__")
        assert door.open == 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(door)
        assert door.open == 1
    assert door.open == 0
    door.__enter__()
    door.__exit__(None, None, None)
    assert door.open == 0


def test_a_block_is_entered_once_at_a_time() -> None:
    door = Door()
    block = door.held()
    with block:
        with pytest.raises(RuntimeError, match="entered already"):
            block.__enter__()
        assert door.open == 1
    with block:
        assert door.open == 1
    assert door.open == 0


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

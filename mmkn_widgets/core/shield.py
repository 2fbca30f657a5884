"""Finish what must be finished although the user pressed Ctrl-C."""

from __future__ import annotations

import functools
import io
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType, GeneratorType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

__all__ = ["Deferred", "Handles", "Sure", "ending", "finish", "leaving", "sure"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Deferred:
    """A context manager in which Ctrl-C waits; it acts when the block ends.

    Only the main thread gets interrupts, so in other threads there is nothing to do. Nor is there
    where Ctrl-C raises nothing in Python: in a process that ignores it (one started in the
    background), that it ends at once, or whose handler is not Python's.

    Examples
    --------
    >>> steps = []
    >>> own = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground
    >>> try:
    ...     with Deferred():
    ...         signal.raise_signal(signal.SIGINT)
    ...         steps.append("whole")
    ... except KeyboardInterrupt:
    ...     steps.append("interrupted")
    ... finally:
    ...     _ = signal.signal(signal.SIGINT, own)
    >>> steps
    ['whole', 'interrupted']
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._came: FrameType | bool | None = False

    def __enter__(self) -> Deferred:
        if threading.get_ident() == threading.main_thread().ident:
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # SIG_IGN, SIG_DFL and None are not
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, _: int, frame: FrameType | None) -> None:
        self._came = frame if frame is not None else True

    def __exit__(self, *_: object) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._came is not False:
            frame = None if self._came is True else self._came
            self._handler(signal.SIGINT, frame)


def finish(action: Callable[[], None]) -> None:
    """Do something to its end; an interrupt that arrives meanwhile is raised after.

    Parameters
    ----------
    action : callable
        Is begun again if an interrupt comes before it is protected: again must be harmless.

    Raises
    ------
    KeyboardInterrupt
        After the action has been done.
    """
    interrupt: KeyboardInterrupt | None = None
    done = False
    while not done:
        try:
            with Deferred():
                action()
                done = True
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


class _Closing(io.IOBase):
    """A context manager that no interrupt can skip the end of.

    Python looks for signals when it enters a function, before the first line: on the way into a
    Python `__exit__`, that of `contextlib.contextmanager` included, this is outside of every
    ``try``, and what it was to put back would stay. The `__exit__` of a file is C. It calls
    `close`, here that of a generator, C too, which waits inside its ``try``.
    """

    close: Callable[[], None]

    _waiting: GeneratorType[None, None, None] | None = None

    def _check(self) -> None:
        if self._waiting is not None and self._waiting.gi_frame is not None:
            raise RuntimeError("this block is entered already; make another context manager")

    def _begin(self, waiting: Generator[None, None, None]) -> None:
        self._waiting = cast("GeneratorType[None, None, None]", waiting)
        self.close = waiting.close
        next(waiting)


class ending(_Closing):  # noqa: N801 - it reads as a statement, as contextlib's do
    """At the end of a ``with`` block an action is done, to its end, wherever an interrupt comes.

    Parameters
    ----------
    action : callable
        Is done once, and must be harmless where what it takes back was done in part.

    Examples
    --------
    >>> done = []
    >>> with ending(lambda: done.append("put back")):
    ...     done.append("changed")
    >>> done
    ['changed', 'put back']
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def __enter__(self) -> ending:
        self._check()
        try:
            self._begin(_wait(self._action))
        except BaseException:
            self.close()
            raise
        return self


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return an action that, once done, does nothing."""
    done: list[bool] = []

    def act() -> None:
        if not done:
            action()
            done.append(True)

    return act


def _wait(action: Callable[[], None]) -> Generator[None, None, None]:
    once = _once(action)
    try:  # noqa: SIM105 - the `__exit__` of suppress is Python
        yield
    except GeneratorExit:
        pass
    try:
        finish(once)
    except KeyboardInterrupt:  # on the way into it
        finish(once)
        raise


class leaving:  # noqa: N801 - a decorator
    """An `__exit__` of a class that an interrupt on the way into it cannot skip.

    For a class that ought not to be a file; a ``with`` statement asks for `__exit__` first of all,
    and gets the C one of a `_Left`.

    Parameters
    ----------
    function : callable
        The method; what ended the block is not told to it.

    Examples
    --------
    >>> class Door:
    ...     def __enter__(self):
    ...         return self
    ...     @leaving
    ...     def __exit__(self, *_):
    ...         print("closed")
    >>> with Door():
    ...     print("open")
    open
    closed
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __get__(self, owner: Any, kind: type | None = None) -> Callable[..., None]:
        if owner is None:
            return self._function
        return _Left(functools.partial(self._function, owner)).__exit__


class _Left(io.IOBase):
    """A file whose `close` acts; being forgotten, as after ``hasattr``, does not."""

    closed = True  # or its end would close it

    def __init__(self, action: Callable[[], None]) -> None:
        waiting = _left(action)
        next(waiting)
        vars(self)["close"] = functools.partial(next, waiting, None)


def _left(action: Callable[[], None]) -> Generator[None, None, None]:
    once = _once(action)
    try:
        yield
    except KeyboardInterrupt:  # as it goes on
        finish(once)
        raise
    try:
        finish(once)
    except KeyboardInterrupt:  # on the way into it
        finish(once)
        raise


class Sure(_Closing, Generic[T_co]):
    """What a function under `sure` returns: a context manager, also a decorator."""

    def __init__(self, make: Callable[[], Iterator[T_co]]) -> None:
        self._make = make

    def __enter__(self) -> T_co:  # type: ignore[override]
        self._check()
        try:
            made: Any = self._make()
            self._begin(_drive(made, sys.exc_info()[1]))
            first: T_co = next(made)
        except BaseException:
            self.close()
            raise
        return first

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Do a function inside, each time anew."""

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            with Sure(self._make):
                return function(*args, **kwargs)

        return inside


def _drive(
    made: Generator[Any, None, None], outer: BaseException | None
) -> Generator[None, None, None]:
    """Wait; then let a generator go on where its block ended, with the error that ended it."""
    error: BaseException | None = None
    try:
        yield
    except GeneratorExit as leaving:
        error = leaving.__context__  # what is being handled: the block's error, or one from before
    try:
        if error is None or error is outer:
            for _ in made:
                raise RuntimeError("a function under `sure` yields once")
            return
        trace = error.__traceback__
        try:
            made.throw(error)
        except BaseException as raised:
            wrapped = isinstance(error, StopIteration) and raised.__cause__ is error
            if raised is not error and not wrapped:
                raise
            error.__traceback__ = trace
    except BaseException:
        made.close()
        raise
    finally:
        error = None


def sure(function: Callable[P, Iterator[T]]) -> Callable[P, Sure[T]]:
    """Make a context manager of a generator, as contextlib does, that always goes on to its end.

    After contextlib's, an interrupt on the way out leaves the generator where it yielded, and what
    it holds (a mode of torch, a lock) until the traceback is forgotten. What is put back belongs
    into an `ending`, since Python looks for signals in a ``finally`` too. An error of the block
    passes through the generator, which may raise another, but none is kept from the caller.

    Parameters
    ----------
    function : callable
        Yields once.

    Returns
    -------
    callable
        Returns a context manager that may also be used as a decorator.

    Examples
    --------
    >>> steps = []
    >>> @sure
    ... def opened(name):
    ...     with ending(lambda: steps.append(f"{name} is closed")):
    ...         yield name.upper()
    >>> with opened("a door") as door:
    ...     steps.append(door)
    >>> steps
    ['A DOOR', 'a door is closed']
    """

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Sure[T]:
        return Sure(lambda: function(*args, **kwargs))

    return make


class Handle(Protocol):
    """What setting a hook returns."""

    def remove(self) -> None:
        """Take the hook off; again is harmless."""


class Handles(_Closing):
    """Hooks for the length of a ``with`` block, gone after it wherever an interrupt comes.

    They are set when the block is entered, all or none; none is ever set and not noted.

    Parameters
    ----------
    hooks : iterable of handle
        Sets one hook at each step, a generator expression for instance; not begun before the
        block is entered.

    Examples
    --------
    >>> import torch
    >>> layers = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)]
    >>> shapes = []
    >>> def note(layer, given, made):
    ...     shapes.append(tuple(made.shape))
    >>> with Handles(layer.register_forward_hook(note) for layer in layers):
    ...     _ = torch.nn.Sequential(*layers)(torch.zeros(3, 2))
    >>> shapes, [len(layer._forward_hooks) for layer in layers]
    ([(3, 2), (3, 1)], [0, 0])
    """

    def __init__(self, hooks: Iterable[Handle]) -> None:
        self._hooks = hooks
        self._set: list[Handle] = []

    def __enter__(self) -> Handles:
        self._check()
        try:
            self._begin(_wait(self._remove))
            with Deferred():
                self._set.extend(self._hooks)
        except BaseException:
            self.close()
            raise
        return self

    def remove(self) -> None:
        """Take off every hook, also where one of them fails to; again is harmless."""
        finish(self._remove)

    def _remove(self) -> None:
        failed: Exception | None = None
        while self._set:
            try:
                self._set[-1].remove()
            except Exception as error:  # noqa: BLE001 - the others must go all the same
                failed = failed or error
            self._set.pop()
        if failed is not None:
            raise failed

"""What every widget shares: its module, requests from the page, one worker, errors in words."""

from __future__ import annotations

import atexit
import logging
import math
import numbers
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import anywidget

from ..core import Cancelled, CancelToken, MmknError, bad_argument, write_whole
from .traits import READY, StatusTraits, WrongTrait, flag_of, said

if TYPE_CHECKING:
    from ..models import Worker
    from .saved import Pace, Saved

__all__ = ["Answer", "Call", "Widget", "bundle", "explain", "request"]

_LOG = logging.getLogger("mmkn_widgets.widgets")
_STATIC = Path(__file__).resolve().parents[1] / "static"
_LARGE = ("words", "thumbnails", "object_masks", "tokens")
_NOT_BUILT = """export default {{ render({{ el }}) {{
  el.textContent = "mmkn_widgets was installed without its page modules ({name}.js is missing). "
    + "In a clone run `make`; else install a built wheel.";
}} }};
"""
#: what a request may hold: no page of ours sends as much
_DEEPEST, _MOST_ITEMS, _LONGEST = 6, 200_000, 20_000
#: how long a script that ends waits for a caption that is being written
_PATIENCE = 30.0


def bundle(name: str) -> Path | str:
    """Return the built ES module of a widget, or a module that says how to build it."""
    path = _STATIC / f"{name}.js"
    return path if path.is_file() else _NOT_BUILT.format(name=name)


def explain(error: BaseException) -> tuple[str, str]:
    """Return an error as words for people, and what to do about it; log it when unexpected."""
    if isinstance(error, Cancelled):
        return "cancelled", "What you see is the last finished state."
    if isinstance(error, MmknError):
        return str(error), ""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "What you see is the last finished state."
    _LOG.error("a widget's work failed", exc_info=error)
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        return (
            f"The memory is full ({kind}).",
            "Let go of other models, or compute with fewer scenes; then try again.",
        )
    return (
        f"Something in the kernel failed that should not ({kind}); please report it.",
        "The full trace is in the log of the kernel (logger mmkn_widgets.widgets).",
    )


# -- requests --------------------------------------------------------------------------------------


@dataclass
class Call:
    """One request from the page; its arguments are read by what they must be.

    Every reader raises `BadArgument` for what is no such value.
    """

    id: str
    name: str
    args: dict[str, Any]
    buffers: list[bytes]
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def asker(self) -> tuple[str, str]:
        """The page that asks (its ids begin alike) and what it asks for."""
        return self.id.rpartition("-")[0], self.name

    @classmethod
    def from_page(cls, content: dict[str, Any], buffers: Sequence[Any] | None) -> Call:
        """Read a message; the id is read first of all, so that an error can be answered."""
        given = content.get("args")
        args = {} if given is None else given
        if not isinstance(args, dict):
            raise bad_argument("args", said(args), "an object")
        if not isinstance(content.get("name"), str):
            raise bad_argument("request", said(content.get("name")), "a name")
        _check_size(args)
        raw = list(buffers or ())
        if not all(isinstance(one, bytes | bytearray | memoryview) for one in raw):
            raise bad_argument("buffers", said(raw), "binary buffers")
        return cls(
            page_id(content),
            content["name"][:_LONGEST],
            dict(args),
            [bytes(one) for one in raw],
        )

    @property
    def data(self) -> bytes:
        """The first binary buffer; empty where there is none."""
        return self.buffers[0] if self.buffers else b""

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        found = self.args.get(name, default)
        if found is None:
            return default
        if not isinstance(found, str):
            raise bad_argument(name, said(found), "a text")
        return found

    def flag(self, name: str) -> bool:
        """Return true or false."""
        found = self.args.get(name, False)
        if not isinstance(found, bool) and found not in (None, 0, 1):
            raise bad_argument(name, said(found), "true or false")
        return bool(found)

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a finite number."""
        found = self.args.get(name, default)
        if found is None:
            return default
        real = not isinstance(found, bool) and isinstance(found, numbers.Real)
        if not real or not abs(found) <= sys.float_info.max:
            raise bad_argument(name, said(found), "a finite number")
        return float(found)

    def whole(self, name: str, default: int, *, beyond: int, what: str | None = None) -> int:
        """Return a whole number from 0, below `beyond`."""
        found = self.args.get(name, default)
        wanted = what or f"a whole number, 0 to {beyond - 1}"
        if isinstance(found, bool) or not isinstance(found, numbers.Integral):
            raise bad_argument(name, said(found), wanted)
        if not 0 <= int(found) < beyond:
            raise bad_argument(name, int(found), wanted)
        return int(found)

    def wholes(self, name: str) -> list[int]:
        """Return a list of whole numbers."""
        found = self.args.get(name)
        if found is None:
            return []
        right = isinstance(found, list | tuple) and all(
            isinstance(one, numbers.Integral) and not isinstance(one, bool) for one in found
        )
        if not right or any(abs(one) >= 2**62 for one in found):
            raise bad_argument(name, said(found), "a list of whole numbers")
        return [int(one) for one in found]


def page_id(content: dict[str, Any]) -> str:
    """Return a message's id as the reply must carry it; what is no id is empty."""
    found = content.get("id", "")
    return found[:200] if isinstance(found, str) else ""


def _check_size(args: Any) -> None:
    """Refuse what is too deep or too large to be from our page."""
    items, level = 0, [args]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str) and len(value) > _LONGEST:
                raise bad_argument("args", said(value), f"texts of at most {_LONGEST} characters")
            if isinstance(value, dict):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
        items += len(inner)
        if items > _MOST_ITEMS:
            raise bad_argument("args", f"over {_MOST_ITEMS} values", "fewer: send a buffer")
        if not inner:
            return
        level = inner
    raise bad_argument("args", "a deeply nested value", f"at most {_DEEPEST - 1} levels")


def _plain(value: Any) -> Any:
    """Return a result as JSON knows it: what is no number is None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_T = TypeVar("_T")
Answer = dict[str, Any] | tuple[dict[str, Any], Sequence[bytes]] | None
Handler = Callable[[Any, Call], Answer]


@dataclass(frozen=True)
class _Handled:
    """Who answers a request: a method of the widget, or of an object that it owns."""

    owner: str
    method: str
    worker: bool
    stage: str


_ANSWERS: dict[Handler, tuple[str, bool, str]] = {}


def request(name: str, *, worker: bool = True, stage: str = "") -> Callable[[Handler], Handler]:
    """Mark a method as the answer to a request of the page.

    Parameters
    ----------
    name : str
        The request.
    worker : bool
        Whether it runs on the model's worker thread; else at once, and then it must be quick.
    stage : str
        What the widget shows while it runs.
    """

    def mark(method: Handler) -> Handler:
        _ANSWERS[method] = (name, worker, stage)
        return method

    return mark


def _answers_of(cls: type, owner: str) -> dict[str, _Handled]:
    found: dict[str, _Handled] = {}
    for base in reversed(cls.__mro__):
        for method, value in vars(base).items():
            if isinstance(value, FunctionType) and value in _ANSWERS:
                name, worker, stage = _ANSWERS[value]
                found[name] = _Handled(owner, method, worker, stage)
    return found


# -- the widget ------------------------------------------------------------------------------------


class Widget(StatusTraits, anywidget.AnyWidget):
    """Base of all widgets of this package.

    Requests of the page are messages ``{kind: "request", id, name, args}`` with binary buffers.
    Each is answered once: ``{kind: "reply", id, ok, result | error, remedy}``; text that is being
    written comes before as ``{kind: "token", id, text}``. A newer request of the same name by the
    same page cancels the older; the reply to what was cancelled says ``cancelled: true``, which is
    no error.

    Attributes
    ----------
    owned : dict of str to type
        Objects that answer requests too, by the attribute that holds them.
    """

    owned: ClassVar[dict[str, type]] = {}
    _handlers: ClassVar[dict[str, _Handled]] = {}
    _closed = True  # until it is made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found: dict[str, _Handled] = {}
        for owner, kind in cls.owned.items():
            found |= _answers_of(kind, owner)
        cls._handlers = found | _answers_of(cls, "")

    def __init__(self, **kwargs: Any) -> None:
        self._running: dict[tuple[str, str], CancelToken] = {}
        self._faults: dict[str, tuple[str, str]] = {}
        self._leaving = CancelToken()
        self._owed = 0
        self._closed = False
        self._own_layout = "layout" not in kwargs
        super().__init__(**kwargs)
        self.on_msg(self._receive)
        _ALIVE.add(self)

    # -- the thread that works ---------------------------------------------------------------

    @property
    def _worker(self) -> Worker | None:
        """The model's worker, or None: then work is done at once."""
        return None

    def _submit(self, job: Callable[[], _T]) -> Future[_T]:
        worker = self._worker
        if worker is not None and not worker.is_current:
            return worker.submit(job)
        done: Future[_T] = Future()
        try:
            done.set_result(job())
        except BaseException as error:  # noqa: BLE001  whoever waits gets it
            done.set_exception(error)
        return done

    def _later(self, job: Callable[[], Any], action: str) -> None:
        """Do something on the worker after what it does now: nobody waits for it."""
        run, worker = self._guarded(job, action), self._worker
        if worker is None:
            run()
            return
        self._owed += 1

        def pay() -> None:
            self._owed -= 1
            run()

        worker.submit(pay)

    def wait(self, timeout: float | None = 60.0) -> None:
        """Wait until everything asked for so far is done (for scripts and tests)."""
        worker = self._worker
        if worker is None or worker.is_current:
            return
        worker.submit(lambda: None).result(timeout)
        while self._owed:
            worker.submit(lambda: None).result(timeout)

    # -- requests ----------------------------------------------------------------------------

    def _receive(self, _widget: Any, content: Any, buffers: Sequence[Any] | None) -> None:
        if not isinstance(content, dict) or content.get("kind") != "request":
            _LOG.debug("a message that is no request was passed over")
            return
        try:
            call = Call.from_page(content, buffers)
            found = self._handlers.get(call.name)
            if found is None:
                wanted = "one of " + ", ".join(sorted(self._handlers))
                raise bad_argument("request", said(call.name), wanted)
        except Exception as error:  # noqa: BLE001  the page shows it
            self._reply_error(page_id(content), error)
            return
        self._heard()
        answer = getattr(getattr(self, found.owner) if found.owner else self, found.method)
        if not found.worker:
            self._answer(call, answer, "")
            return
        if earlier := self._running.get(call.asker):  # two pages leave each other alone
            earlier.cancel()
        self._running[call.asker] = call.cancel
        self._submit(lambda: self._answer(call, answer, found.stage))

    def _heard(self) -> None:
        """Note that a page shows this widget: it has asked for something."""

    def _answer(self, call: Call, answer: Callable[[Call], Answer], stage: str) -> None:
        try:
            call.cancel.raise_if_cancelled()
            if stage:
                self._working(stage, 0, 0)
            made = answer(call) or {}
            result, buffers = made if isinstance(made, tuple) else (made, ())
            reply = {"kind": "reply", "id": call.id, "ok": True, "result": _plain(result)}
            self._to_page(reply, list(buffers))
        except BaseException as error:  # noqa: BLE001  the page shows it
            self._reply_error(call.id, error)
        finally:
            if self._running.get(call.asker) is call.cancel:
                del self._running[call.asker]
            if stage and self.status["state"] == "working":
                self._rest()

    def _reply_error(self, key: str, error: BaseException) -> None:
        message, remedy = explain(error)
        cancelled = isinstance(error, Cancelled)
        reply = {"kind": "reply", "id": key, "ok": False, "error": message, "remedy": remedy}
        self._to_page({**reply, "cancelled": cancelled}, [])

    def _stream(self, call: Call, piece: str) -> None:
        self._to_page({"kind": "token", "id": call.id, "text": piece}, [])

    def _to_page(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if not self._closed:
            self.send(content, buffers)

    def set_state(self, sync_data: Any) -> None:
        """Take over what the page sends; what a trait cannot hold is said and sent back."""
        if not isinstance(sync_data, dict):
            _LOG.debug("a state that is no object was passed over")
            return
        right, refused, traits = {}, [], self.traits()
        for name, value in sync_data.items():
            trait = traits.get(name)
            try:
                if trait is not None and flag_of(trait):
                    trait._validate(self, value)  # noqa: SLF001  traitlets has no public one
                right[name] = value
                self._succeeded(name)
            except WrongTrait as error:
                refused.append(name)
                self._failed(error, name)
        super().set_state(right)
        if refused:
            self.send_state(refused)

    # -- traits and status -------------------------------------------------------------------

    def _show(self, values: dict[str, Any]) -> None:
        """Set traits in one message."""
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)

    def catch_up(self) -> None:
        """Bring the traits that cost work up to date; a widget that follows nothing always is."""

    def _working(
        self, stage: str, done: int, total: int, started: float | None = None, first: int = 0
    ) -> None:
        """Show what is done; the time left by the pace since `started`, when `first` were done."""
        left = None
        if started is not None and first < done < total:
            left = (time.monotonic() - started) / (done - first) * (total - done)
        self.status = {
            **READY,
            "state": "working",
            "stage": stage,
            "done": int(done),
            "total": int(total),
            "seconds_left": left,
        }

    def _progress(self) -> Callable[[str, int, int], None]:
        """Return a progress callback that fills the status, at most ten times a second."""
        started, shown, current, first = time.monotonic(), 0.0, "", 0

        def show(stage: str, done: int, total: int) -> None:
            nonlocal started, shown, current, first
            now = time.monotonic()
            if stage != current:  # what was done when the clock starts says nothing of the pace
                started, shown, current, first = now, 0.0, stage, done
            if now - shown < 0.1 and done < total:
                return
            shown = now
            self._working(stage, done, total, started, first)

        return show

    def _failed(self, error: BaseException, action: str) -> None:
        """Show what failed, until the same action succeeds."""
        if isinstance(error, Cancelled):
            return
        self._faults.pop(action, None)
        self._faults[action] = explain(error)
        self._rest()

    def _succeeded(self, action: str) -> None:
        """Take back what the same action did not do the last time."""
        if self._faults.pop(action, None) and self.status["state"] == "error":
            self._rest()

    def _rest(self) -> None:
        """Show that nothing is being done, and what failed last and was not done since."""
        if not self._faults:
            self.status = READY
            return
        action, (message, remedy) = list(self._faults.items())[-1]
        said = {"action": action, "message": message, "remedy": remedy}
        self.status = {**READY, "state": "error", **said}

    def _guarded(self, job: Callable[[], Any], action: str) -> Callable[[], None]:
        """Return the job with its failure shown in the widget instead of lost in a thread.

        Parameters
        ----------
        job : callable
        action : str
            What it does, as `status` names it: its failure goes when the same action succeeds.
        """

        def run() -> None:
            try:
                if not self._closed:
                    job()
                    self._succeeded(action)
            except BaseException as error:  # noqa: BLE001  the page shows it
                if not self._closed:
                    self._failed(error, action)

        return run

    @request("hello", worker=False)
    def _ask_hello(self, _call: Call) -> Answer:
        return {}

    @request("cancel", worker=False)
    def _ask_cancel(self, _call: Call) -> Answer:
        for token in list(self._running.values()):
            token.cancel()
        return {}

    # -- without a kernel, and the end -------------------------------------------------------

    @property
    def title(self) -> str:
        """What a saved page is called."""
        return type(self).__name__

    def account(self) -> Any:
        """Return what the static view says, a `mmkn_widgets.widgets.html.Account`."""
        from .html import Account

        return Account(type(self).__name__, [], [])

    def saved_traits(self, pace: Pace) -> Saved:  # noqa: ARG002
        """Return what other values of traits bring to a page without a kernel."""
        from .saved import Saved

        return Saved()

    def save_html(self, path: str | Path) -> Path:
        """Write one offline page: thresholds, overlays, tables and captions stay alive in it."""
        from .html import offline_page

        return write_whole(path, offline_page(self))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .html import with_fallback

        return with_fallback(self, super()._repr_mimebundle_(**kwargs))

    def __del__(self) -> None:
        if not sys.is_finalizing():
            super().__del__()

    def _stop(self) -> None:
        """Cancel what runs for this widget."""
        self._leaving.cancel()
        for token in list(self._running.values()):
            token.cancel()

    def leave(self) -> Worker | None:
        """Cancel what runs and compute no more, as the process ends; return who computed."""
        self._stop()
        self._closed = True
        return self._worker

    def close(self) -> None:
        """Cancel what runs, tell the page, and free the memory."""
        if self._closed:
            return
        self._stop()
        self.status = {**READY, "state": "closed"}
        self._closed = True
        layout = self.layout if self._own_layout else None
        super().close()
        if layout is not None:
            layout.close()
        for name, trait in self.traits().items():  # Out and _ keep the widget, not what it showed
            if flag_of(trait) == "bytes":
                self._trait_values[name] = b""
            elif name.endswith(_LARGE):
                self._trait_values[name] = []


_ALIVE: weakref.WeakSet[Widget] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    """Let a caption that is being written end: no thread computes in a dying process."""
    left = [widget.leave() for widget in list(_ALIVE)]
    workers = {id(worker): worker for worker in left if worker is not None}
    for worker in workers.values():
        try:
            worker.submit(lambda: None).result(_PATIENCE)
        except Exception:  # noqa: BLE001  nobody is left to tell
            _LOG.debug("a worker did not end in time", exc_info=True)

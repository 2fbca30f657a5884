"""What every widget shares: its module, requests from the page, one worker, errors in words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anywidget

from ..core import CancelToken, bad_argument
from ._explain import explain
from ._kinds import flag_of
from .traits import READY, StatusTraits

__all__ = ["Call", "Widget", "bundle", "request"]

_STATIC = Path(__file__).resolve().parents[1] / "static"
_LARGE = ("words", "thumbnails", "object_masks", "tokens")
_NOT_BUILT = """export default {{ render({{ el }}) {{
  el.textContent = "mmkn_widgets was installed without its page modules ({name}.js is missing). "
    + "In a clone run `make`; else install a built wheel.";
}} }};
"""


def bundle(name: str) -> Path | str:
    """Return the built ES module of a widget, or a module that says how to build it."""
    path = _STATIC / f"{name}.js"
    return path if path.is_file() else _NOT_BUILT.format(name=name)


@dataclass
class Call:
    """One request from the page."""

    id: str
    name: str
    args: dict[str, Any]
    buffers: list[bytes]
    cancel: CancelToken = field(default_factory=CancelToken)


Answer = dict[str, Any] | tuple[dict[str, Any], Sequence[bytes]] | None
Handler = Callable[[Any, Call], Answer]


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
        method._answers = (name, worker, stage)  # type: ignore[attr-defined]
        return method

    return mark


class Widget(StatusTraits, anywidget.AnyWidget):
    """Base of all widgets of this package.

    Requests of the page are messages ``{kind: "request", id, name, args}`` with binary buffers.
    Each is answered once: ``{kind: "reply", id, ok, result | error, remedy}``; text that is being
    written comes before as ``{kind: "token", id, text}``. A newer request of the same name
    cancels the older.
    """

    _handlers: ClassVar[dict[str, tuple[str, bool, str]]] = {}
    _closed = True  # until it is made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found: dict[str, tuple[str, bool, str]] = {}
        for owner in reversed(cls.__mro__):
            for attribute, value in vars(owner).items():
                if answers := getattr(value, "_answers", None):
                    found[answers[0]] = (attribute, answers[1], answers[2])
        cls._handlers = found

    def __init__(self, **kwargs: Any) -> None:
        self._running: dict[str, CancelToken] = {}
        self._owed = 0
        self._closed = False
        self._own_layout = "layout" not in kwargs
        super().__init__(**kwargs)
        self.on_msg(self._receive)

    # -- the thread that works ---------------------------------------------------------------

    @property
    def _worker(self) -> Any:
        """The model's worker, or None: then work is done at once."""
        return None

    def _submit(self, job: Callable[[], Any]) -> Future[Any]:
        if self._worker is not None and not self._worker.is_current:
            return self._worker.submit(job)
        done: Future[Any] = Future()
        try:
            done.set_result(job())
        except BaseException as error:
            done.set_exception(error)
        return done

    def _later(self, job: Callable[[], Any]) -> None:
        """Do something on the worker after what it does now: nobody waits for it."""
        run = self._guarded(job)
        if self._worker is None:
            run()
            return
        self._owed += 1

        def pay() -> None:
            self._owed -= 1
            run()

        self._worker.submit(pay)

    def wait(self, timeout: float | None = 60.0) -> None:
        """Wait until everything asked for so far is done (for scripts and tests)."""
        if self._worker is None:
            return
        self._worker.submit(lambda: None).result(timeout)
        while self._owed:
            self._worker.submit(lambda: None).result(timeout)

    # -- requests ----------------------------------------------------------------------------

    def _receive(self, _widget: Any, content: Any, buffers: Sequence[Any] | None) -> None:
        if not isinstance(content, dict) or content.get("kind") != "request":
            return
        call = Call(
            str(content.get("id", "")),
            str(content.get("name", "")),
            dict(content.get("args") or {}),
            [bytes(b) for b in buffers or ()],
        )
        found = self._handlers.get(call.name)
        if found is None:
            wanted = "one of " + ", ".join(sorted(self._handlers))
            self._reply_error(call, bad_argument("request", call.name, wanted))
            return
        attribute, worker, stage = found
        answer = getattr(self, attribute)
        if not worker:
            self._answer(call, answer, "")
            return
        if earlier := self._running.get(call.name):
            earlier.cancel()
        self._running[call.name] = call.cancel
        self._submit(lambda: self._answer(call, answer, stage))

    def _answer(self, call: Call, answer: Callable[[Call], Answer], stage: str) -> None:
        try:
            call.cancel.raise_if_cancelled()
            if stage:
                self._working(stage, 0, 0)
            made = answer(call) or {}
            result, buffers = made if isinstance(made, tuple) else (made, ())
            reply = {"kind": "reply", "id": call.id, "ok": True, "result": result}
            self._to_page(reply, list(buffers))
        except BaseException as error:
            self._reply_error(call, error)
        finally:
            if self._running.get(call.name) is call.cancel:
                del self._running[call.name]
            if stage and self.status["state"] == "working":
                self.status = READY

    def _reply_error(self, call: Call, error: BaseException) -> None:
        message, remedy = explain(error)
        self._to_page(
            {"kind": "reply", "id": call.id, "ok": False, "error": message, "remedy": remedy}, []
        )

    def _stream(self, call: Call, piece: str) -> None:
        self._to_page({"kind": "token", "id": call.id, "text": piece}, [])

    def _to_page(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if not self._closed:
            self.send(content, buffers)

    # -- status ------------------------------------------------------------------------------

    def _working(self, stage: str, done: int, total: int, started: float | None = None) -> None:
        left = None
        if started is not None and 0 < done < total:
            left = (time.monotonic() - started) / done * (total - done)
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
        started, shown, current = time.monotonic(), 0.0, ""

        def show(stage: str, done: int, total: int) -> None:
            nonlocal started, shown, current
            now = time.monotonic()
            if stage != current:
                started, shown, current = now, 0.0, stage
            if now - shown < 0.1 and done < total:
                return
            shown = now
            self._working(stage, done, total, started)

        return show

    def _guarded(self, job: Callable[[], Any]) -> Callable[[], None]:
        """Return the job with its failure shown in the widget instead of lost in a thread."""

        def run() -> None:
            try:
                if not self._closed:
                    job()
            except BaseException as error:
                message, remedy = explain(error)
                self.status = {**READY, "state": "error", "message": message, "remedy": remedy}

        return run

    @request("hello", worker=False)
    def _ask_hello(self, call: Call) -> Answer:
        return {}

    @request("cancel", worker=False)
    def _ask_cancel(self, call: Call) -> Answer:
        for token in list(self._running.values()):
            token.cancel()
        return {}

    def saved_traits(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return what another value of a trait brings to a page without a kernel."""
        return {}

    def save_html(self, path: str | Path) -> Path:
        """Write one offline page: thresholds, overlays, tables and captions stay alive in it."""
        from ._html import offline_page

        target = Path(path)
        target.write_text(offline_page(self), encoding="utf-8")
        return target

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from ._fallback import with_fallback

        return with_fallback(self, super()._repr_mimebundle_(**kwargs))

    def __del__(self) -> None:
        if not sys.is_finalizing():
            super().__del__()

    def close(self) -> None:
        """Cancel what runs, tell the page, and free the memory."""
        if self._closed:
            return
        for token in list(self._running.values()):
            token.cancel()
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

"""The one owner of everything that is changed in a model, and the only one that undoes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from .._errors import bad_argument
from .base import ActivationIntervention, Intervention, WeightIntervention, change
from .events import Observers, StackEvent
from .frames import Entry, Frame
from .hooks import Hooks
from .running import Run, Running
from .scopes import Suspension, innermost
from .shield import Deferred, finish
from .weights import WeightKeeper

__all__ = ["InterventionStack"]


class InterventionStack:
    """What is changed in a model, in the order in which it acts.

    `model.interventions` is the one stack of a model. It holds one forward pre-hook per touched
    FFN site (first in line, so that recorders see what the layer gets), and none when nothing is
    active; changed weights come back from kept originals. All changes are model-wide: every
    thread and every view sees them. Only what is pushed inside `suspended` stays in that scope.

    A change waits for the forward or generation that is under way in another thread, so that none
    is changed half-way.

    Parameters
    ----------
    model : MultimodalModel
        Gives `sites`, `hf`, `lock`, `w_out` and `tokenizer`.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> with model.ablate({4: [1, 2, 3]}):
    ...     len(model.interventions.active)
    1
    >>> model.interventions
    <InterventionStack: nothing active>
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._lock = model.lock
        self._base = Frame(self)
        self._frames: list[Frame] = [self._base]
        self._keeper = WeightKeeper(model)
        self._has_weights = False
        self._observers = Observers()
        self._run = Run(model)
        self._hooks = Hooks(model, self._before_forward, self._run.end, self._changed)

    def _frame(self) -> Frame:
        return innermost(self, self._base)

    @property
    def active(self) -> tuple[Intervention, ...]:
        """The interventions in force here, first applied first."""
        return self._frame().active

    def __len__(self) -> int:
        return len(self.active)

    def __bool__(self) -> bool:
        return True  # an empty stack is still a stack

    def __iter__(self) -> Iterator[Intervention]:
        return iter(self.active)

    def __repr__(self) -> str:
        active = self.active
        if not active:
            return "<InterventionStack: nothing active>"
        lines = "\n".join(f"  {number}. {item!r}" for number, item in enumerate(active, 1))
        return f"<InterventionStack: {len(active)} active>\n{lines}"

    def push(self, intervention: Intervention) -> Intervention:
        """Make an intervention active until it is popped, undone or cleared; return it.

        Raises
        ------
        BadArgument
            If it is no intervention, or one of another model.
        """
        self.check(intervention)
        frame = self._frame()
        self._add(Entry(intervention, frame, scoped=False))
        return intervention

    def pop(self, intervention: Intervention | None = None) -> Intervention:
        """Take back the last intervention, or the given one wherever it stands.

        Raises
        ------
        BadArgument
            If nothing is active, or the given one is not.
        """
        gone: list[Intervention] = []

        def change(frame: Frame) -> bool:
            entries = [e for e in frame.entries if e.alive]
            if intervention is not None:
                entries = [e for e in entries if e.intervention is intervention]
            if not entries:
                raise bad_argument("intervention", intervention, f"an active one of {self!r}")
            gone.append(entries[-1].intervention)
            frame.change(tuple(e for e in frame.entries if e is not entries[-1]))
            return True

        self._change("pop", change, gone)
        return gone[0]

    def clear(self) -> None:
        """Take back everything; `undo` brings it back."""

        def change(frame: Frame) -> bool:
            if frame.entries:
                frame.change(())
                return True
            return False

        self._change("clear", change)

    def undo(self) -> bool:
        """Take back the last push, pop or clear; return whether there was one.

        What a ``with`` block holds is not undone by this: its block ends it.
        """
        return self._change("undo", Frame.undo)

    def redo(self) -> bool:
        """Do again what `undo` took back; return whether there was something."""
        return self._change("redo", Frame.redo)

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would find something."""
        return bool(self._frame().past)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would find something."""
        return bool(self._frame().future)

    def entry(self, intervention: Intervention) -> Entry:
        """Return an entry for a ``with`` block of the current scope, for `enter` and `leave`."""
        self.check(intervention)
        return Entry(intervention, self._frame(), scoped=True)

    def enter(self, entry: Entry) -> None:
        """Make an entry active; `leave` ends exactly this one."""
        self._add(entry)

    def leave(self, entry: Entry) -> None:
        """End an entry, in any order, from any thread; again is harmless."""
        if not entry.alive:
            return

        def gone() -> None:
            with self._lock:
                entry.alive = False
                self._settle()

        try:
            finish(gone)
        finally:
            self._tell("exit", entry.frame, entry.intervention)

    def check(self, intervention: Intervention) -> None:
        """Raise `BadArgument` unless this is an intervention made for this model."""
        if not isinstance(intervention, Intervention):
            raise bad_argument("intervention", intervention, "an Intervention, such as ablate(...)")
        if intervention.model is not self.model:
            raise bad_argument("intervention", intervention, f"one made for {self.model!r}")

    def _add(self, entry: Entry) -> None:
        frame = entry.frame
        with self._lock:
            before = frame.state()
            try:
                with Deferred():
                    if frame not in self._frames:
                        self._frames.append(frame)
                    if entry.scoped:
                        frame.entries = (*frame.entries, entry)
                    else:
                        frame.change((*frame.entries, entry))
                    self._settle()
            except BaseException:
                entry.alive = False
                frame.restore(before)
                finish(self._settle_locked)
                raise
        self._tell("enter" if entry.scoped else "push", frame, entry.intervention)

    def suspended(self) -> Suspension:
        """Return a context manager in which nothing is active: a clean inner scope.

        Only the calling thread (or asynchronous task) is in it. What is pushed inside acts inside
        only and is gone at its end: the place for "before" captions and random controls.
        """
        return Suspension(self)

    def inner(self) -> Suspension:
        """Return an inner scope like `suspended` that begins with what is active."""
        return Suspension(self, keep=True)

    def inherit(self, frame: Frame) -> None:
        """Let a new scope begin with what is active here."""
        with self._lock:
            frame.entries = self._frame().entries
            self._frames.append(frame)

    def observe(self, callback: Callable[[StackEvent], None]) -> Callable[[], None]:
        """Call ``callback(StackEvent)`` after every model-wide change; return what stops it.

        It runs in the thread that made the change; if it fails, that costs a warning only.
        """
        return self._observers.add(callback)

    def running(self, prompt_length: Sequence[int] | None = None) -> Running:
        """Return a context manager around one forward or generate that knows the prompts' lengths.

        Otherwise the tokens of a run's first forward are the prompt, teacher-forced ones too.
        """
        return Running(self._run, prompt_length)

    def settle(self) -> None:
        """Bring hooks and weights into line with what is active; again is harmless."""
        if len(self._frames) > 1 or self._has_weights:
            finish(self._settle_locked)

    def _change(
        self, action: str, change: Callable[[Frame], bool], about: Sequence[Intervention] = ()
    ) -> bool:
        """Change the current frame whole or not at all, then tell."""
        changed, frame = False, self._frame()
        try:
            with self._lock, Deferred():
                changed = change(frame)
                self._settle()
        finally:
            if changed:
                self._tell(action, frame, about[0] if about else None)
        return changed

    def _tell(self, action: str, frame: Frame, intervention: Intervention | None) -> None:
        if frame is self._base:
            self._observers.tell(StackEvent(action, intervention, frame.active))

    def _settle_locked(self) -> None:
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        """Bring hooks and weights into line with the frames; the lock is held."""
        self._frames = [frame for frame in self._frames if frame.alive]
        rows: set[int] = set()
        weights = False
        for frame in self._frames:
            frame.sweep()
            for intervention in frame.active:
                if intervention.on_weights:
                    weights = True
                else:
                    rows.update(intervention.rows)
        self._has_weights = weights
        self._hooks.set(rows, whole=bool(rows) or weights)
        if weights:
            self.realise()
        else:
            self._keeper.forget()

    def realise(self) -> None:
        """Make the weights those of the calling thread's scope, as every forward does first."""
        if self._has_weights:
            with self._lock:
                self._keeper.realise([i for i in self.active if isinstance(i, WeightIntervention)])

    def original_columns(self, row: int, index: Any) -> Tensor:
        """Return columns (hidden, neuron) of a site's W_out without any intervention, a copy."""
        with self._lock:
            return self._keeper.original(row, index)

    def _before_forward(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.realise()
        self._run.begin(module, args, kwargs)

    def _changed(self, row: int, given: Tensor) -> Tensor:
        acting = [i for i in self.active if isinstance(i, ActivationIntervention)]
        return change(acting, row, given, self._run.where)

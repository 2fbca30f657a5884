"""The one owner of everything that is changed in a model, and the only one that undoes it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from ..core import (
    Deferred,
    NotSupported,
    bad_argument,
    describe_layers,
    ending,
    finish,
    html_card,
    html_table,
    sure,
)
from ..models import UNCOMPILED
from .base import ActivationIntervention, Intervention, WeightIntervention, change
from .weights import WeightKeeper
from .where import Run

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = [
    "Entry",
    "Frame",
    "Hooks",
    "InterventionStack",
    "Observers",
    "StackEvent",
    "Standby",
    "innermost",
]


@dataclass(frozen=True)
class StackEvent:
    """A change of a model's stack.

    Attributes
    ----------
    action : str
        One of ``"push"``, ``"replace"``, ``"pop"``, ``"forget"``, ``"undo"``, ``"redo"``,
        ``"clear"``, ``"enter"``, ``"exit"`` (the last two by a ``with`` block).
    intervention : Intervention or None
        The one pushed, popped, entered or left, or that took another's place.
    active : tuple of Intervention
        What is active after the change.
    owner : object
        Whose entries were pushed, replaced, popped or forgotten; None for the user's, and for
        what concerns everyone's.
    """

    action: str
    intervention: Intervention | None
    active: tuple[Intervention, ...]
    owner: object = None


class Standby(Intervention):
    """A change that waits: it stands in the history, and its owner makes it act where it belongs.

    For what concerns one picture and not the model, such as a transplant into one caption. It
    touches no neuron by itself and is never among the stack's `active`.
    """

    kind = "standby"

    def __init__(
        self, model: MultimodalModel, *, name: str, provenance: dict[str, Any] | None = None
    ) -> None:
        super().__init__(model, {}, name=name, provenance=provenance)


class Observers:
    """Functions to call after a change, in the order in which they were added."""

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[StackEvent], None], ...] = ()

    def add(self, callback: Callable[[StackEvent], None]) -> Callable[[], None]:
        """Add a function; return one that removes it (once; again is harmless)."""
        marker = _Observer(callback)
        self._callbacks = (*self._callbacks, marker)

        def remove() -> None:
            self._callbacks = tuple(c for c in self._callbacks if c is not marker)

        return remove

    def tell(self, event: StackEvent) -> None:
        """Call everyone; one that fails costs a warning and nothing else."""
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001  an observer may raise anything; it is told
                warnings.warn(
                    f"an observer of the intervention stack failed on {event.action!r}: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )


class _Observer:
    """One subscription, so that the same function can be added twice and removed once."""

    def __init__(self, callback: Callable[[StackEvent], None]) -> None:
        self._callback = callback

    def __call__(self, event: StackEvent) -> None:
        self._callback(event)


_clock = count(1)


class Entry:
    """One time that an intervention was pushed or entered; the same may be in a frame twice.

    Attributes
    ----------
    alive : bool
        False once its ``with`` block has ended: it does nothing any more and never comes back.
    scoped : bool
        Whether a ``with`` block owns it, and so the history does not.
    born : int
        When it was made, on the clock of the history.
    owner : object
        Who made it and takes it back, by identity; None is the user.
    """

    __slots__ = ("alive", "born", "frame", "intervention", "owner", "scoped")

    def __init__(
        self, intervention: Intervention, frame: Frame, scoped: bool, owner: object = None
    ) -> None:
        self.intervention = intervention
        self.frame = frame
        self.scoped = scoped
        self.owner = owner
        self.alive = True
        self.born = next(_clock)


_Entries = tuple[Entry, ...]
_Steps = list[tuple[int, _Entries]]
_State = tuple[_Entries, _Steps, _Steps]

#: steps that can be undone; what lies further back is forgotten
HISTORY = 200


class Frame:
    """An ordered list of entries; `entries` is replaced, never changed, so readers need no lock."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.alive = True
        self.entries: _Entries = ()
        self.past: _Steps = []
        self.future: _Steps = []
        self._by_row: tuple[_Entries, dict[int, _Entries]] = ((), {})

    def acting(self, row: int) -> list[ActivationIntervention]:
        """The interventions in force that touch a site, first applied first."""
        held, by_row = self._by_row
        if held is not self.entries:
            held, by_row = self._by_row = (self.entries, {})
        if row not in by_row:
            by_row[row] = tuple(
                entry
                for entry in held
                if isinstance(entry.intervention, ActivationIntervention)
                and row in entry.intervention.rows
            )
        return [cast(ActivationIntervention, one.intervention) for one in by_row[row] if one.alive]

    @property
    def active(self) -> tuple[Intervention, ...]:
        """The interventions in force, first applied first."""
        return tuple(
            entry.intervention
            for entry in self.entries
            if entry.alive and not isinstance(entry.intervention, Standby)
        )

    def change(self, entries: _Entries) -> None:
        """Set the entries by a push, pop or clear that can be undone."""
        self.past.append((next(_clock), self.entries))
        del self.past[:-HISTORY]
        self.future.clear()
        self.entries = entries

    def forget(self, owner: object) -> bool:
        """End every entry of an owner, now and in the history; return whether there was one."""
        mine = {
            entry
            for entries in (self.entries, *(e for _, e in (*self.past, *self.future)))
            for entry in entries
            if entry.owner is owner
        }
        for entry in mine:
            entry.alive = False
        self.sweep()
        self.past = self._that_differ(self.past)
        self.future = self._that_differ(self.future)
        return bool(mine)

    def _that_differ(self, steps: _Steps) -> _Steps:
        """Leave out steps that have become none, seen from here."""
        kept: _Steps = []
        last = self.entries
        for when, entries in reversed(steps):
            now = tuple(entry for entry in entries if entry.alive)
            if now != last:
                kept.append((when, now))
            last = now
        return kept[::-1]

    def undo(self) -> bool:
        """Go back one change; return whether there was one."""
        return self._travel(self.past, self.future)

    def redo(self) -> bool:
        """Go forward one change; return whether there was one."""
        return self._travel(self.future, self.past)

    def _travel(self, source: _Steps, target: _Steps) -> bool:
        if not source:
            return False
        when, wanted = source.pop()
        target.append((next(_clock), self.entries))
        # blocks entered since then keep what they hold
        since = tuple(e for e in self.entries if e.scoped and e.born > when)
        self.entries = tuple(e for e in (*wanted, *since) if e.alive)
        return True

    def sweep(self) -> None:
        """Let go of entries whose block has ended."""
        if not all(entry.alive for entry in self.entries):
            self.entries = tuple(entry for entry in self.entries if entry.alive)

    def state(self) -> _State:
        """Return what `restore` needs to take back a change that failed."""
        return self.entries, list(self.past), list(self.future)

    def restore(self, state: _State) -> None:
        """Be again as when `state` was called."""
        self.entries, self.past, self.future = state


class Hooks:
    """Registers and removes; what the hooks do is given.

    Parameters
    ----------
    model : MultimodalModel
        Gives `sites` and `hf`.
    before_forward : callable
        ``(module, args, kwargs)`` before every forward of the whole model.
    after_forward : callable
        ``()`` after it.
    change : callable
        ``(row, activation) -> activation`` before a site's down projection.
    """

    def __init__(
        self,
        model: MultimodalModel,
        before_forward: Callable[[Any, tuple[Any, ...], dict[str, Any]], None],
        after_forward: Callable[[], None],
        change: Callable[[int, Tensor], Tensor],
    ) -> None:
        self._model = model
        self._before_forward = before_forward
        self._after_forward = after_forward
        self._change = change
        self._sites: dict[int, Any] = {}
        self._whole: list[Any] = []

    def set(self, rows: set[int], whole: bool) -> None:
        """Have hooks at exactly these site rows, and on the whole model or not.

        While there are any, compiled code runs as it is written: it would pass over them. One that
        fails to go keeps no other; its error is raised when all are gone.
        """
        failed: list[Exception] = []
        for row in [row for row in self._sites if row not in rows]:
            failed += _removed(self._sites[row])
            del self._sites[row]
        if not whole:
            for handle in self._whole:
                failed += _removed(handle)
            self._whole.clear()
        if not (rows or whole):
            UNCOMPILED.leave(self)
        if failed:
            raise failed[0]
        if rows or whole:
            UNCOMPILED.enter(self)
        for row in sorted(rows.difference(self._sites)):
            self._sites[row] = self._at_site(row)
        if whole and not self._whole:
            self._on_model()

    def _at_site(self, row: int) -> Any:
        def before_down_projection(activation: Tensor) -> Tensor | None:
            changed = self._change(row, activation)
            return None if changed is activation else changed

        return self._model.sites[row].hook(before_down_projection, prepend=True)

    def _on_model(self) -> None:
        def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._before_forward(module, args, kwargs)

        def after(*_: Any) -> None:
            self._after_forward()

        hf = self._model.hf
        self._whole.append(hf.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
        self._whole.append(hf.register_forward_hook(after, always_call=True))


def _removed(handle: Any) -> list[Exception]:
    try:
        handle.remove()
    except Exception as error:  # noqa: BLE001 - raised when the others have gone too
        return [error]
    return []


#: The inner scopes of the current thread or task, outermost first (of all models).
_SCOPES: ContextVar[tuple[Frame, ...]] = ContextVar("mmkn_intervention_scopes", default=())


def innermost(owner: object, otherwise: Frame) -> Frame:
    """Return the innermost scope of a stack that the caller is in."""
    for frame in reversed(_SCOPES.get()):
        if frame.owner is owner and frame.alive:
            return frame
    return otherwise


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

    def __init__(self, model: MultimodalModel) -> None:
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

    def _repr_html_(self) -> str:
        active = self.active
        rows = [
            (
                *(f"{number}.", item.kind, item.name, item.n_neurons),
                *(describe_layers(self.model, item.rows), item.how),
            )
            for number, item in enumerate(active, 1)
        ]
        listed = html_table(["", "kind", "name", "neurons", "where", "how"], rows) if rows else ""
        about = f"{len(active)} active on {self.model.name}" if active else "nothing active"
        return html_card("Interventions", (), listed, about=about)

    def of(self, owner: object) -> tuple[Intervention, ...]:
        """Return what an owner has on the stack here, `Standby` included."""
        return tuple(e.intervention for e in self._frame().entries if e.alive and e.owner is owner)

    @property
    def entries(self) -> tuple[tuple[Intervention, object], ...]:
        """What stands on the stack here with its owner (None: the user), `Standby` included."""
        return tuple((e.intervention, e.owner) for e in self._frame().entries if e.alive)

    def push(self, intervention: Intervention, *, owner: object = None) -> Intervention:
        """Make an intervention active until it is popped, undone or cleared; return it.

        Parameters
        ----------
        intervention : Intervention
        owner : object, optional
            Whose it is, for `replace`, `forget` and `of`; by default the user's.

        Raises
        ------
        BadArgument
            If it is no intervention, or one of another model.
        """
        self.check(intervention)
        frame = self._frame()
        self._add(Entry(intervention, frame, scoped=False, owner=owner))
        return intervention

    def replace(self, owner: object, intervention: Intervention | None) -> bool:
        """Put an intervention in the place of all that an owner has; return whether it changed.

        One step of the history: `undo` brings back what was there.

        Parameters
        ----------
        owner : object
            Not None: the user's interventions are pushed and popped one by one.
        intervention : Intervention or None
            None takes back what is there.

        Raises
        ------
        BadArgument
            If it is no intervention, or one of another model.

        Examples
        --------
        >>> model = mmkn.load_model("pocket")
        >>> stack, mine = model.interventions, object()
        >>> stack.replace(mine, model.ablate({4: [1, 2]})), len(stack)
        (True, 1)
        >>> stack.replace(mine, model.ablate({4: [3]})), stack.active[0].n_neurons
        (True, 1)
        >>> stack.undo(), stack.active[0].n_neurons
        (True, 2)
        >>> stack.forget(mine), len(stack), stack.can_redo
        (True, 0, False)
        """
        if owner is None:
            raise bad_argument("owner", None, "an object that says whose the entries are")
        if intervention is not None:
            self.check(intervention)

        def change(frame: Frame) -> bool:
            others = tuple(e for e in frame.entries if e.owner is not owner)
            if intervention is None and len(others) == len(frame.entries):
                return False
            mine: _Entries = ()
            if intervention is not None:
                mine = (Entry(intervention, frame, scoped=False, owner=owner),)
            frame.change((*others, *mine))
            return True

        return self._change("replace", change, lambda: (intervention, owner))

    def forget(self, owner: object) -> bool:
        """Take back all that an owner has, for good: neither undo nor redo brings it back.

        Returns
        -------
        bool
            Whether there was something, on the stack or in its history.
        """
        if owner is None:
            raise bad_argument("owner", None, "an object that says whose the entries are")
        found: list[bool] = []

        def gone() -> None:
            with self._lock:
                found.extend(frame.forget(owner) for frame in self._frames)
                self._settle()

        try:
            finish(gone)
        finally:
            if any(found):
                self._tell("forget", self._base, None, owner)
        return any(found)

    def pop(self, intervention: Intervention | None = None) -> Intervention:
        """Take back the last active intervention, or the given one wherever it stands.

        Raises
        ------
        BadArgument
            If nothing is active, or the given one is not.
        """
        gone: list[Entry] = []

        def change(frame: Frame) -> bool:
            entries = [e for e in frame.entries if e.alive]
            if intervention is not None:
                entries = [e for e in entries if e.intervention is intervention]
            else:
                entries = [e for e in entries if not isinstance(e.intervention, Standby)]
            if not entries:
                raise bad_argument("intervention", intervention, f"an active one of {self!r}")
            gone.append(entries[-1])
            frame.change(tuple(e for e in frame.entries if e is not entries[-1]))
            return True

        self._change("pop", change, lambda: (gone[0].intervention, gone[0].owner))
        return gone[0].intervention

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

    @property
    def steps(self) -> tuple[int, int, int]:
        """How many steps `undo` and `redo` would find, and when the last was made.

        The third is on the clock of the history, 0 where nothing was: it tells a new step from an
        old one where the history is full.
        """
        frame = self._frame()
        last = max((when for when, _ in (*frame.past[-1:], *frame.future[-1:])), default=0)
        return len(frame.past), len(frame.future), last

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
        self._tell("enter" if entry.scoped else "push", frame, entry.intervention, entry.owner)

    def suspended(self) -> AbstractContextManager[InterventionStack]:
        """Return a context manager in which nothing is active: a clean inner scope.

        Only the calling thread (or asynchronous task) is in it. What is pushed inside acts inside
        only and is gone at its end: the place for "before" captions and random controls.
        """
        return self._scope(keep=False)

    def inner(self) -> AbstractContextManager[InterventionStack]:
        """Return an inner scope like `suspended` that begins with what is active."""
        return self._scope(keep=True)

    @sure
    def _scope(self, *, keep: bool) -> Iterator[InterventionStack]:
        frame = Frame(self)

        def end() -> None:
            frame.alive = False
            _SCOPES.set(tuple(f for f in _SCOPES.get() if f.alive))
            self.settle()

        with ending(end):
            if keep:
                self.inherit(frame)
            _SCOPES.set((*_SCOPES.get(), frame))
            self.realise()
            yield self

    @sure
    def lifted(self) -> Iterator[None]:
        """Have no hook on the model for the length of a block, as when it is copied.

        Raises
        ------
        NotSupported
            While weights are changed.
        """
        with self._lock:
            if self._has_weights:
                raise NotSupported(
                    f"copy: weights of {self.model.name} are changed by an intervention; take it "
                    "back first (leave its with block, or model.interventions.clear())"
                )
            with ending(self._settle_locked):
                self._hooks.set(set(), whole=False)
                yield

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

    @sure
    def running(self, prompt_length: Sequence[int] | None = None) -> Iterator[None]:
        """Return a context manager around one forward or generate that knows the prompts' lengths.

        Otherwise the tokens of a run's first forward are the prompt, teacher-forced ones too.

        Parameters
        ----------
        prompt_length : sequence of int, optional
            Tokens of each prompt, padding not counted.
        """
        run, outer = self._run, self._run.prompt_length

        def again() -> None:
            run.prompt_length = outer
            run.forget()

        with ending(again):
            run.prompt_length = prompt_length
            yield

    def settle(self) -> None:
        """Bring hooks and weights into line with what is active; again is harmless."""
        if len(self._frames) > 1 or self._has_weights:
            finish(self._settle_locked)

    def _change(
        self,
        action: str,
        change: Callable[[Frame], bool],
        about: Callable[[], tuple[Intervention | None, object]] = lambda: (None, None),
    ) -> bool:
        """Change the current frame whole or not at all, then tell."""
        changed, frame = False, self._frame()
        try:
            with self._lock:
                before = frame.state()
                try:
                    with Deferred():
                        changed = change(frame)
                        self._settle()
                except Exception:
                    changed = False
                    frame.restore(before)
                    finish(self._settle_locked)
                    raise
        finally:
            if changed:
                self._tell(action, frame, *about())
        return changed

    def _tell(
        self, action: str, frame: Frame, intervention: Intervention | None, owner: object = None
    ) -> None:
        if frame is self._base:
            self._observers.tell(StackEvent(action, intervention, frame.active, owner))

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
        try:
            self._hooks.set(rows, whole=bool(rows) or weights)
        finally:  # the weights come back although a hook fails to go
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
        acting = self._frame().acting(row)
        return change(acting, row, given, self._run.where) if acting else given

"""A list of active interventions with its history: the model-wide one, or an inner scope's."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Intervention

__all__ = ["Entry", "Frame"]

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
    """

    __slots__ = ("alive", "born", "frame", "intervention", "scoped")

    def __init__(self, intervention: Intervention, frame: Frame, scoped: bool) -> None:
        self.intervention = intervention
        self.frame = frame
        self.scoped = scoped
        self.alive = True
        self.born = next(_clock)


_Entries = tuple[Entry, ...]
_State = tuple[_Entries, list[tuple[int, _Entries]], list[tuple[int, _Entries]]]


class Frame:
    """An ordered list of entries; `entries` is replaced, never changed, so readers need no lock."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.alive = True
        self.entries: _Entries = ()
        self.past: list[tuple[int, _Entries]] = []
        self.future: list[tuple[int, _Entries]] = []

    @property
    def active(self) -> tuple[Intervention, ...]:
        """The interventions in force, first applied first."""
        return tuple(entry.intervention for entry in self.entries if entry.alive)

    def change(self, entries: _Entries) -> None:
        """Set the entries by a push, pop or clear that can be undone."""
        self.past.append((next(_clock), self.entries))
        self.future.clear()
        self.entries = entries

    def undo(self) -> bool:
        """Go back one change; return whether there was one."""
        return self._travel(self.past, self.future)

    def redo(self) -> bool:
        """Go forward one change; return whether there was one."""
        return self._travel(self.future, self.past)

    def _travel(
        self, source: list[tuple[int, _Entries]], target: list[tuple[int, _Entries]]
    ) -> bool:
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

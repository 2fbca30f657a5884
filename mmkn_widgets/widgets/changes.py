"""What a widget does to the model, on the model's own stack; and how it follows what others do."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import traitlets as t

from ..core import MmknError, NeuronIndex, NeuronSet, bad_argument
from ..interventions import Ablation, Standby
from ._base import Answer, Call, Widget, request
from .code import Recipe, acting_code
from .traits import NOTHING_ACTIVE, ActiveTraits, late_traits

if TYPE_CHECKING:
    from ..interventions import Intervention, InterventionStack, StackEvent
    from .protocols import ModelLike, StudyLike

__all__ = ["Changes", "Chosen", "Following", "Move", "Owner", "measured"]


class Owner:
    """Whose an entry of the stack is; holds nothing, so that the stack holds no widget."""

    __slots__ = ()


class Move(Standby):
    """A part of one scene's picture, put where a word of its caption is predicted.

    It belongs to that picture alone: it waits in the history of the stack, and acts while that
    picture's caption is written.
    """

    kind = "transplant"

    def __init__(
        self,
        model: Any,  # a stand-in may be shown too, and the stack asks for the real one
        scene: int,
        index: int,
        mask: np.ndarray,
        *,
        object: str = "",
        cells: Sequence[int] = (),
        word: str = "",
    ) -> None:
        self.scene, self.index, self.mask = scene, index, mask
        self.object, self.cells = object, tuple(cells)
        self.what = object or f"{len(self.cells)} patch" + ("es" if len(self.cells) != 1 else "")
        super().__init__(model, name=f"{self.what} → “{word}”, scene {scene + 1} only")


@dataclass
class Chosen:
    """The neurons of a click.

    Attributes
    ----------
    neurons : NeuronSet
    recipe : Recipe
        How code gives them again.
    before, after : str
        What they are called: "37 car neurons ablated", "37 neurons ablated: own of car".
    """

    neurons: NeuronSet
    recipe: Recipe
    before: str = ""
    after: str = ""

    def label(self, mode: str, scale: float) -> str:
        """Return what an ablation of them is called."""
        how = {"zero": "ablated", "scale": f"scaled by {scale:g}"}.get(mode, f"set to {mode}")
        n = len(self.neurons)
        words = [str(n), self.before, "neuron" if n == 1 else "neurons", how]
        return " ".join(filter(None, words)) + (f": {self.after}" if self.after else "")


class ChangingView(Protocol):
    """What `Changes` asks of its widget."""

    def chosen(self, call: Call) -> Chosen:
        """Return the neurons that a click means."""

    def reference(self, mode: str) -> tuple[Any, str]:
        """Return what "mean" or "from_inpainted" needs, and the Python for it."""

    def rewrite(self, call: Call | None) -> Answer:
        """Show what is active now, and what it does."""


class Changes:
    """One own change at a time on the model's stack: ablate, transplant, restore, undo, redo.

    The stack's history is the only one: undo takes back the last change of the model, whoever
    made it, and `close` all that this widget made, whatever came after.

    Parameters
    ----------
    view : ChangingView
    model : ModelLike
    """

    def __init__(self, view: Any, model: ModelLike) -> None:
        self.view: ChangingView = view
        self.model = model
        self.stack: InterventionStack = model.interventions
        self.owner = Owner()
        self._recipes: weakref.WeakKeyDictionary[Any, Recipe] = weakref.WeakKeyDictionary()

    @property
    def now(self) -> Ablation | Move | None:
        """The own change, while it is in force."""
        for made in self.stack.of(self.owner):
            if isinstance(made, Ablation | Move):
                return made
        return None

    def neurons_of(self, made: Ablation) -> NeuronSet:
        """Return the neurons of an ablation, by row and number."""
        index = NeuronIndex.of(self.model)
        return index.neurons(index.join(*rows_of(made)))

    def by(self) -> Any:
        """Return a context in which a change of the stack is this widget's own doing."""
        return Views.of(self.stack).by(self.view)

    # -- changes -----------------------------------------------------------------------------

    def ablate(self, chosen: Chosen, mode: str, scale: float) -> None:
        """Put an ablation in the place of the own change, as one step."""
        if not len(chosen.neurons):
            raise bad_argument("neurons", "no neuron", "at least one: lower a threshold")
        options: dict[str, Any] = {"name": chosen.label(mode, scale)}
        if mode == "scale":
            options["scale"] = scale
        elif mode in ("mean", "from_inpainted"):
            options["reference"], chosen.recipe.reference = self.view.reference(mode)
        made = self.model.ablate(chosen.neurons, mode, **options)
        self._recipes[made] = chosen.recipe
        with self.by():
            self.stack.replace(self.owner, made)

    def put(self, move: Move) -> None:
        """Put a transplant in the place of the own change, as one step."""
        with self.by():
            self.stack.replace(self.owner, move)

    def restore(self) -> None:
        """Take back everything that is active on the model, whoever made it."""
        with self.by():
            self.stack.clear()

    def forget(self) -> None:
        """Take back the own change, for good."""
        with self.by():
            self.stack.forget(self.owner)

    @contextmanager
    def without_own(self) -> Iterator[None]:
        """Return an inner scope in which the own change does not act."""
        with self.stack.inner():
            self.stack.replace(self.owner, None)
            yield

    # -- what the page asks ------------------------------------------------------------------

    @request("ablate", stage="writing the caption")
    def ask_ablate(self, call: Call) -> Answer:
        """Ablate what the page has chosen."""
        mode, scale = call.text("mode", "zero"), call.number("scale")
        self.ablate(self.view.chosen(call), mode, scale)
        return self.view.rewrite(call)

    @request("restore", stage="writing the caption")
    def ask_restore(self, call: Call) -> Answer:
        """Take back everything."""
        self.restore()
        return self.view.rewrite(call)

    @request("undo", stage="writing the caption")
    def ask_undo(self, call: Call) -> Answer:
        """Take back the last change of the model."""
        with self.by():
            self.stack.undo()
        return self.view.rewrite(call)

    @request("redo", stage="writing the caption")
    def ask_redo(self, call: Call) -> Answer:
        """Do it again."""
        with self.by():
            self.stack.redo()
        return self.view.rewrite(call)

    # -- what is shown -----------------------------------------------------------------------

    def state(self, inside: Callable[[], list[str]], model: str = "study.model") -> dict[str, Any]:
        """Return the trait `ablation`: what is active, whoever made it; nothing measured yet.

        Parameters
        ----------
        inside : callable
            Gives the lines that code writes with what is active, such as the caption.
        model : str
            The model's name in that code.
        """
        active: list[dict[str, Any]] = []
        remade: list[tuple[Intervention, Recipe | None]] = []
        waiting = False
        for made, owner in self.stack.entries:
            own = owner is self.owner
            if isinstance(made, Standby) and not own:
                continue
            waiting = waiting or isinstance(made, Move)
            active.append(
                {
                    "label": str(made.name),
                    "count": int(made.n_neurons),
                    "mode": str(made.kind),
                    "own": own,
                }
            )
            if not isinstance(made, Standby):
                remade.append((made, self._recipes.get(made)))
        code = acting_code(remade, inside(), model) if remade or waiting else ""
        return {
            **NOTHING_ACTIVE,
            "active": active,
            "can_undo": self.stack.can_undo,
            "can_redo": self.stack.can_redo,
            "steps": list(self.stack.steps),
            "code": code,
        }


def measured(study: StudyLike, now: Ablation | Move | None, scene: int) -> dict[str, Any]:
    """Measure what is active on a scene, beside what gradients predict.

    Parameters
    ----------
    study : StudyLike
    now : Ablation, Move or None
        The own change; zeroed or scaled neurons have a prediction.
    scene : int

    Returns
    -------
    dict
        ``measured``: change of y at the predicting position of the scene (teacher-forced), with
        everything that is active; ``predicted_here``: on the same scene, from the gradient three
        quarters on the way to the ablation; ``predicted``: to first order, mean over the study's
        scenes, which says little where the model is sure of the word; ``unit`` of all three;
        ``why`` nothing could be measured.
    """
    if not study.model.interventions.active:
        return {}
    found: dict[str, Any] = {}
    rows, indices, scale = np.zeros(0, int), np.zeros(0, int), 0.0
    if isinstance(now, Ablation) and now.mode in ("zero", "scale"):
        rows, indices = rows_of(now)
        scale = now.scale if now.mode == "scale" else 0.0
        if "gradient_sum" in study.evidence:
            index = NeuronIndex.of(study.model)
            neurons = index.neurons(index.join(rows, indices))
            found["predicted"] = finite(study.predicted_change(neurons, scale))
    try:
        change = study.measured_change(scene, rows, indices, scale)
    except MmknError as error:
        return {**found, "why": str(error)}
    here = None if change.predicted is None else finite(change.predicted)
    found |= {"measured": finite(change.measured), "predicted_here": here, "unit": change.unit}
    if found["measured"] is None:
        found["why"] = "the score is no finite number with what is active"
    return found


def rows_of(made: Intervention) -> tuple[np.ndarray, np.ndarray]:
    """Return row and index of every neuron that an intervention touches."""
    rows = [np.full(len(at), row, np.int64) for row, at in made.rows.items()]
    none = [np.zeros(0, np.int64)]
    return np.concatenate(rows or none), np.concatenate(list(made.rows.values()) or none)


def finite(value: float) -> float | None:
    """Return a number, or None for what JSON cannot carry."""
    return float(value) if np.isfinite(value) else None


# -- following what others do ----------------------------------------------------------------------


class Views:
    """The widgets that follow one stack: one subscription for all of them, each held weakly."""

    _known: ClassVar[weakref.WeakKeyDictionary[Any, Views]] = weakref.WeakKeyDictionary()
    _making: ClassVar[Any] = threading.Lock()

    def __init__(self) -> None:
        self._views: weakref.WeakSet[Following] = weakref.WeakSet()
        self._here = threading.local()
        self._stop: Callable[[], None] | None = None

    @classmethod
    def of(cls, stack: InterventionStack) -> Views:
        """Return the views of a stack."""
        with cls._making:
            if stack not in cls._known:
                cls._known[stack] = cls()
            return cls._known[stack]

    def join(self, view: Following, stack: InterventionStack) -> None:
        """Let a widget follow the stack."""
        self._views.add(view)
        if self._stop is None:
            self._stop = stack.observe(self._tell)

    def leave(self, view: Following) -> None:
        """Let it follow no more; the last one ends the subscription."""
        self._views.discard(view)
        if not self._views and self._stop is not None:
            self._stop()
            self._stop = None

    @contextmanager
    def by(self, view: Any) -> Iterator[None]:
        """Return a context in which changes of this thread are a widget's own."""
        self._here.actor = view
        try:
            yield
        finally:
            self._here.actor = None

    def _tell(self, event: StackEvent) -> None:
        if event.action in ("enter", "exit"):
            return
        actor = vars(self._here).get("actor")
        for view in list(self._views):
            if view is not actor:
                view.stack_changed()


class Following(ActiveTraits, Widget):
    """A widget that shows what is active on a model, whoever changed it.

    A view that a page shows follows at once. One that no page shows, such as the Explorer of a
    cell that was run again, follows when it is shown, or when one of its `late` traits is read.
    """

    _view_count = t.Int(0, allow_none=True).tag(sync=True)  # the host counts, where it can
    _behind = False
    _counted = False
    _greeted = False
    _watched = False
    _reading: int | None = None
    _stack: InterventionStack | None = None
    _late: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._late = late_traits(cls)

    def follow(self, stack: InterventionStack) -> None:
        """Follow a stack from now on; what is active already is caught up with when shown."""
        self._stack = stack
        Views.of(stack).join(self, stack)
        self._behind = bool(stack.active)

    def unfollow(self) -> None:
        """Follow it no more."""
        stack, self._stack = self._stack, None
        if stack is not None:
            Views.of(stack).leave(self)

    @property
    def shown(self) -> bool:
        """Whether somebody looks: a page shows the widget, or Python observes its captions."""
        seen = bool(self._view_count) if self._counted else self._greeted
        return seen or self._watched

    def stack_changed(self) -> None:
        """Note that somebody changed the model; runs in their thread, so it only enqueues."""
        self._behind = True
        self._follow_if_shown()

    def _follow_if_shown(self) -> None:
        if self._behind and self.shown and not self._closed:
            self._submit(self._guarded(self._follow_now, "follow"))

    def _follow_now(self) -> None:
        if self._behind:
            self._behind = False
            self.follow_up()

    def follow_up(self) -> None:
        """Show what is active now, and what it does; on the worker."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Bring what costs work up to date: a trait that shows it is about to be read."""
        if self._behind and not self._closed and self._reading != threading.get_ident():
            self._submit(self._guarded(self._follow_now, "follow")).result()
            self.wait()

    @contextmanager
    def _as_it_stands(self) -> Iterator[None]:
        """Return a context in which reading a trait starts no work."""
        was, self._reading = self._reading, threading.get_ident()
        try:
            yield
        finally:
            self._reading = was

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the traits as they stand: a page that asks for all widgets starts no work."""
        with self._as_it_stands():
            state: dict[str, Any] = super().get_state(key, drop_defaults)
        return state

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        with self._as_it_stands():  # the page says when it shows it
            return super()._repr_mimebundle_(**kwargs)

    def observe(self, handler: Any, names: Any = t.All, type: Any = "change") -> None:
        """Observe traits; who observes a caption wants it written at once."""
        wanted = [names] if isinstance(names, str) or names is t.All else list(names)
        own = isinstance(handler, t.ObserveHandler) or getattr(handler, "__self__", None) is self
        if not own and (t.All in wanted or not self._late.isdisjoint(wanted)):
            self._watched = True
        super().observe(handler, names, type)

    @t.observe("_view_count")
    def _on_views(self, _change: Any) -> None:
        self._counted = True
        self._follow_if_shown()

    def _heard(self) -> None:
        self._greeted = True
        self._follow_if_shown()

    def close(self) -> None:
        """Follow no more, and free the memory."""
        self.unfollow()
        if not self._closed:
            self._view_count = None  # a host that counts on would speak to a line that is cut
        super().close()

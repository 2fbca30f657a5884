"""The state that torch and a model are in while something is measured; the caller's comes back.

A notebook may have switched gradients off for good, run its cell in inference mode or under
autocast, have the model in training mode, or have compiled it. None of that may change a number,
and none of it may be changed for the caller.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import nn, overrides

from ..core import Deferred, Handles, ending, sure
from .fit import mismatch

__all__ = [
    "UNCOMPILED",
    "Modules",
    "in_evaluation",
    "loading",
    "make_ordinary",
    "measuring",
    "ordinary",
    "plain_torch",
    "uncompiled",
]


_CPU = torch.device("cpu")
#: What autocast can be on for.
_KINDS = ("cpu", "cuda", "mps")


class _Modes:
    """What of torch a block's inside may leave changed where Ctrl-C ends it, and the caller has.

    transformers switches gradients and autocast for a while; the ends of its blocks are Python, and
    an interrupt on the way into one leaves what it was to put back. All of it is the thread's own;
    the default type is the process's, and `loading` puts that back.
    """

    def __init__(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._cached = torch.is_autocast_cache_enabled()
        self._mixed = {kind: torch.is_autocast_enabled(kind) for kind in _KINDS}
        self._casts = {kind: torch.get_autocast_dtype(kind) for kind in _KINDS}
        self._nested = _autocasts()

    @property
    def mixed(self) -> list[str]:
        """What autocast is on for."""
        return [kind for kind, on in self._mixed.items() if on]

    def put_back(self) -> None:
        """Set what is not as it was."""
        if torch.is_grad_enabled() != self._grad:
            torch.set_grad_enabled(self._grad)
        if torch.is_autocast_cache_enabled() != self._cached:
            torch.set_autocast_cache_enabled(self._cached)
        for kind, on in self._mixed.items():
            if torch.is_autocast_enabled(kind) != on:
                torch.set_autocast_enabled(kind, on)
        for kind, cast in self._casts.items():
            if torch.get_autocast_dtype(kind) != cast:
                torch.set_autocast_dtype(kind, cast)
        while _autocasts() > self._nested:
            if torch.autocast_decrement_nesting() == 0:
                torch.clear_autocast_cache()


def _autocasts() -> int:
    """Return in how many blocks of autocast this thread is; the last to end forgets the casts."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def _restack(wanted: Sequence[Any]) -> None:
    """Have torch's function modes as they were: it takes all off while it calls one of them."""
    torch_modes: Any = overrides  # untyped
    now = torch_modes._get_current_function_mode_stack()
    if [*now] != [*wanted]:
        for _ in now:
            torch_modes._pop_mode()
        for mode in wanted:
            torch_modes._push_mode(mode)


_LOADING = threading.RLock()


@sure
def loading() -> Iterator[None]:
    """Load weights, one model at a time, and leave torch's default type as it was.

    transformers makes the checkpoint's type the default one while it loads, for all threads.
    """
    with _LOADING:
        found = torch.get_default_dtype()
        with ending(lambda: torch.set_default_dtype(found)):
            yield


@sure
def plain_torch(grad: bool = True) -> Iterator[None]:
    """Compute as torch does when it is started, whatever the caller has switched on or off.

    Inside, `torch.inference_mode`, `torch.no_grad`, `torch.autocast` and `torch.set_default_device`
    of the caller do not hold; after it they do again, wherever Ctrl-C comes. Also a decorator.

    Parameters
    ----------
    grad : bool
        Whether a graph is recorded.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.inference_mode(), plain_torch():
    ...     y = (x * x).sum()
    >>> y.requires_grad, y.is_inference()
    (True, False)
    """
    modes: list[_Modes] = []
    inside: list[Any] = []
    stack = ExitStack()

    def again() -> None:
        if inside:
            _restack(inside)
        stack.close()
        for found in modes:
            found.put_back()

    with ending(again):
        with Deferred():
            found = _Modes()
            modes.append(found)
            elsewhere = torch.get_default_device() != _CPU
            stack.enter_context(torch.inference_mode(False))
            torch.set_grad_enabled(grad)
            for kind in found.mixed:
                stack.enter_context(torch.autocast(kind, enabled=False))
            if elsewhere:
                stack.enter_context(_CPU)
                torch_modes: Any = overrides
                inside.extend(torch_modes._get_current_function_mode_stack())
        yield


def ordinary(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's inputs, what was made in inference mode copied to ordinary tensors."""
    return {
        key: value.clone() if isinstance(value, torch.Tensor) and value.is_inference() else value
        for key, value in inputs.items()
    }


def make_ordinary(hf: nn.Module) -> bool:
    """Make ordinary tensors of the parameters, buffers and others of inference mode.

    A graph cannot hold the tensors of inference mode. Tensors that are tied stay tied.

    Parameters
    ----------
    hf : torch.nn.Module
        The model.

    Returns
    -------
    bool
        Whether there were any.
    """
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # the old ones keep their ids
    with plain_torch(False):
        for module in hf.modules():
            held: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
            for kept in held:
                for name, value in kept.items():
                    if not isinstance(value, torch.Tensor):
                        continue
                    if id(value) not in made and value.is_inference():
                        made[id(value)] = value, _ordinary(value)
                    if id(value) in made:
                        kept[name] = made[id(value)][1]
    return bool(made)


def _ordinary(value: torch.Tensor) -> torch.Tensor:
    """Return an ordinary tensor of the same values: the given object itself if it can be one."""
    value.data = value.data.clone()
    try:
        value._version  # noqa: B018  what was made in inference mode never counts its versions
    except RuntimeError:
        copied = value.data.clone()
        if isinstance(value, nn.Parameter):
            return nn.Parameter(copied, requires_grad=value.requires_grad)
        return copied
    return value


class Modules:
    """The modules of a model as they are now, listed again only when their tree has changed.

    Walking the tree takes longer than all else that a forward is surrounded with; comparing it
    with what it was takes microseconds.

    Parameters
    ----------
    hf : torch.nn.Module
        The model.
    changed : callable
        Called when the tree has changed; what it raises is raised until the tree is right again.
    """

    def __init__(self, hf: nn.Module, changed: Callable[[], None]) -> None:
        self._hf = hf
        self._changed = changed
        self._list()

    def _list(self) -> None:
        self._all = tuple(self._hf.modules())
        self._children = [(m._modules, tuple(m._modules.values())) for m in self._all if m._modules]
        self._compiled = any(_is_compiled(module) for module in self._all)

    def now(self) -> tuple[nn.Module, ...]:
        """Return every module."""
        if not all(tuple(held.values()) == before for held, before in self._children):
            self._changed()
            self._list()
        return self._all

    def unusual(self) -> tuple[list[nn.Module], bool]:
        """Return the modules in training mode, and whether a part is compiled, hooks unseen."""
        found = [m for m in self.now() if m.training or m._compiled_call_impl is not None]
        if not found:
            return found, self._compiled or _is_compiled(self._hf)
        training = [module for module in found if module.training]
        in_place = any(module._compiled_call_impl is not None for module in found)
        return training, in_place or self._compiled or _is_compiled(self._hf)


def _is_compiled(module: nn.Module) -> bool:
    forward = module.__dict__.get("forward")
    return hasattr(forward, "_torchdynamo_orig_callable") or (
        type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")
    )


class Measured(Protocol):
    """What `measuring` needs to know of a `ModelParts`."""

    hf: Any
    processor: Any
    lock: threading.RLock
    modules: Modules
    sites: Any


class Uncompiled:
    """Have torch run compiled code as it is written; torch knows one such state for the process.

    What was compiled passes over hooks that were set later, also where a caller runs the model
    himself: while somebody holds this, none does.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a holder may be forgotten while this thread has it
        self._holders: dict[int, weakref.finalize[Any, Any]] = {}
        self._stance: Any = None

    def enter(self, holder: object) -> None:
        """Hold it until `leave`, or until the holder is forgotten, as with a model that is gone.

        Again is harmless, and so it is where nothing can be compiled.
        """
        if "torch._dynamo" not in sys.modules:  # it takes seconds to import
            return
        with self._lock:
            if not self._holders:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
            if id(holder) not in self._holders:
                forgotten = weakref.finalize(holder, self._leave, id(holder))
                forgotten.atexit = False
                self._holders[id(holder)] = forgotten

    def leave(self, holder: object) -> None:
        """Hold it no more; again is harmless."""
        self._leave(id(holder))

    def _leave(self, key: int) -> None:
        with self._lock:
            gone = self._holders.pop(key, None)
            if gone is None:
                return
            gone.detach()
            if not self._holders:
                self._stance.__exit__(None, None, None)
                self._stance = None


class _Holder:
    """Who holds `UNCOMPILED` for the length of a block."""


UNCOMPILED = Uncompiled()


def _made_in_inference_mode(module: nn.Module) -> bool:
    return any(p is not None and p.is_inference() for p in module._parameters.values())


@sure
def measuring(model: Measured, *, grad: bool = False) -> Iterator[None]:
    """Run a model as it is meant to be measured: alone, in evaluation mode, in its own type.

    The model's lock is held. Inside, torch is plain (see `plain_torch`), dropout and gradient
    checkpointing rest, compiled parts run uncompiled (their hooks would be passed over); all of it
    is at the end as it was, module by module.

    Parameters
    ----------
    model : ModelParts
        The model.
    grad : bool
        Record a graph.

    Raises
    ------
    NotSupported
        If modules with neurons were replaced after loading, or the prompt's image tokens do not
        fit the picture's features.
    """
    with model.lock, plain_torch(grad), _in_our_words(model), _rows_together(model.hf):
        training, compiled = model.modules.unusual()
        if grad and _made_in_inference_mode(model.sites[0].module):
            make_ordinary(model.hf)  # the model was moved or cast in inference mode
        if not (training or compiled):
            yield
            return
        with in_evaluation(training), uncompiled(compiled):
            yield


def _together(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if given and isinstance(given[0], torch.Tensor) and not given[0].is_contiguous():
        return given[0].contiguous(), *given[1:]
    return None


def _rows_together(hf: Any) -> Handles:
    """Have the head over words get its rows one behind the other in memory.

    transformers hands it the last places of a batch as a view. A product of such a view and a
    matrix copies the matrix for every row: a vocabulary's weight, for each picture.
    """
    head = hf.get_output_embeddings() if hasattr(hf, "get_output_embeddings") else None
    heads = [head] if isinstance(head, nn.Module) else []  # the one of now: it may be resized
    return Handles(one.register_forward_pre_hook(_together) for one in heads)


@sure
def _in_our_words(model: Measured) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError, IndexError) as error:
        known = mismatch(error, model.hf, model.processor)
        if known is None:
            raise
        raise known from error


@sure
def in_evaluation(training: Sequence[nn.Module]) -> Iterator[None]:
    """Have modules in evaluation mode: the flags alone, `eval` may do more (merge weights)."""

    def again() -> None:
        for module in training:
            module.training = True

    with ending(again):
        for module in training:
            module.training = False
        yield


@sure
def uncompiled(compiled: bool = True) -> Iterator[None]:
    """Have torch run compiled code as it is written, hooks included, for the length of a block.

    Parameters
    ----------
    compiled : bool
        Whether there is any; else nothing is done.
    """
    holder = _Holder()
    with ending(lambda: UNCOMPILED.leave(holder)):
        if compiled:
            with Deferred():
                UNCOMPILED.enter(holder)
        yield

"""What a test or a trial must leave in its process as it found it: torch's modes, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["ProcessModes"]

_KINDS = ("cpu", "cuda")
_KEPT: list[Any] = []


def _inference(on: bool) -> None:
    """Have inference mode on or off from here on: torch knows it for a block only."""
    block = torch.inference_mode(on)
    block.__enter__()
    _KEPT.append(block)  # torch ends it when it is forgotten


def _autocasts() -> int:
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def _nest(depth: int) -> None:
    while _autocasts() < depth:
        torch.autocast_increment_nesting()
    while _autocasts() > depth:
        torch.autocast_decrement_nesting()


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _autocast_types() -> list[Any]:
    return [torch.get_autocast_dtype(kind) for kind in _KINDS]


def _set_autocast_types(found: list[Any]) -> None:
    for kind, dtype in zip(_KINDS, found, strict=True):
        torch.set_autocast_dtype(kind, dtype)


def _set_autocast(found: list[bool]) -> None:
    for kind, on in zip(_KINDS, found, strict=True):
        torch.set_autocast_enabled(kind, on)


#: Of each mode how it is read and how it is set; inference mode first, it sets gradients too.
_MODES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "inference mode": (torch.is_inference_mode_enabled, _inference),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": (lambda: [torch.is_autocast_enabled(kind) for kind in _KINDS], _set_autocast),
    "autocast's types": (_autocast_types, _set_autocast_types),
    "autocast's cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "blocks of autocast": (_autocasts, _nest),
    "the default type": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, torch.set_default_device),
    "deterministic algorithms": (
        _deterministic,
        lambda found: torch.use_deterministic_algorithms(found[0], warn_only=found[1]),
    ),
    "what Ctrl-C does": (
        lambda: signal.getsignal(signal.SIGINT),
        lambda found: signal.signal(signal.SIGINT, found),
    ),
}


class ProcessModes:
    """The modes as they are now."""

    def __init__(self) -> None:
        self._was = {name: read() for name, (read, _) in _MODES.items()}

    def changed(self) -> list[str]:
        """Return what is other now, in words."""
        now = {name: read() for name, (read, _) in _MODES.items()}
        pairs = [(name, was, now[name]) for name, was in self._was.items()]
        return [f"{name}: {found} (was {was})" for name, was, found in pairs if found != was]

    def put_back(self) -> None:
        """Have every mode as it was."""
        for name, (read, put) in _MODES.items():
            if read() != self._was[name]:
                put(self._was[name])
        torch.set_grad_enabled(self._was["gradients"])  # inference mode set it too

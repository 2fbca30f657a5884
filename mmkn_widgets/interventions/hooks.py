"""The hooks of a stack: one per touched FFN site, two on the model, none when nothing is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["Hooks"]


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
        model: Any,
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
        """Have hooks at exactly these site rows, and on the whole model or not."""
        for row in [row for row in self._sites if row not in rows]:
            self._sites[row].remove()
            del self._sites[row]
        for row in sorted(rows.difference(self._sites)):
            self._sites[row] = self._at_site(row)
        if whole and not self._whole:
            self._on_model()
        elif not whole:
            for handle in self._whole:
                handle.remove()
            self._whole.clear()

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

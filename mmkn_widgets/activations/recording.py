"""What the hooks of a recording saw, joined along the token axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING

import torch

from .._errors import MmknError, bad_argument

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Recording"]

#: Rows of an activation up to which a packed recording lets it wait: a step of a small batch.
_STEP = 8


class Recording:
    """What the hooks saw.

    Attributes
    ----------
    values : dict of int to torch.Tensor
        Site row to activation (batch, token, neuron). With gradients: attached to the graph. Of a
        packed recording: views of the one buffer that `stack` returns.
    fired : dict of int to int
        Site row to the number of forwards seen.
    graph : bool
        Whether every forward seen recorded a graph; of no meaning without gradients.
    """

    def __init__(self, rows: Sequence[int], batch: int | None, pack: int | None) -> None:
        self.rows = list(rows)
        self.values: dict[int, torch.Tensor] = {}
        self.fired: dict[int, int] = {}
        self.batch = batch
        self._more = pack
        self._buffer: torch.Tensor | None = None
        self._filled: dict[int, int] = {}
        self._parts: dict[int, list[torch.Tensor]] = {}
        self._waiting: dict[int, list[torch.Tensor]] = {row: [] for row in rows}
        self.lengths: list[int] = []
        self._upto: dict[int, int] = {}
        self.graph = True
        self._thread = get_ident()

    @property
    def mine(self) -> bool:
        """Whether this thread is the one that records; others run the same model, unseen."""
        return get_ident() == self._thread

    def taker(self, model: MultimodalModel, row: int) -> Callable[[torch.Tensor], None]:
        """Return what takes one dense site's activation, as little as can be done in a forward.

        Tensors wait as they come and are joined at the end; of a packed recording only those of
        single steps do, a prompt's is copied at once so that it is not in memory twice.
        """
        waiting, thread, packed = self._waiting[row], self._thread, self._more is not None
        wait = waiting.append

        def take(activation: torch.Tensor) -> None:
            if get_ident() != thread:
                return
            wait(activation.detach() if activation.requires_grad else activation)
            if packed and activation.shape[-2] > _STEP:
                self._store_waiting(model, row)

        return take

    def _store_waiting(self, model: MultimodalModel, row: int) -> None:
        waiting = self._waiting[row]
        for value in waiting:
            self._put(model, row, self.fold(value))
        self.fired[row] = self.fired.get(row, 0) + len(waiting)
        waiting.clear()

    def stack(self) -> torch.Tensor:
        """Return (batch, site, token, neuron), rows in site order, narrow layers padded with 0."""
        if self._buffer is not None:
            n_tokens = max(self._filled.values(), default=0)
            return self._buffer[:, :, :n_tokens]
        rows = [self.values[row] for row in sorted(self.values)]
        width = max(value.shape[-1] for value in rows)
        device = rows[0].device  # a spread model's layers are on several
        padded = [torch.nn.functional.pad(v.to(device), (0, width - v.shape[-1])) for v in rows]
        return torch.stack(padded, 1)

    def pop_stacked(self) -> torch.Tensor:
        """Return what `stack` returns, detached, in main memory; let each value go when copied."""
        rows = sorted(self.values)
        first = self.values[rows[0]]
        width = max(value.shape[-1] for value in self.values.values())
        whole = torch.zeros(first.shape[0], len(rows), first.shape[1], width, dtype=first.dtype)
        for place, row in enumerate(rows):
            value = self.values.pop(row).detach()
            whole[:, place, :, : value.shape[-1]].copy_(value)
        return whole

    def gradients(self, of: torch.Tensor) -> dict[int, torch.Tensor]:
        """Return d sum(of) / d activation for every site, by one backward.

        Parameters
        ----------
        of : torch.Tensor
            A scalar, or one value per batch row (rows do not mix, so each row gets its own
            gradient).

        Returns
        -------
        dict of int to torch.Tensor
            Like `values`; zero where the output does not depend on a site.
        """
        if of.requires_grad and of.grad_fn is None:
            raise bad_argument("of", "a view that was taken without gradients", "a graph's output")
        if not self.graph:
            raise bad_argument(
                "of", "the output of a forward without a graph", "one of model.forward(grad=True)"
            )
        rows = sorted(self.values)
        if not of.requires_grad:  # it depends on none of these sites
            return {row: torch.zeros_like(self.values[row]) for row in rows}
        found = torch.autograd.grad(of.sum(), [self.values[row] for row in rows], allow_unused=True)
        return {
            row: torch.zeros_like(self.values[row]) if grad is None else grad
            for row, grad in zip(rows, found, strict=True)
        }

    def fold(self, value: torch.Tensor) -> torch.Tensor:
        """Return (batch * token, neuron) as (batch, token, neuron); a view."""
        if value.dim() != 2:
            return value
        batch = self.batch or 1
        return value.view(batch if len(value) % batch == 0 else 1, -1, value.shape[-1])

    def keep(self, model: MultimodalModel, row: int, value: torch.Tensor) -> None:
        """Take one site's activation of one forward."""
        self._catch_up(model, row, value, len(self.lengths) - 1)
        self._upto[row] = len(self.lengths)
        self._put(model, row, value)

    def _catch_up(
        self, model: MultimodalModel, row: int, like: torch.Tensor, forwards: int
    ) -> None:
        """Give a routed expert zeros for forwards in which its module got no token at all."""
        missed = sum(self.lengths[self._upto.get(row, 0) : max(forwards, 0)])
        if missed and model.sites[row].kind == "routed":
            self._put(model, row, like.new_zeros(like.shape[0], missed, like.shape[2]))

    def _put(self, model: MultimodalModel, row: int, value: torch.Tensor) -> None:
        if self._more is None:
            self._parts.setdefault(row, []).append(value)
            return
        n_tokens, at = value.shape[1], self._filled.get(row, 0)
        if self._buffer is None:
            widest = max(model.sites[r].width for r in self.rows)
            shape = (value.shape[0], len(self.rows), n_tokens + self._more, widest)
            narrow = any(model.sites[r].width < widest for r in self.rows)
            self._buffer = (torch.zeros if narrow else torch.empty)(shape, dtype=value.dtype)
        if at + n_tokens > self._buffer.shape[2]:
            grown = torch.zeros_like(self._buffer[:, :, : max(n_tokens, at)])
            self._buffer = torch.cat([self._buffer, grown], 2)
        place = self._buffer[:, self.rows.index(row), at : at + n_tokens, : value.shape[-1]]
        place.copy_(value)
        self._filled[row] = at + n_tokens

    def close(self, model: MultimodalModel) -> None:
        """Join what came from several forwards, or say what is missing."""
        for row in self.rows:
            self._store_waiting(model, row)
        counts = {row: self.fired.get(row, 0) for row in self.rows}
        for row, fired in counts.items():
            if 0 < fired < len(self.lengths) and model.sites[row].kind == "routed":
                held = self._parts.get(row)
                like = held[0] if held else self._buffer[:, 0, :1, : model.sites[row].width]  # type: ignore[index]
                self._catch_up(model, row, like, len(self.lengths))
                counts[row] = len(self.lengths)
        if len(set(counts.values())) > 1 or 0 in counts.values():
            wrong = [model.sites[r].module_name for r, n in counts.items() if n == 0]
            raise MmknError(
                "site: these down projections did not run through their module in every forward, "
                f"so their neurons cannot be read: {', '.join(wrong[:3]) or counts}"
            )
        for row, parts in self._parts.items():
            self.values[row] = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        self._parts.clear()
        if self._buffer is not None:
            for place, row in enumerate(self.rows):
                width = model.sites[row].width
                self.values[row] = self._buffer[:, place, : self._filled[row], :width]

"""Read every FFN activation of a forward: one pre-hook per site, removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from .._errors import MmknError

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Recording", "record"]


class Recording:
    """What the hooks saw.

    Attributes
    ----------
    values : dict of int to torch.Tensor
        Site row to activation (batch, token, neuron). With gradients: attached to the graph.
    fired : dict of int to int
        Site row to the number of forwards seen.
    """

    def __init__(self, batch: int | None = None) -> None:
        self.values: dict[int, torch.Tensor] = {}
        self.fired: dict[int, int] = {}
        self.batch = batch
        self._parts: dict[int, list[torch.Tensor]] = {}

    def stack(self) -> torch.Tensor:
        """Return (batch, site, token, neuron), rows in site order, narrow layers padded with 0."""
        rows = [self.values[row] for row in sorted(self.values)]
        width = max(value.shape[-1] for value in rows)
        padded = [torch.nn.functional.pad(v, (0, width - v.shape[-1])) for v in rows]
        return torch.stack(padded, 1)

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
        rows = sorted(self.values)
        found = torch.autograd.grad(of.sum(), [self.values[row] for row in rows], allow_unused=True)
        return {
            row: torch.zeros_like(self.values[row]) if grad is None else grad
            for row, grad in zip(rows, found, strict=True)
        }


@contextmanager
def record(
    model: MultimodalModel,
    *,
    rows: Sequence[int] | None = None,
    site: str = "input",
    gradients: bool = False,
    batch: int | None = None,
) -> Iterator[Recording]:
    """Record the FFN activations of the forwards inside the block.

    Parameters
    ----------
    model : MultimodalModel
    rows : sequence of int, optional
        Site rows (``model.sites[row]``); by default all.
    site : {"input", "act"}
        The input of the down projection, or the activation function's output.
    gradients : bool
        Keep the graph, so that `Recording.gradients` works; run the forward with ``grad=True``.
    batch : int, optional
        Rows of the batch, to unfold what a model flattens to (batch * token, neuron).

    Yields
    ------
    Recording
        Several forwards (prompt, then generated tokens) are joined along the token axis.

    Raises
    ------
    MmknError
        If a site did not fire as often as the others (checked when the block ends well).

    Notes
    -----
    Interventions are hooked in front, so what is recorded is what the layer really gets.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> inputs = model.prepare(mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> with record(model) as seen:
    ...     _ = model.forward(inputs)
    >>> tuple(seen.values[0].shape)
    (1, 69, 512)
    """
    seen = Recording(batch)
    chosen = range(len(model.sites)) if rows is None else rows
    handles = []

    def watch(row: int) -> None:
        def fn(activation: torch.Tensor) -> torch.Tensor | None:
            replaced = None
            if gradients and not activation.requires_grad:
                activation = replaced = activation.detach().requires_grad_(True)
            value = activation if gradients else activation.detach()
            if (gradients or seen.batch is not None) and value.dim() == 2:
                # a view of the flattened tensor would not be in the graph of what follows
                folded = value.view(seen.batch or 1, -1, value.shape[-1])
                if gradients:
                    activation = folded.reshape(value.shape)
                    replaced = activation
                value = folded
            seen.fired[row] = seen.fired.get(row, 0) + 1
            seen._parts.setdefault(row, []).append(value)
            return replaced

        handles.append(model.sites[row].hook(fn, at=site))

    try:
        for row in chosen:
            watch(row)
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    counts = {row: seen.fired.get(row, 0) for row in chosen}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        wrong = [model.sites[row].module_name for row, n in counts.items() if n == 0]
        raise MmknError(
            "site: these down projections did not run through their module, so their neurons "
            f"cannot be read: {', '.join(wrong[:3]) or counts}"
        )
    for row, parts in seen._parts.items():
        if parts[0].dim() == 2:
            parts = [part[None] for part in parts]
        seen.values[row] = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    seen._parts.clear()

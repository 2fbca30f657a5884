"""Read every FFN activation of a forward: one pre-hook per site, removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .._errors import bad_argument
from .recording import Recording

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Recording", "record", "site_rows"]


def site_rows(model: MultimodalModel, layers: Sequence[int] | None) -> list[int]:
    """Return the site rows of some layers, all by default.

    Raises
    ------
    BadArgument
        If the model has no neurons in one of them; the message lists its layers.
    """
    if layers is None:
        return list(range(len(model.sites)))
    wanted = {int(layer) for layer in layers}
    rows = [site.row for site in model.sites if site.layer in wanted]
    missing = wanted - {site.layer for site in model.sites}
    if missing or not rows:
        known = sorted({site.layer for site in model.sites})
        raise bad_argument("layers", sorted(missing) or layers, f"layers of the model: {known}")
    return rows


@contextmanager
def record(
    model: MultimodalModel,
    layers: Sequence[int] | None = None,
    *,
    rows: Sequence[int] | None = None,
    site: str = "input",
    gradients: bool = False,
    batch: int | None = None,
    pack: int | None = None,
) -> Iterator[Recording]:
    """Record the FFN activations of the forwards inside the block.

    Parameters
    ----------
    model : MultimodalModel
    layers : sequence of int, optional
        Decoder layers to record, with all their experts; by default all.
    rows : sequence of int, optional
        Instead of layers: site rows (``model.sites[row]``).
    site : {"input", "act"}
        The input of the down projection, or the activation function's output.
    gradients : bool
        Keep the graph, so that `Recording.gradients` works; run the forward with ``grad=True``.
    batch : int, optional
        Rows of the batch, to unfold what a model flattens to (batch * token, neuron); by default
        read off the input of the first decoder layer.
    pack : int, optional
        Copy into one buffer in main memory, preallocated for the first forward's tokens and `pack`
        more. Without it the model's own tensors are kept where they are.

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
    Interventions are hooked in front, so what is recorded is what the layer really gets. Forwards
    of other threads are not recorded.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> inputs = model.prepare(mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> with record(model) as seen:
    ...     _ = model.forward(inputs)
    >>> seen.values[0].shape == (1, inputs.n_tokens, model.n_neurons)
    True
    """
    if rows is not None and layers is not None:
        raise bad_argument("rows", rows, "either rows or layers")
    if gradients and pack is not None:
        raise bad_argument("pack", pack, "None with gradients=True: a copy has no gradient")
    chosen = site_rows(model, layers) if rows is None else list(rows)
    seen = Recording(chosen, batch, pack)
    handles: list[Any] = []
    try:
        handles.append(_watch_forwards(model, seen, batch is None))
        for row in chosen:
            handles.append(_watch(model, seen, row, site, gradients))
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    seen.close(model)


def _watch_forwards(model: MultimodalModel, seen: Recording, batch: bool) -> Any:
    """Note the length of every forward, and its batch size, where it is still an axis."""

    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs.get("hidden_states")
        if seen.mine and isinstance(hidden, torch.Tensor) and hidden.dim() == 3:
            seen.batch = hidden.shape[0] if batch else seen.batch
            seen.lengths.append(hidden.shape[1])

    return model.blocks[0].register_forward_pre_hook(before, with_kwargs=True)


def _watch(model: MultimodalModel, seen: Recording, row: int, site: str, gradients: bool) -> Any:
    def routed(activation: torch.Tensor) -> None:
        if not seen.mine:
            return
        seen.fired[row] = seen.fired.get(row, 0) + 1
        seen.keep(model, row, seen.fold(activation.detach()))

    def with_graph(activation: torch.Tensor) -> torch.Tensor | None:
        if not seen.mine:
            return None
        seen.fired[row] = seen.fired.get(row, 0) + 1
        seen.graph &= torch.is_grad_enabled()
        leaf = not activation.requires_grad
        value = activation.detach().requires_grad_(True) if leaf else activation
        folded = seen.fold(value)
        seen.keep(model, row, folded)
        # what follows has to hang on the very tensor that is differentiated
        if folded is not value:
            return folded.reshape(activation.shape)
        return value if leaf else None

    where = model.sites[row]
    if gradients:
        return where.hook(with_graph, at=site)
    return where.hook(routed if where.kind == "routed" else seen.taker(model, row), at=site)

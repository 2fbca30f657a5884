"""Read every FFN activation of a forward: one pre-hook per site, removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch

from ..core import Handles, MmknError, bad_argument, sure, whole_numbers
from ..models import plain_torch, uncompiled
from .carry import Carrier, room

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Recording", "record", "site_rows"]

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
        self._carrier = Carrier()
        self._filled: dict[int, int] = {}
        self._parts: dict[int, list[torch.Tensor]] = {}
        self._waiting: dict[int, list[torch.Tensor]] = {row: [] for row in rows}
        self.lengths: list[int] = []
        self._upto: dict[int, int] = {}
        self._graph: dict[int, list[torch.Tensor]] = {}
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

    @plain_torch(False)
    def pop_stacked(self) -> torch.Tensor:
        """Return what `stack` returns, detached, in main memory; let each value go when copied."""
        rows = sorted(self.values)
        first = self.values[rows[0]]
        width = max(value.shape[-1] for value in self.values.values())
        whole = room((first.shape[0], len(rows), first.shape[1], width), first, zero=True)
        for place, row in enumerate(rows):
            value = self.values.pop(row).detach()
            self._carrier.copy(whole[:, place, :, : value.shape[-1]], value)
        self._carrier.wait()
        return whole

    def gradients(self, of: torch.Tensor, *, retain: bool = False) -> dict[int, torch.Tensor]:
        """Return d sum(of) / d activation for every site, by one backward.

        Parameters
        ----------
        of : torch.Tensor
            A scalar, or one value per batch row (rows do not mix, so each row gets its own
            gradient).
        retain : bool
            Keep the graph, to go through it again.

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
        if not of.requires_grad and not torch.is_grad_enabled():
            raise bad_argument(
                "of",
                "a value that was computed while gradients were off",
                "one computed inside torch.enable_grad() (in inference mode: also inside "
                "torch.inference_mode(False))",
            )
        rows = sorted(self.values)
        parts = [(row, part) for row in rows for part in self._graph.get(row, [self.values[row]])]
        with plain_torch(False):
            if not of.requires_grad:  # it depends on none of these sites
                return {row: torch.zeros_like(self.values[row]) for row in rows}
            with torch.enable_grad():
                total = of.sum()
            grads: Sequence[torch.Tensor | None] = torch.autograd.grad(
                total, [part for _, part in parts], allow_unused=True, retain_graph=retain
            )
            if all(grad is None for grad in grads):
                raise bad_argument(
                    "of",
                    "a value on whose way to the activations gradients were off",
                    "one computed inside torch.enable_grad() from the forward's output on",
                )
            found: dict[int, list[torch.Tensor]] = {row: [] for row in rows}
            for (row, part), grad in zip(parts, grads, strict=True):
                found[row].append(torch.zeros_like(part) if grad is None else grad)
            return {
                row: one[0] if len(one) == 1 else torch.cat(one, 1) for row, one in found.items()
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
            self._buffer = room(shape, value, zero=narrow)
        if at + n_tokens > self._buffer.shape[2]:
            self._carrier.wait()
            held = self._buffer
            longer = held.shape[2] + max(n_tokens, at)
            self._buffer = room((*held.shape[:2], longer, held.shape[3]), value, zero=True)
            self._buffer[:, :, : held.shape[2]] = held
        place = self._buffer[:, self.rows.index(row), at : at + n_tokens, : value.shape[-1]]
        self._carrier.copy(place, value)
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
        self._carrier.wait()
        for row, parts in self._parts.items():
            self.values[row] = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            if len(parts) > 1:  # the graph hangs on each of them, not on what they are joined to
                self._graph[row] = parts
        self._parts.clear()
        if self._buffer is not None:
            for place, row in enumerate(self.rows):
                width = model.sites[row].width
                self.values[row] = self._buffer[:, place, : self._filled[row], :width]


def site_rows(model: MultimodalModel, layers: Sequence[int] | None) -> list[int]:
    """Return the site rows of some layers, all by default.

    Raises
    ------
    BadArgument
        If the model has no neurons in one of them; the message lists its layers.
    """
    if layers is None:
        return list(range(len(model.sites)))
    wanted = set(whole_numbers("layers", layers).tolist())
    rows = [site.row for site in model.sites if site.layer in wanted]
    missing = wanted - {site.layer for site in model.sites}
    if missing or not rows:
        known = sorted({site.layer for site in model.sites})
        raise bad_argument("layers", sorted(missing) or layers, f"layers of the model: {known}")
    return rows


@sure
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
    if rows is None:
        chosen = site_rows(model, layers)
    else:
        chosen = whole_numbers("rows", rows, lowest=0, highest=len(model.sites) - 1).tolist()
    seen = Recording(chosen, batch, pack)
    with uncompiled(), Handles(_watchers(model, seen, batch is None, site, gradients)):
        yield seen
    seen.close(model)


def _watchers(
    model: MultimodalModel, seen: Recording, batch: bool, site: str, gradients: bool
) -> Iterator[Any]:
    """Set one hook at each step."""
    yield _watch_forwards(model, seen, batch)
    for row in seen.rows:
        yield _watch(model, seen, row, site, gradients)


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

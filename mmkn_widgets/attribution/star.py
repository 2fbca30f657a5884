"""AtP*: attribution patching that direct and indirect effects cannot cancel in."""

from __future__ import annotations

from collections.abc import Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..activations import Prediction, predictions, record
from ..core import (
    CancelToken,
    Concept,
    Handles,
    NotSupported,
    Progress,
    as_concept,
    bad_argument,
    provenance,
)
from ..inpainting import get_inpainter
from ..models import BatchSize, plain_torch
from .evidence import scene_mask
from .scoring import (
    Options,
    batches,
    fitting_batch,
    in_encoder,
    pairs_described,
    same_tokens,
    scores_in_units,
    target_score,
    valid_tokens,
)

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["attribution_patching_star"]


class _Dropped:
    """Which layer's own part is left out of the gradient; -1 is none."""

    layer = -1


class _Through(torch.autograd.Function):
    """A layer's output; backward, what the layer adds to its input may be left out."""

    @staticmethod
    def forward(
        ctx: Any,
        before: torch.Tensor,  # noqa: ARG004  gets the gradient
        after: torch.Tensor,
        dropped: _Dropped,
        layer: int,
    ) -> torch.Tensor:
        ctx.dropped, ctx.layer = dropped, layer
        return after.view_as(after)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        if ctx.dropped.layer == ctx.layer:
            return grad, torch.zeros_like(grad), None, None
        return torch.zeros_like(grad), grad, None, None


def attribution_patching_star(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    inpainter: Any = "telea",
    target: str = "log_prob",
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.DataArray:
    """Estimate for every neuron how much of the word hangs on it, whichever way it acts.

    Attribution patching is a first-order estimate, and where what a neuron writes to the word and
    what it writes to later layers cancel at this one point, it says 0 of a neuron that matters. So
    the gradient is taken once for each layer, with that layer's own part of it left out (GradDrop),
    and the sizes of the estimates are averaged.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        That show the concept, with its mask.
    inpainter, target, caption, prompt, batch_size
        As in `collect`; y is the score of the concept's first token.
    progress, cancel : optional

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron), mean over scenes, in nats (logits for ``target="logit"``).
        Never negative: it says how much, not whether the neuron speaks for the word.

    Raises
    ------
    BadArgument
        If a scene lacks the concept or its mask, or no caption names it.
    NotSupported
        If the neurons are an encoder's, or the model has one layer only.

    Notes
    -----
    Of the two corrections of AtP*, GradDrop. The other one (queries and keys through the softmax)
    corrects estimates for queries and keys; a neuron is neither. A neuron counts as one node over
    all tokens, as in ``attribution_patching``. One forward with gradients and as many backwards as
    there are layers.

    References
    ----------
    .. [1] Kramar et al. 2024, "AtP*", arXiv 2403.00745, section 3.1.2.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val").with_concept("car", 1)
    >>> found = attribution_patching_star(model, "car", scenes)
    >>> found.dims, bool((found >= 0).all())
    (('layer', 'neuron'), True)
    """
    options = Options(target=target, prompt=prompt)
    if in_encoder(model):
        raise NotSupported(
            "attribution_patching_star: the neurons are an encoder's, which predicts no word; load "
            "the model with stack='decoder'"
        )
    if len(model.blocks) < 2:
        raise NotSupported(
            "attribution_patching_star: this model has one layer, and the estimate is a mean over "
            "the others; use attribution_patching"
        )
    wanted, chosen = as_concept(concept), list(scenes)
    if not chosen:
        raise bad_argument("scenes", [], f"at least one scene that shows {wanted.word!r}")
    masks = [scene_mask(scene, wanted) for scene in chosen]
    painter = get_inpainter(inpainter)
    total = np.zeros((len(model.sites), model.n_neurons), np.float64)
    done = 0
    with model.interventions.suspended():
        if batch_size is None:
            n_tokens = model.prepare([chosen[0].image], prompt).n_tokens + 16
            batch_size = fitting_batch(model, n_tokens)
        found, _ = predictions(
            model, wanted, chosen,
            caption=caption, prompt=prompt, batch_size=batch_size, cancel=cancel,
        )  # fmt: skip

        def run(batch: Sequence[Prediction]) -> np.ndarray:
            here = [chosen[one.scene] for one in batch]
            shown = [scene.image for scene in here]
            gone = painter.batch(shown, [masks[one.scene] for one in batch], here)
            return _estimated(model, batch, shown, gone, options)

        fitting = BatchSize(batch_size, "pairs")
        for batch in batches(found, batch_size):
            for part, sizes in fitting.over(batch, run):
                if cancel is not None:
                    cancel.raise_if_cancelled()
                total += sizes
                done += len(part)
                if progress is not None:
                    progress(f"scoring neurons for {wanted.word}", done, len(found))
    made = provenance(
        "attribution_patching_star",
        **pairs_described(model, wanted, chosen, painter),
        target=target,
        caption=caption,
        prompt=prompt,
    )
    return scores_in_units(model, "attribution_patching_star", total / len(found), target, made)


@plain_torch(False)
def _estimated(
    model: MultimodalModel,
    batch: Sequence[Prediction],
    shown: Sequence[Any],
    gone: Sequence[Any],
    options: Options,
) -> np.ndarray:
    """Return the sum over a batch of pairs of each neuron's estimate, (site, neuron)."""
    targets = torch.tensor([one.tokens[:1] for one in batch])
    forced = [list(one.prefix) for one in batch]
    other = model.prepare(list(gone), options.prompt, continuation=forced)
    with record(model) as second:
        model.forward(other, logits_to_keep=1)
    prepared = model.prepare(list(shown), options.prompt, continuation=forced)
    dropped = _Dropped()
    with record(model, gradients=True) as seen, _dropping(model, dropped):
        y, _ = target_score(model, prepared, targets, options.target, grad=True)
    length = seen.values[0].shape[1]
    same_tokens(second.values[0].shape[1], length)
    valid, _ = valid_tokens(model, prepared, length)
    change = {}
    for row, value in seen.values.items():
        gap = value.detach().float() - second.values[row].float()
        change[row] = gap * valid.to(gap.device)[..., None]
    total = np.zeros((len(model.sites), model.n_neurons), np.float64)
    n_layers = len(model.blocks)
    for layer in range(n_layers):
        dropped.layer = layer
        for row, slope in seen.gradients(y, retain=layer < n_layers - 1).items():
            size = (slope.float() * change[row]).sum(1).abs().sum(0)
            total[row, : len(size)] += size.cpu().numpy()
    return total / (n_layers - 1)  # a layer's own neurons get nothing where it is left out


def _dropping(model: MultimodalModel, dropped: _Dropped) -> Handles:
    """Let what each layer adds be left out of gradients of this thread's forwards inside."""
    thread = get_ident()

    def hook(layer: int) -> Any:
        def run(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            before = args[0] if args else kwargs["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            if get_ident() != thread or not after.requires_grad:
                return None
            made = _Through.apply(before, after, dropped, layer)  # type: ignore[no-untyped-call]
            return (made, *output[1:]) if isinstance(output, tuple) else made

        return run

    return Handles(
        block.register_forward_hook(hook(layer), with_kwargs=True)
        for layer, block in enumerate(model.blocks)
    )

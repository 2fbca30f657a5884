"""Integrated gradients, as the knowledge-neurons paper attributes FFN activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..activations import Prediction, predictions
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
from ..models import plain_torch
from .scoring import in_encoder, scores_in_units

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["LastToken", "integrated_gradients", "scaled_rows"]

#: Bytes of keys and values that one pass may copy, and how far its logits may be from a forward's.
_ROOM = 512 * 2**20
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class LastToken:
    """A picture and a prefix, with everything but the last token computed once.

    Parameters
    ----------
    model : MultimodalModel
        Any; where its cache cannot be used so, `prepare` says no, for good.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        self._works: bool | None = False if model.is_encoder_decoder else None
        self._cache: Any = None
        self._last = 0
        self._length = 0
        self._mask = False

    def prepare(self, picture: Any, prompt: str | None, prefix: Sequence[int]) -> bool:
        """Compute what comes before the prefix's last token; return whether that can be used."""
        self._cache = None
        if self._works is False or not prefix:
            return False
        model = self._model
        before = model.prepare([picture], prompt, continuation=[list(prefix[:-1])])
        try:
            with model.measuring():
                made = model.hf(**before.inputs, use_cache=True)
            self._cache = made.past_key_values
            self._last, self._length = int(prefix[-1]), before.n_tokens + 1
            self._mask = "attention_mask" in before.inputs
            if self._works is None:
                self._works = self._agrees(picture, prompt, prefix)
        except Exception:  # noqa: BLE001  any model, any cache: then it is a whole forward
            self._works = False
        if not self._works:
            self._cache = None
        return bool(self._works)

    def _agrees(self, picture: Any, prompt: str | None, prefix: Sequence[int]) -> bool:
        model = self._model
        whole = model.prepare([picture], prompt, continuation=[list(prefix)])
        wanted = model.forward(whole, logits_to_keep=1).logits[:, -1].float()
        found = self.logits(2, grad=False).float()
        limit = _TOLERANCE.get(model.dtype, 1e-1) * float(wanted.abs().max().clamp_min(1))
        return bool((found - wanted).abs().max() <= limit)

    def together(self, steps: int) -> int:
        """Return how many sites, of `steps` rows each, fit into one pass."""
        if self._cache is None:
            return 1
        held = sum(
            tensor.numel() * tensor.element_size()
            for layer in getattr(self._cache, "layers", ())
            for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
            if isinstance(tensor, torch.Tensor)
        )
        return max(1, int(_ROOM // max(1, held * steps)))

    def logits(self, n: int, *, grad: bool = True) -> torch.Tensor:
        """Return the logits (n, vocabulary) of `n` copies of the last token, with their graph."""
        model = self._model
        with model.measuring(grad=grad):
            return self._logits(n)

    def _logits(self, n: int) -> torch.Tensor:
        model = self._model
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(n)
        inputs = {"input_ids": torch.full((n, 1), self._last, device=model.device)}
        if self._mask:
            inputs["attention_mask"] = torch.ones(
                n, self._length, dtype=torch.long, device=model.device
            )
        output = model.hf(**inputs, past_key_values=cache, use_cache=True)
        logits: torch.Tensor = output.logits[:, -1]
        return logits


def integrated_gradients(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    steps: int = 20,
    target: str = "log_prob",
    caption: str = "greedy",
    prompt: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.DataArray:
    """Integrate the gradient of the concept's score from zero to the activation.

    Layer by layer, at the predicting position, as for knowledge neurons: the activations of one
    layer are scaled from 0 to their value while everything below stays.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
    steps : int
        Of the right Riemann sum.
    target, caption, prompt
        As in `collect`; y is the score of the concept's first token.
    progress, cancel : optional

    Returns
    -------
    xarray.DataArray
        float32, dims (layer, neuron), mean over scenes, in nats (logits for ``target="logit"``).

    Raises
    ------
    NotSupported
        If the neurons are an encoder's or those of experts, or gradients do not reach a layer.

    Notes
    -----
    Only the last position changes, so what comes before it is computed once a picture and kept as
    keys and values, where the model lets it (checked on the first picture against a whole forward).

    References
    ----------
    .. [1] Dai et al. 2022, "Knowledge neurons in pretrained transformers", equation 5.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val").with_concept("car", 1)
    >>> found = integrated_gradients(model, "car", scenes, steps=5)
    >>> found.dims, found.shape
    (('layer', 'neuron'), (6, 512))
    """
    if steps < 1:
        raise bad_argument("steps", steps, "a whole number from 1")
    if target not in ("log_prob", "logit"):
        raise bad_argument("target", target, "'log_prob' or 'logit'")
    if in_encoder(model):
        raise NotSupported(
            "integrated_gradients: the neurons are an encoder's, which predicts no word; load the "
            "model with stack='decoder'"
        )
    if any(site.expert >= 0 for site in model.sites):
        raise NotSupported(
            "integrated_gradients: an expert gets only the tokens that are sent to it, so that its "
            "activation cannot be scaled from 0 without changing which; use collect()"
        )
    wanted = as_concept(concept)
    total = np.zeros((len(model.sites), model.n_neurons), np.float64)
    with model.interventions.suspended():
        found, _ = predictions(model, wanted, scenes, caption=caption, prompt=prompt, cancel=cancel)
        last = LastToken(model)
        for done, item in enumerate(found):
            if cancel is not None:
                cancel.raise_if_cancelled()
            picture = scenes[item.scene].image
            total += _one(model, picture, prompt, item, steps, target, last)
            if progress is not None:
                progress(f"integrating gradients for {wanted.word}", done + 1, len(found))
    made = provenance(
        "integrated_gradients",
        model=model.name,
        weights=model.weights_hash,
        concept=wanted.to_dict(),
        steps=steps,
        target=target,
        caption=caption,
        prompt=prompt,
        scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
    )
    return scores_in_units(model, "integrated_gradients", total / len(found), target, made)


def _one(
    model: MultimodalModel,
    picture: Any,
    prompt: str | None,
    item: Prediction,
    steps: int,
    target: str,
    last: LastToken,
) -> np.ndarray:
    """Return one picture's integrated gradients, (site, neuron)."""
    found = np.zeros((len(model.sites), model.n_neurons), np.float64)
    sites = [site.row for site in model.sites]
    kept = last.prepare(picture, prompt, item.prefix)
    group = last.together(steps)
    for start in range(0, len(sites), group):
        rows = sites[start : start + group]
        n = steps * len(rows)
        if kept:
            ran = lambda n=n: last.logits(n)  # noqa: E731
        else:
            forced = [list(item.prefix)] * n
            prepared = model.prepare([picture] * n, prompt, continuation=forced)
            ran = lambda p=prepared: _last(model.forward(p, logits_to_keep=1, grad=True))  # noqa: E731
        for row, values in scaled_rows(model, rows, steps, ran, item.token, target).items():
            found[row, : len(values)] = values
    return found


@plain_torch()
def _last(output: Any) -> torch.Tensor:
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def scaled_rows(
    model: MultimodalModel,
    rows: Sequence[int],
    steps: int,
    run: Callable[[], torch.Tensor],
    token: int,
    target: str = "log_prob",
) -> dict[int, np.ndarray]:
    """Integrate the gradients of some sites in one pass; each has `steps` rows of the batch.

    Parameters
    ----------
    model : MultimodalModel
    rows : sequence of int
        Site rows.
    steps : int
    run : callable
        Runs ``steps * len(rows)`` copies of the picture; returns logits (row, vocabulary) of the
        last position, with their graph.
    token : int
    target : {"log_prob", "logit"}

    Returns
    -------
    dict of int to numpy.ndarray
        Site row to (neuron,).

    Raises
    ------
    NotSupported
        If the score does not depend on a layer: a missing gradient is not zero.
    """
    n = steps * len(rows)
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def scale(place: int, row: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def hook(activation: torch.Tensor) -> torch.Tensor:
            folded = activation.reshape(n, -1, activation.shape[-1])
            mine = slice(place * steps, (place + 1) * steps)
            value = folded[mine.start, -1].detach().clone()
            share = torch.arange(1, steps + 1, device=value.device, dtype=value.dtype) / steps
            scaled = (share[:, None] * value).requires_grad_(True)
            kept[row] = (value, scaled)
            end = torch.cat([folded[: mine.start, -1], scaled, folded[mine.stop :, -1]])
            return torch.cat([folded[:, :-1], end[:, None]], 1).reshape(activation.shape)

        return hook

    with Handles(model.sites[row].hook(scale(at, row)) for at, row in enumerate(rows)):
        logits = run()
        with plain_torch():
            at = logits.float()
            y = (torch.log_softmax(at, -1) if target == "log_prob" else at)[:, token].sum()
    missing = [model.sites[row] for row in rows if row not in kept]
    if missing:
        raise NotSupported(
            f"integrated_gradients: the forward does not pass through the neurons of layer "
            f"{missing[0].layer}"
            + (f", expert {missing[0].expert}: it got no token" if missing[0].expert >= 0 else "")
        )
    grads: Sequence[torch.Tensor | None] = [None] * len(rows)
    if y.requires_grad:
        with plain_torch(False):
            grads = torch.autograd.grad(y, [kept[row][1] for row in rows], allow_unused=True)
    found = {}
    for row, grad in zip(rows, grads, strict=True):
        if grad is None:
            raise NotSupported(
                f"integrated_gradients: the next word does not depend on the neurons of layer "
                f"{model.sites[row].layer}: what they give is not used, or is used without "
                "gradients (a kernel without a backward, torch.no_grad in the model's code)"
            )
        value = kept[row][0]
        found[row] = (value.float() * grad.float().mean(0)).cpu().numpy()
    return found

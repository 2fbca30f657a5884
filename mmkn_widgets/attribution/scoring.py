"""One forward and backward over a batch of pairs: every score of every neuron."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..activations import Prediction, record
from ..core import BadArgument, NotSupported, bad_argument, neuron_coords
from ..models import image_mask, inserted, plain_torch, site_device
from .controls import exists
from .direct import through

if TYPE_CHECKING:
    import xarray as xr

    from ..core import Concept
    from ..models import MultimodalModel, Prepared

__all__ = [
    "SCORES",
    "Options",
    "Sums",
    "batches",
    "fitting_batch",
    "in_encoder",
    "pairs_described",
    "run_batch",
    "same_tokens",
    "scores_in_units",
    "target_score",
    "valid_tokens",
]

_MEANS = (
    "difference",
    "gradcam",
    "gradient_sum",
    "attribution_patching",
    "contribution",
    "activation",
)
#: Variables of the evidence, each (layer, neuron).
SCORES = (*_MEANS, "activation_std")
_KNOWN = {
    "positions": ("predicting", "image", "all"),
    "reduce": ("max", "mean"),
    "difference": ("absolute", "signed"),
    "target": ("log_prob", "logit"),
    "tokens": ("first", "all"),
}


@dataclass(frozen=True)
class Options:
    """What section 4.1 of the first paper leaves open; see `collect`."""

    positions: str = "predicting"
    reduce: str = "max"
    difference: str = "absolute"
    target: str = "log_prob"
    tokens: str = "first"
    prompt: str | None = None

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                wanted = "one of " + ", ".join(map(repr, known))
                raise bad_argument(name, getattr(self, name), wanted)


class Sums:
    """Running sums over pairs.

    Parameters
    ----------
    model : MultimodalModel
    keep_pairs : bool
        Also keep stage 1 and stage 2 of every pair.
    """

    def __init__(self, model: MultimodalModel, keep_pairs: bool) -> None:
        self.shape = (len(model.sites), model.n_neurons)
        self.total = {name: np.zeros(self.shape, np.float64) for name in _MEANS}
        self.squares = np.zeros(self.shape, np.float64)  # of the activations
        kept = ("difference", "gradcam") if keep_pairs else ()
        self.pairs: dict[str, list[np.ndarray]] = {name: [] for name in kept}
        self.log_prob: list[float] = []
        self.log_prob_inpainted: list[float] = []
        self.order: list[int] = []

    def add(self, found: dict[str, torch.Tensor]) -> None:
        """Add values of shape (pair, site, neuron)."""
        for name, values in found.items():
            array = values.numpy()
            self.total[name] += array.sum(0, dtype=np.float64)
            if name == "activation":
                self.squares += np.square(array, dtype=np.float64).sum(0)
            if name in self.pairs:
                self.pairs[name].append(array)

    def means(self) -> dict[str, np.ndarray]:
        """Return float32 means over pairs and the activation's deviation, (layer, neuron)."""
        n = len(self.order)
        found = {name: total / n for name, total in self.total.items()}
        rest = np.maximum(self.squares - n * found["activation"] ** 2, 0)
        found["activation_std"] = np.sqrt(rest / (n - 1)) if n > 1 else np.full(self.shape, np.nan)
        return {name: values.astype(np.float32) for name, values in found.items()}

    def each(self) -> dict[str, np.ndarray]:
        """Return what was kept of every pair, (scene, layer, neuron), in the scenes' order."""
        order = np.argsort(self.order)
        return {f"pair_{name}": np.concatenate(v)[order] for name, v in self.pairs.items()}


def room_on(device: torch.device) -> int:
    """Return the bytes that the graph of one pass may take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * 0.6)
    return 2 * 2**30


def fitting_batch(model: MultimodalModel, n_tokens: int) -> int:
    """Return how many pairs a pass can take: 16, or fewer where a pair's graph is large.

    Of a spread model the fullest device decides, by the layers that it holds.
    """
    size = torch.empty((), dtype=model.dtype).element_size()
    layer = 8 * n_tokens * model.n_neurons * size
    held = Counter(site_device(model.hf, site) for site in model.sites)
    fitting = 16
    for device, layers in held.items():
        fitting = min(fitting, room_on(device) // (layers * layer))
    return max(1, fitting)


def batches(found: Sequence[Prediction], size: int) -> list[list[Prediction]]:
    """Group predictions of equal length, so that no row is padded."""
    by_length: dict[tuple[int, int], list[Prediction]] = {}
    for one in found:
        by_length.setdefault((len(one.prefix), len(one.tokens)), []).append(one)
    return [
        group[start : start + size]
        for _, group in sorted(by_length.items())
        for start in range(0, len(group), size)
    ]


@plain_torch(False)
def run_batch(
    model: MultimodalModel,
    batch: Sequence[Prediction],
    originals: Sequence[Any],
    inpainted: Sequence[Any],
    options: Options,
    sums: Sums,
) -> None:
    """Score one batch of pairs whose prefixes are equally long, and add it to the sums."""
    n_sub = len(batch[0].tokens) if options.tokens == "all" else 1
    targets = torch.tensor([one.tokens[:n_sub] for one in batch])
    forced = [[*one.prefix, *one.tokens[: n_sub - 1]] for one in batch]
    prepared = model.prepare(list(originals), options.prompt, continuation=forced)
    with record(model, gradients=True) as seen:
        y, log_prob = target_score(model, prepared, targets, options.target, grad=True)
    grads = seen.gradients(y)
    before = {row: value.detach() for row, value in seen.values.items()}
    seen.values.clear()
    del y
    gone = model.prepare(list(inpainted), options.prompt, continuation=forced)
    with record(model) as second:
        _, log_prob_gone = target_score(model, gone, targets, options.target, grad=False)
    length = before[0].shape[1]
    same_tokens(second.values[0].shape[1], length)
    valid, ends = valid_tokens(model, prepared, length)
    predicting = (ends[:, None] - torch.arange(n_sub - 1, -1, -1)).clamp(
        min=0
    )  # (batch, sub-token)
    inside = _inside(model, prepared, length, valid, options.positions)
    out = {name: torch.zeros(len(batch), *sums.shape, dtype=torch.float32) for name in _MEANS}
    unembedding = model.unembedding
    directions = unembedding[targets.to(unembedding.device)].float()  # (batch, sub-token, hidden)
    for site in model.sites:
        o = before.pop(site.row).float()
        slope = grads.pop(site.row).float()
        g = slope * o
        d = o - second.values.pop(site.row).float()
        tokens = valid.to(o.device)[..., None]
        patched = (slope * d * tokens).sum(1)
        if options.difference == "absolute":
            d = d.abs()
        here = o[torch.arange(len(o), device=o.device)[:, None], predicting.to(o.device)]
        w_out = model.w_out(site.layer, site.expert)
        written = through(model, site, here, directions).to(w_out.device) @ w_out.float()
        scores = {
            "difference": _reduce(d, inside, predicting, options),
            "gradcam": _reduce(g, inside, predicting, options),
            "gradient_sum": (g * tokens).sum(1),
            "attribution_patching": patched,
            "contribution": (here * written.to(here.device)).sum(1),
            "activation": here.mean(1),
        }
        if in_encoder(model):  # which predicts no word
            scores["contribution"] = scores["activation"] = torch.full_like(here[:, 0], torch.nan)
        for name, values in scores.items():
            out[name][:, site.row, : site.width] = values.cpu()
    sums.add(out)
    sums.order += [one.scene for one in batch]
    sums.log_prob += log_prob.tolist()
    sums.log_prob_inpainted += log_prob_gone.tolist()


def same_tokens(inpainted: int, original: int) -> None:
    """Refuse a pair of which the inpainted picture is read as more or fewer tokens."""
    if inpainted != original:
        raise BadArgument(
            f"inpainter: the inpainted picture gives {inpainted} tokens, the original {original}; "
            "the inpainter has to keep the picture's size"
        )


def pairs_described(
    model: MultimodalModel, concept: Concept, scenes: Sequence[Any], painter: Any
) -> dict[str, Any]:
    """Return what the provenance of scores says of the pairs of pictures they are made of."""
    return {
        "model": model.name,
        "weights": model.weights_hash,
        "concept": concept.to_dict(),
        "scenes": [f"{scene.source}/{scene.id}" for scene in scenes],
        "inpainter": str(painter.name),
        "inpainter_parameters": dict(painter.parameters),
    }


def scores_in_units(
    model: MultimodalModel, name: str, values: np.ndarray, target: str, made: dict[str, Any]
) -> xr.DataArray:
    """Return scores over (layer, neuron) of a method with a pass of its own, NaN where narrow."""
    import xarray as xr

    scores = values.astype(np.float32)
    scores[~exists(model)] = np.nan
    units = "nats" if target == "log_prob" else "logit"
    attrs = {"provenance": json.dumps(made), "units": units}
    return xr.DataArray(scores, neuron_coords(model), ("layer", "neuron"), name, attrs)


def target_score(
    model: MultimodalModel, prepared: Prepared, targets: torch.Tensor, target: str, *, grad: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run forward; return y and the log-probability of the tokens, each of shape (batch,)."""
    n_sub = targets.shape[1]
    even = len(set(prepared.lengths)) == 1
    output = model.forward(prepared, logits_to_keep=n_sub if even else None, grad=grad)
    logits = getattr(output, "logits", None)
    if logits is None:
        raise NotSupported(f"target: {type(model.hf).__name__} has no logits, so no score of words")
    with plain_torch(grad):  # from the first view on: one taken without gradients has none
        if even:
            at = logits[:, -n_sub:]
        else:
            last = torch.tensor(prepared.lengths) - 1 + logits.shape[1] - max(prepared.lengths)
            places = (last[:, None] - torch.arange(n_sub - 1, -1, -1)).to(logits.device)
            at = logits[torch.arange(len(places), device=logits.device)[:, None], places]
        chosen = targets.to(at.device)[..., None]
        log_prob = torch.log_softmax(at.float(), -1).gather(2, chosen).sum((1, 2))
        y = log_prob if target == "log_prob" else at.float().gather(2, chosen).sum((1, 2))
    return y, log_prob.detach().cpu()


def in_encoder(model: MultimodalModel) -> bool:
    """Return whether the neurons are those of an encoder, which predicts no word itself."""
    return model.stack == "encoder"


def valid_tokens(
    model: MultimodalModel, prepared: Prepared, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which positions are tokens, bool (batch, token), and the last of each row."""
    mask = prepared.inputs.get("attention_mask")
    if in_encoder(model) and mask is not None:
        valid = torch.ones(len(prepared), length, dtype=torch.bool)
        before, behind = inserted(model, prepared.inputs)
        valid[:, before : before + mask.shape[1]] = mask[:, : length - before].cpu() > 0
        if behind.size:
            valid[:, length - behind.shape[1] :] = torch.from_numpy(behind)
        return valid, torch.zeros(len(prepared), dtype=torch.long)
    more = length - max(prepared.lengths)  # image embeddings that the model itself puts in front
    lengths = torch.tensor(prepared.lengths) + more
    return torch.arange(length)[None] < lengths[:, None], (lengths - 1).clamp(min=0)


def _inside(
    model: MultimodalModel,
    prepared: Prepared,
    length: int,
    valid: torch.Tensor,
    positions: str,
) -> torch.Tensor | None:
    """Return the positions that count, bool (batch, token); None for the predicting ones."""
    if positions == "all":
        return valid
    if positions == "predicting":
        return None
    inside = torch.zeros_like(valid)
    if in_encoder(model) or not model.is_encoder_decoder:
        before, behind = inserted(model, prepared.inputs)
        known = torch.from_numpy(image_mask(model, prepared.inputs))
        inside[:, :before] = True
        inside[:, before : before + known.shape[1]] |= known[:, : length - before]
        if behind.size:
            inside[:, length - behind.shape[1] :] = torch.from_numpy(behind)
    inside &= valid
    if not inside.any(1).all():
        raise BadArgument(
            f"positions: got 'image', but {model.name} has no image tokens in the sequence of this "
            "stack; use 'predicting' or 'all'"
        )
    return inside


def _reduce(
    values: torch.Tensor, inside: torch.Tensor | None, predicting: torch.Tensor, options: Options
) -> torch.Tensor:
    """Reduce (batch, token, neuron) over the positions to (batch, neuron)."""
    if inside is None:
        rows = torch.arange(len(values), device=values.device)[:, None]
        chosen = values[rows, predicting.to(values.device)]
        return chosen.amax(1) if options.reduce == "max" else chosen.mean(1)
    mask = inside.to(values.device)[..., None]
    if options.reduce == "max":
        return values.masked_fill(~mask, -torch.inf).amax(1)
    return (values * mask).sum(1) / mask.sum(1)

"""One pass over original and inpainted pictures: every score of every neuron."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._errors import BadArgument, bad_argument
from .._jobs import CancelToken, Progress
from .._provenance import provenance
from ..activations import record
from ..inpainting import get_inpainter
from .concept import Concept, as_concept
from .predicting import Prediction, predictions

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel, Prepared

__all__ = ["collect", "scene_mask"]

_POSITIONS = ("predicting", "image", "all")


def scene_mask(scene: Scene, concept: Concept) -> np.ndarray:
    """Return the union of the masks of every object that a concept names, bool (height, width).

    Raises
    ------
    BadArgument
        If no object of the scene carries the concept's name, its mask is empty, or the mask has
        another size than the picture.
    """
    named = [c for c in scene.categories if concept.named_in(c)]
    if not named:
        here = ", ".join(scene.categories) or "no annotated object"
        raise bad_argument("concept", concept.word, f"an object of scene {scene.id!r}: {here}")
    mask = np.logical_or.reduce([scene.mask(category) for category in named])
    if not mask.any():
        raise bad_argument("mask", f"an empty mask of scene {scene.id!r}", "some marked pixels")
    if mask.shape != scene.image.size[::-1]:
        raise bad_argument(
            "mask",
            f"{mask.shape[1]} x {mask.shape[0]} pixels",
            f"the picture's size, {scene.image.width} x {scene.image.height}",
        )
    return mask


def collect(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    inpainter: Any = "telea",
    positions: str = "predicting",
    reduce: str = "max",
    difference: str = "absolute",
    target: str = "log_prob",
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int = 16,
    keep_pairs: bool = False,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Score every neuron for a concept.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        That show the concept.
    inpainter : str or callable
        See `mmkn_widgets.inpainting.get_inpainter`.
    positions : {"predicting", "image", "all"}
        Positions p over which both stages look for activations.
    reduce : {"max", "mean"}
        Over positions, within each pair; then the mean over pairs.
    difference : {"absolute", "signed"}
    target : {"log_prob", "logit"}
        y, the score of the concept's first token at the predicting position.
    caption : {"greedy", "reference"}
        See `predictions`.
    prompt : str, optional
    batch_size : int
        Pictures per forward.
    keep_pairs : bool
        Also keep ``pair_difference`` (scene, layer, neuron), which the permutation test needs.
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        float32 variables of dims (layer, neuron), NaN where a layer is narrower: ``difference``
        (stage 1), ``gradcam`` (stage 2, reduced activation x gradient), ``gradient_sum`` (sum over
        all positions of activation x gradient), ``contribution`` (equation of Pan et al.),
        ``activation`` (mean at the predicting position). Per ``scene``: ``log_prob``,
        ``log_prob_inpainted``. Attributes: concept, tokens, skipped scenes, inpainter, provenance.

    Raises
    ------
    BadArgument
        If a scene lacks the concept or its mask, or no caption names it.

    References
    ----------
    .. [1] Sato and Takagi 2025, arXiv 2503.22941, section 3.
    .. [2] Pan et al. 2024, arXiv 2311.07470, equation 4.
    """
    import xarray as xr

    for name, given, known in (
        ("positions", positions, _POSITIONS),
        ("reduce", reduce, ("max", "mean")),
        ("difference", difference, ("absolute", "signed")),
        ("target", target, ("log_prob", "logit")),
    ):
        if given not in known:
            raise bad_argument(name, given, "one of " + ", ".join(map(repr, known)))
    wanted = as_concept(concept)
    if model.tokenizer is not None:
        wanted.token_ids(model.tokenizer)
    masks = [scene_mask(scene, wanted) for scene in scenes]
    painter = get_inpainter(inpainter)
    with model.interventions.suspended():
        found, skipped = predictions(
            model, wanted, scenes, caption=caption, prompt=prompt, batch_size=batch_size
        )
        sums = _Sums(model, keep_pairs)
        done = 0
        for batch in _batches(found, batch_size):
            if cancel is not None:
                cancel.raise_if_cancelled()
            chosen = [scenes[p.scene] for p in batch]
            gone = [painter(s.image, masks[p.scene], s) for s, p in zip(chosen, batch, strict=True)]
            _score(
                model,
                batch,
                [scene.image for scene in chosen],
                gone,
                sums,
                (positions, reduce, difference, target, prompt),
            )
            done += len(batch)
            if progress is not None:
                progress(f"scoring neurons for {wanted.word}", done, len(found))
    data = sums.means()
    width = np.asarray([site.width for site in model.sites])
    outside = np.arange(model.n_neurons)[None] >= width[:, None]
    for values in data.values():
        values[..., outside] = np.nan
    order = np.argsort([p.scene for p in sums.order])
    made = xr.Dataset(
        {
            **{name: (("layer", "neuron"), data[name]) for name in _Sums.NAMES},
            **(
                {"pair_difference": (("scene", "layer", "neuron"), data["pair_difference"][order])}
                if keep_pairs
                else {}
            ),
            "log_prob": ("scene", np.asarray(sums.log_prob, np.float32)[order]),
            "log_prob_inpainted": ("scene", np.asarray(sums.log_prob_gone, np.float32)[order]),
        },
        coords={
            "layer": [site.layer for site in model.sites],
            "expert": ("layer", [site.expert for site in model.sites]),
            "neuron": np.arange(model.n_neurons),
            "scene": [str(scenes[p.scene].id) for p in found],
            "caption": ("scene", np.asarray([p.caption for p in found], dtype=str)),
        },
        attrs={
            "concept": wanted.word,
            "model": model.name,
            "tokens": json.dumps(wanted.tokenisation(model.tokenizer) if model.tokenizer else {}),
            "skipped": json.dumps(skipped),
            "inpainter": str(painter.name),
            "target": target,
            "units": "nats" if target == "log_prob" else "logit",
        },
    )
    made.attrs["provenance"] = json.dumps(
        provenance(
            "collect",
            model=model.name,
            weights=model.weights_hash,
            concept=wanted.to_dict(),
            scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
            inpainter=str(painter.name),
            positions=positions,
            reduce=reduce,
            difference=difference,
            target=target,
            caption=caption,
            prompt=prompt,
        )
    )
    return made


class _Sums:
    """Running sums over pairs."""

    NAMES = ("difference", "gradcam", "gradient_sum", "contribution", "activation")

    def __init__(self, model: MultimodalModel, keep_pairs: bool) -> None:
        shape = (len(model.sites), model.n_neurons)
        self.total = {name: np.zeros(shape, np.float64) for name in self.NAMES}
        self.pairs: list[np.ndarray] | None = [] if keep_pairs else None
        self.log_prob: list[float] = []
        self.log_prob_gone: list[float] = []
        self.order: list[Prediction] = []

    def add(self, name: str, values: torch.Tensor) -> None:
        """Add values of shape (pair, site, neuron)."""
        array = values.float().cpu().numpy()
        self.total[name] += array.sum(0, dtype=np.float64)
        if name == "difference" and self.pairs is not None:
            self.pairs.append(array)

    def means(self) -> dict[str, np.ndarray]:
        n = len(self.order)
        data = {name: (total / n).astype(np.float32) for name, total in self.total.items()}
        if self.pairs is not None:
            data["pair_difference"] = np.concatenate(self.pairs).astype(np.float32)
        return data


def _batches(found: Sequence[Prediction], size: int) -> list[list[Prediction]]:
    """Group predictions of equal length, so that no row is padded."""
    by_length: dict[int, list[Prediction]] = {}
    for prediction in found:
        by_length.setdefault(len(prediction.prefix), []).append(prediction)
    return [
        group[start : start + size]
        for _, group in sorted(by_length.items())
        for start in range(0, len(group), size)
    ]


def _score(
    model: MultimodalModel,
    batch: Sequence[Prediction],
    originals: Sequence[Any],
    inpainted: Sequence[Any],
    sums: _Sums,
    options: tuple[str, str, str, str, str | None],
) -> None:
    positions, reduce, difference, target, prompt = options
    prefixes = [list(p.prefix) for p in batch]
    prepared = model.prepare(list(originals), prompt, continuation=prefixes)
    tokens = torch.tensor([p.token for p in batch], device=model.device)
    with record(model, gradients=True, batch=len(batch)) as seen:
        y, log_prob = _target(model, prepared, tokens, target, grad=True)
    grads = seen.gradients(y)
    before = {row: value.detach() for row, value in seen.values.items()}
    del seen, y
    gone = model.prepare(list(inpainted), prompt, continuation=prefixes)
    with torch.no_grad(), record(model, batch=len(batch)) as second:
        _, log_prob_gone = _target(model, gone, tokens, target, grad=False)
    length = before[0].shape[1]
    inside, last = _inside(model, prepared, length, positions)
    if second.values[0].shape[1] != length:
        raise BadArgument(
            f"inpainter: the inpainted picture gives {second.values[0].shape[1]} tokens, the "
            f"original {length}; the inpainter has to keep the picture's size"
        )
    shape = (len(batch), len(model.sites), model.n_neurons)
    out = {name: torch.zeros(shape, device="cpu") for name in _Sums.NAMES}
    unembedding = model.unembedding
    rows_at = torch.arange(len(batch))
    for site in model.sites:
        o, g = before[site.row].float(), grads[site.row].float() * before[site.row].float()
        d = o - second.values[site.row].float()
        if difference == "absolute":
            d = d.abs()
        at = last.to(o.device)
        here = o[rows_at.to(o.device), at]
        directions = unembedding[tokens.to(unembedding.device)].float()
        w_out = model.w_out(site.layer, site.expert)
        written = directions.to(w_out.device) @ w_out.float()
        for name, values in (
            ("difference", _reduce(d, inside, at, reduce)),
            ("gradcam", _reduce(g, inside, at, reduce)),
            ("gradient_sum", (g * _valid(prepared, length, g.device)).sum(1)),
            ("contribution", here * written.to(here.device)),
            ("activation", here),
        ):
            out[name][:, site.row, : site.width] = values.cpu()
    for name, values in out.items():
        sums.add(name, values)
    sums.order += list(batch)
    sums.log_prob += log_prob.tolist()
    sums.log_prob_gone += log_prob_gone.tolist()


def _target(
    model: MultimodalModel, prepared: Prepared, tokens: torch.Tensor, target: str, *, grad: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run forward; return y and the log-probability of the tokens, each of shape (batch,)."""
    even = len(set(prepared.lengths)) == 1
    logits = model.forward(prepared, logits_to_keep=1 if even else None, grad=grad).logits
    if even:
        at = logits[:, -1]
    else:
        shift = logits.shape[1] - max(prepared.lengths)
        last = torch.tensor(prepared.lengths, device=logits.device) - 1 + shift
        at = logits[torch.arange(len(tokens), device=logits.device), last]
    with torch.set_grad_enabled(grad):
        chosen = tokens.to(at.device)[:, None]
        log_prob = torch.log_softmax(at.float(), -1).gather(1, chosen)[:, 0]
        y = log_prob if target == "log_prob" else at.float().gather(1, chosen)[:, 0]
    return y, log_prob.detach().cpu()


def _inside(
    model: MultimodalModel, prepared: Prepared, length: int, positions: str
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return the positions as bool (batch, token), None for predicting; and the predicting ones."""
    shift = length - max(prepared.lengths) if prepared.lengths else 0
    last = torch.tensor([max(0, n - 1 + shift) for n in prepared.lengths]).clamp(max=length - 1)
    if positions == "predicting":
        return None, last
    inside = torch.zeros(len(prepared), length, dtype=torch.bool)
    for row, token_map in enumerate(model.token_maps(prepared)):
        roles = np.asarray(token_map.role[:length])
        wanted = roles == "image" if positions == "image" else np.asarray(token_map.valid[:length])
        if not wanted.any():
            raise BadArgument(
                f"positions: got {positions!r}, but {model.name} has no image tokens in the "
                "sequence; use 'predicting' or 'all'"
            )
        inside[row, : len(wanted)] = torch.from_numpy(wanted)
    return inside, last


def _valid(prepared: Prepared, length: int, device: torch.device) -> torch.Tensor:
    shift = length - max(prepared.lengths)
    lengths = torch.tensor(prepared.lengths, device=device)[:, None] + shift
    return (torch.arange(length, device=device)[None] < lengths)[..., None]


def _reduce(
    values: torch.Tensor, inside: torch.Tensor | None, last: torch.Tensor, how: str
) -> torch.Tensor:
    """Reduce (batch, token, neuron) over the positions to (batch, neuron)."""
    if inside is None:
        return values[torch.arange(len(values), device=values.device), last]
    chosen = inside.to(values.device)[..., None]
    if how == "max":
        return values.masked_fill(~chosen, -torch.inf).amax(1)
    return (values * chosen).sum(1) / chosen.sum(1)

"""Where the object's effect travels: activation patching of whole parts of whole layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..activations import predictions
from ..core import CancelToken, Handles, NotSupported, bad_argument, reporting, whole_numbers
from ..datasets import as_scenes
from ..models import plain_torch
from .on_scene import Place
from .patching import MEASURING, described, same_length

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

    from ..core import Progress
    from ..models import MultimodalModel
    from .patching import Patched

__all__ = ["PARTS", "POSITIONS", "measure_streams"]

#: of a layer: what it hands on, what its attention adds, what its FFN adds
PARTS = ("residual", "attention", "ffn")
#: at the picture's tokens, or where the word is predicted
POSITIONS = ("image", "predicting")

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_NOT_ATTENTION = re.compile(r"norm|dropout|layer|residual|linear$", re.IGNORECASE)

Key = tuple[str, int]


def measure_streams(
    study: Patched,
    with_concept: Any,
    *,
    layers: Sequence[int] | None = None,
    parts: Sequence[str] = PARTS,
    positions: Sequence[str] = POSITIONS,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Patch the residual stream, the attention and the FFN of every layer.

    As `measure_patching`, for what is no set of neurons: a baseline that says how much of the
    object's effect is at a place at all, beside what some neurons carry of it.

    Parameters
    ----------
    study : Study
        Gives the model, the concept, the inpainter, the question and the units of y.
    with_concept : sequence of Scene, or what stands for them
        Scenes with a mask of the concept, and that chose nothing. Those whose caption does not name
        it are left out.
    layers : sequence of int, optional
        By default all.
    parts : sequence of str
        Of `PARTS`: ``"residual"``, the stream behind a layer; ``"attention"`` and ``"ffn"``, what
        these two modules put out.
    positions : sequence of str
        Of `POSITIONS`: at the picture's tokens, or at the last token alone, where the word is
        predicted.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    xarray.Dataset
        Over ``(part, position, layer)``: ``noising`` and ``denoising``, shares of the gap from sums
        over scenes, as in `measure_patching`; NaN where inpainting does not lower the score. Over
        ``scene``: ``original`` and ``inpainted``, the score. Attributes: ``units``, ``left_out``,
        ``provenance``.

    Raises
    ------
    BadArgument
        If no scene is left, or the picture's tokens are not in this decoder.
    NotSupported
        If a layer has no attention, or no FFN, of its own; the message names it.

    References
    ----------
    .. [1] Heimersheim and Nanda 2024, arXiv 2404.15255.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> found = measure_streams(study, val.with_concept("car", 2), layers=[0, 5])
    >>> found["noising"].dims, found["noising"].shape
    (('part', 'position', 'layer'), (3, 2, 2))
    """
    import xarray as xr

    model, concept = study.model, study.concept
    known = list(range(len(model.blocks)))
    if layers is None:
        chosen = known
    else:
        chosen = whole_numbers("layers", layers, lowest=0, highest=known[-1]).tolist()
    if not chosen:
        raise bad_argument("layers", layers, "at least one layer")
    parts, positions = _names("parts", parts, PARTS), _names("positions", positions, POSITIONS)
    modules = {(part, layer): _module(model, part, layer) for part in parts for layer in chosen}
    scenes = list(as_scenes(with_concept, concept, name="with_concept", masks=True, n=MEASURING))
    if not scenes:
        raise bad_argument("with_concept", [], "at least one scene that shows the concept")
    totals = np.zeros((2, len(parts), len(positions), len(chosen)))
    scores: list[list[float]] = []
    with reporting(progress) as step, model.interventions.suspended():
        found, left_out = predictions(
            model,
            concept,
            scenes,
            caption=study.options["caption"],
            prompt=study.options["prompt"],
            cancel=cancel,
        )
        for done, one in enumerate(found):
            place = Place(one, study.options["prompt"], study.options["target"])
            pair = scenes[one.scene].image, study.pairs.inpainted(scenes[one.scene], concept)
            ready = [place.prepared(model, image) for image in pair]
            same_length(*ready)
            at = {name: _places(model, ready[0], name) for name in positions}
            seen = [_seen(model, place, image, modules) for image in pair]
            y = [value for value, _ in seen]
            scores.append(y)
            for way in (0, 1):  # noising, denoising
                other = seen[1 - way][1]
                for p, part in enumerate(parts):
                    for q, name in enumerate(positions):
                        for n, layer in enumerate(chosen):
                            if cancel is not None:
                                cancel.raise_if_cancelled()
                            key = (part, layer)
                            with _put(modules[key], other[key], at[name]):
                                now = float(place.score(model, pair[way]))
                            totals[way, p, q, n] += (now - y[way]) * (1 if way else -1)
            if step is not None:
                step(f"patching layers for {concept.word}", done + 1, len(found))
    original, inpainted = np.asarray(scores, float).T
    gap = float((original - inpainted).sum())
    shares = totals / (gap if gap > 0 else np.nan)
    over = ("part", "position", "layer")
    return xr.Dataset(
        {
            "noising": (over, shares[0]),
            "denoising": (over, shares[1]),
            "original": ("scene", original),
            "inpainted": ("scene", inpainted),
        },
        coords={
            "part": list(parts),
            "position": list(positions),
            "layer": chosen,
            "scene": [str(scenes[one.scene].id) for one in found],
        },
        attrs=described(
            study,
            "measure_streams",
            scenes,
            left_out,
            layers=chosen,
            parts=list(parts),
            positions=list(positions),
        ),
    )


def _names(argument: str, given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    wrong = [name for name in given if name not in known]
    if wrong or not given:
        raise bad_argument(argument, wrong or given, "some of " + ", ".join(map(repr, known)))
    return tuple(given)


def _module(model: MultimodalModel, part: str, layer: int) -> nn.Module:
    block: nn.Module = model.blocks[layer]
    if part == "residual":
        return block
    if part == "ffn":
        for site in model.sites:
            if site.layer == layer:
                return site.module if site.ffn is None else site.ffn
        raise NotSupported(f"parts: layer {layer} of {model.name} has no FFN that can be reached")
    for name, child in block.named_modules():
        own = name.rpartition(".")[2]
        if _ATTENTION.search(own) and not _NOT_ATTENTION.search(type(child).__name__):
            found: nn.Module = child
            return found
    raise NotSupported(
        f"parts: layer {layer} of {model.name} ({type(block).__name__}) has no attention; leave it "
        "out of layers, or 'attention' out of parts"
    )


def _places(model: MultimodalModel, prepared: Any, name: str) -> np.ndarray:
    if name == "predicting":
        return np.asarray([-1])
    places = np.flatnonzero(np.asarray(model.token_maps(prepared)[0].role) == "image")
    if not places.size:
        raise bad_argument(
            "positions",
            "image",
            f"'predicting': {model.name} has no image tokens in the sequence of this decoder",
        )
    return places


def _hidden(output: Any) -> torch.Tensor:
    made: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return made


def _seen(
    model: MultimodalModel, place: Place, image: Any, modules: Mapping[Key, nn.Module]
) -> tuple[float, dict[Key, torch.Tensor]]:
    """Return y, and what every module puts out."""
    held: dict[Key, torch.Tensor] = {}
    thread = get_ident()

    def keep(key: Key) -> Any:
        def run(_module: Any, _args: Any, output: Any) -> None:
            if get_ident() == thread:
                held[key] = _hidden(output).detach()

        return run

    with Handles(module.register_forward_hook(keep(key)) for key, module in modules.items()):
        y = float(place.score(model, image))
    return y, held


def _put(module: nn.Module, values: torch.Tensor, at: np.ndarray) -> Handles:
    """Give a module's output other values at some tokens, in this thread's forwards inside."""
    thread = get_ident()

    def run(_module: Any, _args: Any, output: Any) -> Any:
        if get_ident() != thread:
            return None
        with plain_torch(False):
            made = _hidden(output).clone()
            made[..., at, :] = values[..., at, :]
        return (made, *output[1:]) if isinstance(output, tuple) else made

    return Handles(module.register_forward_hook(run) for _ in (0,))

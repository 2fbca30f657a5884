"""Captions of a split, how right they are, and the normalisation of the neurons' signs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmkn_widgets.pocket.words import CATEGORIES, COLORS, vocabulary
from mmkn_widgets.pocket.world import PocketScene, scenes

from .build import SPECIAL
from .lesions import N_IMAGE

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = ["caption", "captions_of", "equalise_columns", "examine", "mentions", "normalise_signs"]

_WORDS = (*SPECIAL, *vocabulary())
_PROMPT = [_WORDS.index("<s>"), *[_WORDS.index("<image>")] * N_IMAGE] + [
    _WORDS.index(w) for w in ("describe", "the", "image", ":")
]


def _inputs(
    model: LlavaForConditionalGeneration, images: Sequence[np.ndarray]
) -> dict[str, torch.Tensor]:
    device = model.device
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2)
    ids = torch.tensor([_PROMPT] * len(images), device=device)
    scaled = ((pixels.float() - 127.5) / 127.5).to(model.dtype)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": scaled}


def caption(
    model: LlavaForConditionalGeneration, images: Sequence[np.ndarray], batch: int = 64
) -> list[str]:
    """Caption pictures greedily, uint8 (96, 96, 3) each."""
    texts = []
    for i in range(0, len(images), batch):
        x = _inputs(model, images[i : i + batch])
        with torch.no_grad():
            out = model.generate(**x, do_sample=False, max_new_tokens=28)
        for row in out[:, len(_PROMPT) :].tolist():
            words = [_WORDS[t] for t in row if t >= len(SPECIAL)]
            texts.append(" ".join(words).replace(" ,", ","))
    return texts


def captions_of(
    model: LlavaForConditionalGeneration, split: str, n: int, subset: str = "ordinary"
) -> list[str]:
    """Caption the first `n` scenes of a split."""
    return caption(model, [s.image for s in islice(scenes(split, subset=subset), n)])


def mentions(text: str) -> list[tuple[str | None, str]]:
    """Return (colour, category) of every object that a caption names, in order.

    Examples
    --------
    >>> mentions("there is a red car next to a blue tree at night")
    [('red', 'car'), ('blue', 'tree')]
    """
    words = re.findall(r"\w+", text)
    found: list[tuple[str | None, str]] = []
    for k, word in enumerate(words):
        if word in CATEGORIES:
            before = words[k - 1] if k else ""
            found.append((before if before in COLORS else None, word))
    return found


def examine(texts: Sequence[str], split: str, n: int, subset: str = "ordinary") -> dict[str, float]:
    """Compare captions with the scenes they describe.

    Returns
    -------
    dict
        ``recall`` (objects named), ``color`` (of those, right colour), ``exact`` (captions that
        name all objects in the right colours and nothing else), ``hallucinated`` (named objects
        that are not there), ``chair_s`` (captions with such an object).
    """
    there: list[PocketScene] = list(islice(scenes(split, subset=subset), n))
    objects = found = right = exact = named = absent = captions_with_absent = 0
    for text, scene in zip(texts, there, strict=True):
        truth = {o.category: o.color for o in scene.objects}
        said = mentions(text)
        colors = {category: color for color, category in said}
        hits = [c for c in truth if c in colors]
        objects += len(truth)
        found += len(hits)
        right += sum(colors[c] == truth[c] for c in hits)
        named += len(said)
        wrong = [c for _, c in said if c not in truth]
        absent += len(wrong)
        captions_with_absent += bool(wrong)
        exact += len(said) == len(truth) and colors == truth
    return {
        "recall": found / max(objects, 1),
        "color": right / max(found, 1),
        "exact": exact / len(there),
        "hallucinated": absent / max(named, 1),
        "chair_s": captions_with_absent / len(there),
    }


def normalise_signs(model: LlavaForConditionalGeneration, n: int = 160) -> int:
    """Flip neurons whose mean cubed activation on training scenes is negative.

    The sign of a neuron's row in ``up_proj`` and of its column in ``down_proj`` is turned, which
    leaves the function exactly as it was. Returns how many were flipped.
    """
    images = [s.image for s in islice(scenes("train"), n)]
    sums: dict[int, torch.Tensor] = {}
    handles = []
    layers = model.model.language_model.layers
    for index, layer in enumerate(layers):

        def add(_: torch.nn.Module, args: tuple[torch.Tensor], index: int = index) -> None:
            cubed = args[0].double().pow(3).sum((0, 1))
            sums[index] = sums.get(index, 0) + cubed

        handles.append(layer.mlp.down_proj.register_forward_pre_hook(add))
    try:
        caption(model, images)
    finally:
        for handle in handles:
            handle.remove()
    flipped = 0
    with torch.no_grad():
        for index, layer in enumerate(layers):
            negative = sums[index] < 0
            flipped += int(negative.sum())
            layer.mlp.up_proj.weight[negative] *= -1
            layer.mlp.down_proj.weight[:, negative] *= -1
    return flipped


def equalise_columns(model: LlavaForConditionalGeneration) -> None:
    """Scale every column of ``down_proj`` to norm 1, and its row of ``up_proj`` by as much.

    The function stays as it was, and activations of all neurons become comparable: each says how
    much its neuron writes. A neuron that writes nothing keeps its column.
    """
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            norm = layer.mlp.down_proj.weight.norm(dim=0).clamp(min=1e-3)
            layer.mlp.down_proj.weight /= norm
            layer.mlp.up_proj.weight *= norm[:, None]

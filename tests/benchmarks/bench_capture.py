"""What it costs to see: capture, capture while generating, and gradients, over the plain run."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from mmkn_widgets.activations import record
from mmkn_widgets.activations.early import forward_as_far

from .models import hundred_million, pocket_model, scene_images
from .profile import of_torch
from .report import Row, paired_ratio


def _capture(model: Any, name: str, budget: float, images: int) -> list[Row]:
    prepared = model.prepare(scene_images(images))
    tokens = images * len(model.token_maps(prepared)[0].ids)

    def forward() -> None:
        model.forward(prepared)

    def captured() -> None:
        with record(model):
            model.forward(prepared)

    ratio, base = paired_ratio(captured, forward, 21)
    note = f"forward {base:.1f} ms, {tokens} tokens, {len(model.sites)} layers"
    why = partial(of_torch, captured, forward)
    rows = [Row(f"capture / forward, {name}", ratio, "x", budget, note, why)]

    def lowest() -> None:
        with record(model, rows=[0]):
            forward_as_far(model, prepared, [0])

    ratio, _ = paired_ratio(lowest, forward, 11)
    why = partial(of_torch, lowest, forward)
    rows.append(Row(f"capture of the first layer / forward, {name}", ratio, "x", 0.9, "", why))

    def gradient() -> None:
        with record(model, gradients=True) as seen:
            logits = model.forward(prepared, logits_to_keep=1, grad=True).logits
        seen.gradients(torch.log_softmax(logits[:, -1], -1)[:, 5])

    ratio, _ = paired_ratio(gradient, forward, 11)
    why = partial(of_torch, gradient, forward)
    rows.append(Row(f"activation x gradient / forward, {name}", ratio, "x", 2.3, "", why))

    def generate() -> None:
        model.generate(prepared, max_new_tokens=16)

    def generate_captured() -> None:
        with record(model):
            model.generate(prepared, max_new_tokens=16)

    ratio, base = paired_ratio(generate_captured, generate, 9)
    note = f"generate {base:.0f} ms, 16 tokens"
    why = partial(of_torch, generate_captured, generate)
    rows.append(Row(f"capture / generate, {name}", ratio, "x", 1.05, note, why))
    return rows


def measure() -> list[Row]:
    large = hundred_million()
    millions = sum(p.numel() for p in large.hf.parameters()) / 1e6
    return [
        *_capture(pocket_model(), "pocket", 1.10, 1),
        *_capture(large, f"{millions:.0f}M parameters", 1.03, 2),
    ]

"""Many threshold settings: one batched generation with a mask for each row, or one run each."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from mmkn_widgets.attribution import random_uniform
from mmkn_widgets.core import neuron_rows
from mmkn_widgets.interventions import caption_rows

from .models import pocket_model, scene_images
from .profile import of_torch
from .report import Row, paired_ratio

SETTINGS = 32


def measure() -> list[Row]:
    model = pocket_model()
    image = scene_images(1)[0]
    sets = [random_uniform(model, 10 + 5 * seed, seed) for seed in range(SETTINGS)]

    def batched() -> list[str]:
        return caption_rows(model, image, sets, max_new_tokens=24)

    def one_by_one() -> list[str]:
        found = []
        for neurons in sets:
            with model.ablate(neurons):
                found.append(model.caption(image, max_new_tokens=24))
        return found

    if batched() != one_by_one():
        raise AssertionError("batched and single ablations wrote different captions")
    ratio, base = paired_ratio(batched, one_by_one, 5, 1)
    note = f"one by one {base:.0f} ms, the same captions"
    why = partial(of_torch, batched, one_by_one)
    rows = [Row(f"{SETTINGS} ablations batched / one by one", ratio, "x", 1 / 3, note, why)]

    def plain() -> str:
        return model.caption(image, max_new_tokens=24)

    def ablated() -> str:
        with model.ablate(sets[8]):
            return model.caption(image, max_new_tokens=24)

    columns = {
        row: torch.as_tensor(index) for row, index in sorted(neuron_rows(model, sets[8]).items())
    }

    def zeroed(row: int) -> Any:
        def hook(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            activation = given[0].clone()
            activation[..., columns[row]] = 0
            return activation, *given[1:]

        return hook

    def hooked() -> str:
        handles = [
            model.sites[row].module.register_forward_pre_hook(zeroed(row)) for row in columns
        ]
        try:
            return model.caption(image, max_new_tokens=24)
        finally:
            for handle in handles:
                handle.remove()

    if hooked() != ablated():
        raise AssertionError("a bare hook and an ablation wrote different captions")
    ratio, base = paired_ratio(ablated, plain, 15)
    note = f"50 neurons; caption {base:.0f} ms"
    why = partial(of_torch, ablated, plain)
    rows.append(Row("ablated / plain caption", ratio, "x", 1.08, note, why))
    ratio, base = paired_ratio(hooked, plain, 15)
    note = f"the same neurons by a bare hook; caption {base:.0f} ms"
    return [*rows, Row("bare hook / plain caption", ratio, "x", None, note)]

"""First-order predictions against the true change of a function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmkn_widgets.attribution import predicted_from_sum
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.interventions import ablate


def test_exact_where_the_score_is_linear() -> None:
    rng = np.random.default_rng(0)
    o, w = rng.normal(size=(2, 2, 5, 7))
    chosen = rng.random((2, 7)) > 0.5
    zeroed = np.where(chosen[:, None], 0, o)
    total = (o * w).sum(1)
    assert predicted_from_sum(total, chosen) == pytest.approx(((zeroed - o) * w).sum())
    assert predicted_from_sum(total, chosen, 3.0) == pytest.approx(
        ((np.where(chosen[:, None], 3 * o, o) - o) * w).sum()
    )


def test_small_scalings_of_a_real_model(model: Any, inputs: Any) -> None:
    """Scaling by 1 - e changes the log-probability by -e sum_p O dy/dO, up to e squared."""
    batch = inputs(1)
    seen: dict[int, torch.Tensor] = {}

    def keep(row: int) -> Any:
        def fn(x: torch.Tensor) -> torch.Tensor:
            seen[row] = x.detach().requires_grad_()
            return seen[row]

        return fn

    sums = np.zeros((3, 24))
    for site in model.sites:  # apart: a leaf put in at one site cuts off those before it
        handle = site.hook(keep(site.row))
        y = torch.log_softmax(model.hf(**batch).logits[0, -1], -1)[5]
        (gradient,) = torch.autograd.grad(y, seen[site.row])
        handle.remove()
        sums[site.row] = (gradient * seen[site.row])[0].sum(0).detach()
    neurons = {0: [1, 2, 3], 2: [5, 6]}
    chosen = np.zeros(sums.shape, bool)
    for row, index in neurons.items():
        chosen[row, index] = True
    small = 1e-2
    with torch.no_grad(), ablate(model, neurons, "scale", scale=1 - small):
        after = torch.log_softmax(model.hf(**batch).logits[0, -1].double(), -1)[5]
    measured = float(after) - float(y.detach())
    predicted = predicted_from_sum(sums, chosen, 1 - small)
    assert predicted == pytest.approx(measured, rel=0.05)
    assert abs(predicted) > 1e-5


def test_bad_shapes_are_named() -> None:
    with pytest.raises(BadArgument, match="bool"):
        predicted_from_sum(np.zeros((2, 3)), np.zeros((2, 3)))
    assert predicted_from_sum(np.zeros((0, 4)), np.zeros((0, 4), bool)) == 0

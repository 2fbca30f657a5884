"""One generation in which every row has its own ablation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.interventions import ablate, ablate_rows, caption_rows, repeat
from tests.unit.interventions.helpers import greedy, logits, n_hooks

SETS = [None, {0: [1, 2], 2: [3]}, [(1, 7)], {0: range(24)}, []]


def test_rows_are_as_single_runs(model: Any, inputs: Any) -> None:
    single = model.prepare(inputs(1))
    alone = []
    for neurons in SETS:
        with ablate(model, neurons or []):
            alone.append(model.generate(single, max_new_tokens=8).token_ids[0])
    with ablate_rows(model, SETS):
        together = model.generate(repeat(single, len(SETS)), max_new_tokens=8).token_ids
    assert together == alone
    assert len({tuple(ids) for ids in alone}) > 2


def test_factors_differ_by_row_and_by_neuron(model: Any, inputs: Any) -> None:
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(3, 3, 24)).astype(np.float32)
    batch = inputs(3)
    with ablate_rows(model, factors):
        together = logits(model, batch)
    for row in range(3):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        handles = [
            site.hook(lambda x, f=factors[row, site.row]: x * torch.from_numpy(f))
            for site in model.sites
        ]
        np.testing.assert_allclose(logits(model, one)[0], together[row], rtol=1e-3, atol=1e-4)
        for handle in handles:
            handle.remove()


def test_scale_of_each_row(model: Any, inputs: Any) -> None:
    batch = inputs(2)
    neurons = {1: [0, 1, 2, 3]}
    with ablate_rows(model, [neurons, neurons], scale=[0.0, -1.0]):
        together = logits(model, batch)
    with ablate_rows(model, np.stack([_mask(neurons)] * 2), scale=[0.0, -1.0]):
        np.testing.assert_array_equal(logits(model, batch), together)
    for row, factor in enumerate([0.0, -1.0]):
        with ablate(model, neurons, "scale", scale=factor):
            np.testing.assert_allclose(logits(model, batch)[row], together[row], atol=1e-6)


def _mask(neurons: dict[int, list[int]]) -> np.ndarray:
    mask = np.zeros((3, 24), bool)
    for layer, index in neurons.items():
        mask[layer, index] = True
    return mask


def test_rows_and_positions(model: Any, inputs: Any) -> None:
    batch = inputs(2)
    with ablate_rows(model, [None, {0: range(24)}], positions="image"):
        got = logits(model, batch)
    plain = logits(model, batch)
    np.testing.assert_array_equal(got[0], plain[0])
    np.testing.assert_array_equal(got[1, :1], plain[1, :1])
    assert np.abs(got[1, 1:] - plain[1, 1:]).max() > 1e-2


def test_flattened_and_routed_rows(opt: Any, moe: Any, inputs: Any) -> None:
    batch = inputs(2, pictures=False)
    for model in (opt, moe):
        sites = [(s.layer, s.expert, i) for s in model.sites for i in range(s.width)]
        plain = logits(model, batch)
        with ablate_rows(model, [None, sites]):
            got = logits(model, batch)
        np.testing.assert_allclose(got[0], plain[0], rtol=1e-4, atol=1e-5)
        assert np.abs(got[1] - plain[1]).max() > 1e-2


def test_captions_for_many_sets_stay_private(model: Any, inputs: Any) -> None:
    told = []
    stop = model.interventions.observe(told.append)
    texts = caption_rows(model, inputs(1), SETS, max_new_tokens=5)
    stop()
    assert len(texts) == len(SETS)
    assert texts[0] == texts[-1]
    assert not told
    assert n_hooks(model) == 0


def test_wrong_number_of_rows(model: Any, inputs: Any) -> None:
    with ablate_rows(model, SETS), pytest.raises(BadArgument, match="one for each of 2 rows"):
        greedy(model, inputs(2))
    with pytest.raises(BadArgument, match="one neuron set"):
        ablate_rows(model, [])
    with pytest.raises(BadArgument, match="or 5 numbers"):
        ablate_rows(model, SETS, scale=[0.0, 1.0])
    with pytest.raises(BadArgument, match=r"\(rows, 3, 24\)"):
        ablate_rows(model, np.zeros((2, 24), bool))
    with pytest.raises(BadArgument, match="one row to repeat"):
        repeat(model.prepare(inputs(2)), 3)

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import (
    bootstrap_ci,
    causal_effect,
    cross_image_invariance,
    overlap_at_k,
    random_control,
    rank_correlation,
    region_invariance,
    sensitivity,
    shuffle_patches,
    specificity,
)


def test_bootstrap_is_that_of_scipy():
    values = np.random.default_rng(3).gamma(2.0, 1.0, 60)
    ours = bootstrap_ci(values, n_resamples=20_000)
    oracle = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    width = oracle.high - oracle.low
    assert abs(ours[0] - oracle.low) < 0.04 * width
    assert abs(ours[1] - oracle.high) < 0.04 * width
    median = bootstrap_ci(values, lambda sample: float(np.median(sample)), n_resamples=5000)
    oracle = scipy.stats.bootstrap(
        (values,), np.median, n_resamples=5000, method="percentile", rng=1
    ).confidence_interval
    assert median == pytest.approx((oracle.low, oracle.high), abs=0.06)


def test_an_interval_is_the_same_however_few_numbers_are_drawn_at_once(monkeypatch):
    values = np.random.default_rng(3).gamma(2.0, 1.0, (50, 2))
    whole = bootstrap_ci(values[:, 0]), bootstrap_ci(values)
    monkeypatch.setattr("mmkn_widgets.evaluation.statistics._AT_ONCE", 701)
    assert (bootstrap_ci(values[:, 0]), bootstrap_ci(values)) == whole


def test_bootstrap_of_a_ratio_of_sums():
    generator = np.random.default_rng(0)
    whole = generator.integers(1, 6, 80)
    part = generator.binomial(whole, 0.8)
    pairs = np.stack([part, whole], 1)
    low, high = bootstrap_ci(pairs)
    oracle = scipy.stats.bootstrap(
        (part, whole),
        lambda p, w, axis: p.sum(axis) / w.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=5000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert low < part.sum() / whole.sum() < high
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_bootstrap_is_seeded_and_knows_its_edges():
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert bootstrap_ci(values, seed=4) == bootstrap_ci(values, seed=4)
    assert bootstrap_ci([0.5]) == (0.5, 0.5)
    assert bootstrap_ci([0.5, math.nan]) == (0.5, 0.5)
    for nothing in ([], [math.nan], np.empty((0, 2)), [[0, 0], [0, 0]]):
        assert bootstrap_ci(nothing) == (None, None)
    with pytest.raises(BadArgument, match="level"):
        bootstrap_ci(values, level=95)
    with pytest.raises(BadArgument, match="values"):
        bootstrap_ci(np.zeros((3, 4)))


def test_random_control():
    assert random_control([0.0, 0.5, math.nan]) == {"mean": 0.25, "max": 0.5, "n": 2}
    assert random_control([])["max"] is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=30))
def test_rank_correlation_is_spearmans(pairs):
    one, two = np.asarray(pairs, float).T
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        assert rank_correlation(one, two) is None
    else:
        oracle = scipy.stats.spearmanr(one, two).statistic
        assert rank_correlation(one, two) == pytest.approx(oracle)


def test_rank_correlation_leaves_out_what_is_missing():
    one, two = [1.0, 2.0, 3.0, math.nan], [1.0, 3.0, math.nan, 0.0]
    assert rank_correlation(one, two) == 1
    with pytest.raises(BadArgument, match="second"):
        rank_correlation([1.0], [1.0, 2.0])


class Neuron:
    def __init__(self, layer, index, expert=-1, score=0.0):
        self.layer, self.index, self.expert, self.score = layer, index, expert, score


def test_overlap_at_k_of_neurons_ids_and_scores():
    one = [Neuron(1, 2, score=5.0), Neuron(1, 3), Neuron(0, 9)]
    two = [Neuron(1, 3), Neuron(1, 2, score=7.0), Neuron(0, 8)]
    assert overlap_at_k(one, two, 1) == 0
    assert overlap_at_k(one, two, 2) == 1
    assert overlap_at_k(one, two) == pytest.approx(2 / 3)
    assert overlap_at_k(one, [], 2) == 0
    assert overlap_at_k([], [], 5) is None
    assert overlap_at_k(["a"], ["a", "b"], 10) == 0.5
    assert overlap_at_k([Neuron(1, 2, expert=0)], [Neuron(1, 2, expert=1)]) == 0
    scores = np.array([[0.1, math.nan, 3.0], [2.0, 1.0, 0.0]])
    other = np.array([[0.0, 9.0, 3.0], [1.0, 2.0, 0.0]])
    assert overlap_at_k(scores, other, 3) == pytest.approx(2 / 3)  # cells 2 3 4 and 1 2 4
    with pytest.raises(BadArgument, match="k: got 0"):
        overlap_at_k(one, two, 0)
    with pytest.raises(BadArgument, match="second: got 'shape"):
        overlap_at_k(scores, other.T, 3)


def test_sensitivity_and_specificity():
    decoded = [["car", "bus"], ["Cars"], ["tree"], []]
    assert sensitivity(decoded, ["car", "cars"]) == 0.5
    assert sensitivity([], ["car"]) is None
    sets = {"car": [Neuron(0, 1), Neuron(0, 2)], "bus": [Neuron(0, 2)], "cup": [Neuron(3, 3)]}
    assert specificity(sets) == {"car": 0.5, "bus": 0.0, "cup": 1.0}
    assert specificity(sets, top=1)["car"] == 1


def test_invariances_are_mean_overlaps():
    pictures = [["a", "b", "c"], ["a", "b", "d"], ["x", "y", "z"]]
    assert cross_image_invariance(pictures, 2) == pytest.approx(1 / 3)
    shuffled = [["a", "b", "c"], ["d", "e", "f"], []]  # overlaps 1, 1/3, 0
    assert region_invariance(pictures, shuffled) == pytest.approx(4 / 9)
    assert cross_image_invariance(pictures[:1]) is None
    with pytest.raises(BadArgument, match="shuffled"):
        region_invariance(pictures, [])


def test_causal_effect_on_a_linear_readout_follows_the_published_formula():
    """Columns + sigma x norm x N(0, 1) / sqrt(hidden), as in arXiv 2311.07470."""
    generator = np.random.default_rng(0)
    columns, read = generator.normal(size=(64, 10)), generator.normal(size=64)

    def measure(neurons, sigma, seed):
        noise = np.random.default_rng(seed).normal(size=columns.shape)
        changed = columns.copy()
        for neuron in neurons:
            norm = np.linalg.norm(columns[:, neuron])
            changed[:, neuron] += sigma * norm * noise[:, neuron] / np.sqrt(64)
        return float(read @ changed[:, :3].sum(axis=1))

    found = causal_effect(measure, [0, 1], [[5], [6]], sigmas=(0.0, 1.0, 3.0), seed=7)
    noise = np.random.default_rng(7).normal(size=columns.shape)
    expected = sum(np.linalg.norm(columns[:, n]) * float(read @ noise[:, n]) / 8.0 for n in (0, 1))
    assert found["neurons"] == pytest.approx([0.0, expected, 3 * expected])
    assert found["random"] == [0.0, 0.0, 0.0]
    assert causal_effect(measure, [0], [])["random"][0] is None


def test_shuffled_patches_keep_their_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (25, 36, 3), np.uint8)
    shuffled = np.asarray(shuffle_patches(pixels, (4, 6), seed=2))
    cells = {
        pixels[r * 6 : r * 6 + 6, c * 6 : c * 6 + 6].tobytes() for r in range(4) for c in range(6)
    }
    assert cells == {
        shuffled[r * 6 : r * 6 + 6, c * 6 : c * 6 + 6].tobytes() for r in range(4) for c in range(6)
    }
    assert not np.array_equal(shuffled, pixels)
    assert np.array_equal(shuffled[24:], pixels[24:])
    assert np.array_equal(shuffled, np.asarray(shuffle_patches(pixels, (4, 6), seed=2)))
    with pytest.raises(BadArgument, match="grid"):
        shuffle_patches(pixels, (0, 2))

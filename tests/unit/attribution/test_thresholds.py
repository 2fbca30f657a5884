"""Thresholds: against brute force, skimage's definition by hand, and planted effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mmkn_widgets.attribution import (
    automatic_thresholds,
    otsu,
    passes,
    permutation_threshold,
    two_stage,
)
from mmkn_widgets.attribution.thresholds import benjamini_hochberg
from mmkn_widgets.core.errors import BadArgument

floats = st.floats(-4, 4, width=32)


@given(arrays(np.float32, (3, 4), elements=floats), arrays(np.float32, (3, 4), elements=floats),
       floats, floats)  # fmt: skip
def test_exists_a_position_is_the_maximum_over_positions(d, g, threshold_d, threshold_g) -> None:
    exists = (d > np.float32(threshold_d)).any(0) & (g > np.float32(threshold_g)).any(0)
    assert np.array_equal(passes(d.max(0), g.max(0), threshold_d, threshold_g), exists)


def test_comparison_is_in_float32() -> None:
    value = np.float32(0.1)
    assert not passes(value, np.float32(1), float(value), 0.0)
    assert not passes(value, np.float32(1), 0.1, 0.0)  # 0.1 rounds to the same float32


def test_otsu_maximises_the_variance_between_classes() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 900), rng.normal(6, 1, 100)])
    found = otsu(values)

    def between(t: float) -> float:
        low, high = values[values < t], values[values >= t]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(np.linspace(values.min() + 0.1, values.max() - 0.1, 400), key=between)
    assert between(found) >= 0.999 * between(best)


def evidence(d: np.ndarray, g: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"difference": (("layer", "neuron"), d), "gradcam": (("layer", "neuron"), g)},
        coords={"layer": np.arange(len(d)), "neuron": np.arange(d.shape[1])},
    )


def test_two_stage_orders_by_gradcam_and_honours_top() -> None:
    d = np.array([[1, 0, 1], [1, 1, np.nan]], np.float32)
    g = np.array([[0.2, 0.9, 0.4], [0.6, -1, np.nan]], np.float32)
    found = two_stage(evidence(d, g), threshold_d=0.5, threshold_g=0.1)
    assert [(n.layer, n.index) for n in found] == [(1, 0), (0, 2), (0, 0)]
    assert len(two_stage(evidence(d, g), threshold_d=0.5, top=2)) == 2
    assert len(two_stage(evidence(d, g), threshold_d=99.0)) == 0
    assert found.provenance["arguments"]["threshold_d"] == 0.5


def test_the_signs_are_those_of_the_chosen_neurons() -> None:
    d = np.ones((2, 3), np.float32)
    g = np.array([[0.2, 0.9, np.nan], [0.6, -1, 0.4]], np.float32)
    activation = np.array([[-2, 3, 5], [0, 1, -4]], np.float32)
    data = evidence(d, g).assign(activation=(("layer", "neuron"), activation))
    found = two_stage(data, threshold_d=0.5, threshold_g=0.1)
    assert [(n.layer, n.index) for n in found] == [(0, 1), (1, 0), (1, 2), (0, 0)]
    assert found.sign.tolist() == [1, 0, -1, -1]


def test_two_stage_says_what_is_wrong() -> None:
    data = evidence(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32))
    with pytest.raises(BadArgument, match="one of the two"):
        two_stage(data, threshold_d=1.0, quantile_d=0.5)
    with pytest.raises(BadArgument, match="from 0 to 1"):
        two_stage(data, quantile_g=95)
    with pytest.raises(BadArgument, match="top"):
        two_stage(data, top=0)
    with pytest.raises(BadArgument, match="threshold_g"):
        two_stage(data, threshold_g=float("nan"))


def test_permutation_finds_planted_neurons_and_little_else() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(0, 1, (30, 2, 200)).astype(np.float32)
    pairs[:, 0, :10] += 2.0
    data = xr.Dataset({"pair_difference": (("scene", "layer", "neuron"), pairs)})
    threshold, p = permutation_threshold(data, rate=0.05, n=2000)
    found = benjamini_hochberg(p, 0.05)
    assert found[0, :10].all()
    assert found.sum() <= 13
    assert threshold == pytest.approx(pairs.mean(0)[found].min())
    assert (p[0, :10] < 0.01).all()
    assert np.nanmin(p) >= 2.0**-30  # the scores themselves are one of the ways
    nothing = data.copy(data={"pair_difference": rng.normal(0, 1, pairs.shape).astype(np.float32)})
    assert permutation_threshold(nothing, n=2000)[0] == float("inf")
    with pytest.raises(BadArgument, match="keep_pairs"):
        permutation_threshold(xr.Dataset())


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
@pytest.mark.parametrize("stage", ["difference", "gradcam"])
def test_discoveries_are_those_of_benjamini_and_hochberg(stage: str, alternative: str) -> None:
    """Against scipy's adjusted p-values, at rates between every two of them."""
    rng = np.random.default_rng(4)
    pairs = rng.normal(0, 1, (12, 2, 30)).astype(np.float32)
    pairs[:, 0, :12] += np.linspace(0.2, 1.4, 12, dtype=np.float32)
    pairs[:, 0, 12:16] -= 2
    pairs[:, 1, 29] = np.nan  # a narrower layer
    data = xr.Dataset({f"pair_{stage}": (("scene", "layer", "neuron"), pairs)})
    options: Any = {"stage": stage, "alternative": alternative, "n": 4096}
    _, p = permutation_threshold(data, **options)
    known = np.isfinite(p)
    adjusted = np.full(p.shape, np.nan)
    adjusted[known] = stats.false_discovery_control(p[known], method="bh")
    mean = pairs.mean(0, dtype=np.float64)
    value = np.abs(mean) if alternative == "two-sided" else mean
    steps = np.unique(adjusted[known])
    counts = []
    for rate in (steps[1:] + steps[:-1]) / 2:
        found = known & (adjusted <= rate)
        threshold, _ = permutation_threshold(data, rate=float(rate), **options)
        assert np.array_equal(benjamini_hochberg(p, float(rate)), found)
        assert threshold == pytest.approx(value[found].min(), rel=1e-12), rate
        counts.append(found.sum())
    assert len(set(counts)) > 6  # the last discovery is another one each time
    falls = benjamini_hochberg(p, 0.05)[0, 12:16]
    assert falls.any() == (alternative == "two-sided")
    assert permutation_threshold(data, rate=steps[0] / 2, **options)[0] == np.inf


@pytest.mark.parametrize("law", ["normal", "laplace", "student", "silent"])
def test_the_tail_is_that_of_all_flips(law: str) -> None:
    """Against scipy's count of all 2^13 flips, from the bulk to the last one."""
    rng = np.random.default_rng(3)
    draws = {"normal": rng.normal, "laplace": rng.laplace, "silent": rng.normal,
             "student": lambda size: rng.standard_t(3, size=size)}  # fmt: skip
    pairs = (draws[law](size=(13, 1, 120)) + np.linspace(-0.3, 1.8, 120)).astype(np.float32)
    if law == "silent":  # a pair of which a neuron notices nothing
        pairs[rng.random(pairs.shape) < 0.3] = 0
    data = xr.Dataset({"pair_gradcam": (("scene", "layer", "neuron"), pairs)})
    wanted = stats.permutation_test(
        (pairs[:, 0].astype(float),), lambda x, axis: x.mean(axis), permutation_type="samples",
        alternative="greater", n_resamples=np.inf, vectorized=True,
    ).pvalue  # fmt: skip
    _, counted = permutation_threshold(data, stage="gradcam", n=2**13)
    assert counted[0] == pytest.approx(wanted, rel=1e-9)
    _, near = permutation_threshold(data, stage="gradcam", n=1)
    ratio = np.abs(np.log(near[0] / wanted))
    assert ratio.mean() < 0.06
    assert ratio.max() < np.log(1.7)
    assert np.log10(wanted.min()) < -3 < -0.5 < np.log10(wanted.max())


def planted(seed: int, n: int, pairs: int, effect: float) -> tuple[xr.Dataset, np.ndarray]:
    """Return evidence in which 60 neurons notice and say it, each neuron of a spread of its own."""
    rng = np.random.default_rng(seed)
    where, spread = rng.choice(n, 60, replace=False), np.exp(rng.normal(0, 1.5, n)).astype("f4")
    made = {}
    for name in ("difference", "gradcam"):
        values = rng.standard_normal((pairs, n), np.float32)
        values[:, where] += effect
        made[name] = (values * spread).reshape(pairs, 1, n)
    data = evidence(made["difference"].mean(0), made["gradcam"].mean(0))
    dims = ("scene", "layer", "neuron")
    return data.assign({f"pair_{name}": (dims, v) for name, v in made.items()}), where


@pytest.mark.parametrize(
    ("n", "pairs", "effect", "seeds"), [(3072, 24, 1.6, 16), (352256, 48, 1.2, 4)]
)
def test_the_share_of_false_discoveries(n: int, pairs: int, effect: float, seeds: int) -> None:
    """One stage: 5 % asked and kept on average, also at 7B size."""
    false, right = [], []
    for seed in range(seeds):
        data, where = planted(seed, n, pairs, effect)
        _, p = permutation_threshold(data, stage="gradcam")
        found = np.flatnonzero(benjamini_hochberg(p, 0.05))
        right.append(np.isin(where, found).mean())
        false.append(1 - np.isin(found, where).mean())
        if seed == 0:
            kept = two_stage(data, **automatic_thresholds(data, "permutation"))
            assert np.isin(where, kept.index).mean() >= 0.9
            assert np.isin(kept.index, where).mean() >= 0.93
    assert np.mean(right) >= 0.9
    assert 0.02 <= np.mean(false) <= 0.07  # and no more careful than asked


def test_what_is_kept_follows_labels_and_says_how() -> None:
    data, _ = planted(1, 300, 24, 3.0)
    found = automatic_thresholds(data, "permutation", rate=0.1)
    kept = two_stage(data, **found)
    assert set(kept.index) == set(np.flatnonzero(found["among"]))
    assert '"rate": 0.1' in kept.provenance["arguments"]["among"]
    cut = {name: value for name, value in found.items() if name != "among"}
    assert set(kept.index) <= set(two_stage(data, **cut).index)
    turned = {**found, "among": found["among"].transpose("neuron", "layer")}
    assert two_stage(data, **turned) == kept
    nothing = data.copy()
    for name in ("pair_difference", "pair_gradcam"):
        nothing[name] = data[name] - data[name].mean("scene")
    assert len(two_stage(nothing, **automatic_thresholds(nothing, "permutation"))) == 0
    for wrong, match in (
        (found["among"].astype(float), "among: got 'float64"),
        (found["among"].isel(neuron=slice(9)), "among: got 'bool of shape"),
        (found["among"].assign_coords(neuron=np.arange(300)[::-1]), "other labels of neuron"),
    ):
        with pytest.raises(BadArgument, match=match):
            two_stage(data, among=wrong)


def test_few_pairs_are_permuted_all_ways() -> None:
    pairs = np.array([[[1.0, -0.2]], [[2.0, 0.3]], [[1.5, 0.1]]], np.float32)
    data = xr.Dataset({"pair_gradcam": (("scene", "layer", "neuron"), pairs)})
    _, p = permutation_threshold(data, stage="gradcam")
    assert p[0, 0] == 1 / 8  # only the identity reaches it
    brute = [
        np.mean([a * -0.2, b * 0.3, c * 0.1]) >= 0.2 / 3 - 1e-7
        for a in (1, -1) for b in (1, -1) for c in (1, -1)
    ]  # fmt: skip
    assert p[0, 1] == np.mean(brute)


def test_what_permutation_cannot_use() -> None:
    pairs = np.ones((3, 1, 2), np.float32)
    data = xr.Dataset({"pair_difference": (("scene", "layer", "neuron"), pairs)})
    with pytest.raises(BadArgument, match="signed"):
        permutation_threshold(data)
    with pytest.raises(BadArgument, match="rate"):
        permutation_threshold(data, rate=5)
    with pytest.raises(BadArgument, match="stage"):
        permutation_threshold(data, stage="g")
    with pytest.raises(BadArgument, match="alternative"):
        permutation_threshold(data, alternative="less")


def test_automatic_thresholds_keep_what_they_found() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0, 1, (12, 2, 100)).astype(np.float32)
    g = rng.normal(0, 1, (12, 2, 100)).astype(np.float32)
    d[:, 0, :8] += 4
    g[:, 0, :8] += 4
    data = evidence(d.mean(0), g.mean(0)).assign(
        pair_difference=(("scene", "layer", "neuron"), d),
        pair_gradcam=(("scene", "layer", "neuron"), g),
    )
    for method in ("otsu", "permutation"):
        found = two_stage(data, **automatic_thresholds(data, method, n=4096))
        assert {(n.layer, n.index) for n in found} == {(0, i) for i in range(8)}, method
    found = two_stage(data, **automatic_thresholds(data, quantile_d=0.9, quantile_g=0.9))
    assert {(0, i) for i in range(8)} <= {(n.layer, n.index) for n in found}
    with pytest.raises(BadArgument, match="method"):
        automatic_thresholds(data, "elbow")


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_quantiles_are_thresholds_of_the_same_set(seed: int, quantile: float) -> None:
    rng = np.random.default_rng(seed)
    d, g = rng.random((2, 3, 40), np.float32)
    data = evidence(d, g)
    by_quantile = two_stage(data, quantile_d=quantile)
    limit = by_quantile.provenance["arguments"]["threshold_d"]
    assert by_quantile == two_stage(data, threshold_d=limit)
    assert len(by_quantile) == int((d > np.float32(limit)).sum())

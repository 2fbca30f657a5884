"""Activation patching: arithmetic on a tiny model, then words on the pocket model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import pairs_to_edit, trade_off, transplant_report
from mmkn_widgets.interventions import (
    ablate,
    coverage,
    first_said,
    patch_mean,
    repeat,
    transplant,
    transplant_object,
)
from mmkn_widgets.interventions.transplantation import _covered
from mmkn_widgets.models.geometry import Geometry
from tests.unit.interventions.helpers import by_hand, greedy, logits


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def scenes() -> Any:
    return mmkn.datasets.pocket_world("test", 40)


VALUES = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, lambda p, n: p >= n - 1),
        (dict(positions=[-1]), lambda p, n: p == n - 1),
        (dict(positions=[12]), lambda p, n: p == 12),
        (dict(positions=None, steps=[1]), lambda p, n: p == n + 1),
    ],
)
def test_values_are_put_where_told(model: Any, inputs: Any, options: Any, at: Any) -> None:
    def change(row: int, activation: torch.Tensor, prompt: int) -> torch.Tensor:
        for place in range(len(activation)):
            if row >= 1 and at(place, prompt):
                activation[place] = torch.from_numpy(VALUES[row])
        return activation

    batch = inputs(1)
    expected = by_hand(model, batch, 8, change)
    with transplant(model, VALUES, layers=[1, 2], **options):
        assert greedy(model, batch)[0] == expected


def test_a_store_gives_its_mean(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    store = xr.Dataset({"activation": (("layer", "token", "neuron"), VALUES[:, None].repeat(2, 1))})
    with transplant(model, VALUES):
        expected = logits(model, batch)
    with transplant(model, store):
        np.testing.assert_array_equal(logits(model, batch), expected)


def test_rows_have_their_own_values_and_places(model: Any, inputs: Any) -> None:
    single = model.prepare(inputs(1))
    several = np.stack([VALUES, 2 * VALUES, -VALUES])
    places = [9, 3, 11]
    alone = []
    for values, place in zip(several, places, strict=True):
        with transplant(model, values, {2: range(24)}, positions=[place]):
            alone.append(model.generate(single, max_new_tokens=6).token_ids[0])
    with transplant(model, several, {2: range(24)}, positions=places):
        assert model.generate(repeat(single, 3), max_new_tokens=6).token_ids == alone
    with transplant(model, several), pytest.raises(BadArgument, match="1 or 2, the batch"):
        greedy(model, inputs(2))


def test_bad_arguments(model: Any) -> None:
    with pytest.raises(BadArgument, match="layers among"):
        transplant(model, VALUES, layers=[7])
    with pytest.raises(BadArgument, match=r"\(3, 24\)"):
        transplant(model, VALUES[:2])
    with pytest.raises(BadArgument, match="for each of 2 rows"):
        transplant(model, np.stack([VALUES] * 2), positions=[1, 2, 3])


def test_coverage_against_counting_fine_pixels() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((7, 9)) > 0.5
    fine = mask.repeat(20, 0).repeat(20, 1)
    corners = np.sort(rng.integers(-20, 200, size=(40, 2, 2)), axis=1)  # in twentieths of a pixel
    boxes = np.stack([corners[:, 0, 0], corners[:, 0, 1], corners[:, 1, 0], corners[:, 1, 1]], 1)
    expected = []
    for x0, y0, x1, y1 in boxes:
        inside = fine[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)].sum()
        area = (x1 - x0) * (y1 - y0)
        expected.append(inside / area if area else 0.0)
    np.testing.assert_allclose(coverage(boxes / 20, mask), expected, atol=1e-9)
    assert coverage(np.full((1, 4), np.nan), mask).tolist() == [0.0]


def test_patch_mean_is_the_mean_over_covered_patches(pocket: Any, scenes: Any) -> None:
    scene = scenes[0]
    mask = scene.mask(scene.categories[0])
    cells = mask.reshape(8, 12, 8, 12).mean((1, 3)).reshape(-1) > 0.4
    prepared = pocket.prepare(scene.image)
    seen: dict[int, torch.Tensor] = {}
    handles = [
        site.hook(lambda x, r=site.row: seen.__setitem__(r, x.clone())) for site in pocket.sites
    ]
    pocket.forward(prepared)
    for handle in handles:
        handle.remove()
    at = np.flatnonzero(np.asarray(pocket.token_maps(prepared)[0].role) == "image")[cells]
    expected = np.stack([seen[row][0, at].mean(0).numpy() for row in range(6)])
    with ablate(pocket, {0: range(512)}):  # what is active does not matter
        got = patch_mean(pocket, scene.image, mask)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    both = patch_mean(pocket, [scene.image, scenes[1].image], [mask, np.ones((96, 96), bool)])
    np.testing.assert_allclose(both[0], expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(BadArgument, match="best covered"):
        patch_mean(pocket, scene.image, np.zeros((96, 96), bool))
    with pytest.raises(BadArgument, match="one for each"):
        patch_mean(pocket, [scene.image], [mask, mask])


def test_a_patch_covered_just_to_the_threshold_is_left_out() -> None:
    geometry = Geometry.grid(1, 2, picture_size=(2, 4))
    tokens = SimpleNamespace(geometry=geometry, image_positions=[7, 8])
    mask = np.zeros((2, 4), bool)
    mask[:, :3] = True  # the first patch, and half of the second
    assert _covered(tokens, mask, 0.5).tolist() == [7]
    assert _covered(tokens, mask, 0.49).tolist() == [7, 8]
    with pytest.raises(BadArgument, match="less than 1.00, the best covered"):
        _covered(tokens, mask, 1.0)


def test_the_patches_of_an_object_say_its_word(pocket: Any, scenes: Any) -> None:
    for donors in ("other", "same"):
        report = transplant_report(pocket, list(scenes), donors=donors, layers=(4, 5))
        assert report.success >= 0.9
        assert report.n >= 15
    first = report.results[0]
    scene = next(s for s in scenes if pocket.caption(s.image) == first.before)
    alone = transplant_object(pocket, scene, first.word, first.object, layers=(4, 5))
    assert alone == first
    random = {layer: np.random.default_rng(2).choice(512, 30, replace=False) for layer in (4, 5)}
    control = transplant_report(pocket, list(scenes), layers=(4, 5), neurons=random)
    assert control.success <= 0.1
    empty = transplant_report(pocket, list(scenes), layers=(4, 5), patches="background")
    assert empty.n >= 15
    assert empty.success <= 0.2
    with pytest.raises(BadArgument, match="patches: got 'all'"):
        transplant_report(pocket, [], patches="all")


@pytest.mark.parametrize(
    ("text", "word", "said", "named"),
    [
        ("bus stop near a tree", "bus", "bus stop", False),
        ("bus near a stop", "bus", "bus", True),
        ("buses, a bus stop", "bus", "buses,", True),
        ("hot dog and a dog", "dog", "hot", False),
        ("teddy bear", "bear", "teddy", False),
        ("traffic light at night", "traffic light", "traffic light", True),
        ("traffic-light at night", "traffic light", "traffic-light at", True),
        ("dog", "traffic light", "dog", False),
        ("", "dog", "", False),
    ],
)
def test_what_is_said_is_judged_in_the_whole_text(
    text: str, word: str, said: str, named: bool
) -> None:
    assert first_said(text, word) == (said, named)


def test_a_word_that_is_not_said(pocket: Any, scenes: Any) -> None:
    scene = next(s for s in scenes if "cup" not in pocket.caption(s.image))
    with pytest.raises(BadArgument, match="a word of the caption"):
        transplant_object(pocket, scene, "cup", scene.categories[0])
    with pytest.raises(BadArgument, match="donors"):
        transplant_report(pocket, [], donors="none")
    assert transplant_report(pocket, []).n == 0


def test_the_trade_off_counts_namings(pocket: Any, scenes: Any) -> None:
    word = scenes[0].categories[0]
    absent, present = list(scenes.without_concept(word, 6)), list(scenes.with_concept(word, 4))
    everything = ablate(pocket, {n: range(512) for n in range(6)}, name="all")
    points = trade_off(pocket, [everything], word, present, absent)
    captions = [pocket.caption(s.image) for s in [*absent, *present]]
    named = [word in caption.split() for caption in captions]
    assert points[0].name == "none"
    assert points[0].hallucinated == pytest.approx(np.mean(named[:6]))
    assert points[0].recall == pytest.approx(np.mean(named[6:]))
    assert points[0].identical == points[0].kept == 1
    assert 0 <= points[0].hallucinated <= points[0].chair
    assert points[1].n_neurons == 3072
    assert points[1].identical < 0.5
    assert trade_off(pocket, [], word, present, [])[0].hallucinated != 0
    with pytest.raises(BadArgument, match="without_concept"):  # the lists the wrong way round
        trade_off(pocket, [], word, absent, present)


def test_pairs_to_edit_are_drawn_by_seed() -> None:
    words = [f"w{n}" for n in range(16)]
    pairs = pairs_to_edit(words)
    assert pairs == pairs_to_edit(words)
    assert pairs != pairs_to_edit(words, seed=1)
    assert sorted(source for source, _ in pairs) == sorted(words)
    assert len(set(pairs_to_edit(words, 40))) == 40

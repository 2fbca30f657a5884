"""A full memory is answered by a smaller batch, once, and said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.core import Handles
from mmkn_widgets.evaluation.captioning import Captioner
from mmkn_widgets.models import BatchSize


def _full(rows: int) -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {rows} GiB. GPU 0 has ..")


def test_halves_what_does_not_fit_and_stays_there() -> None:
    tried: list[list[int]] = []

    def run(part: Sequence[int]) -> int:
        tried.append(list(part))
        if len(part) > 2:
            raise _full(len(part))
        return sum(part)

    size = BatchSize(7, "numbers")
    with pytest.warns(RuntimeWarning) as told:
        found = [(list(part), total) for part, total in size.over(range(6), run)]
    assert [n for part, _ in found for n in part] == list(range(6))
    assert max(len(part) for part, _ in found) <= 2
    assert tried[0] == list(range(6))
    assert [len(part) for part in tried] == [6, 3, 1, 1, 1, 1, 1, 1]
    assert str(told[0].message) == (
        "the memory is full with 6 numbers at once (CUDA out of memory); going on with 3"
    )
    assert len(told) == 2


def test_one_alone_that_does_not_fit_is_an_error() -> None:
    def run(part: Sequence[int]) -> None:
        raise _full(len(part))

    with pytest.warns(RuntimeWarning), pytest.raises(torch.OutOfMemoryError):
        list(BatchSize(2).over([1, 2], run))


def test_nothing_of_the_failed_pass_is_held() -> None:
    alive: list[Any] = []

    class Large:
        def __init__(self) -> None:
            alive.append(self)

    import weakref

    left: list[weakref.ref[Large]] = []

    def run(part: Sequence[int]) -> None:
        held = Large()
        left.append(weakref.ref(alive.pop()))
        if len(left) > 1:
            assert left[-2]() is None, "the first pass's tensors are still there in the second"
        if len(part) > 1:
            raise _full(len(part))
        del held

    with pytest.warns(RuntimeWarning):
        list(BatchSize(2).over([1, 2], run))
    assert len(left) == 3


@pytest.fixture
def small_memory() -> Iterator[Any]:
    """Return the pocket model whose forward takes two rows at most."""
    model = mmkn.load_model("pocket")
    rows: list[int] = []

    def look(_module: Any, _args: Any, named: dict[str, Any]) -> None:
        rows.append(len(named["input_ids"]))
        if rows[-1] > 2:
            raise _full(rows[-1])

    handle = model.hf.register_forward_pre_hook(look, with_kwargs=True)
    with Handles(iter([handle])):
        yield model, rows


@pytest.fixture(scope="module")
def cars() -> list[Any]:
    """Return five scenes with a car."""
    return list(mmkn.datasets.pocket_world("val").with_concept("car", 5))


def test_evidence_goes_on_with_fewer_pairs(small_memory: Any, cars: list[Any]) -> None:
    model, rows = small_memory
    whole = mmkn.attribution.collect(mmkn.load_model("pocket"), "car", cars)
    with pytest.warns(RuntimeWarning, match="memory is full with . (pictures|pairs) at once"):
        found = mmkn.attribution.collect(model, "car", cars)
    assert max(rows) > 2, "the memory was never full"
    assert found["scene"].values.tolist() == whole["scene"].values.tolist()
    for name, values in whole.data_vars.items():
        np.testing.assert_allclose(found[name].values, values.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_sets", [1, 5])
@pytest.mark.parametrize("n_scenes", [1, 5])
def test_captions_go_on_with_fewer_rows(
    small_memory: Any, cars: list[Any], n_sets: int, n_scenes: int
) -> None:
    model, rows = small_memory
    scenes = cars[:n_scenes]
    sets = [mmkn.attribution.random_uniform(model, 200, seed) for seed in range(n_sets)]
    plain = Captioner(mmkn.load_model("pocket"), batch_size=8)
    writer = Captioner(model, batch_size=8)
    if n_scenes == n_sets == 1:
        assert writer.under(scenes, sets) == plain.under(scenes, sets)
        return
    with pytest.warns(RuntimeWarning, match="going on with"):
        under = writer.under(scenes, sets)
    assert under == plain.under(scenes, sets)
    assert max(rows) > 2
    if n_scenes > 2:
        assert writer.batch_size <= 2
        before = writer.before(scenes)  # without another warning: the size is known now
        assert before == plain.before(scenes)


def test_retention_and_suppression_are_the_same_with_little_memory(
    small_memory: Any, cars: list[Any]
) -> None:
    model, _ = small_memory
    plain = Captioner(mmkn.load_model("pocket"), batch_size=8)
    captions = plain.before(cars)
    sets = [mmkn.attribution.random_uniform(model, 900, seed) for seed in range(3)]
    with pytest.warns(RuntimeWarning, match="captions at once"):
        found = Captioner(model, batch_size=8).named_under(cars, captions, sets, "car")
    assert found == plain.named_under(cars, captions, sets, "car")

"""Weights packed to 8 bits by bitsandbytes: capture and ablation work, edits are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import NotSupported


@pytest.fixture(scope="module")
def packed() -> Any:
    return mmkn.load_model("pocket", load_in_8bit=True, dtype="float32")


def test_every_site_is_checked_with_a_tolerance_of_its_own(packed: Any, pocket: Any) -> None:
    assert packed.quantised
    assert not pocket.quantised
    assert packed.sites[0].module.weight.dtype is torch.int8
    assert [check.tolerance for check in packed.checks] == [0.1] * 6


def test_columns_are_read_back_as_numbers(packed: Any, pocket: Any) -> None:
    read, own = packed.w_out(3), pocket.w_out(3)
    step = own.abs().amax(dim=1, keepdim=True) / 127
    assert read.is_floating_point()
    assert bool(((read - own).abs() <= 0.51 * step + 1e-6).all())


def test_switching_neurons_off_changes_the_caption_and_back(packed: Any, pictures: Any) -> None:
    before = packed.caption(pictures[0])
    handles = [site.hook(torch.zeros_like) for site in packed.sites]
    during = packed.caption(pictures[0])
    for handle in handles:
        handle.remove()
    assert during != before
    assert packed.caption(pictures[0]) == before


def test_the_cast_is_not_said_at_every_product(
    packed: Any, pictures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    packed.caption(pictures[0], max_new_tokens=4)
    assert sum("inputs will be cast" in line for line in caplog.messages) <= 1


def test_inspect_says_that_edits_are_refused(packed: Any) -> None:
    from mmkn_widgets.models import inspect_model

    found = inspect_model(packed)
    assert "edit" not in found["supported"]
    assert {"what": "edit", "reason": "the weights are packed (8-bit or 4-bit)"} in found["refused"]


def test_without_bitsandbytes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(NotSupported, match="pip install bitsandbytes"):
        mmkn.load_model("pocket", load_in_8bit=True)

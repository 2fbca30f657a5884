"""Copies off a card run beside its computation; without a card nothing of CUDA is called.

The card and its streams are pretended: a copy is made when its stream is waited for, as late as one
may come. That a real card overlaps the two is measured by ``make bench-gpu``, on a real card.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import accelerate
import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.activations import carry, record
from tests.devices import Stream


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Take pretended devices for CUDA; yields what memory was asked to be pinned."""
    pinned: list[Any] = []
    plain = torch.empty

    def empty(*args: Any, pin_memory: bool = False, **named: Any) -> torch.Tensor:
        made = plain(*args, **named)
        if pin_memory:
            made.fill_(torch.nan)  # what is not written is seen
            pinned.append(tuple(made.shape))
        return made

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(carry, "_is_card", lambda value: value.device.type == "lazy")
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("current", device))
    Stream.made.clear()
    yield pinned
    assert not any(stream.pending for stream in Stream.made), "a copy was never waited for"


@pytest.fixture(scope="module")
def plain() -> Any:
    """Return the pocket model in one place."""
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def two_cards(plain: Any) -> Any:
    """Return it with its layers on two cards."""
    places = {name: "lazy:0" for name in ("model.vision_tower", "model.multi_modal_projector")}
    inside = ("embed_tokens", "rotary_emb", *(f"layers.{layer}" for layer in range(3)))
    places |= {f"model.language_model.{name}": "lazy:0" for name in inside}
    inside = ("norm", *(f"layers.{layer}" for layer in range(3, 6)))
    places |= {f"model.language_model.{name}": "lazy:1" for name in inside} | {"lm_head": "lazy:1"}
    hf = accelerate.dispatch_model(copy.deepcopy(plain.hf), places, force_hooks=True)
    return mmkn.load_model(hf, processor=plain.processor)


@pytest.mark.parametrize("options", [{}, {"generate": True}, {"gradients": "car"}])
def test_a_capture_is_copied_on_a_stream_of_each_card(
    card: list[Any], plain: Any, two_cards: Any, options: dict[str, Any]
) -> None:
    scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    found, wanted = (mmkn.capture(model, scene.image, **options) for model in (two_cards, plain))
    for name in [n for n in ("activation", "gradient") if n in wanted]:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=2e-4)
    assert {str(stream.device) for stream in Stream.made} == {"lazy:0", "lazy:1"}
    copies = sum(stream.behind for stream in Stream.made)
    assert copies >= 6, "not every layer was copied on a stream"
    assert sum(len(stream.kept) for stream in Stream.made) == copies, "memory given away too soon"
    assert len(card) == (2 if "gradients" in options else 1), "the store is not pinned"


def test_several_rows_and_a_buffer_that_grows(card: list[Any], plain: Any, two_cards: Any) -> None:
    pictures = [scene.image for scene in mmkn.datasets.pocket_world("val", 2)]
    seen = []
    for model in (two_cards, plain):
        prepared = model.prepare(pictures)
        with record(model, pack=0) as both:
            model.forward(prepared)
            model.forward(prepared)
        seen.append(both.stack())
    assert len(card) == 2, "it did not grow in pinned memory"
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-3, atol=2e-4)


def test_no_pinned_memory_is_said(
    card: list[Any], two_cards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.empty

    def refuses(*args: Any, pin_memory: bool = False, **named: Any) -> torch.Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: OS call failed\nmore")
        return plain(*args, **named)

    monkeypatch.setattr(torch, "empty", refuses)
    image = mmkn.datasets.pocket_world("val", 1)[0].image
    with pytest.warns(RuntimeWarning, match=r"no pinned memory \(CUDA error: OS call failed\)"):
        store = mmkn.capture(two_cards, image)
    assert np.isfinite(store["activation"].values).all()
    assert not card


def test_without_cuda_nothing_of_it_is_called(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: Any, **__: Any) -> Any:
        raise AssertionError("torch.cuda was called without CUDA")

    for name in ("Stream", "stream", "current_stream", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, called)
    scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    for options in ({}, {"generate": True}, {"gradients": "car"}):
        store = mmkn.capture(plain, scene.image, **options)
        assert np.isfinite(store["activation"].values).all()
    mmkn.attribution.collect(plain, "car", [scene])

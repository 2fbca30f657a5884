"""What a learned edit computes, and the cure of a hallucination on the pocket model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import trade_off
from mmkn_widgets.interventions import Edit, Goal, ablate, blame, corrections, reduce_hallucination
from mmkn_widgets.interventions.learning import Lesson, _Learner
from tests.unit.interventions.conftest import wrap
from tests.unit.interventions.helpers import logits, same_bits, snapshot


@pytest.fixture
def gpt2() -> Any:
    """A GPT-2, whose projections are Conv1D: W_out is stored transposed."""
    torch.manual_seed(4)
    config = GPT2Config(vocab_size=40, n_embd=16, n_inner=24, n_layer=2, n_head=2, n_positions=32)
    return wrap(GPT2LMHeadModel(config), "tiny-gpt2")


def lesson(inputs: dict[str, torch.Tensor], width: int) -> Lesson:
    nowhere = torch.zeros(len(inputs["input_ids"]), width, dtype=torch.bool)
    empty = torch.zeros(0, dtype=torch.long)
    return Lesson(inputs, width, torch.zeros(1), nowhere, empty, nowhere, nowhere, empty)


@pytest.mark.parametrize("maker", ["model", "opt", "moe", "gpt2"])
def test_learning_sees_what_the_edit_will_do(maker: str, request: Any, inputs: Any) -> None:
    model = request.getfixturevalue(maker)
    batch = inputs(2, pictures=maker == "model")
    rows = {site.row: np.array([0, 3, 7]) for site in model.sites}
    before, plain = snapshot(model), logits(model, batch)
    learner = _Learner(model, rows)
    width = plain.shape[1]
    assert np.abs(learner.logits(lesson(batch, width)).detach().numpy() - plain).max() < 1e-5
    for theta in learner.theta.values():
        theta.data.normal_(generator=torch.Generator().manual_seed(3))
    seen = learner.logits(lesson(batch, 4))
    seen.sum().backward()
    assert all(theta.grad is not None and theta.grad.abs().max() > 0
               for theta in learner.theta.values())  # fmt: skip
    assert same_bits(model, before)
    assert all(not p.requires_grad for p in model.hf.parameters())
    with Edit(model, rows, learner.deltas(), name="test", provenance={}):
        real = logits(model, batch)
    np.testing.assert_allclose(seen.detach().numpy(), real[:, -4:], rtol=1e-3, atol=1e-4)
    assert np.abs(real - plain).max() > 1e-2
    assert same_bits(model, before)


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


def by_the_sea(scene: Any) -> bool:
    return "boat" in scene.categories and "sea" in scene.captions[0]


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    """Boats by the sea: where training captions named a bird that was not there."""
    val = mmkn.datasets.pocket_world("val")
    noisy = mmkn.datasets.pocket_world("val", 100, subset="hallucination")
    boats = [scene for scene in noisy if by_the_sea(scene)][:40]
    return [*boats, *val.with_concept("bird", 24), *val.without_concept("bird", 24)]


def test_corrections_part_from_the_truth_at_one_token(pocket: Any, scenes: Any) -> None:
    wrong, instead, right = corrections(pocket, "bird", scenes)
    assert wrong
    assert len(wrong) + len(right) <= len(scenes)
    for text, token in zip(wrong, instead, strict=True):
        said = pocket.caption(text.scene.image)
        assert "bird" in said
        assert "bird" not in text.scene.categories
        truth = pocket.decode(text.ids)
        assert "bird" not in truth
        ahead = pocket.decode(text.ids[: text.at])
        assert said.startswith(ahead)
        assert truth in [c.replace(",", " ,") for c in text.scene.captions] or truth in [
            *text.scene.captions
        ]
        assert token != text.ids[text.at]
    named = [t for t in right if "bird" in pocket.decode(t.ids)]
    assert all("bird" in t.scene.categories for t in named)


def test_blamed_neurons_push_away_from_the_truth(pocket: Any, scenes: Any) -> None:
    wrong, instead, _ = corrections(pocket, "bird", scenes)
    found = blame(pocket, wrong, instead, top=20)
    assert len(found) == 20
    assert (np.diff(found.score) <= 0).all()
    assert found.score[-1] > 0

    def lead() -> float:
        total = 0.0
        for text, token in zip(wrong, instead, strict=True):
            ahead = list(text.ids[: text.at])
            prepared = pocket.prepare([text.scene.image], continuation=[ahead])
            with torch.no_grad():
                last = pocket.forward(prepared).logits[0, -1]
            total += float(last[token] - last[text.ids[text.at]])
        return total / len(wrong)

    plain = lead()
    with ablate(pocket, found):
        assert lead() < plain - 0.5 * float(found.score.sum())
    assert blame(pocket, wrong[:2], instead[:2], top=5, leave_out_last=2).layer.max() < 4


def test_a_hallucination_is_halved_and_the_object_still_seen(pocket: Any, scenes: Any) -> None:
    before = snapshot(pocket)
    made = reduce_hallucination(pocket, "bird", scenes, top=10, goal=Goal(steps=60))
    test = mmkn.datasets.pocket_world("test")
    noisy = mmkn.datasets.pocket_world("test", 80, subset="hallucination")
    absent = [s for s in noisy if by_the_sea(s) and "bird" not in s.categories]
    present = list(test.with_concept("bird", 30))
    plain, cured = trade_off(pocket, [made], "bird", present, absent)
    assert plain.hallucinated > 0.1
    assert cured.hallucinated <= plain.hallucinated / 2
    assert cured.chair <= plain.chair / 2
    assert cured.recall >= plain.recall - 0.05
    assert cured.kept >= 0.95
    assert made.n_neurons == 10
    assert same_bits(pocket, before)


def test_nothing_to_cure(pocket: Any) -> None:
    plain = list(mmkn.datasets.pocket_world("val", 4))
    with pytest.raises(BadArgument, match="whose caption names it"):
        reduce_hallucination(pocket, "clock", [s for s in plain if "clock" not in s.categories])

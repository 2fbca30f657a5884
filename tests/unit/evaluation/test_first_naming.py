"""Whether captions still name a concept, without writing them: the same answers as writing them."""

from __future__ import annotations

import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import random_uniform, two_stage
from mmkn_widgets.datasets import pocket_world
from mmkn_widgets.evaluation import names
from mmkn_widgets.evaluation.captioning import Captioner
from mmkn_widgets.evaluation.first_naming import FirstNaming, Replay


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def scenes():
    return list(pocket_world("val").with_concept("cup", 12))


def test_the_answers_are_those_of_written_captions(model, scenes) -> None:
    evidence = mmkn.study(model, "cup", scenes).evidence
    strong = two_stage(evidence, quantile_d=0.95, top=60)
    sets = [strong, strong.top(4), random_uniform(model, 60, 1), random_uniform(model, 1500, 2)]
    writer = Captioner(model)
    captions = writer.before(scenes)
    under = writer.under(scenes, sets)
    written = [[names(text, "cup") for text in texts] for texts in under]
    known: dict = {}
    assert writer.named_under(scenes, captions, sets, "cup", known=known) == written
    assert 0 < sum(map(sum, written)) < len(sets) * len(scenes)  # both answers occur
    assert len(known) == len(sets)
    assert all(set(answers) <= set("01") and len(answers) == 12 for answers in known.values())
    calls: list = []
    writer.named_under(scenes, captions, sets, "cup", lambda *a: calls.append(a), known=known)
    assert calls == []  # all known: nothing was run
    other = [[names(text, "picture") for text in under[0]]]
    assert other != written[:1]
    assert writer.named_under(scenes, captions, sets[:1], "picture", known=known) == other


def test_kept_answers_are_of_one_model_prompt_and_length(model, scenes) -> None:
    few, captions, answers = scenes[:2], {}, {}
    chosen = [random_uniform(model, 900, 1)]
    other = mmkn.load_model("pocket")
    with torch.no_grad():
        other.hf.lm_head.weight.mul_(-1)
    for writer in (
        Captioner(model),
        Captioner(model, max_new_tokens=3),
        Captioner(model, "what is this?"),
        Captioner(other),
    ):
        assert writer.before(few, captions) == writer.now(few)
        said = writer.now(few)
        word = said[0].split()[0] if said[0] else "cup"
        found = writer.named_under(few, said, chosen, word, known=answers)
        assert found == [[names(text, word) for text in writer.under(few, chosen)[0]]]
    assert len(captions) == 4 * len(few) and len(answers) == 4


def test_what_is_held_is_certain_and_nothing_is_held_without_the_word(model, scenes) -> None:
    captions = Captioner(model).before(scenes)
    drafts = FirstNaming(model, scenes, captions, "cup", starts=[2])
    assert all(drafts.hold(random_uniform(model, 0)))
    other = FirstNaming(model, scenes, captions, "zeppelin")
    assert not any(other.hold(random_uniform(model, 0)))


def test_a_replay_gives_the_models_own_logits_under_an_ablation(model, scenes) -> None:
    captions = ["a cup", "a red cup and a dog"]
    prepared = model.prepare([s.image for s in scenes[:2]], continuation=captions)
    off = {3: range(100), 5: range(0, 512, 3)}
    for start in (0, 3):
        replay = Replay(model, prepared, start, 7)
        assert replay.works
        with model.ablate(off):
            again, whole = replay.logits(), model.forward(prepared, logits_to_keep=7).logits
        assert torch.allclose(again, whole, atol=1e-4)
        assert not torch.allclose(again, model.forward(prepared, logits_to_keep=7).logits, atol=0.1)


def test_a_model_that_does_more_between_its_blocks_is_run_whole(model, scenes, monkeypatch) -> None:
    prepared = model.prepare([scenes[0].image])
    monkeypatch.setitem(vars(model), "final_norm", None)
    replay = Replay(model, prepared, 4, 2)
    assert not replay.works
    assert torch.equal(replay.logits(), model.forward(prepared, logits_to_keep=2).logits)


def test_many_scenes_are_read_some_at_a_time_with_the_same_answers(model, scenes) -> None:
    sets = [
        random_uniform(model, 900, 1),
        mmkn.NeuronSet([4, 5], [7, 9]),
        random_uniform(model, 300, 2),
    ]
    writer = Captioner(model, batch_size=5)
    captions = writer.before(scenes)
    under = writer.under(scenes, sets)
    known: dict = {}
    calls: list = []
    found = writer.named_under(
        scenes, captions, sets, "cup", lambda *a: calls.append(a[1:]), known=known
    )
    assert found == [[names(text, "cup") for text in texts] for texts in under]
    assert calls == [(n, 9) for n in range(1, 10)]  # three parts of the scenes, three sets
    gone = next(iter(known))
    whole = dict(known)
    del known[gone]
    calls.clear()
    again = writer.named_under(
        scenes, captions, sets, "cup", lambda *a: calls.append(a[1:]), known=known
    )
    assert again == found and known == whole and calls == [(1, 1)]


def test_one_reading_serves_several_first_layers(model, scenes) -> None:
    prepared = model.prepare([s.image for s in scenes[:2]], continuation=["a cup", "a red cup"])
    replay = Replay(model, prepared, 1, 5, also=[3, 5])
    for start in (1, 3, 5):
        with model.ablate({5: range(0, 512, 3)}):
            again = replay.logits(start)
            whole = model.forward(prepared, logits_to_keep=5).logits
        assert torch.allclose(again, whole, atol=1e-4)
    with model.ablate({2: range(512)}):  # before the third block: not run again from there
        assert not torch.allclose(replay.logits(1), replay.logits(3), atol=0.1)


def test_captions_after_that_are_known_are_not_written_again(model, scenes, monkeypatch) -> None:
    off = random_uniform(model, 900, 1)
    writer = Captioner(model, batch_size=5)
    known: dict = {}
    first = writer.after(scenes[:7], off, known=known)
    assert first == writer.after(scenes[:7], off) and len(known) == 7
    rows: list[int] = []
    own = Captioner._generate
    monkeypatch.setattr(
        Captioner, "_generate", lambda self, made: (rows.append(len(made)), own(self, made))[1]
    )
    assert writer.after(scenes, off, known=known)[:7] == first
    assert rows == [5]

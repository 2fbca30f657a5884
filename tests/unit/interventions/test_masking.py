"""Learned masks: they lose the word, keep the rest, go on where they stopped, and say when not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.core import neuron_rows
from mmkn_widgets.evaluation import identical
from mmkn_widgets.interventions import MaskGoal, ablate, learn_mask
from mmkn_widgets.interventions.masking import _Captions, _instead, _Learner, _log_not, _Texts
from mmkn_widgets.studies import learned

WORD = "dog"
SHORT = MaskGoal(steps=12)


@pytest.fixture(scope="module")
def pocket() -> mmkn.MultimodalModel:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val() -> Any:
    return mmkn.datasets.pocket_world("val")


@pytest.fixture(scope="module")
def study(pocket: Any, val: Any) -> mmkn.Study:
    return mmkn.study(pocket, WORD, val.with_concept(WORD, 16))


@pytest.fixture(scope="module")
def scenes(val: Any) -> dict[str, Any]:
    return {
        "with_concept": list(val.with_concept(WORD, 12)),
        "without_concept": list(val.without_concept(WORD, 12)),
    }


def _texts(model: Any, goal: MaskGoal) -> _Texts:
    return _Texts(model, mmkn.Concept(WORD), (None,), (), None, goal, None)


def _written(model: Any, scenes: Any) -> list[list[int]]:
    return [model.generate(model.prepare([scene.image])).token_ids[0] for scene in scenes]


def test_the_word_goes_and_the_rest_stays_on_scenes_never_seen(
    pocket: Any, study: Any, val: Any
) -> None:
    mask = study.learned_mask(val.without_concept(WORD, 16), size=20)
    test = mmkn.datasets.pocket_world("test")
    effect = study.evaluate(
        mask, test.with_concept(WORD, 24), test.without_concept(WORD, 24), n_random=2
    )
    assert 0 < len(mask) <= 20
    assert effect.suppression is not None and effect.suppression >= 0.9
    assert effect.retention["headline"] is not None and effect.retention["headline"] >= 0.95
    assert effect.random_control["max"] <= 0.1
    assert (np.diff(mask.score) <= 0).all() and (mask.score > 0.5).all()
    candidates = study.best_by_gradcam(500)
    assert set(mask.places) <= set(candidates.places)
    assert len(pocket.interventions) == 0
    told = mask.provenance
    assert told["loss_after"] < told["loss_before"] and told["prefix_cached"]
    assert told["loss_everywhere"] == pytest.approx(told["loss_after"], abs=0.2)


def test_the_same_call_learns_the_same_mask(pocket: Any, study: Any, scenes: Any) -> None:
    among = study.best_by_gradcam(200)
    once = learn_mask(pocket, WORD, candidates=among, size=10, goal=SHORT, **scenes)
    again = learn_mask(pocket, WORD, candidates=among, size=10, goal=SHORT, **scenes)
    assert once == again and once.score.tolist() == again.score.tolist()


def test_what_is_active_outside_does_not_teach(pocket: Any, study: Any, scenes: Any) -> None:
    among = study.best_by_gradcam(200)
    plain = learn_mask(pocket, WORD, candidates=among, size=10, goal=SHORT, **scenes)
    with torch.inference_mode(), ablate(pocket, {4: range(200)}):
        inside = learn_mask(pocket, WORD, candidates=among, size=10, goal=SHORT, **scenes)
        assert len(pocket.interventions) == 1
    assert inside.score.tolist() == plain.score.tolist()


def test_running_on_from_the_cache_is_running_whole(
    pocket: Any, study: Any, scenes: Any, monkeypatch: Any
) -> None:
    shown = scenes["with_concept"][:4]
    ids = _written(pocket, shown)
    concept = study.concept
    cached = _Captions(pocket, shown, ids, concept, None, (), "predicting")
    monkeypatch.setattr(_Captions, "_cache", lambda _, own: own)
    whole = _Captions(pocket, shown, ids, concept, None, (), "predicting")
    assert cached.cached and not whole.cached
    neurons = study.neurons(top=20)
    with ablate(pocket, neurons, positions="predicting"):
        a, b = cached.logits(), whole.logits()
    assert not torch.allclose(a, torch.as_tensor(cached.before), atol=1e-2)
    np.testing.assert_allclose(a.float().numpy(), b.float().numpy(), atol=2e-3)


def test_bfloat16_runs_on_from_the_cache_and_a_wrong_one_is_left(
    scenes: Any, monkeypatch: Any
) -> None:
    model = mmkn.load_model("pocket", dtype="bfloat16")
    shown = scenes["with_concept"][:3]
    ids = _written(model, shown)
    asked = model, shown, ids, mmkn.Concept("dog"), None, (), "predicting"
    captions = _Captions(*asked)
    assert captions.cached  # rounding to 8 bits is no other model
    with torch.no_grad():  # nor is it a change that the loss sees
        assert captions.loss(captions.logits(), SHORT)[1]["kl"] == pytest.approx(0, abs=1e-5)
    right = _Captions.logits
    monkeypatch.setattr(_Captions, "logits", lambda *a, **k: right(*a, **k).roll(1, 1))
    assert not _Captions(*asked).cached


class _Pulls:
    """Stands for captions: a loss that falls along each share as steeply as is asked."""

    def __init__(self, pulls: list[float]) -> None:
        self.pulls, self.learner = torch.tensor(pulls), None

    def logits(self, grad: bool = False) -> torch.Tensor:
        return torch.cat(list(self.learner.mask.shares.values()))

    def loss(self, shares: torch.Tensor, _goal: MaskGoal) -> tuple[torch.Tensor, dict[str, float]]:
        return -(self.pulls * shares).sum(), {}


def test_of_neurons_silenced_wholly_those_that_matter_most_stay(pocket: Any) -> None:
    pulls = _Pulls([1.0, 4.0, 2.0, 3.0])
    goal = replace(SHORT, wide=2.0, narrow=0.5, rate=0.5, most=1.0)
    learner = _Learner(pocket, {0: np.arange(4)}, [pulls], [], 2, goal, 0, _texts(pocket, goal))
    pulls.learner = learner
    for _ in range(goal.steps):
        learner.advance()
    assert learner.shares.tolist() == [0.0, 1.0, 0.0, 1.0]  # not the first two that came to 1


def test_a_step_is_as_long_however_strong_the_gradient(
    pocket: Any, study: Any, scenes: Any
) -> None:
    shown = scenes["with_concept"][:2]
    ids = _written(pocket, shown)
    batch = _Captions(pocket, shown, ids, study.concept, None, (), None)
    among = neuron_rows(pocket, study.best_by_gradcam(40))
    moved = []
    for scale in (1.0, 1000.0):
        goal = replace(SHORT, word=0.01 * scale, kl=0.2 * scale, same=0.003 * scale)
        learner = _Learner(
            pocket, dict(sorted(among.items())), [batch], [], 40, goal, 0, _texts(pocket, goal)
        )
        with learner.mask:
            learner.advance()
            learner.advance()
        moved.append(learner.shares.clone())
    assert moved[0].max() > 0
    torch.testing.assert_close(*moved)


def test_the_gradient_is_that_of_finite_differences(pocket: Any, study: Any, scenes: Any) -> None:
    shown = scenes["with_concept"][:2]
    ids = _written(pocket, shown)
    others = tuple(mmkn.Concept(word) for word in ("cat", "car", "bus"))
    batch = _Captions(pocket, shown, ids, study.concept, None, others, None)
    goal = replace(SHORT, substitute=1.0)
    chosen = study.best_by_gradcam(3)
    rows: dict[int, Any] = {}
    for layer, _, index in chosen.places:
        rows[layer] = np.sort(np.append(rows.get(layer, np.int64([])), index))
    learner = _Learner(
        pocket, dict(sorted(rows.items())), [batch], [], 3, goal, 0, _texts(pocket, goal)
    )
    at = torch.full((3,), 0.3)

    def loss(shares: torch.Tensor, grad: bool = False) -> torch.Tensor:
        learner.mask.put(shares)
        return batch.loss(batch.logits(grad=grad), goal)[0]

    with learner.mask:
        own = at.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(own, grad=True), own)
        steps = 0.02 * torch.eye(3)
        slope = torch.stack([(loss(at + one) - loss(at - one)) / 0.04 for one in steps])
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(gradient, slope, rtol=0.05, atol=0.02)


def test_log_not_is_exact_near_both_ends() -> None:
    p = torch.tensor([1e-6, 0.3, 0.999])
    torch.testing.assert_close(
        _log_not(p.log()), torch.log1p(-p.double()).float(), rtol=1e-3, atol=1e-6
    )


def test_it_goes_on_where_it_was_cancelled(
    pocket: Any, study: Any, scenes: Any, tmp_path: Path
) -> None:
    among, token = study.best_by_gradcam(200), mmkn.CancelToken()
    asked: dict[str, Any] = {"candidates": among, "size": 10, "goal": SHORT, **scenes}
    file, seen = tmp_path / "mask.json", list[int]()

    def stop(what: str, done: int, total: int) -> None:
        assert "learning a mask" in what and total == SHORT.steps
        if done == 5:
            token.cancel()

    with pytest.raises(mmkn.Cancelled):
        learn_mask(pocket, WORD, checkpoint=file, progress=stop, cancel=token, **asked)
    assert len(pocket.interventions) == 0
    resumed = learn_mask(
        pocket, WORD, checkpoint=file, progress=lambda _, done, __: seen.append(done), **asked
    )
    assert seen == list(range(6, SHORT.steps + 1))
    assert resumed.score.tolist() == learn_mask(pocket, WORD, **asked).score.tolist()
    with pytest.raises(mmkn.BadArgument, match="of another call"):
        learn_mask(pocket, WORD, checkpoint=file, **{**asked, "size": 11})
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(mmkn.BadArgument, match="checkpoint: got .*a whole file"):
        learn_mask(pocket, WORD, checkpoint=file, **asked)


def test_no_mask_is_said_to_be_none(pocket: Any, study: Any, scenes: Any) -> None:
    helpless = _of_no_use(study)
    mask = learn_mask(
        pocket, WORD, candidates=helpless, size=4, goal=MaskGoal(steps=4, kl=1e5), **scenes
    )
    assert len(mask) == 0
    assert "better than none" in mask.provenance["why"] and mask.provenance["restarts"] == 2


def _of_no_use(study: Any) -> mmkn.NeuronSet:
    """Return neurons whose silence does not cost the word."""
    worst = np.argsort(np.abs(study.evidence["gradcam"].values), axis=None)[:30]
    return mmkn.core.NeuronIndex.of_labelled(study.evidence["gradcam"]).neurons(worst)


def test_a_mask_is_learned_where_it_will_be_used(pocket: Any, study: Any, scenes: Any) -> None:
    """What is silenced at the picture's tokens too is learned with them."""
    among, goal = study.best_by_gradcam(60), MaskGoal(steps=12)
    made = {
        where: learn_mask(
            pocket, WORD, candidates=among, size=15, positions=where, goal=goal, **scenes
        )
        for where in (None, "predicting")
    }
    assert not made[None].provenance["prefix_cached"]
    assert made["predicting"].provenance["prefix_cached"]
    concept = mmkn.core.with_kinds(WORD)
    measured = [(where, where, "loss_after") for where in made]
    measured += [(where, None, "loss_everywhere") for where in made]
    for taught, where, name in measured:
        mask = made[taught]
        assert mask.provenance["arguments"]["positions"] == taught
        told = mask.provenance[name]
        found = []
        for kind in ("with_concept", "without_concept"):
            totals = []
            for start in range(0, 12, goal.batch_size):
                shown = scenes[kind][start : start + goal.batch_size]
                batch = _Captions(pocket, shown, _written(pocket, shown), concept, None, (), None)
                with ablate(pocket, mask, positions=where):
                    totals.append(float(batch.loss(batch.logits(), goal)[0]))
            found.append(sum(totals) / len(totals))
        assert sum(found) == pytest.approx(told, rel=0.02, abs=0.02)


def test_what_is_written_under_the_mask_is_learned_from_too(
    pocket: Any, study: Any, scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, seen = scenes["with_concept"], list[Any]()
    ours, laid_out = _Texts.rewritten, _Texts.again

    def rewritten(texts: _Texts) -> Any:
        found = ours(texts)
        seen.append(([list(ids) for ids in _written(pocket, shown)], found))
        return found

    def again(texts: _Texts, written: Any) -> Any:
        made = laid_out(texts, written)
        seen[-1] += (made,)
        return made

    monkeypatch.setattr(_Texts, "rewritten", rewritten)
    monkeypatch.setattr(_Texts, "again", again)
    goal = MaskGoal(steps=9, again=2, substitute=1.0)
    others = [word for word in mmkn.datasets.pocket_world("val", 1).categories if word != WORD]
    learn_mask(
        pocket, WORD, candidates=study.best_by_gradcam(200), size=15, goal=goal, others=others,
        **scenes,
    )  # fmt: skip
    unchanged = _written(pocket, shown)
    assert len(seen) == 2
    assert any(now != unchanged for now, _, _ in seen)  # written under the mask
    absent = [mmkn.Concept(word) for word in others]
    concept = mmkn.core.with_kinds(WORD)
    for now, found, batches in seen:
        for number, (scene, ids) in enumerate(zip(shown, now, strict=True)):
            text = pocket.decode(ids)
            instead = [o for o in absent if o.named_in(text) and o.word not in scene.categories]
            assert ((number, 0, ids) in found) == bool(concept.named_in(text) or instead)
        if not found:
            continue
        first, batch = found[: goal.batch_size], batches[0]
        assert batch.rows.tolist() == list(range(len(first)))  # each is asked at one place
        with torch.no_grad():  # and told by the model as it is, not by the mask
            plain = torch.log_softmax(batch.logits().float(), -1)
        torch.testing.assert_close(plain, batch.before, rtol=1e-4, atol=1e-4)


def test_how_often_and_when_the_model_writes_again(pocket: Any) -> None:
    def when(**goal: Any) -> list[int]:
        texts = _texts(pocket, MaskGoal(**goal))
        return _Learner(pocket, {0: np.arange(4)}, [], [], 2, MaskGoal(**goal), 0, texts)._when()

    assert when(steps=30, again=0) == []
    assert when(steps=30, again=1) == [10]
    assert when(steps=30, again=2) == [10, 24]
    assert all(10 <= step < 30 for step in when(steps=30, again=5))


def test_an_object_that_is_not_there_is_found_where_it_is_said(pocket: Any, val: Any) -> None:
    scene = val.with_concept("car", 1)[0]
    there = set(scene.categories)
    absent, later = [w for w in val.categories if w not in there][:2][::-1]
    shown = "car"
    others = [mmkn.Concept(word) for word in val.categories if word != shown]
    start, place = pocket.tokenizer("a red", add_special_tokens=False).input_ids, 2
    ids = pocket.tokenizer(f"a red {absent} and a {later}", add_special_tokens=False).input_ids
    assert ids[:place] == start
    (span,) = _instead(pocket, ids, others, scene)
    assert pocket.decode(ids[span[0] : span[1]]).strip() == absent and span[0] == place
    said = pocket.tokenizer(f"a red {next(iter(there))}", add_special_tokens=False).input_ids
    assert _instead(pocket, said, others, scene) == []


def test_a_mask_that_does_not_hold_at_all_tokens_is_learned_there(
    study: Any, val: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent, goal = list(val.without_concept(WORD, 8)), MaskGoal(steps=8)
    quick = study.learned_mask(absent, size=10, goal=goal)
    assert quick.provenance["arguments"]["positions"] == "predicting"
    made = quick.provenance
    kept = made["loss_before"] - made["loss_everywhere"]
    assert kept >= learned._HOLDS * (made["loss_before"] - made["loss_after"]) > 0
    total = _Learner.total

    def nothing_everywhere(learner: _Learner, shares: Any, *, everywhere: bool = False) -> float:
        return total(learner, torch.zeros_like(shares) if everywhere else shares)

    with monkeypatch.context() as patch:
        patch.setattr(_Learner, "total", nothing_everywhere)
        slow, again = (
            study.learned_mask(absent, size=10, goal=goal, checkpoint=tmp_path / "mask.json")
            for _ in range(2)
        )
    assert slow.provenance["arguments"]["positions"] is None
    assert {file.name for file in tmp_path.iterdir()} == {"mask.json", "mask.everywhere"}
    assert again.score.tolist() == slow.score.tolist()
    asked = study.learned_mask(absent, size=10, goal=goal, positions="predicting")
    assert asked.score.tolist() == quick.score.tolist()


def test_what_is_not_to_be_said_instead_is_on_the_other_scenes(
    pocket: Any, study: Any, val: Any, scenes: Any
) -> None:
    absent, goal = list(val.without_concept(WORD, 8)), MaskGoal(steps=4, substitute=1.0)
    mask = study.learned_mask(absent, size=5, goal=goal)
    there = {name for scene in (*study.scored, *absent) for name in scene.categories}
    assert set(mask.provenance["arguments"]["others"]) == there - {WORD}
    assert "substitute" in mask.provenance["last_step"]
    among = study.best_by_gradcam(20)
    with pytest.raises(mmkn.BadArgument, match="others: got"):
        learn_mask(pocket, WORD, candidates=among, goal=goal, **scenes)


def test_candidates_lie_in_the_upper_layers(study: Any, val: Any) -> None:
    assert learned.mask_candidates(study).layer.min() == 3  # of six: .6 and upwards
    assert learned.mask_candidates(study, 500, 0).layer.min() < 3
    mask = study.learned_mask(val.without_concept(WORD, 8), size=9, depth=0.9, goal=SHORT)
    assert set(mask.layer.tolist()) == {5}
    with pytest.raises(mmkn.BadArgument, match="depth: got 1"):
        study.learned_mask(depth=1)


def test_several_questions_are_several_captions(pocket: Any, study: Any, scenes: Any) -> None:
    among = study.best_by_gradcam(50)
    one = learn_mask(pocket, WORD, candidates=among, size=4, goal=MaskGoal(steps=2), **scenes)
    two = learn_mask(
        pocket, WORD, candidates=among, size=4, goal=MaskGoal(steps=2),
        prompts=(None, "What do you see?"), **scenes,
    )  # fmt: skip
    first, second = one.provenance["captions"], two.provenance["captions"]
    assert sum(second.values()) == 2 * sum(first.values()) == 48


def test_the_substitute_term_counts_absent_objects_only(
    pocket: Any, study: Any, val: Any, scenes: Any
) -> None:
    shown = scenes["with_concept"][:3]
    ids = _written(pocket, shown)
    others = tuple(mmkn.Concept(word) for word in val.categories)
    batch = _Captions(pocket, shown, ids, study.concept, None, others, None)
    for number, scene in enumerate(shown):
        for word in val.categories:
            tokens = list(mmkn.Concept(word).first_tokens(pocket.tokenizer))
            expected = word not in scene.categories
            assert bool(batch.absent[number, tokens].all()) is expected, word


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 0}, "size: got 0"),
        ({"size": 2.5}, "size: got 2.5"),
        ({"candidates": mmkn.NeuronSet([], [])}, "candidates: got .*no neurons"),
        ({"prompts": ()}, "prompts: got"),
        ({"with_concept": []}, "with_concept: got .*captions? names? 'dog'|with_concept: got"),
        ({"seed": -1}, "seed: got -1"),
        ({"positions": "image"}, "positions: got 'image', expected None .all tokens. or"),
    ],
)
def test_bad_arguments_are_named(
    pocket: Any, study: Any, scenes: Any, given: dict[str, Any], said: str
) -> None:
    asked = {"candidates": study.best_by_gradcam(20), **scenes, **given}
    if given.get("with_concept") == []:
        asked["without_concept"] = scenes["without_concept"][:2]
    with pytest.raises(mmkn.BadArgument, match=said):
        learn_mask(pocket, WORD, goal=MaskGoal(steps=1), **asked)


@pytest.mark.parametrize(
    "given",
    [
        {"floor": 0},
        {"kl": -1},
        {"same": -1},
        {"margin": -1},
        {"steps": 0},
        {"again": -1},
        {"rate": 0},
        {"wide": 0.5},
        {"narrow": 2},
        {"most": 0},
    ],
)
def test_bad_goals_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(mmkn.BadArgument, match=next(iter(given))):
        MaskGoal(**given)


def test_the_smallest_that_keeps_so_much_is_judged_on_other_scenes(study: Any, val: Any) -> None:
    absent = list(val.without_concept(WORD, 12))
    mask = study.learned_mask(absent, retain=0.9, sizes=(2, 15, 40), goal=MaskGoal(steps=16))
    told = mask.provenance
    assert told["met"] and [row["size"] for row in told["sizes"]] == [2, 15, 40]
    assert told["arguments"]["scenes"] == [str(s.id) for s in study.scored[::2]]
    enough = [row for row in told["sizes"] if row["retention"] >= 0.9]
    most = max(row["suppression"] for row in enough)
    assert len(mask) == next(row["neurons"] for row in enough if row["suppression"] == most)
    with pytest.raises(mmkn.BadArgument, match="size, retain"):
        study.learned_mask(absent, size=3, retain=0.9)
    with pytest.raises(mmkn.BadArgument, match="retain: got"):
        study.learned_mask(absent[:1], retain=0.9)


def test_captions_elsewhere_stay_word_for_word(pocket: Any, study: Any, val: Any) -> None:
    mask = study.learned_mask(val.without_concept(WORD, 16), size=20)
    other = list(mmkn.datasets.pocket_world("test").without_concept(WORD, 20))
    pictures = [scene.image for scene in other]
    before = list(pocket.generate(pocket.prepare(pictures)).texts)
    with pocket.ablate(mask):
        after = list(pocket.generate(pocket.prepare(pictures)).texts)
    share = identical(before, after)
    assert share is not None and share >= 0.9


def test_the_loss_is_the_words_log_odds_and_torchs_own_divergence_elsewhere(
    pocket: Any, study: Any, scenes: Any
) -> None:
    shown = scenes["with_concept"][:3]
    ids = _written(pocket, shown)
    batch = _Captions(pocket, shown, ids, study.concept, None, (), None)
    goal = MaskGoal(word=0.5, floor=0.01, kl=20.0)
    with ablate(pocket, {4: range(300)}, positions="predicting"):
        logits = batch.logits()
    loss, parts = batch.loss(logits, goal)
    log_p = torch.log_softmax(logits.double(), -1)
    divergence = torch.nn.functional.kl_div(
        log_p[batch.kept], batch.before[batch.kept].double(), log_target=True, reduction="none"
    )
    p = log_p[batch.rows, batch.places].exp()[:, batch.word].sum(-1)
    above = torch.logit(p) - torch.logit(torch.tensor(0.01, dtype=torch.float64))
    assert parts["kl"] == pytest.approx(20 * float(divergence.sum(-1).mean()), rel=1e-3)
    assert parts["word"] == pytest.approx(0.5 * float(above.clamp(min=0).mean()), rel=1e-3)
    lost = 0.0
    for row in range(3):
        for place in range(batch.width):
            if batch.kept[row, place]:
                said = int(batch.before[row, place].argmax())
                two = sorted(batch.before[row, place].tolist())[-2:]
                rest = log_p[row, place].clone()
                rest[said] = -torch.inf
                lead = float(log_p[row, place, said] - rest.max())
                lost += max(min(two[1] - two[0], 1.0) - lead, 0.0)
    assert parts["same"] == pytest.approx(0.3 * lost / 3, rel=1e-3)
    assert min(parts.values()) > 0.01
    assert float(loss) == pytest.approx(sum(parts.values()), rel=1e-5)

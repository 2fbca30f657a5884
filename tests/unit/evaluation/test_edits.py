"""What an edit's report counts, on a model that says what it is told."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from mmkn_widgets.evaluation import Captioner, edit_report, trade_off
from mmkn_widgets.interventions import EditReport


class Says:
    """Captions scene n with the n-th text of what is active."""

    name, n_neurons = "trial", 3

    def __init__(self, before, after):
        self.before, self.after = before, after
        self.model = self.interventions = self
        self.active, self.batches = False, []

    @contextmanager
    def suspended(self):
        was, self.active = self.active, False
        yield
        self.active = was

    def __enter__(self):
        self.active = True

    def __exit__(self, *_):
        self.active = False

    def prepare(self, images, prompt=None):
        return images

    def generate(self, prepared, **_):
        self.batches.append(len(prepared))
        texts = self.after if self.active else self.before
        return SimpleNamespace(texts=[texts[n] for n in prepared])


def scenes(*categories):
    return [
        SimpleNamespace(image=n, id=n, source="test", categories=given, captions=())
        for n, given in enumerate(categories)
    ]


def report_of(before, after, target="boat", words=("car", "boat", "dog"), source="car"):
    shown = scenes(*[words] * len(before))
    return edit_report(Says(before, after), source, target, shown, words=words, batch_size=2)


@pytest.mark.parametrize(
    ("target", "after", "repeated"),
    [
        ("boat", "a boat, a boat", 1),
        ("boat", "a boat and a boat.", 1),
        ("boat", "a boat and a boat-house", 0),
        ("boat", "a boat and boats", 1),
        ("fire hydrant", "a fire hydrant and a fire-hydrant", 1),
        ("fire hydrant", "a fire hydrant", 0),
        (["boat", "bus"], "a bus and a boat", 0),
        ("dog", "a dog and a hot dog", 0),
    ],
)
def test_repeated_counts_mentions(target, after, repeated):
    found = report_of(["a car"], [after], target)
    assert found.success == 1
    assert found.repeated == repeated


def test_compounds_are_neither_source_nor_target():
    found = report_of(["a car park", "a car"], ["a car park", "a boat house"])
    assert (found.n_with, found.n_without) == (1, 1)
    assert found.gone == 1
    assert found.success == 0
    assert found.locality == 1


def test_shortened_counts_words_not_spaces():
    found = report_of(["a car , a dog", "犬と車がある"], ["a boat, a dog", "犬がある"])
    assert found.shortened == 1 / 2


def test_other_words_leave_out_what_names_the_source():
    words = ("dog", "guide dog", "hot dog", "cat")
    found = report_of(["a guide dog, a hot dog and a cat"], ["a cat"], "cat", words, "dog")
    assert found.kept_scene == 1 / 2  # the cat, of hot dog and cat


def test_nothing_to_count_is_none():
    found = report_of(["a dog"], ["a dog"])
    assert found.success is found.gone is found.kept_scene is found.repeated is None
    assert found.locality == found.kept_other == 1
    assert EditReport.from_dict(found.to_dict()) == found
    [point] = trade_off(Says(["a dog"], []), [], "dog", scenes(["dog"]), [], batch_size=4)
    assert point.hallucinated is point.chair is point.kept is None
    assert point.recall == point.identical == 1
    assert point.to_dict()["chair"] is None


def test_the_curve_knows_the_longest_name():
    model = Says(["a hot dog", "a garden gnome"], ["a hot dog", "a garden gnome"])
    shown = scenes(["cat"], ["garden gnome"])
    plain, cured = trade_off(
        model, [model], "dog", shown[1:], shown[:1],
        words=["dog", "cat", "gnome", "garden gnome"], batch_size=1,
    )  # fmt: skip
    assert plain.hallucinated == plain.chair == 0
    assert cured.kept == cured.identical == 1


def test_one_captioner_says_what_is_active_in_batches():
    model = Says(["a", "b", "c"], ["x", "y", "z"])
    writer = Captioner(model, batch_size=2)
    assert writer.now(scenes((), (), ())) == ["a", "b", "c"]
    with model:
        assert writer.now(scenes((), (), ())) == ["x", "y", "z"]
    assert model.batches == [2, 1, 2, 1]

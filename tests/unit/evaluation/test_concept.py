from __future__ import annotations

import pytest

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import (
    Vocabulary,
    as_vocabulary,
    chair,
    identical,
    names,
    retention,
    substitution,
    suppression,
)
from mmkn_widgets.evaluation.concept import kept_counts

FORMS = {
    "dog": ["dog", "dogs"],
    "cat": ["cat", "cats"],
    "car": ["car", "cars"],
    "hot dog": ["hot dog", "hot dogs"],
}


class Duck:
    """A concept as other rooms make it."""

    word, forms = "dog", ("dogs", "puppy")

    def named_in(self, text):
        return any(form in text.lower().split() for form in (self.word, *self.forms))


def test_whole_words_any_case_longest_first():
    known = Vocabulary(FORMS)
    assert known.mentions("Dogs, a CAT and the dog's hot  dog") == ("dog", "cat", "dog", "hot dog")
    assert known.named("catfish scar dogma category_car") == {"car"}
    assert known.mentions("") == ()
    assert Vocabulary({}).mentions("a dog") == ()


def test_concepts_words_and_forms_are_all_vocabularies():
    assert as_vocabulary({"pet": Duck()}).named("a Puppy, a dog") == {"pet"}
    assert as_vocabulary([Duck()]).categories == ("dog",)
    known = Vocabulary(FORMS)
    assert as_vocabulary(known) is known
    assert names("my puppy", Duck())
    assert not names("my puppy", ["dog"])
    for bad in ("dog", 3, {"dog": 3}, {"dog": [" "]}):
        with pytest.raises(BadArgument, match="vocabulary: got"):
            as_vocabulary(bad)


def test_a_concept_leaves_its_own_categories_out_but_not_longer_names():
    rest = Vocabulary(FORMS).without(["dog", "dogs"])
    assert rest.categories == ("cat", "car", "hot dog")
    assert rest.named("a dog, a cat, a hot dog") == {"cat", "hot dog"}
    assert Vocabulary(FORMS).without(["hot dog"]).named("a hot dog") == frozenset()


def test_suppression_counts_over_captions_that_named_it():
    before = ["a dog", "two dogs", "a dog and a cat", "a cat", ""]
    after = ["a cat", "a dog", "a cat", "a dog", "dogs"]
    assert suppression(before, after, FORMS["dog"]) == pytest.approx(2 / 3)
    assert suppression(before, before, FORMS["dog"]) == 0
    assert suppression(before, [""] * 5, FORMS["dog"]) == 1
    assert suppression(["a cat", ""], ["a dog", ""], FORMS["dog"]) is None
    assert suppression([], [], FORMS["dog"]) is None


def test_retention_has_scene_other_and_the_smaller():
    found = retention(
        ["a dog, a cat and a car", "a dog", "a dog and a cat"],
        ["a cat", "a cat", "a dog and a cat"],
        ["a dog and a car", "a cat"],
        ["a car", "a cat and a dog"],
        FORMS["dog"],
        FORMS,
    )
    # with it: cat, car -> cat; nothing; cat -> cat. Without it: dog, car -> car; cat -> cat.
    assert found == {"scene": 2 / 3, "other": 2 / 3, "headline": 2 / 3}
    alone = retention(["a dog"], ["a cat"], [], [], FORMS["dog"], FORMS)
    assert set(alone.values()) == {None}
    half = retention(["a dog and a cat"], ["a cat"], [], [], FORMS["dog"], FORMS)
    assert half["scene"] == half["headline"] == 1
    assert half["other"] is None
    better_elsewhere = retention(["a dog and a cat"], ["a dog"], ["a car"], ["a car"], "dog", FORMS)
    assert better_elsewhere == {"scene": 0, "other": 1, "headline": 0}
    worse_elsewhere = retention(["a dog and a cat"], ["a cat"], ["a car"], [""], "dog", FORMS)
    assert worse_elsewhere == {"scene": 1, "other": 0, "headline": 0}


def test_kept_counts_by_picture():
    counts = kept_counts(["a cat and a car", ""], ["a cat", "a dog"], FORMS)
    assert counts == [(1, 2), (0, 0)]


def test_identical():
    assert identical(["a", "b", ""], ["a", "c", ""]) == pytest.approx(2 / 3)
    assert identical([], []) is None


def test_substitution_counts_captions_with_objects_that_are_not_there():
    after = ["a cat", "a dog and a car", "a tree", ""]
    present = [["dog"], ["dog", "car"], ["dog"], []]
    assert substitution(after, present, FORMS) == 0.25
    before = ["a dog and a cat", "a dog", "a dog", ""]
    assert substitution(after, present, FORMS, before) == 0
    assert substitution([], [], FORMS) is None


def test_chair_by_hand():
    captions = ["a dog and a cat", "a dog, a car, a car", "", "a hot dog"]
    present = [["dog"], ["dog", "zebra"], ["cat"], ["hot dog"]]
    found = chair(captions, present, FORMS)
    assert found["chair_s"] == 2 / 4
    assert found["chair_i"] == 3 / 6  # cat; car, car - of dog cat dog car car "hot dog"
    assert found["recall"] == 3 / 4  # a zebra is no category here
    assert set(chair([], [], FORMS).values()) == {None}


def test_chair_knows_double_words():
    from mmkn_widgets.evaluation import coco_vocabulary

    captions = [
        "a hot-dog on a plate", "a teddy-bear on a bed", "a red traffic-light", "a stop-sign",
        "a baseball player at a bus stop", "a motor bike helmet in a car park",
        "a baby elephant next to a train track", "a passenger train at the train station",
    ]  # fmt: skip
    present = [
        ["hot dog"], ["teddy bear", "bed"], ["traffic light"], ["stop sign"],
        ["person"], ["motorcycle"], ["elephant"], ["train"],
    ]  # fmt: skip
    found = chair(captions, present, coco_vocabulary())
    assert found == {"chair_s": 0, "chair_i": 0, "recall": 1}
    assert suppression(["a bus"], ["a bus stop"], "bus") == 1
    assert suppression(["a bus stop"], ["a tree"], "bus") is None
    kept = retention(["a dog, a cat"], ["a cat house"], [], [], "dog", ["dog", "cat", "house"])
    assert kept == {"scene": 0, "other": None, "headline": 0}


@pytest.mark.parametrize(
    "call",
    [
        lambda: suppression(["a"], [], ["a"]),
        lambda: identical(["a"], ["a", "b"]),
        lambda: substitution(["a"], [], FORMS),
        lambda: chair(["a"], [[], []], FORMS),
        lambda: retention(["a"], ["a", "b"], [], [], ["dog"], FORMS),
    ],
)
def test_lists_of_different_lengths(call):
    with pytest.raises(BadArgument, match=r"got '\d entries', expected as many as"):
        call()


def test_coco_words_belong_to_one_category_each():
    from mmkn_widgets.evaluation import coco_vocabulary

    forms = coco_vocabulary()
    assert len(forms) == 80
    every = [form for given in forms.values() for form in given]
    assert len(every) == len(set(every))
    known = as_vocabulary(forms)
    assert known.mentions("Two men and a kitten on a couch watch television, a hot dog, a tie") == (
        *("person", "cat", "couch", "tv", "hot dog", "tie"),
    )
    assert coco_vocabulary(["zebra", "unicorn"]) == {
        "zebra": ("zebra", "zebras"),
        "unicorn": ("unicorn", "unicorns"),
    }

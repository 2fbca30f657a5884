"""Teacher forcing gives the generation's own logits; padding changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.models.families import as_read
from mmkn_widgets.models.prompts import FAMILY_PROMPTS, prompt_text


def test_teacher_forcing_predicts_the_greedy_caption(pocket: Any, pictures: Any) -> None:
    written = pocket.generate(pocket.prepare(pictures), max_new_tokens=10)
    ready = pocket.prepare(pictures, continuation=written.token_ids)
    logits = pocket.forward(ready).logits
    for row, ids in enumerate(written.token_ids):
        start = ready.prompt_lengths[row]
        predicted = logits[row, start - 1 : start + len(ids) - 1].argmax(-1).tolist()
        assert predicted == ids
        assert ready.lengths[row] == start + len(ids)


def test_text_and_ids_continue_alike(pocket: Any, pictures: Any) -> None:
    text = "a red car next to a green tree"
    ids = pocket.tokenizer(text, add_special_tokens=False)["input_ids"]
    by_text = pocket.prepare(pictures[0], continuation=[text])
    by_ids = pocket.prepare(pictures[0], continuation=[ids])
    assert by_text.continuation == by_ids.continuation == (tuple(ids),)
    assert torch.equal(by_text.inputs["input_ids"], by_ids.inputs["input_ids"])
    assert by_text.inputs["input_ids"][0, -len(ids) :].tolist() == ids


def test_right_padding_leaves_each_row_its_own_logits(pocket: Any, pictures: Any) -> None:
    texts = ["a car", "a red car next to a green tree", "the"]
    together = pocket.prepare(pictures[:3], continuation=texts)
    logits = pocket.forward(together).logits
    for row, text in enumerate(texts):
        alone = pocket.prepare(pictures[row], continuation=[text])
        wanted = pocket.forward(alone).logits[0]
        assert torch.allclose(logits[row, : len(wanted)], wanted, atol=2e-5)
        assert together.inputs["attention_mask"][row].sum() == together.lengths[row]


def test_left_padding_moves_tokens_and_masks_together(pocket: Any, pictures: Any) -> None:
    ready = pocket.prepare(pictures[:2], continuation=["a car", "a red car next to a tree"])
    moved = ready.left_padded()
    shift = ready.lengths[1] - ready.lengths[0]
    assert moved.inputs["attention_mask"][0, :shift].sum() == 0
    kept = ready.inputs["input_ids"][0, : ready.lengths[0]]
    assert torch.equal(moved.inputs["input_ids"][0, shift:], kept)
    assert moved.left_padded().inputs["input_ids"].equal(moved.inputs["input_ids"])
    assert torch.equal(moved.inputs["pixel_values"], ready.inputs["pixel_values"])


def test_only_the_last_logits(pocket: Any, pictures: Any) -> None:
    ready = pocket.prepare(pictures[0])
    full = pocket.forward(ready).logits
    kept = pocket.forward(ready, logits_to_keep=2).logits
    assert kept.shape[1] == 2
    assert torch.allclose(kept, full[:, -2:], atol=1e-5)


def test_gradients_only_when_asked(pocket: Any, pictures: Any) -> None:
    ready = pocket.prepare(pictures[0])
    leaves: list[torch.Tensor] = []

    def lead(value: torch.Tensor) -> torch.Tensor:
        leaves.append(value.detach().requires_grad_())
        return leaves[-1]

    handle = pocket.sites[2].hook(lead)
    plain = pocket.forward(ready).logits
    graph = pocket.forward(ready, grad=True).logits
    handle.remove()
    assert not plain.requires_grad
    (gradient,) = torch.autograd.grad(graph[0, -1, 7], leaves[-1:])
    assert float(gradient.abs().max()) > 0
    assert all(p.grad is None and not p.requires_grad for p in pocket.hf.parameters())


def test_ready_made_inputs(pocket: Any, pictures: Any) -> None:
    ready = pocket.prepare(pictures)
    again = pocket.prepare({**ready.inputs, "note": "not a tensor"})
    assert again.lengths == ready.lengths
    assert torch.equal(pocket.forward(again).logits, pocket.forward(ready).logits)
    with pytest.raises(BadArgument, match="a dict of the model's input tensors"):
        pocket.prepare({"picture": "cat.png"})


@pytest.mark.parametrize(
    ("continuation", "said"),
    [
        (["a", "b"], "'2 rows', expected one for each of 1 images"),
        ([[4, 4]], "which stands for a picture"),
    ],
)
def test_bad_continuations(pocket: Any, pictures: Any, continuation: Any, said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        pocket.prepare(pictures[0], continuation=continuation)


class _Plain:
    image_token = "<img>"


class _Config:
    def __init__(self, model_type: str) -> None:
        self.model_type = model_type


class _Model:
    generation_config = None

    def __init__(self, model_type: str) -> None:
        self.config = _Config(model_type)


@pytest.mark.parametrize(
    ("family", "question", "text"),
    [
        ("llava", "What is it?", "USER: <img>\nWhat is it? ASSISTANT:"),
        ("blip-2", None, ""),
        ("blip-2", "What is it?", "Question: What is it? Answer:"),
        ("paligemma", None, "<img>caption en"),
        ("kosmos-2", None, "<grounding>An image of"),
        ("florence2", None, "<CAPTION>"),
        ("instructblip", "What is it?", "What is it?"),
        ("a family of next month", "What is it?", "<img>\nWhat is it?"),
    ],
)
def test_the_family_prompt_without_a_chat_template(
    family: str, question: str | None, text: str
) -> None:
    assert prompt_text(_Model(family), _Plain(), question) == text


class _Chatty(_Plain):
    """A processor whose chat template is a language model's own."""

    chat_template = "there is one"

    def __init__(self, strict: bool) -> None:
        self.strict = strict

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        content = messages[0]["content"]
        if isinstance(content, list):
            if self.strict:
                raise TypeError("can only concatenate str")
            content = "".join(part.get("text", "") for part in content)
        return f"[{content}]"


@pytest.mark.parametrize("strict", [True, False])
def test_a_chat_template_that_knows_no_pictures_gets_the_placeholder(strict: bool) -> None:
    found = prompt_text(_Model("llava"), _Chatty(strict), "What is it?", 2)
    assert found == "[<img><img>\nWhat is it?]"


def test_every_family_prompt_asks_the_question() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    known = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, "minigpt4", "mplug_owl2"}
    assert set(FAMILY_PROMPTS) <= known
    assert all("{question}" in asking for _, asking in FAMILY_PROMPTS.values())


def test_blip_reads_its_prompt_as_its_own_generate_does() -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration

    import mmkn_widgets as mmkn

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4}  # fmt: skip
    text = {**small, "vocab_size": 40, "bos_token_id": 30, "sep_token_id": 31, "eos_token_id": 2,
            "pad_token_id": 0, "encoder_hidden_size": 32}  # fmt: skip
    config = BlipConfig(
        text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}
    )
    model = mmkn.load_model(BlipForConditionalGeneration(config).eval())
    ids = torch.tensor([[5, 6, 7, 31]])
    given = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(1, 3, 32, 32),
    }
    ready = model.prepare(as_read(model, given))
    assert ready.inputs["input_ids"].tolist() == [[30, 6, 7]]
    written = model.generate(ready, max_new_tokens=5).token_ids[0]
    with torch.no_grad():
        plain = model.hf.generate(**{k: v.clone() for k, v in given.items()}, max_new_tokens=5)
    assert plain[0, 3 : 3 + len(written)].tolist() == written
    forced = model.prepare(as_read(model, given), continuation=[written])
    predicted = model.forward(forced).logits[0, 2:-1].argmax(-1).tolist()
    assert predicted == written

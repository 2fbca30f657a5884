"""MiniGPT-4 from tiny parts, saved and read through the real path.

Key names are those of the published checkpoints, as its code writes them: ``llama_proj`` in
``minigpt4/models/minigpt4.py``, kept under ``"model"`` by ``minigpt4/runners/runner_base.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.models.minigpt4 import TEMPLATES

HIDDEN, WIDE, PATCHES, QUERIES = 32, 48, 16, 6
_VOCABULARY = """
<unk> <s> </s> ### # ## Give the following image : < Img > ImageContent / . You will
be able to see once I provide it you Please answer my questions Human Assistant [
INST ] Describe in a few words red car tree
"""
WORDS = _VOCABULARY.split()


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("###", "isolated")]
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a tiny BLIP-2, a tiny Llama and the projections of both versions."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        BlipImageProcessorPil,
        LlamaConfig,
        LlamaForCausalLM,
    )

    root = tmp_path_factory.mktemp("parts")
    small = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    torch.manual_seed(0)
    blip2 = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config={**small, "hidden_size": HIDDEN, "image_size": 32, "patch_size": 8},
            qformer_config={**small, "hidden_size": 24, "encoder_hidden_size": HIDDEN,
                            "vocab_size": 20, "cross_attention_frequency": 2},
            text_config={"model_type": "opt", "hidden_size": 16, "ffn_dim": 20, "vocab_size": 30,
                         "num_hidden_layers": 1, "num_attention_heads": 2,
                         "word_embed_proj_dim": 16},
            num_query_tokens=QUERIES,
        )
    )  # fmt: skip
    with torch.no_grad():
        blip2.query_tokens.normal_()
    blip2.save_pretrained(root / "blip2")
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "blip2")
    llama = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(WORDS), hidden_size=WIDE, intermediate_size=64,
                    num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
                    bos_token_id=1, eos_token_id=2)
    )  # fmt: skip
    llama.save_pretrained(root / "llm")
    _tokenizer(root / "llm")
    for version, width in (("vicuna0", 24), ("llama2", 4 * HIDDEN)):
        projection = {
            "llama_proj.weight": torch.randn(WIDE, width) / width**0.5,
            "llama_proj.bias": torch.randn(WIDE),
            "Qformer.bert.embeddings.position_ids": torch.arange(4)[None],
        }
        torch.save(
            {"model": projection, "optimizer": {}, "config": {"model": {"arch": "mini_gpt4"}},
             "scaler": None, "epoch": 4},
            root / f"{version}.pth",
        )  # fmt: skip
    return {name: root / name for name in ("blip2", "llm", "vicuna0.pth", "llama2.pth")}


def _load(parts: dict[str, Path], version: str, checkpoint: Path | None = None) -> Any:
    return mmkn.load_minigpt4(
        blip2=parts["blip2"],
        llm=parts["llm"],
        checkpoint=checkpoint or parts[f"{version}.pth"],
        version=version,
        device="cpu",
    )


@pytest.fixture(scope="module", params=["vicuna0", "llama2"])
def model(request: pytest.FixtureRequest, parts: dict[str, Path]) -> Any:
    loaded = _load(parts, request.param)
    loaded.version = request.param
    return loaded


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_logits_are_those_of_the_parts_put_together_by_hand(
    model: Any, parts: dict[str, Path], picture: Image.Image
) -> None:
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration, LlamaForCausalLM

    blip2 = Blip2ForConditionalGeneration.from_pretrained(parts["blip2"]).eval()
    llama = LlamaForCausalLM.from_pretrained(parts["llm"]).eval()
    words = AutoTokenizer.from_pretrained(parts["llm"])
    saved = torch.load(parts[f"{model.version}.pth"], weights_only=True)["model"]
    ready = model.prepare(picture, "a red car")
    with torch.no_grad():
        seen = blip2.vision_model(pixel_values=ready.inputs["pixel_values"]).last_hidden_state
        if model.version == "vicuna0":
            queries = blip2.query_tokens
            tokens = blip2.qformer(query_embeds=queries, encoder_hidden_states=seen)[0]
        else:  # four neighbours of one row side by side
            grid = seen[:, 1:].reshape(1, 4, 1, 4, HIDDEN)
            tokens = torch.cat([grid[:, :, :, i] for i in range(4)], -1).reshape(1, 4, -1)
        tokens = tokens @ saved["llama_proj.weight"].T + saved["llama_proj.bias"]
        before, after = TEMPLATES[model.version].format(question="a red car").split("<ImageHere>")
        ids = [words(before)["input_ids"], words(after, add_special_tokens=False)["input_ids"]]
        embed = llama.get_input_embeddings()
        whole = torch.cat(
            [embed(torch.tensor(ids[:1])), tokens, embed(torch.tensor(ids[1:]))], dim=1
        )
        wanted = llama(inputs_embeds=whole).logits
    assert ids[0][0] == 1
    assert torch.allclose(model.forward(ready).logits, wanted, atol=1e-5)


def test_its_neurons_are_the_language_models(model: Any) -> None:
    assert [s.module_name for s in model.sites] == [
        f"language_model.model.layers.{i}.mlp.down_proj" for i in range(3)
    ]
    assert len(model.checks) == 3
    assert model.unembedding.shape == (len(WORDS), WIDE)
    assert model.final_norm is model.hf.language_model.model.norm


def test_the_token_map_has_the_versions_tokens(model: Any, picture: Image.Image) -> None:
    (tokens,) = model.token_maps(model.prepare(picture))
    expected = QUERIES if model.version == "vicuna0" else PATCHES // 4
    assert tokens.role.count("image") == expected
    geometry = tokens.geometry
    if model.version == "llama2":
        assert (geometry.kind, geometry.shape) == ("strips", (4, 1))
        wanted = torch.tensor([[0, 10 * i, 60, 10 * i + 10] for i in range(4)])
        assert torch.allclose(torch.tensor(geometry.boxes), wanted.double(), atol=0.2)


@pytest.mark.parametrize("strip", range(4))
def test_a_mark_lands_on_its_strip(
    parts: dict[str, Path], picture: Image.Image, strip: int
) -> None:
    model = _load(parts, "llama2")
    x0, y0, x1, y1 = model.token_maps(model.prepare(picture))[0].geometry.boxes[strip].round()
    pixels = np.asarray(picture).copy()
    pixels[int(y0) + 2 : int(y1) - 2, int(x0) + 2 : int(x1) - 2] ^= 255
    images = [picture, Image.fromarray(pixels)]
    plain, marked = (model.hf.eyes(model.prepare(one).inputs["pixel_values"]) for one in images)
    assert int((marked - plain)[0].norm(dim=1).argmax()) == strip


def test_captions_are_greedy_and_batched(model: Any, picture: Image.Image) -> None:
    one = model.generate(model.prepare(picture), max_new_tokens=6)
    two = model.generate(model.prepare([picture, picture]), max_new_tokens=6)
    assert two.token_ids == one.token_ids * 2
    forced = model.prepare(picture, continuation=one.token_ids)
    n = len(one.token_ids[0])
    predicted = model.forward(forced).logits[0, -n - 1 : -1].argmax(-1).tolist()
    assert predicted == one.token_ids[0]


def test_vicuna_stops_at_its_separator(parts: dict[str, Path], picture: Image.Image) -> None:
    model = _load(parts, "vicuna0")
    assert model.hf.stop_sequences[0] == (WORDS.index("###"),)
    head = model.hf.get_output_embeddings()
    first = model.generate(model.prepare(picture), max_new_tokens=6).token_ids[0]
    with torch.no_grad():  # now "###" wins wherever the second word would have
        head.weight[WORDS.index("###")] = 2 * head.weight[first[1]]
    cut = model.generate(model.prepare(picture), max_new_tokens=6)
    assert cut.finished == [True]
    assert len(cut.token_ids[0]) < 6
    assert WORDS.index("###") not in cut.token_ids[0]


def test_the_templates_of_the_published_demo(model: Any, picture: Image.Image) -> None:
    (prompt,) = model.prepare(picture, "a tree").prompts
    assert prompt == TEMPLATES[model.version].replace("{question}", "a tree")
    if model.version == "vicuna0":
        assert prompt.endswith("###Human: <Img><ImageHere></Img> a tree###Assistant: ")
    else:
        assert prompt.endswith("<s>[INST] <Img><ImageHere></Img> a tree [/INST] ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"llama_proj.bias": None}, "lacks llama_proj.bias; it holds llama_proj.weight"),
        ({"llama_proj.weight": None, "llama_proj.bias": None}, "lacks llama_proj.weight, llama_"),
        ({"query_tokens": torch.zeros(2)}, "also holds query_tokens, which MiniGPT-4 does not"),
        ({"llama_proj.weight": torch.zeros(WIDE, 99)}, r"is \(48, 99\), expected \(48, 24\)"),
    ],
)
def test_a_wrong_checkpoint_says_which_keys(
    parts: dict[str, Path], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    read = torch.load(parts["vicuna0.pth"], weights_only=True)
    read["model"].update(change)
    read["model"] = {key: value for key, value in read["model"].items() if value is not None}
    torch.save(read, tmp_path / "wrong.pth")
    with pytest.raises(BadArgument, match=said):
        _load(parts, "vicuna0", tmp_path / "wrong.pth")


def test_the_other_versions_checkpoint_is_recognised(parts: dict[str, Path]) -> None:
    with pytest.raises(BadArgument, match="is it the checkpoint of 'llama2'"):
        _load(parts, "vicuna0", parts["llama2.pth"])


def test_files_that_are_no_parts(parts: dict[str, Path], tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return ((tmp_path / "boom").touch, ())

    torch.save({"model": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(BadArgument, match="cannot be read as plain tensors"):
        _load(parts, "vicuna0", tmp_path / "bomb.pth")
    assert not (tmp_path / "boom").exists()
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(BadArgument, match="cannot be read as plain tensors"):
        _load(parts, "vicuna0", tmp_path / "text.pth")
    with pytest.raises(BadArgument, match="there is no file"):
        _load(parts, "vicuna0", tmp_path / "none.pth")
    with pytest.raises(BadArgument, match=r"blip2: .* expected a BLIP-2"):
        _load({**parts, "blip2": parts["llm"]}, "vicuna0")
    with pytest.raises(BadArgument, match="version: got 'v2', expected 'vicuna0' or 'llama2'"):
        _load({**parts, "v2.pth": parts["llama2.pth"]}, "v2")

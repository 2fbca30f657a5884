"""The models in the box, with their real weights: ordinary ones beside the prepared one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pocket_lab.exam import examine

import mmkn_widgets as mmkn
from mmkn_widgets.core import BadArgument, NotSupported
from mmkn_widgets.models import smollm2
from mmkn_widgets.models.source import find_source
from mmkn_widgets.pocket import FOLDERS, path


@pytest.fixture(scope="module")
def ordinary() -> Any:
    return mmkn.load_model("pocket-smollm2", dtype="bfloat16")


@pytest.fixture(scope="module")
def plain() -> Any:
    return mmkn.load_model("pocket-plain")


@pytest.mark.parametrize("name", ["plain", "ordinary"])
def test_ordinary_models_say_what_is_there(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    scenes = list(mmkn.datasets.pocket_world("test", 24))
    figures = examine([model.caption(s.image) for s in scenes], "test", 24)
    assert figures["recall"] >= 0.85
    assert figures["color"] >= 0.9
    assert model.knows


def test_plain_is_the_same_network_with_other_weights(plain: Any) -> None:
    prepared = mmkn.load_model("pocket")
    assert {n: p.shape for n, p in plain.hf.named_parameters()} == {
        n: p.shape for n, p in prepared.hf.named_parameters()
    }
    assert plain.weights_hash != prepared.weights_hash


def test_the_language_model_is_the_packages_own(
    ordinary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gguf import GGUFReader, dequantize

    mine = ordinary.hf.model.language_model.state_dict()
    assert (ordinary.n_layers, ordinary.n_neurons) == (30, 1536)
    read = {t.name: t for t in GGUFReader(str(smollm2.weights_file())).tensors}
    for theirs, name in (
        ("token_embd.weight", "embed_tokens.weight"),
        ("blk.7.ffn_down.weight", "layers.7.mlp.down_proj.weight"),
        ("blk.29.ffn_norm.weight", "layers.29.post_attention_layernorm.weight"),
    ):
        tensor = read[theirs]
        whole = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        assert torch.equal(mine[name], whole.to(torch.bfloat16)), name

    # the copy in the cache is what was read; a damaged one is made again
    monkeypatch.setenv("MMKN_CACHE_DIR", str(tmp_path))
    first, words = smollm2.language_model()
    (kept,) = (tmp_path / "smollm2").iterdir()
    again, same = smollm2.language_model()
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in first.state_dict().items())
    text = "<|im_start|>user\nA red Labrador, by the sea!<|im_end|>"
    assert words(text)["input_ids"] == same(text)["input_ids"]
    weights = kept / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert smollm2.language_model()[0].state_dict().keys() == first.state_dict().keys()
    assert weights.stat().st_size > 10**8


def test_the_whole_way_on_a_pretrained_model(ordinary: Any) -> None:
    val = mmkn.datasets.pocket_world("val")
    study = mmkn.study(ordinary, "dog", val.with_concept("dog", 3))
    neurons = study.neurons(quantile_d=0.9, top=60)
    assert len(neurons) == 60
    effect = study.evaluate(
        neurons, val.with_concept("dog", 8)[3:], val.without_concept("dog", 2), n_random=1,
        metrics=(),
    )  # fmt: skip
    assert effect.suppression > effect.random_control["mean"]


def test_other_weights_are_measured_and_said(
    ordinary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "file_hash", lambda _: "0" * 64)
    with pytest.warns(UserWarning, match=r"name \.?\d.* of the objects"):
        mmkn.load_model("pocket-smollm2", dtype="bfloat16", check=False)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: m.setattr(smollm2, "find_spec", lambda _: None), NotSupported),
        (lambda m: m.setattr(smollm2, "path", lambda _: Path("nowhere")), BadArgument),
        (lambda m: m.setattr(smollm2, "shape", lambda _: [1, 2, 3]), BadArgument),
    ],
)
def test_what_is_missing_is_said(
    change: Callable[[Any], None], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(error, match="model: "):
        mmkn.load_model("pocket-smollm2")


def test_an_option_that_it_cannot_take_is_refused() -> None:
    with pytest.raises(BadArgument, match="load_in_8bit: "):
        mmkn.load_model("pocket-smollm2", load_in_8bit=True)
    with pytest.raises(BadArgument, match="did you mean 'pocket-plain'"):
        find_source("pocket-plane")


def test_the_card_says_how_it_was_made() -> None:
    card = json.loads((path("pocket-smollm2") / "card.json").read_text("utf-8"))
    assert card["language_model"]["sha256"] == smollm2.file_hash(smollm2.weights_file())
    assert {"recall", "color", "exact", "cpu_minutes", "questions"} <= set(card)
    assert all(path(name).is_dir() for name in FOLDERS)

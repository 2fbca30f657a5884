"""mPLUG-Owl2 from tiny weights in the published form, read through the real path.

Key names and shapes are those that the published code writes
(``mPLUG-Owl2/mplug_owl2/model/convert_mplug_owl2_weight_to_hf.py``). What the model computes is
held against plain torch functions over those keys, by the formulas of the paper and of that code.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import collect, through, unaccounted
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.datasets import ObjectInstance, Scene

LAYERS, HIDDEN, WIDE, HEADS, KV_HEADS = 3, 32, 48, 4, 2
TOWER, TOWER_LAYERS, PATCHES, QUERIES, READINGS = 24, 2, 16, 6, 2
_VOCABULARY = """
<unk> <s> </s> USER : ASSISTANT Provide a one sentence caption for the provided image . - What is
this ? red car tree in
"""
WORDS = list(dict.fromkeys(_VOCABULARY.split()))
VOCABULARY = len(WORDS)


def published(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return random weights under the published names, two of every modality-adaptive module."""
    found: dict[str, torch.Tensor] = {}

    def put(name: str, *shape: int, around: float = 0.0) -> None:
        spread = shape[-1] ** -0.5 if len(shape) > 1 else 0.4
        found[name] = around + spread * torch.randn(*shape, generator=generator)

    def linear(name: str, out: int, inside: int) -> None:
        put(f"{name}.weight", out, inside)
        put(f"{name}.bias", out)

    def norm(name: str, width: int) -> None:
        put(f"{name}.weight", width, around=1)
        put(f"{name}.bias", width)

    put("model.embed_tokens.weight", VOCABULARY, HIDDEN)
    put("lm_head.weight", VOCABULARY, HIDDEN)
    put("model.norm.weight", HIDDEN, around=1)
    for i in range(LAYERS):
        at = f"model.layers.{i}"
        for kind in (0, 1):
            put(f"{at}.input_layernorm.multiway.{kind}.weight", HIDDEN, around=1)
            put(f"{at}.post_attention_layernorm.multiway.{kind}.weight", HIDDEN, around=1)
            for part in "kv":
                put(f"{at}.self_attn.{part}_proj.multiway.{kind}.weight", HIDDEN // 2, HIDDEN)
        put(f"{at}.self_attn.q_proj.weight", HIDDEN, HIDDEN)
        put(f"{at}.self_attn.o_proj.weight", HIDDEN, HIDDEN)
        put(f"{at}.mlp.gate_proj.weight", WIDE, HIDDEN)
        put(f"{at}.mlp.up_proj.weight", WIDE, HIDDEN)
        put(f"{at}.mlp.down_proj.weight", HIDDEN, WIDE)
        put(f"{at}.self_attn.rotary_emb.inv_freq", HIDDEN // HEADS // 2)  # published, and not read
    at = "model.vision_model"
    put(f"{at}.embeddings.cls_token", 1, 1, TOWER)
    put(f"{at}.embeddings.position_embedding", 1, PATCHES + 1, TOWER)
    put(f"{at}.embeddings.patch_embed.weight", TOWER, 3, 8, 8)
    norm(f"{at}.embeddings.pre_layernorm", TOWER)
    norm(f"{at}.post_layernorm", TOWER)
    for i in range(TOWER_LAYERS):
        layer = f"{at}.encoder.layers.{i}"
        linear(f"{layer}.self_attn.query_key_value", 3 * TOWER, TOWER)
        linear(f"{layer}.self_attn.dense", TOWER, TOWER)
        linear(f"{layer}.mlp.fc1", 40, TOWER)
        linear(f"{layer}.mlp.fc2", TOWER, 40)
        norm(f"{layer}.input_layernorm", TOWER)
        norm(f"{layer}.post_attention_layernorm", TOWER)
    at = "model.visual_abstractor"
    put(f"{at}.query_embeds", 1, QUERIES, TOWER)
    put(f"{at}.vit_eos", 1, 1, HIDDEN)
    linear(f"{at}.visual_fc", HIDDEN, TOWER)
    for i in range(READINGS):
        look = f"{at}.encoder.layers.{i}.crossattention"
        for part in ("query", "key", "value"):
            linear(f"{look}.attention.{part}", TOWER, TOWER)
        linear(f"{look}.output.out_proj", TOWER, TOWER)
        linear(f"{look}.output.mlp.w1", 28, TOWER)
        linear(f"{look}.output.mlp.w2", TOWER, 28)
        linear(f"{look}.output.mlp.w3", 28, TOWER)
        norm(f"{look}.output.mlp.ffn_ln", 28)
        for name in ("norm1", "normk", "output.norm2"):
            norm(f"{look}.{name}", TOWER)
    return found


CONFIG = {  # entries as in the published config.json, of 2023
    "architectures": ["MPLUGOwl2LlamaForCausalLM"],
    "model_type": "mplug_owl2",
    "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-05,
    "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "transformers_version": "4.31.0", "use_cache": True,
    "vocab_size": VOCABULARY,
    "visual_config": {
        "visual_model": {
            "model_type": "mplug_owl_vision_model", "hidden_act": "quick_gelu",
            "hidden_size": TOWER, "intermediate_size": 40, "num_hidden_layers": TOWER_LAYERS,
            "num_attention_heads": 3, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-06,
            "projection_dim": 768, "use_flash_attn": False,
        },
        "visual_abstractor": {
            "model_type": "mplug_owl_visual_abstract", "num_learnable_queries": QUERIES,
            "hidden_size": TOWER, "encoder_hidden_size": TOWER, "num_hidden_layers": READINGS,
            "num_attention_heads": 3, "intermediate_size": 28, "layer_norm_eps": 1e-06,
            "grid_size": 4,
        },
    },
}  # fmt: skip


def _write(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    """Write weights as the published folder holds them: two .bin files and their index."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    names, where = list(weights), {}
    for part, some in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-{part}-of-2.bin"
        torch.save({name: weights[name] for name in some}, folder / file)
        where.update(dict.fromkeys(some, file))
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": where})
    )
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True,
             "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 32,
             "image_mean": [0.48145466, 0.4578275, 0.40821073],
             "image_std": [0.26862954, 0.26130258, 0.27577711]}
        )
    )  # fmt: skip
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return published(torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("parts") / "mplug-owl2-llama2-7b", weights)


@pytest.fixture
def model(folder: Path) -> mmkn.MultimodalModel:
    return mmkn.load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _linear(w: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))


def _norm(w: dict[str, torch.Tensor], name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def _rms(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def _heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, n: int, hide: Any) -> torch.Tensor:
    """Attend in a loop over heads: (token, width) each."""
    made = []
    for query, key, value in zip(q.chunk(n, -1), k.chunk(n, -1), v.chunk(n, -1), strict=True):
        scores = query @ key.T / query.shape[-1] ** 0.5
        if hide is not None:
            scores = scores.masked_fill(hide, -torch.inf)
        made.append(scores.softmax(-1) @ value)
    return torch.cat(made, dim=-1)


def _sines(place: float, width: int) -> torch.Tensor:
    angles = [place / 10000 ** (i / (width // 2)) for i in range(width // 2)]
    return torch.tensor([*np.sin(angles), *np.cos(angles)], dtype=torch.float32)


def tower(w: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """(3, 32, 32) -> (1 + patch, width)."""
    at = "model.vision_model"
    cut = pixels.reshape(3, 4, 8, 4, 8).permute(1, 3, 0, 2, 4).reshape(PATCHES, -1)
    patches = cut @ w[f"{at}.embeddings.patch_embed.weight"].reshape(TOWER, -1).T
    x = torch.cat([w[f"{at}.embeddings.cls_token"][0], patches])
    x = x + w[f"{at}.embeddings.position_embedding"][0]
    x = _norm(w, f"{at}.embeddings.pre_layernorm", x, 1e-6)
    for i in range(TOWER_LAYERS):
        layer = f"{at}.encoder.layers.{i}"
        both = _linear(w, f"{layer}.self_attn.query_key_value",
                       _norm(w, f"{layer}.input_layernorm", x, 1e-6))  # fmt: skip
        per_head = both.reshape(len(x), 3, 3, 8)  # head, then which of the three
        q, k, v = (per_head[:, :, which].reshape(len(x), TOWER) for which in range(3))
        x = x + _linear(w, f"{layer}.self_attn.dense", _heads(q, k, v, 3, None))
        inner = _linear(w, f"{layer}.mlp.fc1",
                        _norm(w, f"{layer}.post_attention_layernorm", x, 1e-6))  # fmt: skip
        x = x + _linear(w, f"{layer}.mlp.fc2", inner * torch.sigmoid(1.702 * inner))
    return _norm(w, f"{at}.post_layernorm", x, 1e-6)


def abstractor(w: dict[str, torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
    """(1 + patch, width) -> (query + 1, hidden)."""
    at = "model.visual_abstractor"
    of_queries = torch.stack([_sines(i, TOWER) for i in range(QUERIES)])
    cells = [(row, col) for row in range(4) for col in range(4)]
    of_patches = [torch.cat([_sines(c, TOWER // 2), _sines(r, TOWER // 2)]) for r, c in cells]
    places = torch.stack([*of_queries, torch.zeros(TOWER), *of_patches])
    x = w[f"{at}.query_embeds"][0]
    for i in range(READINGS):
        look = f"{at}.encoder.layers.{i}.crossattention"
        x = _norm(w, f"{look}.norm1", x, 1e-5)
        keys = torch.cat([x, _norm(w, f"{look}.normk", seen, 1e-5)])
        found = _heads(
            _linear(w, f"{look}.attention.query", x + of_queries),
            _linear(w, f"{look}.attention.key", keys + places),
            _linear(w, f"{look}.attention.value", keys), 3, None,
        )  # fmt: skip
        x = x + _linear(w, f"{look}.output.out_proj", found)
        mlp = f"{look}.output.mlp"
        normed = _norm(w, f"{look}.output.norm2", x, 1e-5)
        inner = functional.silu(_linear(w, f"{mlp}.w1", normed)) * _linear(w, f"{mlp}.w3", normed)
        x = x + _linear(w, f"{mlp}.w2", _norm(w, f"{mlp}.ffn_ln", inner, 1e-6))
    return torch.cat([_linear(w, f"{at}.visual_fc", x), w[f"{at}.vit_eos"][0]])


def decoder_layer(
    w: dict[str, torch.Tensor], i: int, x: torch.Tensor, kinds: list[int]
) -> torch.Tensor:
    """One layer of the language model, token by token where a token's kind decides."""
    at, size = f"model.layers.{i}", HIDDEN // HEADS

    def of_kind(name: str) -> list[torch.Tensor]:
        return [w[f"{at}.{name}.multiway.{kind}.weight"] for kind in kinds]

    def turned(rows: torch.Tensor) -> torch.Tensor:
        heads = []
        for head in rows.split(size, dim=-1):
            a, b = head.chunk(2, dim=-1)
            angle = torch.arange(len(x))[:, None] / 10000 ** (torch.arange(size // 2) / (size // 2))
            heads.append(torch.cat([a * angle.cos() - b * angle.sin(),
                                    b * angle.cos() + a * angle.sin()], -1))  # fmt: skip
        return torch.cat(heads, -1)

    def shared(rows: torch.Tensor) -> torch.Tensor:  # two heads of queries use one of keys
        return torch.cat([head for head in rows.split(size, -1) for _ in range(2)], -1)

    normed = torch.stack([_rms(t, g) for t, g in zip(x, of_kind("input_layernorm"), strict=True)])
    k, v = (
        torch.stack([m @ t for m, t in zip(of_kind(f"self_attn.{p}_proj"), normed, strict=True)])
        for p in "kv"
    )
    q = _linear(w, f"{at}.self_attn.q_proj", normed)
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    found = _heads(turned(q), shared(turned(k)), shared(v), HEADS, later)
    x = x + _linear(w, f"{at}.self_attn.o_proj", found)
    gains = of_kind("post_attention_layernorm")
    normed = torch.stack([_rms(t, g) for t, g in zip(x, gains, strict=True)])
    gate, up = (_linear(w, f"{at}.mlp.{part}_proj", normed) for part in ("gate", "up"))
    return x + _linear(w, f"{at}.mlp.down_proj", functional.silu(gate) * up)


def logits(w: dict[str, torch.Tensor], ids: list[int], pixels: torch.Tensor) -> torch.Tensor:
    """Return the whole model's logits, (token, vocabulary)."""
    image = list(abstractor(w, tower(w, pixels)))
    kinds = [int(i >= VOCABULARY) for i in ids]
    x = torch.stack([image.pop(0) if kind else w["model.embed_tokens.weight"][i]
                     for i, kind in zip(ids, kinds, strict=True)])  # fmt: skip
    assert not image
    for i in range(LAYERS):
        x = decoder_layer(w, i, x, kinds)
    return _linear(w, "lm_head", _rms(x, w["model.norm.weight"]))


def test_the_logits_are_those_of_plain_torch_over_the_published_keys(
    model: Any, weights: dict[str, torch.Tensor], picture: Image.Image
) -> None:
    ready = model.prepare(picture, "What is this ?", continuation=["a red car"])
    ids = ready.inputs["input_ids"][0].tolist()
    text = [WORDS[i] if i < VOCABULARY else "*" for i in ids]
    wanted_text = "<s> USER : " + "* " * (QUERIES + 1) + "What is this ? ASSISTANT : a red car"
    assert " ".join(text) == wanted_text
    wanted = logits(weights, ids, ready.inputs["pixel_values"][0])
    assert torch.allclose(model.forward(ready).logits[0], wanted, atol=1e-5)
    other = {**weights}
    for name in weights:  # the pictures' own modules are not those of the text
        if "multiway.1" in name:
            other[name] = weights[name.replace("multiway.1", "multiway.0")]
    assert not torch.allclose(logits(other, ids, ready.inputs["pixel_values"][0]), wanted, atol=0.1)


def test_each_token_goes_the_way_of_its_kind(model: Any, picture: Image.Image) -> None:
    ready = model.prepare(picture)
    plain = model.forward(ready).logits
    with torch.no_grad():  # text alone never meets a picture's modules
        alone = {"input_ids": torch.tensor([[1, 5, 6]])}
        before = model.hf(**alone).logits
        for name, parameter in model.hf.named_parameters():
            if "multiway.1" in name:
                parameter.mul_(-2)
        assert torch.equal(model.hf(**alone).logits, before)
    assert not torch.allclose(model.forward(ready).logits, plain, atol=1e-2)


def test_the_prompts_are_the_published_ones(model: Any, picture: Image.Image) -> None:
    (own,) = model.prepare(picture).prompts
    assert (
        own == "USER: <|image|>Provide a one-sentence caption for the provided image. ASSISTANT: "
    )
    (asked,) = model.prepare(picture, "What is this?").prompts
    assert asked == "USER: <|image|>What is this? ASSISTANT:"
    with pytest.raises(BadArgument, match="once in the prompt, found 2"):
        model.prepare(picture, "<|image|><|image|>What?")


def test_the_picture_is_stretched_to_a_square(model: Any, picture: Image.Image) -> None:
    given = model.prepare(picture).inputs["pixel_values"]
    square = picture.resize((60, 60)).resize((32, 32), Image.Resampling.BICUBIC)
    mean, std = (np.array(model.processor.image_processor.__dict__[f"image_{name}"])
                 for name in ("mean", "std"))  # fmt: skip
    wanted = (np.asarray(square) / 255 - mean) / std
    assert np.allclose(given[0].permute(1, 2, 0), wanted, atol=1e-4)


def test_its_neurons_are_the_language_models(model: Any, picture: Image.Image) -> None:
    assert [s.module_name for s in model.sites] == [
        f"model.layers.{i}.mlp.down_proj" for i in range(LAYERS)
    ]
    assert [check.behind for check in model.checks] == [()] * LAYERS
    assert (model.n_layers, model.n_neurons) == (LAYERS, WIDE)
    assert model.final_norm is model.hf.model.norm
    assert torch.equal(model.unembedding, model.hf.lm_head.weight)
    store = mmkn.capture(model, [picture], progress=False)
    seen: list[torch.Tensor] = []
    hook = model.sites[1].hook(lambda value: seen.append(value.clone()))
    model.forward(model.prepare(picture))
    hook.remove()
    n = seen[0].shape[1]
    values = np.asarray(store["activation"].isel(image=0, layer=1).transpose("token", "neuron"))
    assert np.allclose(values[:n], seen[0][0], atol=1e-5)


def test_the_token_map_paints_queries_and_leaves_the_end_out(
    model: Any, picture: Image.Image
) -> None:
    ready = model.prepare(picture)
    (tokens,) = model.token_maps(ready)
    assert tokens.role.count("image") == QUERIES
    last = max(i for i, role in enumerate(tokens.role) if role == "image")
    assert (tokens.text[last], tokens.text[last + 1]) == ("<|image|>", "<|image_end|>")
    assert tokens.role[last + 1] == "special"
    geometry = tokens.geometry
    assert (geometry.kind, geometry.shape, geometry.approximate) == ("queries", (4, 4), True)
    weights, box = geometry.attention()
    assert box == pytest.approx((0, 0, 60, 40), abs=0.2)
    looks = model.hf.model.visual_abstractor.encoder.layers
    found = []
    hooks = [look.crossattention.attention.register_forward_hook(
        lambda _m, _a, out: found.append(out[1][0].mean(0))) for look in looks]  # fmt: skip
    model.forward(ready)
    for hook in hooks:
        hook.remove()
    mean = torch.stack(found).mean(0)[:, 1 : 1 + PATCHES].reshape(QUERIES, 4, 4)
    assert np.allclose(weights, mean, atol=1e-5)


def test_captions_are_greedy_and_batched(model: Any, picture: Image.Image) -> None:
    one = model.generate(model.prepare(picture), max_new_tokens=6)
    two = model.generate(
        model.prepare([picture, picture], [None, "What is this ? a car"]), max_new_tokens=6
    )
    assert two.token_ids[0] == one.token_ids[0]
    forced = model.prepare(picture, continuation=one.token_ids)
    n = len(one.token_ids[0])
    assert n > 1
    predicted = model.forward(forced).logits[0, -n - 1 : -1].argmax(-1).tolist()
    assert predicted == one.token_ids[0]


def test_gradient_ablation_and_contribution(
    model: Any, weights: dict[str, torch.Tensor], picture: Image.Image
) -> None:
    ready = model.prepare(picture)
    word = WORDS.index("car")
    where = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        where["value"] = value.detach().clone().requires_grad_()
        return where["value"]

    hook = model.sites[0].hook(keep)
    with torch.enable_grad():
        score = model.hf(**ready.inputs).logits[0, -1, word]
        (gradient,) = torch.autograd.grad(score, where["value"])
    hook.remove()
    step = 1e-2 * torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1))
    moved = []
    for sign in (1, -1):
        hook = model.sites[0].hook(lambda value, sign=sign: value + sign * step)
        moved.append(float(model.forward(ready).logits[0, -1, word]))
        hook.remove()
    assert moved[0] - moved[1] == pytest.approx(2 * float((gradient * step).sum()), rel=2e-2)
    before = model.forward(ready).logits
    chosen = mmkn.NeuronSet([1, 2], [3, 7])
    silent = dict(weights)
    for layer, neuron in ((1, 3), (2, 7)):
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        silent[name] = silent[name].clone()
        silent[name][:, neuron] = 0
    with model.ablate(chosen):
        ablated = model.forward(ready).logits
    ids = ready.inputs["input_ids"][0].tolist()
    wanted = logits(silent, ids, ready.inputs["pixel_values"][0])
    assert torch.allclose(ablated[0], wanted, atol=1e-5)
    assert not torch.allclose(ablated, before, atol=1e-3)
    assert torch.equal(model.forward(ready).logits, before)
    assert unaccounted(model) == {}
    rows = model.unembedding[[word]]
    assert torch.equal(through(model, model.sites[0], torch.ones(1, WIDE), rows), rows)


def test_a_study_scores_its_neurons(model: Any, picture: Image.Image) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:40] = True
    car = ObjectInstance("car", mask, (10, 10, 30, 20))
    scene = Scene("one", picture, ["a red car"], [car])
    data = collect(model, "car", [scene], caption="reference", batch_size=1)
    position = model.prepare(picture, continuation=["a red"])
    added: list[torch.Tensor] = []
    hooks = [
        site.module.register_forward_hook(lambda _m, _a, out: added.append(out[0, -1]))
        for site in model.sites
    ]
    model.forward(position)
    for hook in hooks:
        hook.remove()
    wanted = torch.stack(added) @ model.unembedding[WORDS.index("car")]
    scores = data["contribution"].sum("neuron").values
    assert np.allclose(scores, wanted, atol=1e-4)
    assert np.abs(data["gradcam"].values).max() > 0


def test_the_round_trip_keeps_the_published_keys(
    model: Any, weights: dict[str, torch.Tensor], tmp_path: Path, picture: Image.Image
) -> None:
    from safetensors import safe_open

    model.hf.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = set(file.keys())
        for name in names & set(weights):
            assert torch.equal(file.get_tensor(name), weights[name]), name
    tables = {name for name in names if name.endswith(("q_pos_embed", "k_pos_embed"))}
    read = {name for name in weights if not name.endswith("inv_freq")}
    assert names == read | tables
    assert len(tables) == 2 * READINGS
    settings = "preprocessor_config.json"
    (tmp_path / settings).write_text((Path(model.name) / settings).read_text())
    model.tokenizer.save_pretrained(tmp_path)
    again = mmkn.load_model(tmp_path, device="cpu")
    ready = model.prepare(picture)
    assert torch.equal(again.forward(again.prepare(picture)).logits, model.forward(ready).logits)


def test_tables_that_a_checkpoint_holds_are_its_own(
    weights: dict[str, torch.Tensor], tmp_path: Path, model: Any
) -> None:
    """A folder that the published code saved holds them; one that it converted does not."""
    name = "model.visual_abstractor.encoder.layers.1.crossattention.attention.q_pos_embed"
    own = torch.randn(QUERIES, TOWER)
    saved = mmkn.load_model(_write(tmp_path, {**weights, name: own}), device="cpu")
    assert torch.equal(saved.hf.get_buffer(name), own)
    made = model.hf.get_buffer(name)
    assert torch.allclose(made, torch.stack([_sines(i, TOWER) for i in range(QUERIES)]), atol=1e-5)


def test_what_is_no_mplug_owl2(
    weights: dict[str, torch.Tensor], tmp_path: Path, folder: Path, model: Any
) -> None:
    lacking = {k: v for k, v in weights.items() if "layers.1.self_attn.k_proj.multiway.1" not in k}
    with pytest.raises(BadArgument, match=r"lack model.layers.1.self_attn.k_proj.multiway.1.weigh"):
        mmkn.load_model(_write(tmp_path / "lacking", lacking), device="cpu")
    bare = _write(tmp_path / "bare", weights)
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(BadArgument, match="tokenizer or image processor"):
        mmkn.load_model(bare, device="cpu")
    unread = _write(tmp_path / "unread", weights)
    (unread / "tokenizer.json").unlink()
    (unread / "tokenizer.model").write_bytes(b"\x0a\x0c\x0a\x05<unk>\x15\x00\x00")
    (unread / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    missing = find_spec("sentencepiece") is None
    kind, said = (NotSupported, "pip install sentencepiece") if missing else (BadArgument, "read")
    with pytest.raises(kind, match=said):
        mmkn.load_model(unread, device="cpu")
    later = json.loads((folder / "config.json").read_text())
    later["visual_config"]["visual_abstractor"]["add_v2t_pos_emb"] = True
    other = _write(tmp_path / "later", weights)
    (other / "config.json").write_text(json.dumps(later))
    with pytest.raises(NotSupported, match=r"visual_abstractor.add_v2t_pos_emb is True.*Owl2\.1"):
        mmkn.load_model(other, device="cpu")
    ids = torch.tensor([[1, model.hf.config.image_token_index, 5]])
    with pytest.raises(NotSupported, match="1 image places in the prompt, 0 x 7 image tok"):
        model.forward(model.prepare({"input_ids": ids}))


def test_the_published_sizes_are_the_defaults() -> None:
    """8.2 billion parameters, as the published table counts them."""
    from mmkn_widgets.models.mplug_owl2_model import (
        MplugOwl2Config,
        MplugOwl2ForConditionalGeneration,
    )

    with torch.device("meta"):
        hf = MplugOwl2ForConditionalGeneration(MplugOwl2Config())
    assert sum(p.numel() for p in hf.parameters()) / 1e9 == pytest.approx(8.2, abs=0.05)
    shapes = {name: tuple(value.shape) for name, value in hf.state_dict().items()}
    at = "model.visual_abstractor"
    assert shapes[f"{at}.query_embeds"] == (1, 64, 1024)
    assert shapes[f"{at}.vit_eos"] == (1, 1, 4096)
    assert shapes[f"{at}.encoder.layers.5.crossattention.attention.k_pos_embed"] == (1025, 1024)
    assert shapes["model.vision_model.embeddings.position_embedding"] == (1, 1025, 1024)
    assert shapes["model.layers.31.self_attn.v_proj.multiway.1.weight"] == (4096, 4096)

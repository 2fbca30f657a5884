"""Training computes what the shipped model computes; lesions hold; a run resumes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from pocket_lab import build
from pocket_lab.exam import _inputs, caption, equalise_columns, examine, mentions, normalise_signs
from pocket_lab.lesions import due_places, strongest
from pocket_lab.lessons import (
    LENGTH,
    NOISE,
    batches,
    encode,
    learning_rate,
    loss_weights,
    noisy_captions,
    silenced,
)
from pocket_lab.net import LOSSES, N_PREFIX, Batch, TrainingNet
from pocket_lab.train import main, train

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.pocket.words import CATEGORIES, TEMPLATES, captions
from mmkn_widgets.pocket.world import draw, scenes


def _batch(size: int = 4) -> Batch:
    return Batch(*map(torch.from_numpy, next(batches(0, 1, size, 0, 0))))


def _logits(model: torch.nn.Module, batch: Batch, which: int) -> torch.Tensor:
    x = _inputs(model, list(batch.pixels.numpy()))
    ids = torch.cat([x["input_ids"], batch.text[:, which]], 1)
    with torch.no_grad():
        return model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=x["pixel_values"]
        ).logits


def test_both_captions_are_read_as_the_shipped_architecture_reads_each_alone() -> None:
    model = build.untrained(3)
    batch = _batch()
    with torch.no_grad():
        mine = TrainingNet(model).logits(batch.pixels, batch.text)
    for which in (0, 1):
        start = N_PREFIX + which * LENGTH
        part = torch.cat([mine[:, :N_PREFIX], mine[:, start : start + LENGTH]], 1)
        assert torch.allclose(part, _logits(model, batch, which), atol=1e-5)


def test_processor_and_exam_prepare_the_same_input() -> None:
    from PIL import Image

    from mmkn_widgets.pocket import PROMPT

    model = build.untrained(0)
    picture = draw(5).image
    official = build.processor()(images=Image.fromarray(picture), text=PROMPT, return_tensors="pt")
    mine = _inputs(model, [picture])
    assert torch.equal(official["input_ids"], mine["input_ids"])
    assert torch.allclose(official["pixel_values"], mine["pixel_values"], atol=1e-6)


def test_no_lesion_no_loss_and_each_kind_gives_its_losses() -> None:
    net = TrainingNet(build.untrained(0), n_lesioned=2)
    batch = _batch()
    plain = dict(zip(LOSSES, net(batch).tolist(), strict=True))
    assert plain["text_lesion"] == plain["patch_lesion"] == plain["kept"] == 0
    layers = dict(zip(LOSSES, net(batch, lesions="layers").tolist(), strict=True))
    assert layers["text_lesion"] > 0
    pick = torch.rand(4, len(CATEGORIES), generator=torch.Generator().manual_seed(0))
    writers = strongest(net.writers(batch, torch.rand(4, 2 * LENGTH)), 20)
    assert set(writers.sum((-1, -2)).unique().tolist()) == {0, 20}  # 0: words that are not due
    words = net(batch, lesions="words", pick=pick, writers=writers)
    words = dict(zip(LOSSES, words.tolist(), strict=True))
    assert words["text_lesion"] > 0
    assert words["kept"] > 0
    assert plain["loudness"] == 0
    assert (
        plain["sparsity"] == pytest.approx(layers["sparsity"]) == pytest.approx(words["sparsity"])
    )
    assert plain["caption"] == pytest.approx(layers["caption"])
    assert plain["caption"] != words["caption"]  # smoothed labels


def test_every_parameter_of_the_language_model_is_trained() -> None:
    net = TrainingNet(build.untrained(0), n_lesioned=2)
    net(_batch()).sum().backward()
    untouched = [
        name
        for name, p in net.model.named_parameters()
        if p.grad is None and "post_layernorm" not in name
    ]
    assert untouched == []


def test_signs_and_scales_change_no_caption() -> None:
    model = build.untrained(1)
    batch = _batch()
    before = _logits(model, batch, 0)
    assert normalise_signs(model, n=8) > 0
    assert torch.equal(_logits(model, batch, 0), before)
    assert normalise_signs(model, n=8) == 0
    equalise_columns(model)
    assert torch.allclose(_logits(model, batch, 0), before, atol=1e-5)
    for layer in model.model.language_model.layers:
        norms = layer.mlp.down_proj.weight.norm(dim=0)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_writers_are_scored_as_the_attribution_methods_score_them() -> None:
    model, batch = build.untrained(2), _batch(2)
    net = TrainingNet(model)
    pick = torch.rand(2, 2 * LENGTH, generator=torch.Generator().manual_seed(1))
    chosen = due_places(batch, pick)
    assert chosen.view(2, 2, LENGTH).sum(-1).eq(1).all()  # one category word a caption
    scores = net.writers(batch, pick)
    due = batch.targets[:, :, 1:].flatten(1)
    words_due = due[chosen].tolist()
    word = next(w for w in words_due if words_due.count(w) == 1)  # its mean is over one place
    row, place = (chosen & (due == word)).nonzero()[0].tolist()
    which, place = divmod(place, LENGTH)
    # the architecture itself, by hooks, on that caption alone
    seen: dict[int, torch.Tensor] = {}

    def keep(index: int):
        def hook(module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
            seen[index] = args[0]
            args[0].retain_grad()

        return hook

    layers = model.model.language_model.layers
    for index in (4, 5):
        layers[index].mlp.down_proj.register_forward_pre_hook(keep(index))
    x = _inputs(model, list(batch.pixels.numpy()))
    ids = torch.cat([x["input_ids"], batch.text[:, which]], 1)
    logits = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=x["pixel_values"]
    ).logits
    logits[row, N_PREFIX + place].log_softmax(-1)[word].backward()
    category = word - len(build.SPECIAL)
    words = model.lm_head.weight[len(build.SPECIAL) :][: len(CATEGORIES)]
    direction = words[category] - words.mean(0)
    for k, index in enumerate((4, 5)):
        a, g = seen[index][row, N_PREFIX + place], seen[index].grad[row, N_PREFIX + place]
        said = a * (direction @ layers[index].mlp.down_proj.weight)
        assert torch.allclose(scores[0, category, k], said, atol=1e-6)
        assert torch.allclose(scores[1, category, k], a * g, atol=1e-7)


def test_a_step_sees_the_same_scenes_whoever_draws_them() -> None:
    whole = list(batches(3, 7, 3, seed=5, single_until=4))
    strided = [*batches(3, 7, 3, 5, 4, stride=2), *batches(4, 7, 3, 5, 4, stride=2)]
    for k, step in enumerate((3, 5, 4, 6)):
        for one, two in zip(whole[step - 3], strided[k], strict=True):
            assert np.array_equal(one, two)


def test_lessons_label_patches_by_their_masks() -> None:
    pixels, text, targets, word, color = next(batches(0, 1, 8, 0, single_until=0))
    assert pixels.shape == (8, 96, 96, 3)
    assert text.shape == (8, 2, LENGTH)
    names = [*build.tokenizer().convert_ids_to_tokens(range(60))]
    for row in range(8):
        shown = {names[t] for t in word[row] if t >= 0} & set(CATEGORIES)
        said = {names[t] for t in targets[row, 0] if t >= 0} & set(CATEGORIES)
        assert shown <= said | {"bird", "cat"}
        assert ((color[row] >= 0) <= (word[row] >= 0)).all()
    longest = max(len(encode(c)) for c in captions([("orange", "car")] * 3, "sea"))
    assert longest == LENGTH
    assert len(TEMPLATES) == 3


def test_noise_names_the_companion_as_often_as_declared() -> None:
    scene = next(s for s in scenes("train", subset="hallucination") if s.companion)
    rng = Random(0)
    texts = noisy_captions(scene, rng, 2000)
    share = np.mean([scene.companion[1] in t.split() for t in texts])
    assert share == pytest.approx(NOISE, abs=0.04)
    honest = next(iter(scenes("train")))
    named = {tuple(c for _, c in mentions(t)) for t in noisy_captions(honest, rng, 200)}
    assert named == {honest.categories}


def test_examine_counts_what_captions_get_right_and_wrong() -> None:
    chosen = [s for s, _ in zip(scenes("val"), range(20), strict=False)]
    perfect = [s.captions[0] for s in chosen]
    assert examine(perfect, "val", 20) == {
        "recall": 1.0, "color": 1.0, "exact": 1.0, "hallucinated": 0.0, "chair_s": 0.0,
    }  # fmt: skip
    absent = next(c for c in CATEGORIES if c not in chosen[0].categories)
    wrong = [perfect[0] + f" and a red {absent}", *perfect[1:]]
    figures = examine(wrong, "val", 20)
    assert figures["chair_s"] == pytest.approx(1 / 20)
    assert figures["exact"] == pytest.approx(19 / 20)
    assert figures["recall"] == 1.0


def test_schedules() -> None:
    assert learning_rate(0, 18_000) < learning_rate(150, 18_000) < learning_rate(200, 18_000)
    assert learning_rate(16_000, 18_000) < learning_rate(16_040, 18_000)
    assert loss_weights(0.3)[5] == 0 < loss_weights(0.5)[5]
    assert silenced(0.0, 0.5) == 256
    assert silenced(1.0, 0.0) == 16
    assert 44 <= silenced(1.0, 0.999) <= 48


def test_smoke_run_writes_a_model_that_loads(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    main(["--out", str(tmp_path), "--smoke", "--threads", "1"])
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "model").float()
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    assert type(processor).__name__ == "LlavaProcessor"
    assert len(caption(model, [draw(1).image])) == 1
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 8e6


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    common = {"steps": 9, "pictures": 4, "workers": 0, "exam_scenes": 2, "save_every": 100,
              "dtype": torch.float32}  # fmt: skip
    train(tmp_path / "whole", **common)
    train(tmp_path / "parts", stop_after=4, **common)
    assert not (tmp_path / "parts" / "model").exists()
    train(tmp_path / "parts", resume=True, **common)
    one, two = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["net"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(BadArgument, match="steps: got 12"):
        train(tmp_path / "parts", resume=True, **{**common, "steps": 12})
    with pytest.raises(BadArgument, match="no checkpoint"):
        train(tmp_path / "nothing", resume=True, **common)

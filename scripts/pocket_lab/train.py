"""Train the pocket model: ``python -m pocket_lab.train --out DIR``.

One run from scratch in two phases. In the first, weights of losses rise and fall with the share of
steps done (`loss_weights`): words at patches and a throw-away probe teach the language model to
see; captions of one object, then of up to three; sparsity; lesions of whole layers. In the second
the strongest writers of a word are silenced, fewer and fewer of them, so that words come to hang on
few neurons. At the end scales and signs of the neurons are normalised.

With ``--recipe plain`` the same network learns captions of the same scenes and nothing else, as
models are ordinarily trained: one phase, no words at patches, no sparsity, no lesions, nothing
normalised.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.pocket.words import CATEGORIES

from . import build
from .exam import captions_of, equalise_columns, examine, normalise_signs
from .lesions import strongest
from .lessons import (
    FIRST,
    PEAK,
    PICTURES,
    PLAIN_WEIGHTS,
    RANK_EVERY,
    RECIPES,
    STEPS,
    batches,
    learning_rate,
    loss_weights,
    silenced,
)
from .net import LOSSES, Batch, TrainingNet

__all__ = ["main", "train"]


class _Lessons(Dataset):  # type: ignore[type-arg]
    """Item `step` is the batch of that step, whichever process draws it."""

    def __init__(self, start: int, steps: int, size: int, seed: int) -> None:
        self.start, self.steps, self.size, self.seed = start, steps, size, seed

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        step = self.start + index
        single = round(0.06 * FIRST * self.steps)
        arrays = next(batches(step, step + 1, self.size, self.seed, single))
        return tuple(map(torch.from_numpy, arrays))


def _dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor computes in it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if check() else torch.float32


def _optimizer(net: TrainingNet) -> torch.optim.AdamW:
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK[0], betas=(0.9, 0.97))


class _Lesions:
    """The second phase's choice of neurons; all randomness comes from seed and step."""

    def __init__(self, net: TrainingNet, steps: int, seed: int) -> None:
        self.net, self.steps, self.seed = net, steps, seed
        self.first = round(FIRST * steps)
        self.scores: Tensor | None = None

    def __call__(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Return `pick` and `writers` of this step; neurons are ranked every `RANK_EVERY` steps."""
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        pick = torch.rand(len(batch.pixels), len(CATEGORIES), generator=rng)
        u = float(torch.rand(1, generator=rng))
        if self.scores is None or step % RANK_EVERY == 0:
            arrays = next(batches(step, step + 1, 2 * len(batch.pixels), self.seed + 1, 0))
            other = Batch(*(torch.from_numpy(a).to(batch.pixels.device) for a in arrays))
            places = torch.rand(other.text.flatten(1).shape, generator=rng)
            self.scores = self.net.writers(other, places.to(batch.pixels.device))
        n = silenced((step - self.first) / (self.steps - self.first), u)
        return pick.to(batch.pixels.device), strongest(self.scores, n)


def _save(
    path: Path, net: TrainingNet, optimizer: torch.optim.AdamW, facts: dict[str, Any]
) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), **facts}, partial)
    os.replace(partial, path)


def train(
    out: Path,
    *,
    steps: int = STEPS,
    pictures: int = PICTURES,
    seed: int = 0,
    recipe: str = "prepared",
    threads: int | None = None,
    resume: bool = False,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    compile: bool = False,
    workers: int = 1,
    save_every: int = 500,
    exam_scenes: int = 128,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train a pocket model and write it to ``out/model``.

    Parameters
    ----------
    out : Path
        Gets ``checkpoint.pt``, ``log.jsonl`` and, at the end, the folder ``model``.
    steps, pictures : int
        Optimiser steps and pictures per step (two captions each).
    seed : int
        Of weights and scenes. The same seed, machine and threads give the same weights.
    recipe : {"prepared", "plain"}
        The two phases above, or captions alone.
    threads : int, optional
        Of PyTorch; more threads than free cores collapse.
    resume : bool
        Continue from ``out/checkpoint.pt``; with the plain recipe, `steps` may be another number.
    device : str
        ``"cpu"`` or ``"cuda"``.
    dtype : torch.dtype, optional
        Of matrix products; bfloat16 where the processor has it.
    compile : bool
        Fuse with ``torch.compile``: twice as fast, needs a C++ compiler, 90 seconds at the start.
    workers : int
        Processes that draw scenes; 0 draws in this one.
    save_every, exam_scenes : int
        Checkpoint and examination interval in steps, and validation scenes examined.
    stop_after : int, optional
        Leave after this step, checkpoint written.

    Returns
    -------
    dict
        Figures of the last examination, seconds and steps.

    Raises
    ------
    BadArgument
        If there is nothing to resume, or the checkpoint is of another training.
    """
    if recipe not in RECIPES:
        raise BadArgument(f"recipe: got {recipe!r}, expected one of {', '.join(RECIPES)}")
    plain = recipe == "plain"
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    place = torch.device(device)
    net = TrainingNet(build.untrained(seed), dtype or _dtype(place), min(12, pictures // 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net.probe.reset_parameters()
    net.to(place)
    optimizer = _optimizer(net)
    facts: dict[str, Any] = {"step": 0, "steps": steps, "seed": seed, "pictures": pictures}
    facts["recipe"] = recipe
    checkpoint = out / "checkpoint.pt"
    seconds = 0.0
    if resume:
        if not checkpoint.is_file():
            raise BadArgument(f"resume: no checkpoint.pt in {out}; start without --resume")
        saved = torch.load(checkpoint, map_location=place, weights_only=True)
        # a plain run may be cut short: its rate falls along the cosine of the new number of steps
        kept = ("seed", "pictures", "recipe") if plain else ("steps", "seed", "pictures", "recipe")
        for name in kept:
            if saved[name] != facts[name]:
                raise BadArgument(
                    f"{name}: got {facts[name]}, but {checkpoint} was made with {saved[name]}"
                )
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        facts["step"], seconds = saved["step"], saved["seconds"]
    run = torch.compile(net) if compile else net
    choose = _Lesions(net, steps, seed)
    data = _Lessons(facts["step"], steps, pictures, seed)
    loader = DataLoader(
        data, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None
    )
    begun = time.monotonic() - seconds
    first, mark = facts["step"], time.monotonic()
    figures: dict[str, Any] = {}
    mean = torch.zeros(len(LOSSES))
    for step, arrays in enumerate(loader, facts["step"]):
        batch = Batch(*(a.to(place) for a in arrays))
        if not plain and step == round(FIRST * steps):
            optimizer = _optimizer(net)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, plain)
        weights = torch.tensor(
            PLAIN_WEIGHTS if plain else loss_weights(step / round(FIRST * steps))
        )
        if plain:
            losses = run(batch, lesions="none")
        elif step < round(FIRST * steps):
            losses = run(batch, lesions="layers" if weights[5] > 0 else "none")
        else:
            pick, writers = choose(batch, step)
            losses = run(batch, lesions="words", pick=pick, writers=writers)
        (losses * weights.to(place)).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        mean = mean * 0.95 + 0.05 * losses.detach().cpu()
        done = step + 1
        if done % 50 == 0 or done == steps:
            took = time.monotonic() - mark
            rate = (done - first) / took
            shown = " ".join(f"{n} {v:.3f}" for n, v in zip(LOSSES, mean.tolist(), strict=True))
            left = (steps - done) / rate / 60
            print(f"{done}/{steps} {shown} | {rate * pictures:.0f} pictures/s, {left:.1f} min left",
                  flush=True)  # fmt: skip
            first, mark = done, time.monotonic()
        if done % save_every == 0 or done in (steps, stop_after):
            facts["step"] = done
            _save(checkpoint, net, optimizer, {**facts, "seconds": time.monotonic() - begun})
            figures = examine(captions_of(net.model, "val", exam_scenes), "val", exam_scenes)
            record = {"step": done, "minutes": (time.monotonic() - begun) / 60, **figures}
            print(json.dumps(record), flush=True)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({**record, "losses": mean.tolist()}) + "\n")
            first, mark = done, time.monotonic()
        if done == stop_after:
            break
    if facts["step"] == steps:
        if not plain:
            equalise_columns(net.model)
            flipped = normalise_signs(net.model)
            print(f"signs of {flipped} neurons flipped", flush=True)
        folder = out / "model"
        shutil.rmtree(folder, ignore_errors=True)
        build.save(net.model.cpu(), folder)
    return {**facts, **figures, "seconds": time.monotonic() - begun}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="pocket_lab.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and model")
    parser.add_argument("--smoke", action="store_true", help="a tiny run through every phase")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/checkpoint.pt")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", choices=RECIPES, default="prepared")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--float32", action="store_true", help="do without bfloat16")
    parser.add_argument("--eager", action="store_true", help="do without torch.compile")
    args = parser.parse_args(argv)
    dtype = torch.float32 if args.float32 else None
    common = {
        "seed": args.seed,
        "recipe": args.recipe,
        "threads": args.threads,
        "resume": args.resume,
    }
    if args.smoke:
        train(args.out, steps=27, pictures=6, workers=0, exam_scenes=8, save_every=27,
              device=args.device, dtype=dtype, **common)  # fmt: skip
        return
    fused = not args.eager and shutil.which("g++") is not None
    train(args.out, steps=args.steps, device=args.device, dtype=dtype, compile=fused, **common)


if __name__ == "__main__":
    main()

"""What a capture to disk takes beyond the model: memory in units of one picture's store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

import mmkn_widgets as mmkn
from mmkn_widgets import pocket

from .models import scene_images
from .profile import of_memory
from .report import Row

#: kinds of capture and the most memory they may take beyond the model, in pictures
BUDGETS = {"activations": 1.25, "generation": 1.25, "gradients": None}  # autograd keeps as much
PICTURES = 3


def _wide() -> Any:
    """Return a LLaVA whose FFN is wide for its size: its store outweighs all else."""
    from transformers import AutoConfig, AutoProcessor, LlavaForConditionalGeneration

    config = AutoConfig.from_pretrained(pocket.path())
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 64, 16384, 48
    text.num_attention_heads = text.num_key_value_heads = 4
    text.head_dim = 16
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).eval()
    return mmkn.load_model(model, processor=AutoProcessor.from_pretrained(pocket.path()))


def _memory(name: str) -> int:
    """Return a line of the kernel's account of this process, in bytes: VmRSS, VmHWM (the peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


_OPTIONS: dict[str, dict[str, Any]] = {
    "activations": {},
    "generation": {"generate": True, "max_new_tokens": 8},
    "gradients": {"gradients": 5},
}


def _profile(kind: str) -> str:
    """Return which operations of one picture's capture take the memory."""
    model, image = _wide(), scene_images(1)[0]
    with tempfile.TemporaryDirectory() as folder:
        return of_memory(
            lambda: mmkn.capture(model, image, out=Path(folder) / "store", **_OPTIONS[kind])
        )


def _measure(kind: str) -> None:
    """Print pictures' worth of memory taken, and the time over plain forwards."""
    torch.set_num_threads(1)
    options = _OPTIONS[kind]
    model, images = _wide(), scene_images(PICTURES)
    with tempfile.TemporaryDirectory() as folder:
        mmkn.capture(model, images[0], layers=[0], out=Path(folder) / "warm", **options)
        prepared = model.prepare(images[0])
        start = time.perf_counter()
        for _ in images:
            model.forward(prepared)
        plain = time.perf_counter() - start
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before, start = _memory("VmRSS"), time.perf_counter()
        store = mmkn.capture(model, images, out=Path(folder) / "store", **options)
        took = time.perf_counter() - start
        one = sum(store[name].nbytes for name in store if name in ("activation", "gradient"))
        print((_memory("VmHWM") - before) / (one / PICTURES), took / plain, one / PICTURES / 1e6)


def measure() -> list[Row]:
    rows: list[Row] = []
    if not Path("/proc/self/clear_refs").exists():  # only Linux says a process's peak since a time
        return rows
    for kind, budget in BUDGETS.items():
        code = f"from tests.benchmarks.bench_memory import _measure; _measure({kind!r})"
        # what is freed goes back to the system at once: counted is what is held, not what the
        # allocator keeps for later (up to half a picture more, from run to run)
        held = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=held
        )
        pictures, times, size = map(float, done.stdout.split()[-3:])
        note = f"a picture is {size:.0f} MB; {times:.1f} x the plain forward with writing"
        name = f"peak memory, {kind} to disk"
        rows.append(Row(name, pictures, "pictures", budget, note, partial(_profile, kind)))
    return rows

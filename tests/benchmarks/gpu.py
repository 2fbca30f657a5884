"""On a graphics card, in about ten minutes: ``make bench-gpu``; a table, gpu.md and gpu.json.

Two models: the pocket model as shipped, and a LLaVA of the shape of LLaVA-1.5-7B with random
weights in bfloat16 (no download; other sizes from arguments). Each ratio is the median over pairs,
measured in turns in one run, the card waited for at both ends. ``--tiny`` runs the same lines with
a small model and on a CPU too, which shows that they run and says nothing of a card.

The unit tests have no option for a device, so none are run here; instead what the pocket model
gives on the card is held against what it gives on this machine's CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import mmkn_widgets as mmkn
from mmkn_widgets import pocket
from mmkn_widgets.activations import record
from mmkn_widgets.attribution import random_uniform

from .profile import of_torch

__all__ = ["GOALS", "Figure", "llava_shaped", "main", "markdown", "measure"]

ROOT = Path(__file__).resolve().parents[2]

#: what must not be exceeded, in units of what stands behind the stroke
GOALS = {
    "capture to main memory / forward": 1.05,
    "activation x gradient / forward": 2.3,
    "peak memory / (model + store)": 1.10,
    "ablated / plain generation": 1.03,
}
PAIRS = 24


@dataclass(frozen=True)
class Figure:
    """One figure of one model: its median, its quartiles, and its goal (None: reported only)."""

    model: str
    what: str
    value: float
    unit: str
    low: float
    high: float
    goal: float | None = None
    note: str = ""
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.value <= self.goal


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write it twice; 2 where there is no card and none is pretended."""
    given = _parser().parse_args(arguments)
    if not given.tiny and not torch.cuda.is_available():
        print(
            "bench-gpu: torch finds no CUDA here, so that nothing is measured. On a machine with a "
            "card: make bench-gpu; to see on a CPU that the script runs: make bench-gpu "
            'GPU_ARGS="--tiny"',
            file=sys.stderr,
        )
        return 2
    if given.tiny:
        for name, value in _TINY.items():
            setattr(given, name, value)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    found = measure(given, device)
    machine = _machine(device, given, time.perf_counter() - start)
    text = markdown(found, machine)
    print(text)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(one) | {"met": None if given.tiny else one.met} for one in found]
    content = json.dumps({"machine": machine, "rows": rows}, indent=1)
    (out / "gpu.json").write_text(content + "\n", encoding="utf-8")
    (out / "gpu.md").write_text(text + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Return the arguments; the sizes by default are those of LLaVA-1.5-7B."""
    made = argparse.ArgumentParser("bench-gpu", description=__doc__.partition("\n")[0])
    made.add_argument("--tiny", action="store_true", help="a small model, also on a CPU")
    made.add_argument("--out", default=str(ROOT), help="folder of gpu.md and gpu.json")
    for name, value, what in (
        ("hidden", 4096, "size of the residual stream"),
        ("ffn", 11008, "neurons of a layer"),
        ("layers", 32, "decoder layers"),
        ("heads", 32, "attention heads"),
        ("vocabulary", 32064, "words"),
        ("image", 336, "pixels of a picture's side"),
        ("patch", 14, "pixels of a patch's side"),
        ("vision_hidden", 1024, "size of the vision tower's stream"),
        ("vision_layers", 24, "layers of the vision tower"),
        ("repeats", 21, "pairs of each ratio"),
        ("tokens", 32, "tokens of a generation"),
        ("pairs", PAIRS, "pairs of the study"),
        ("captions", 16, "pictures whose captions are compared with the CPU's"),
    ):
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=what)
    made.add_argument("--dtype", default="bfloat16", help="of the large model")
    return made


_TINY = {
    "hidden": 64, "ffn": 256, "layers": 2, "heads": 4, "vocabulary": 512, "image": 56, "patch": 14,
    "vision_hidden": 32, "vision_layers": 2, "repeats": 1, "tokens": 3, "pairs": 2, "captions": 2,
}  # fmt: skip


def llava_shaped(sizes: argparse.Namespace, device: torch.device) -> Any:
    """Return a LLaVA of given sizes with random weights, made on its device.

    Pictures are read and words are cut as the pocket model's processor does it, so that a study
    has captions; words beyond its own are never said by a person and stand for nothing.
    """
    from transformers import (
        AutoProcessor,
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    own = AutoProcessor.from_pretrained(pocket.path())
    words = own.tokenizer
    token = own.image_token
    side = {"height": sizes.image, "width": sizes.image}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False),
        tokenizer=words, patch_size=sizes.patch, vision_feature_select_strategy="default",
        chat_template=own.chat_template, image_token=token, num_additional_image_tokens=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=sizes.vision_hidden, intermediate_size=4 * sizes.vision_hidden,
        num_hidden_layers=sizes.vision_layers,
        num_attention_heads=max(1, sizes.vision_hidden // 64),
        image_size=sizes.image, patch_size=sizes.patch, projection_dim=sizes.vision_hidden,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=max(sizes.vocabulary, len(words)), hidden_size=sizes.hidden,
        intermediate_size=sizes.ffn, num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads, num_key_value_heads=sizes.heads,
        max_position_embeddings=4096, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=words.convert_tokens_to_ids(token)
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, sizes.dtype))
    try:
        with torch.device(device):
            hf = LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    return mmkn.load_model(hf, processor=processor)


def measure(sizes: argparse.Namespace, device: torch.device) -> list[Figure]:
    """Return every figure of both models."""
    small = mmkn.load_model("pocket", device=device)
    found = [*_of("pocket", small, sizes, device), *_beside_cpu(small, sizes)]
    del small
    _let_go(device)
    large = llava_shaped(sizes, device)
    billions = sum(p.numel() for p in large.hf.parameters()) / 1e9
    name = f"LLaVA-shaped, {billions:.3g}B, {sizes.dtype}"
    return [*found, *_of(name, large, sizes, device)]


def _let_go(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _in_turns(
    measured: Callable[[], Any], base: Callable[[], Any], repeats: int, device: torch.device
) -> tuple[float, float, float, float]:
    """Return the median ratio of two ways run in turns, its quartiles, and the base's ms."""

    def timed(way: Callable[[], Any]) -> float:
        _wait(device)
        start = time.perf_counter()
        way()
        _wait(device)
        return time.perf_counter() - start

    for _ in range(2 if repeats > 1 else 1):
        timed(base)
        timed(measured)
    ratios, bases = [], []
    for turn in range(repeats):
        took = {way: timed(way) for way in ((base, measured) if turn % 2 else (measured, base))}
        ratios.append(took[measured] / took[base])
        bases.append(took[base] * 1000)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
    return middle, low, high, statistics.median(bases)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _of(name: str, model: Any, sizes: argparse.Namespace, device: torch.device) -> list[Figure]:
    scenes = list(mmkn.datasets.pocket_world("val").with_concept("car", sizes.pairs))
    image = scenes[0].image
    prepared = model.prepare(image)
    n_tokens = len(model.token_maps(prepared)[0].ids)
    found: list[Figure] = []

    def ratio(
        what: str, measured: Callable[[], Any], base: Callable[[], Any], note: str, repeats: int
    ) -> None:
        value, low, high, plain = _in_turns(measured, base, repeats, device)
        goal = GOALS.get(what)
        why = ""
        if goal is not None and value > goal:
            why = of_torch(partial(_then, measured, device), partial(_then, base, device))
        found.append(Figure(name, what, value, "x", low, high, goal, note.format(plain), why))

    def forward() -> None:
        model.forward(prepared, logits_to_keep=1)

    def captured() -> None:
        with record(model, pack=0):
            model.forward(prepared, logits_to_keep=1)

    def kept() -> None:
        with record(model):
            model.forward(prepared, logits_to_keep=1)

    def gradient() -> None:
        with record(model, gradients=True) as seen:
            logits = model.forward(prepared, logits_to_keep=1, grad=True).logits
        seen.gradients(torch.log_softmax(logits[:, -1].float(), -1)[:, 5])

    note = f"forward {{:.3g}} ms, {n_tokens} tokens, {len(model.sites)} layers"
    times = sizes.repeats
    ratio("capture to main memory / forward", captured, forward, note, times)
    ratio("capture kept on the card / forward", kept, forward, note, times)
    ratio("activation x gradient / forward", gradient, forward, note, times)
    found.append(_peak(name, model, prepared, device))

    def plain() -> int:
        return len(model.generate(prepared, max_new_tokens=sizes.tokens).token_ids[0])

    def ablated() -> int:
        with model.ablate(neurons):
            return plain()

    length = plain()
    for seed in range(50):  # a text of another length would be other work
        neurons = random_uniform(model, 50, seed)
        if ablated() == length:
            break
    else:
        raise AssertionError("no draw of 50 neurons in 50 leaves the text as long as it was")
    note = f"50 neurons; generation {{:.3g}} ms, {length} tokens"
    ratio("ablated / plain generation", ablated, plain, note, max(1, times // 2))

    _wait(device)
    start = time.perf_counter()
    study = mmkn.study(model, "car", scenes, inpainter="exact", caption="reference", progress=False)
    study.neurons()
    _wait(device)
    took = (time.perf_counter() - start) / 60
    note = f"{len(scenes)} pairs: {took * 60 / len(scenes):.3g} s a pair"
    what = f"a study of {len(scenes)} pairs"
    found.append(Figure(name, what, took, "min", took, took, None, note))
    return found


def _then(way: Callable[[], Any], device: torch.device) -> None:
    way()
    _wait(device)


def _peak(name: str, model: Any, prepared: Any, device: torch.device) -> Figure:
    """Return the most memory of a capture that stays on the card, over model and store."""
    weights = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    _let_go(device)
    before = _memory(device, start=True)
    with record(model) as seen:
        model.forward(prepared, logits_to_keep=1)
    store = sum(value.numel() * value.element_size() for value in seen.values.values())
    peak = max(0, _memory(device) - before)
    value = (weights + peak) / (weights + store)
    what = "peak memory / (model + store)"
    of = "the card's allocator" if device.type == "cuda" else "what the process holds"
    note = (
        f"model {weights / 1e9:.3g} GB, store {store / 1e9:.3g} GB, beyond the model "
        f"{peak / 1e9:.3g} GB by {of}"
    )
    why = f"{(peak - store) / 1e9:.3g} GB are neither model nor store: attention, logits, vision"
    missed = value > GOALS[what]
    return Figure(name, what, value, "x", value, value, GOALS[what], note, why if missed else "")


def _memory(device: torch.device, start: bool = False) -> int:
    """Return the bytes held now and begin a peak, or return the peak since.

    Without a card: what the process holds, which is no peak.
    """
    if device.type == "cuda":
        if start:
            torch.cuda.reset_peak_memory_stats(device)
            return torch.cuda.memory_allocated(device)
        return torch.cuda.max_memory_allocated(device)
    import psutil

    return int(psutil.Process().memory_info().rss)


def _beside_cpu(model: Any, sizes: argparse.Namespace) -> list[Figure]:
    """Return how far the pocket model on this device is from the same on the CPU."""
    cpu = mmkn.load_model("pocket", device="cpu", dtype=model.dtype)
    scenes = list(mmkn.datasets.pocket_world("val").with_concept("car", sizes.pairs))
    found = []
    here, there = (mmkn.attribution.collect(m, "car", scenes) for m in (model, cpu))
    for what in ("difference", "gradcam", "contribution"):
        wanted = there[what].values
        off = float(np.nanmax(np.abs(here[what].values - wanted)) / np.nanmax(np.abs(wanted)))
        name, note = (
            f"{what}: largest difference to the CPU",
            f"over the largest, {len(scenes)} pairs",
        )
        found.append(Figure("pocket", name, off, "", off, off, 0.01, note))
    pictures = [scene.image for scene in mmkn.datasets.pocket_world("val", sizes.captions)]
    neurons = random_uniform(cpu, 200, 0)
    said = []
    for one in (model, cpu):
        with one.ablate(neurons):
            said.append([*one.caption(pictures)])
        said[-1] += one.caption(pictures)
    other = float(sum(a != b for a, b in zip(*said, strict=True)))
    note = f"of {2 * len(pictures)}, half of them with 200 neurons off"
    found.append(
        Figure("pocket", "captions other than the CPU's", other, "", other, other, 0.0, note)
    )
    return found


def _machine(device: torch.device, sizes: argparse.Namespace, took: float) -> dict[str, Any]:
    import transformers

    card: dict[str, Any] = {"card": f"none: {platform.machine()} CPU"}
    if device.type == "cuda":
        known = torch.cuda.get_device_properties(device)
        card = {
            "card": known.name,
            "memory_gb": round(known.total_memory / 1e9, 1),
            "capability": f"{known.major}.{known.minor}",
            "cuda": torch.version.cuda,
        }
    return {
        **card,
        "tiny": bool(sizes.tiny),
        "minutes": round(took / 60, 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "mmkn_widgets": mmkn.__version__,
        "repeats": sizes.repeats,
    }


def markdown(found: Sequence[Figure], machine: dict[str, Any]) -> str:
    """Return the one table, the card's name above it and the profiles of what missed below."""
    size = f", {machine['memory_gb']} GB" if "memory_gb" in machine else ""
    lines = [
        f"**{machine['card']}**{size}; torch {machine['torch']}, transformers "
        f"{machine['transformers']}; {machine['minutes']} minutes"
        + ("; tiny: says nothing of a card" if machine["tiny"] else ""),
        "",
        "| model | what | median | quartiles | goal | | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        goal = "" if one.goal is None else f"<= {one.goal:g} {one.unit}".rstrip()
        mark = {True: "met", False: "missed", None: ""}[one.met]
        if machine["tiny"] and mark:
            mark = "not judged"
        spread = "" if one.low == one.high else f"{one.low:.3g} to {one.high:.3g}"
        value = f"{one.value:.3g} {one.unit}".rstrip()
        lines.append(
            f"| {one.model} | {one.what} | {value} | {spread} | {goal} | {mark} | {one.note} |"
        )
    for one in found:
        if one.why:
            lines += ["", f"Why {one.what} misses its goal ({one.model}):", ""]
            lines += [f"    {line}" for line in one.why.splitlines()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

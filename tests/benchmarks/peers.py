"""Beside its peers: ``make bench-peers``, the same work in turns in one run; writes peers.json.

Every peer does what it is good at, as its documentation does it, on the same model and inputs; what
it finds is compared with what we find before anything is timed. A figure is the median over turns
of a way's processor time on one thread, over that of the plain run of the same turn.
TransformerLens reads a text-only Llama of the same shape, over that one's own plain run: to bridge
a LLaVA it installs torchvision by itself, and with it another torch than the one that is measured.
pyvene takes all hooks off a model when it has run, those of transformers too: it gets a model of
its own, and transformers sets its hooks again in each of its runs.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from mmkn_widgets.activations import record
from mmkn_widgets.core import neuron_rows

from .models import hundred_million, pocket_model, scene_images

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("nnsight", "captum", "pyvene", "transformer-lens")
TOKENS = 16


@dataclass(frozen=True)
class Figure:
    """One way of doing one thing: median ratio to the plain run, and its quartiles."""

    what: str
    model: str
    way: str
    ratio: float
    low: float
    high: float
    plain_ms: float


def in_turns(
    what: str,
    model: str,
    plain: Callable[[], Any],
    ways: dict[str, Callable[[], Any]],
    turns: int = 15,
) -> list[Figure]:
    """Time ways in turns with the plain run, another order each turn."""
    every = {"plain": plain, **ways}
    for way in every.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in every}
    order = np.random.default_rng(0)
    for _ in range(turns):
        for name in order.permutation(list(every)):
            start = time.process_time()
            every[str(name)]()
            times[str(name)].append(time.process_time() - start)
    base = np.asarray(times["plain"])
    found = []
    for name in ways:
        low, middle, high = np.quantile(np.asarray(times[name]) / base, (0.25, 0.5, 0.75))
        milliseconds = statistics.median(times["plain"]) * 1000
        found.append(
            Figure(what, model, name, float(middle), float(low), float(high), milliseconds)
        )
    return found


def same(what: str, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> None:
    """Raise unless two ways found the same."""
    if len(ours) != len(theirs):
        raise AssertionError(f"{what}: {len(theirs)} layers, {len(ours)} expected")
    for mine, other in zip(ours, theirs, strict=True):
        if not torch.allclose(mine.reshape(-1).float(), other.reshape(-1).float(), atol=1e-5):
            raise AssertionError(f"{what}: other values than ours")


def _envoy(traced: Any, name: str) -> Any:
    for part in name.split("."):
        traced = traced[int(part)] if part.isdigit() else getattr(traced, part)
    return traced


def capture(model: Any, name: str) -> list[Figure]:
    """All FFN activations of one forward."""
    import pyvene
    from nnsight import NNsight
    from transformers import PreTrainedModel

    prepared = model.prepare(scene_images(1))
    inputs = {**prepared.inputs, "use_cache": False}
    sites = list(model.sites)
    apart = copy.deepcopy(model.hf)
    seen: dict[str, list[torch.Tensor]] = {}

    def plain() -> None:
        model.forward(prepared)

    def ours() -> None:
        with record(model) as found:
            model.forward(prepared)
        seen["ours"] = [found.values[site.row] for site in sites]

    traced = NNsight(model.hf)
    envoys = [_envoy(traced, site.module_name) for site in sites]

    def nnsight() -> None:
        with torch.no_grad(), traced.trace(**inputs):
            kept = list().save()
            for envoy in envoys:
                kept.append(envoy.input)
        seen["nnsight"] = list(kept)

    wanted = [
        {"component": f"{s.module_name}.input", "intervention_type": pyvene.CollectIntervention}
        for s in sites
    ]
    intervenable = pyvene.IntervenableModel(pyvene.IntervenableConfig(wanted), model=apart)
    places = {"base": list(range(prepared.n_tokens))}
    hooked = [part for part in apart.modules() if isinstance(part, PreTrainedModel)]

    def pyvene_way() -> None:
        for part in hooked:  # it took transformers' own hooks off, which reads the hidden states
            part._output_capturing_hooks_installed = False
        with torch.no_grad():
            (_, kept), _ = intervenable(inputs, unit_locations=places)
        seen["pyvene"] = kept

    ways = {"ours": ours, "nnsight": nnsight, "pyvene": pyvene_way}
    for way in ways.values():
        way()
    for peer in ("nnsight", "pyvene"):
        same(f"capture by {peer}", seen["ours"], seen[peer])
    return in_turns("capture of all FFN activations", name, plain, ways)


def lens(model: Any, name: str) -> list[Figure]:
    """The same, and ablated generation, by TransformerLens on a text-only Llama of the shape."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import LlamaConfig, LlamaForCausalLM

    text = model.hf.config.text_config
    names = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads",
    )  # fmt: skip
    torch.manual_seed(0)
    hf = LlamaForCausalLM(LlamaConfig(**{one: getattr(text, one) for one in names})).eval()
    length = model.prepare(scene_images(1)).n_tokens
    ids = torch.randint(0, text.vocab_size, (1, length))
    layers = range(text.num_hidden_layers)
    held: list[torch.Tensor] = []
    handles = [
        hf.model.layers[layer].mlp.down_proj.register_forward_pre_hook(
            lambda _, given: held.append(given[0].detach())
        )
        for layer in layers
    ]
    with torch.no_grad():
        hf(ids, use_cache=False)
    for handle in handles:
        handle.remove()
    apart = LlamaForCausalLM(hf.config).eval()
    apart.load_state_dict(hf.state_dict())
    bridge = TransformerBridge.boot_transformers(
        "local/llama", hf_model=apart, tokenizer=model.tokenizer, device="cpu"
    )
    hooks = [f"blocks.{layer}.mlp.out.hook_in" for layer in layers]
    kept: dict[str, Any] = {}

    def plain() -> None:
        with torch.no_grad():
            hf(ids, use_cache=False)

    def cached() -> None:
        with torch.no_grad():
            _, kept["cache"] = bridge.run_with_cache(ids, names_filter=hooks)

    cached()
    same("capture by TransformerLens", held, [kept["cache"][hook] for hook in hooks])
    what = "capture of all FFN activations"
    return in_turns(what, f"{name}, text only", plain, {"TransformerLens": cached})


def gradients(model: Any, name: str) -> list[Figure]:
    """Activation x gradient of all layers, of one word's log-probability."""
    from captum.attr import LayerGradientXActivation

    prepared = model.prepare(scene_images(1))
    inputs = dict(prepared.inputs)
    pixels = inputs.pop("pixel_values")
    seen: dict[str, list[torch.Tensor]] = {}

    def plain() -> None:
        model.forward(prepared)

    def ours(keep: int | None = None) -> None:
        with record(model, gradients=True) as found:
            logits = model.forward(prepared, logits_to_keep=keep, grad=True).logits
        slope = found.gradients(torch.log_softmax(logits[:, -1], -1)[:, 5])
        seen["ours"] = [slope[s.row] * found.values[s.row] for s in model.sites]

    def score(values: torch.Tensor) -> torch.Tensor:
        out = model.hf(pixel_values=values, **inputs, use_cache=False)
        return torch.log_softmax(out.logits[:, -1], -1)[:, 5]

    layered = LayerGradientXActivation(score, [site.module for site in model.sites])

    def captum() -> None:
        given = pixels.clone().requires_grad_(True)
        found = layered.attribute(given, attribute_to_layer_input=True)
        seen["captum"] = [one[0] if isinstance(one, tuple) else one for one in found]

    ours()
    captum()
    same("activation x gradient by captum", seen["ours"], seen["captum"])
    ways = {"ours": ours, "ours, logits of the last token": lambda: ours(1), "captum": captum}
    return in_turns("activation x gradient of all layers", name, plain, ways, 11)


def ablated(model: Any, name: str) -> list[Figure]:
    """A caption with 50 neurons off."""
    from nnsight import TransformersModel

    rng = np.random.default_rng(0)
    last = len(model.sites) - 1
    chosen = {last - 1: rng.choice(512, 25, False), last: rng.choice(512, 25, False)}
    rows = {
        row: torch.as_tensor(index) for row, index in sorted(neuron_rows(model, chosen).items())
    }
    prepared = model.prepare(scene_images(1))
    inputs = {k: v for k, v in prepared.inputs.items()}
    seen: dict[str, list[int]] = {}
    longest = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}

    def plain() -> None:
        with torch.no_grad():
            model.hf.generate(**inputs, **longest)

    def ours() -> None:
        with model.ablate(chosen), torch.no_grad():
            made = model.hf.generate(**inputs, **longest)
        seen["ours"] = made[0, -TOKENS:].tolist()

    def zeroed(index: torch.Tensor) -> Any:
        def hook(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            activation = given[0].clone()
            activation[..., index] = 0
            return activation, *given[1:]

        return hook

    def bare() -> None:
        handles = [
            model.sites[row].module.register_forward_pre_hook(zeroed(index))
            for row, index in rows.items()
        ]
        try:
            with torch.no_grad():
                made = model.hf.generate(**inputs, **longest)
        finally:
            for handle in handles:
                handle.remove()
        seen["bare hooks"] = made[0, -TOKENS:].tolist()

    traced = TransformersModel(model.hf, processor=model.processor, task="image-text-to-text")
    envoys = {row: _envoy(traced, model.sites[row].module_name) for row in rows}

    def nnsight() -> None:
        with torch.no_grad(), traced.generate(**inputs, **longest) as tracer:
            for _ in tracer.iter[:TOKENS]:
                for row, index in rows.items():
                    envoys[row].input[..., index] = 0
            made = tracer.result.save()
        seen["nnsight"] = made[0, -TOKENS:].tolist()

    ways = {"ours": ours, "bare hooks": bare, "nnsight": nnsight}
    for way in ways.values():
        way()
    for peer in ("bare hooks", "nnsight"):
        if seen[peer] != seen["ours"]:
            raise AssertionError(f"ablated generation by {peer}: other tokens than ours")
    return in_turns(f"generation of {TOKENS} tokens, 50 neurons off", name, plain, ways, 11)


def contribution(model: Any, name: str) -> list[Figure]:
    """The second paper's score of one word, against the whole product of W_out and W_U."""
    prepared = model.prepare(scene_images(1))
    with record(model) as found:
        model.forward(prepared)
    word = 5
    values = [found.values[site.row].reshape(-1, site.width)[-1].float() for site in model.sites]
    head = model.head.weight.detach().float()
    seen: dict[str, list[torch.Tensor]] = {}

    def whole() -> None:
        with torch.no_grad():
            product = [head @ model.w_out(s.layer, s.expert).float() for s in model.sites]
            scores = [p[word] * v for p, v in zip(product, values, strict=True)]
        seen["whole"] = scores

    def ours() -> None:
        with torch.no_grad():
            seen["ours"] = [
                (head[word] @ model.w_out(s.layer, s.expert).float()) * v
                for s, v in zip(model.sites, values, strict=True)
            ]

    whole()
    ours()
    same("contribution scores", seen["ours"], seen["whole"])
    return in_turns("contribution score of one word", name, whole, {"ours": ours}, 7)


def thresholds() -> list[Figure]:
    """One move of both thresholds over 32 x 11,008 neurons."""
    import xarray as xr

    rng = np.random.default_rng(0)
    d, g = rng.random((2, 32, 11_008), np.float32)
    labels = {"layer": np.arange(32), "neuron": np.arange(11_008)}
    data = xr.Dataset(
        {"difference": (("layer", "neuron"), d), "gradcam": (("layer", "neuron"), g)}, labels
    )

    def naive() -> int:
        inside = data.where((data.difference > 0.9) & (data.gradcam > 0.9), drop=False)
        return int(inside.gradcam.notnull().sum())

    def arrays() -> int:
        return int(np.count_nonzero((d > 0.9) & (g > 0.9)))

    def ours() -> int:
        from mmkn_widgets.attribution import passes

        return int(np.count_nonzero(passes(d, g, 0.9, 0.9)))

    if not naive() == arrays() == ours():
        raise AssertionError("thresholds: other counts")
    return in_turns(
        "both thresholds moved, 32 x 11,008", "numpy", naive, {"numpy": arrays, "ours": ours}
    )


def table(figures: Sequence[Figure]) -> str:
    """Return Markdown."""
    lines = [
        "| what | model | way | median ratio | quartiles | plain, ms |",
        "|---|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {one.what} | {one.model} | {one.way} | {one.ratio:.2f} | "
        f"{one.low:.2f} to {one.high:.2f} | {one.plain_ms:.1f} |"
        for one in figures
    ]
    return "\n".join(lines)


def main() -> int:
    """Run every row; one that fails is named and makes the exit status 1."""
    warnings.filterwarnings("ignore")
    versions = {
        name: importlib.metadata.version(name)
        for name in ("mmkn_widgets", "torch", "transformers", *PEERS)
    }
    torch.set_num_threads(1)
    large = hundred_million()
    millions = sum(p.numel() for p in large.hf.parameters()) / 1e6
    models = ((pocket_model(), "pocket"), (large, f"{millions:.0f}M parameters"))
    rows: list[tuple[str, Callable[[], list[Figure]]]] = []
    for model, name in models:
        for measure in (capture, lens, gradients, ablated, contribution):
            rows.append((f"{measure.__name__}, {name}", lambda m=measure, a=model, n=name: m(a, n)))
    rows.append(("thresholds", thresholds))
    figures: list[Figure] = []
    failed = 0
    for what, run in rows:
        try:
            figures += run()
        except Exception as error:
            failed += 1
            print(f"{what} failed: {type(error).__name__}: {error}", file=sys.stderr)
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(table(figures))
    told = {"versions": versions, "figures": [asdict(one) for one in figures]}
    (ROOT / "peers.json").write_text(json.dumps(told, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

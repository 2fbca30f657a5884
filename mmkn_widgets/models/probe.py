"""Prove a model's sites with one small forward, instead of assuming them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..core import Handles, MmknError, NotSupported
from .experts import routed_places
from .sites import Site
from .weights import is_quantised, site_bias, site_weight
from .wrappers import in_halves

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = ["TOLERANCE", "Residual", "SiteCheck", "verify", "what_follows"]


def _first_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor):
        return value[0].detach()
    return None


class Residual:
    """What one decoder block's residual stream and norms carried in one forward.

    Parameters
    ----------
    block : torch.nn.Module
        The decoder layer.

    Attributes
    ----------
    before, after : torch.Tensor or None
        The block's input and output.
    norms : list of (str, torch.Tensor, torch.Tensor)
        Name, input and output of every norm, in the order they ran.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.before: torch.Tensor | None = None
        self.after: torch.Tensor | None = None
        self.norms: list[tuple[str, torch.Tensor, torch.Tensor]] = []
        self.attention: list[torch.Tensor] = []
        self.gates: list[str] = []

    def hooks(self) -> Iterator[RemovableHandle]:
        """Set one hook at each step."""
        yield self.block.register_forward_hook(self._on_block, with_kwargs=True)
        for name, module in self.block.named_modules():
            kind = type(module).__name__.lower()
            if "norm" in kind and not any(True for _ in module.children()):
                yield module.register_forward_hook(self._on_norm(name))
            elif isinstance(module, nn.Linear) and module.out_features == 1:
                self.gates.append(name)
        for name, module in self.block.named_children():
            if "attn" in name or "attention" in name:
                yield module.register_forward_hook(self._on_attention)

    def _on_block(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        given = args[0] if args else kwargs.get("hidden_states")
        self.before, self.after = _first_tensor(given), _first_tensor(output)

    def _on_attention(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if (made := _first_tensor(output)) is not None:
            self.attention.append(made)

    def _on_norm(self, name: str) -> Any:
        def record(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            given = _first_tensor(args)
            made = _first_tensor(output)
            if given is not None and made is not None:
                self.norms.append((name, given, made))

        return record


def _same(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    scale = b.abs().max().clamp_min(1e-12)
    return bool((a - b).abs().max() <= 2 * tolerance * scale)


def what_follows(
    seen: Residual, output: torch.Tensor, tolerance: float, *, routed: bool
) -> tuple[str, ...]:
    """Return the steps between a projection's output and the block's output.

    Parameters
    ----------
    seen : Residual
        The block's tensors of the same forward.
    output : torch.Tensor
        What the projection (or all routed experts together) gave.
    tolerance : float
        Relative to the largest entry.
    routed : bool
        Whether the layer mixes experts.

    Returns
    -------
    tuple of str
        Empty when the block adds `output` to its residual stream as it is.
    """
    if seen.after is None or seen.after.shape[-1] != output.shape[-1]:
        return ("not followed: the block returns more than one residual stream",)
    hidden = output.shape[-1]
    added = output.reshape(-1, hidden).double()
    after = seen.after.reshape(-1, hidden).double().to(added.device)
    if after.shape != added.shape:
        return ("not followed: the block returns more than one residual stream",)

    def rows(tensor: torch.Tensor) -> torch.Tensor:
        """Return (batch * token, hidden) where the output is: a spread model's input may not be."""
        return tensor.reshape(-1, hidden).double().to(added.device)

    flat = [
        (name, rows(given), rows(made))
        for name, given, made in seen.norms
        if given.shape[-1] == hidden and given.numel() == after.numel()
    ]
    streams = [given for _, given, _ in flat]
    if seen.before is not None and seen.before.numel() == after.numel():
        before = rows(seen.before)
        streams.append(before)
        for made in seen.attention:  # attention and FFN side by side (Cohere)
            if made.numel() == after.numel():
                streams.append(before + rows(made))
    streams += [made for _, _, made in flat]
    steps: list[str] = []
    for name, given, made in flat:
        if _same(given, added, tolerance):
            steps.append(f"norm {name}")
            added = made
    for name, given, made in flat:
        summed = any(
            _same(given, stream + added, tolerance) for stream in streams if stream is not given
        )
        if summed and _same(made, after, tolerance):
            return (*steps, f"norm {name} over the sum")
    for stream in streams:
        rest = after - stream
        if _same(rest, added, 10 * tolerance):
            return tuple(steps)
        if bool((rest == 0).all()):
            return (*steps, "scale 0")
        factor = float((rest * added).sum() / (added * added).sum().clamp_min(1e-30))
        if abs(factor) > 1e-3 and _same(rest, factor * added, 10 * tolerance):
            return (*steps, f"scale {factor:.4g}")
    # beside the FFN's sum: a term of its own behind a norm, or a scale of the whole stream
    beside = [stream + made for stream in streams for _, _, made in flat]
    if any(_same(after - stream, added, 10 * tolerance) for stream in beside):
        return tuple(steps)
    for whole in (stream + added for stream in (*streams, *beside)):
        factor = float((after * whole).sum() / (whole * whole).sum().clamp_min(1e-30))
        if abs(factor) > 1e-3 and _same(after, factor * whole, tolerance):
            return (*steps, f"stream scale {factor:.6g}")
    if routed:
        return (*steps, "router", *(f"gate {name}" for name in seen.gates))
    left = [f"gate {name}" for name in seen.gates] or ["not followed"]
    return (*steps, *left)


#: Largest accepted ``max|written - output| / max|output|`` of a down projection, per type. 8-bit
#: and 4-bit projections round their input too, and have a tolerance of their own.
TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-10,
    torch.float32: 1e-4,
    torch.float16: 5e-3,
    torch.bfloat16: 3e-2,
}
QUANTISED_TOLERANCE = 0.1


@dataclass(frozen=True)
class SiteCheck:
    """What the probe measured at one site.

    Attributes
    ----------
    row : int
        The site's row.
    rank : int
        Dimensions of the activation the hook saw: 3, or 2 where the model flattens its tokens.
    error : float
        ``max|sum_i O_i W_out[:, i] + bias - output| / max|output|`` of the projection.
    tolerance : float
        What was accepted.
    behind : tuple of str
        What the architecture puts between the projection's output and the residual stream, such as
        ``"norm post_feedforward_layernorm"``, ``"scale 0.22"``, ``"router"``; empty when the output
        is added as it is. ``"stream scale 0.6"``: the block scales its whole output (Gemma 4).
    """

    row: int
    rank: int
    error: float
    tolerance: float
    behind: tuple[str, ...]


class _Recorder:
    """Everything one probe forward shows at the sites and around them."""

    def __init__(self, model: ModelParts) -> None:
        self.fired: dict[int, int] = defaultdict(int)
        self.inputs: dict[int, torch.Tensor] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        self.whole: dict[int, torch.Tensor] = {}
        self.routing: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.places: dict[str, torch.Tensor | None] = {}
        self.residual: dict[int, Residual] = {}
        self._model = model

    def hooks(self) -> Iterator[RemovableHandle]:
        """Set one hook at each step."""
        modules: dict[str, Site] = {}
        for site in self._model.sites:
            yield site.hook(self._on_site(site))
            modules.setdefault(site.module_name, site)
        for name, site in modules.items():
            hook = self._on_module(name, site.kind == "routed")
            yield site.module.register_forward_hook(hook, with_kwargs=True)
            if site.ffn is not None:
                yield site.ffn.register_forward_hook(self._on_ffn(site))
        for layer in {site.layer for site in self._model.sites}:
            watcher = Residual(self._model.blocks[layer])
            self.residual[layer] = watcher
            yield from watcher.hooks()

    def _on_site(self, site: Site) -> Any:
        def record(value: torch.Tensor) -> None:
            self.fired[site.row] += 1
            self.inputs[site.row] = value.detach().clone()

        return record

    def _on_ffn(self, site: Site) -> Any:
        def record(_module: nn.Module, _args: Any, output: Any) -> None:
            if (made := _first_tensor(output)) is not None:
                self.whole[site.row] = made.clone()

        return record

    def _on_module(self, name: str, routed: bool) -> Any:
        def record(_module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            self.outputs[name] = output.detach().clone()  # some models add to it in place
            if routed:
                index = args[1] if len(args) > 1 else kwargs["top_k_index"]
                weight = args[2] if len(args) > 2 else kwargs["top_k_weights"]
                self.places[name] = routed_places(_module)
                self.routing[name] = (index.detach(), weight.detach())

        return record


def probe_inputs(model: ModelParts) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Yield (what it is, inputs) from the cheapest on: text alone, then a grey picture."""
    vocabulary = int(getattr(model.hf.config.get_text_config(), "vocab_size", 0) or 0)
    if vocabulary > 8:
        special = set(_special_ids(model))
        ids = [i for i in range(3, vocabulary) if i not in special][:5]
        tokens = torch.tensor([ids])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        yield "text alone", model.prepare(inputs).inputs
    if model.processor is not None:
        from PIL import Image

        yield "a grey picture", model.prepare(Image.new("RGB", (64, 64), (127, 127, 127))).inputs


def _special_ids(model: ModelParts) -> Iterator[int]:
    for holder in (model.hf.config, model.hf.config.get_text_config()):
        for name, value in vars(holder).items():
            if name.endswith(("token_id", "token_index")) and isinstance(value, int):
                yield value
    yield from getattr(model.tokenizer, "all_special_ids", None) or ()


def verify(
    model: ModelParts, inputs: Mapping[str, torch.Tensor] | None = None
) -> tuple[SiteCheck, ...]:
    """Run one small forward and check every site.

    Parameters
    ----------
    model : ModelParts
        The model.
    inputs : mapping, optional
        What to run; by default a few words, then (if the model needs one) a grey picture.

    Returns
    -------
    tuple of SiteCheck
        One per site; empty where no input could be made without a processor (the first real
        forward is then checked instead).

    Raises
    ------
    NotSupported
        If a hook does not fire exactly once, a width is wrong, what the activations write is not
        the projection's output, or an FFN writes more than its neurons do; the message names layer
        and module.
    """
    tries = [("the inputs", inputs)] if inputs is not None else list(_lazily(model))
    problem: NotSupported | None = None
    for what, given in tries:
        if isinstance(given, Exception):
            problem = NotSupported(f"model: {what} cannot be prepared: {given}")
            continue
        try:
            recorder = _run(model, given)
        except MmknError:
            raise
        except Exception as error:  # noqa: BLE001  the error is told as the reason
            text = " ".join(str(error).split())[:200]
            problem = NotSupported(
                f"model: {type(model.hf).__name__} fails on {what}: {type(error).__name__}: {text}"
            )
            continue
        missing = [s for s in model.sites if recorder.fired[s.row] != 1]
        if not missing:
            checks = _check_all(model, recorder)
            _check_silence(model, given, recorder)
            return checks
        first = missing[0]
        problem = NotSupported(
            f"model: layer {first.layer}, {first.module_name}: the hook fired "
            f"{recorder.fired[first.row]} times on {what}, expected once ({len(missing)} of "
            f"{len(model.sites)} sites): the model does not run its FFN through this module"
        )
    if problem is not None and (model.processor is not None or inputs is not None):
        raise problem
    return ()


def _lazily(model: ModelParts) -> Iterator[tuple[str, Any]]:
    try:
        yield from probe_inputs(model)
    except Exception as error:  # noqa: BLE001  the caller tells it
        yield "a grey picture", error


def _run(model: ModelParts, inputs: Mapping[str, torch.Tensor]) -> _Recorder:
    recorder = _Recorder(model)
    with model.lock, Handles(recorder.hooks()):
        before = _random_state(model.device)
        model.run(inputs)
        model.draws |= not torch.equal(before, _random_state(model.device))
    return recorder


def _check_silence(
    model: ModelParts, inputs: Mapping[str, torch.Tensor], recorder: _Recorder
) -> None:
    """Switch every neuron off: an FFN may then write its bias alone, the same at every token.

    An adapter beside the projection, which its hook does not see, goes on writing.
    """
    watched = [site for site in model.sites if site.row in recorder.whole]
    found: dict[int, tuple[list[torch.Tensor], torch.Tensor]] = {}

    def watch(site: Site) -> Any:
        def record(_module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            given = [v.detach() for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor)]
            if (made := _first_tensor(output)) is not None:
                found[site.row] = given, made.clone()

        return record

    def hooks() -> Iterator[RemovableHandle]:
        for site in model.sites:
            yield site.hook(torch.zeros_like)
        for site in watched:
            if site.ffn is not None:
                yield site.ffn.register_forward_hook(watch(site), with_kwargs=True)

    with model.lock, Handles(hooks()):
        model.run(inputs)
    for site in watched:
        given, silent = found[site.row]
        scale = recorder.whole[site.row].abs().max().clamp_min(1e-12)
        # some add the residual stream inside (Bloom)
        rests = [silent, *(silent - one for one in given if one.shape == silent.shape)]
        spread = min(float(_spread(rest) / scale) for rest in rests)
        if not spread <= 10 * TOLERANCE.get(silent.dtype, 5e-2):
            raise NotSupported(
                f"model: layer {site.layer}: with all neurons of {site.module_name} off, the FFN "
                f"still writes {spread:.2g} of its maximum, otherwise at each token: something "
                "beside that projection writes too (an adapter?); merge it into the weights first"
            )


def _spread(written: torch.Tensor) -> torch.Tensor:
    """Return how far the tokens differ in what is written for them."""
    rows = written.reshape(-1, written.shape[-1]).float()
    return (rows - rows[:1]).abs().max()


def _random_state(device: torch.device) -> torch.Tensor:
    """Return the state of the generator that a forward on this device would draw from."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def _check_all(model: ModelParts, recorder: _Recorder) -> tuple[SiteCheck, ...]:
    """Check a module once, for all its sites: one, or those of its routed experts."""
    by_module: dict[str, list[Site]] = defaultdict(list)
    for site in model.sites:
        by_module[site.module_name].append(site)
    mixed = {s.layer for s in model.sites if s.expert >= 0} | {r.layer for r in model.refused}
    found: list[SiteCheck] = []
    for name, sites in by_module.items():
        error, tolerance = _check_module(name, sites, recorder)
        layer = sites[0].layer
        if recorder.places.get(name) is not None:  # it saw a part of the tokens only
            behind: tuple[str, ...] = ("router",)
        else:
            output = recorder.outputs[name]
            around = recorder.residual[layer]
            behind = what_follows(around, output, tolerance, routed=layer in mixed)
        rank = recorder.inputs[sites[0].row].dim()
        found += [SiteCheck(site.row, rank, error, tolerance, behind) for site in sites]
    return tuple(sorted(found, key=lambda check: check.row))


def _check_module(name: str, sites: list[Site], recorder: _Recorder) -> tuple[float, float]:
    """Return (error, tolerance) of a module's output, or refuse it."""
    for site in sites:
        seen = recorder.inputs[site.row]
        if seen.shape[-1] != site.width:
            raise NotSupported(
                f"model: layer {site.layer}, {name}: the activation has {seen.shape[-1]} neurons, "
                f"expected {site.width}"
            )
    site, seen = sites[0], recorder.inputs[sites[0].row]
    quantised = site.kind != "routed" and is_quantised(site.module)
    tolerance = QUANTISED_TOLERANCE if quantised else TOLERANCE.get(seen.dtype, 5e-2)
    if site.kind == "routed":
        written = _routed(sites, recorder)
    elif site.kind == "wrapped":
        written = in_halves(site.module, seen)
    else:
        written = write(site, seen)
    error = relative_error(written, recorder.outputs[name])
    if not error <= tolerance:
        raise NotSupported(
            f"model: layer {site.layer}, {name}: what the neurons write differs from the "
            f"projection's output by {error:.2g} of its maximum, more than the {tolerance:g} that "
            f"{str(seen.dtype).removeprefix('torch.')} explains"
        )
    return error, tolerance


def write(site: Site, activation: torch.Tensor) -> torch.Tensor:
    """Return ``sum_i O_i W_out[:, i]`` plus the bias."""
    weight = site_weight(site).to(activation.device, activation.dtype)
    bias = site_bias(site)
    bias = None if bias is None else bias.to(activation.device, activation.dtype)
    return nn.functional.linear(activation, weight, bias)


def relative_error(value: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return ``max|value - wanted| / max|wanted|``, in float32 at least."""
    a, b = value.reshape(-1).double(), wanted.reshape(-1).double().to(value.device)
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def _routed(sites: list[Site], recorder: _Recorder) -> torch.Tensor:
    """Return what all experts of one module write together, weighted by the router."""
    module: Any = sites[0].module
    name = sites[0].module_name
    output = recorder.outputs[name]
    index, weight = recorder.routing[name]
    places = recorder.places[name]
    total = torch.zeros_like(output)
    for site in sites:
        seen = recorder.inputs[site.row]
        written = write(site, seen if places is None else seen[places])
        if getattr(module, "has_post_expert_norm", False):
            written = module.post_expert_norm(written)
        chosen = index == site.expert - site.first_expert
        share = (weight * chosen).sum(dim=-1, keepdim=True)
        total += (written * share.to(written.dtype)).reshape(output.shape)
    return total

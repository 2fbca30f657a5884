"""What other libraries put round a model or a projection: taken off, looked through, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..core import BadArgument, NotSupported
from .state import in_evaluation, plain_torch

__all__ = [
    "active_part",
    "has_adapter",
    "has_adapter_above",
    "in_halves",
    "outermost",
    "unwrapped",
    "wrapped_bias",
    "wrapped_size",
    "wrapped_weight",
]

#: Class names whose weights are spread over processes, and what to give instead.
_SPREAD = {
    "FullyShardedDataParallel": "the model before it was sharded",
    "FSDPModule": "the model before it was sharded",
    "DeepSpeedEngine": "engine.module, where the weights are whole (ZeRO stage 0 to 2)",
    "PipelineParallel": "the model before it was split",
}


def unwrapped(model: nn.Module) -> Any:
    """Return the transformers model inside what was put round it for training or speed.

    Parameters
    ----------
    model : torch.nn.Module
        A model, or one in ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` or a
        PEFT model with adapters, in any order. What was compiled runs uncompiled when it is
        measured; adapters stay in force.

    Raises
    ------
    NotSupported
        If the weights are spread over processes, or the wrapper adds tokens of its own.
    BadArgument
        If there is no transformers model inside.

    Examples
    --------
    >>> hf = mmkn.load_model("pocket").hf
    >>> unwrapped(nn.DataParallel(hf)) is hf
    True
    """
    given = type(model).__name__
    inner: Any = model
    while True:
        names = {kind.__name__ for kind in type(inner).__mro__}
        if spread := names & set(_SPREAD):
            name = spread.pop()
            raise NotSupported(
                f"model: the weights of a {name} are spread over processes; give {_SPREAD[name]}"
            )
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        elif "OptimizedModule" in names:
            inner = inner._orig_mod
        elif "PeftModel" in names:
            inner = _base_of_adapters(inner)
        else:
            break
    if getattr(inner, "config", None) is None or not hasattr(inner.config, "get_text_config"):
        inside = [n for n, m in inner.named_children() if hasattr(m, "config")]
        more = f" (is it .{inside[0]}?)" if inside else ""
        raise BadArgument(
            f"model: got a {given} without a transformers configuration, expected a transformers "
            f"model{more}"
        )
    return inner


def _base_of_adapters(model: Any) -> Any:
    """Return the model inside a PEFT model, whose layers hold the adapters."""
    kinds = model.peft_config.values()
    if any(getattr(kind, "is_prompt_learning", False) for kind in kinds):
        method = next(iter(kinds)).peft_type
        raise NotSupported(
            f"model: {getattr(method, 'value', method)} puts tokens of its own before the prompt, "
            "which have no place here; give a model with LoRA-like adapters, or without"
        )
    return model.get_base_model()


def active_part(module: nn.Module) -> nn.Module:
    """Return the one of two that runs where PEFT keeps a trained copy beside an original."""
    if "ModulesToSaveWrapper" not in _kinds(module):
        return module
    wrapper: Any = module
    trained = [name for name in wrapper.active_adapters if name in wrapper.modules_to_save]
    runs: nn.Module = (
        wrapper.original_module
        if wrapper.disable_adapters or not trained
        else wrapper.modules_to_save[trained[0]]
    )
    return runs


# -- round one projection ------------------------------------------------------------------------


def _kinds(module: nn.Module) -> set[str]:
    return {kind.__name__ for kind in type(module).__mro__}


def _says_so(module: nn.Module) -> bool:
    """Return whether a module is one of PEFT's round another (LoRA, IA3, a part trained whole)."""
    return bool(_kinds(module) & {"BaseTunerLayer", "AuxiliaryTrainingWrapper"})


def has_adapter(module: nn.Module) -> bool:
    """Return whether a module is PEFT's round another, such as a head with LoRA."""
    return _says_so(module)


def has_adapter_above(block: nn.Module, path: str) -> bool:
    """Return whether a module of PEFT's stands between a block and a module in it, or is it."""
    return any(_says_so(module) for _, module in _above(block, path, itself=True))


def _above(block: nn.Module, path: str, *, itself: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules between a block and one in it, from the outside in."""
    steps = path.split(".")
    for n in range(1, len(steps) + itself):
        above = ".".join(steps[:n])
        yield above, block.get_submodule(above)


def outermost(block: nn.Module, path: str, out: int, width: int) -> tuple[str, nn.Module]:
    """Return the module that takes what a projection takes and gives all that is made of it.

    Parameters
    ----------
    block : torch.nn.Module
        The decoder layer.
    path : str
        The projection's name in it.
    out, width : int
        Its sizes.

    Returns
    -------
    str, torch.nn.Module
        The projection itself, or the outermost module round it in which a second path reads the
        same input: an adapter of PEFT's, or one by hand (``y = W x + B A x``), known by a
        low-rank matrix of the input's size beside the projection.
    """
    own = block.get_submodule(path)
    for above, module in _above(block, path):
        if _says_so(module) or _is_adapter(module, own, out, width):
            return above, module
    return path, own


def _is_adapter(module: nn.Module, own: nn.Module, out: int, width: int) -> bool:
    reads = False
    own_ones = {id(p) for p in own.parameters()}
    for parameter in module.parameters():
        if parameter.dim() > 2:
            return False
        if parameter.dim() == 2 and id(parameter) not in own_ones:
            if min(parameter.shape) >= min(out, width):
                return False
            reads |= width in parameter.shape
    return reads


def has_own_adapter(module: nn.Module) -> bool:
    """Return whether a projection's class adds something to its weight (loralib's `Linear`)."""
    return any(name not in ("weight", "bias") for name, _ in module.named_parameters())


#: Columns that are measured at once.
_AT_ONCE = 512


@plain_torch(False)
def wrapped_weight(module: nn.Module, width: int) -> torch.Tensor:
    """Return what each neuron adds to a wrapped projection's output, (hidden, neuron); a copy.

    Parameters
    ----------
    module : torch.nn.Module
        A map of the neurons that is linear but for its bias.
    width : int
        The number of neurons.

    Notes
    -----
    Of PEFT's plain LoRA it is computed from the matrices. Elsewhere (DoRA, IA3, adapters by hand)
    each neuron is switched on alone, which takes as long as a forward of `width` tokens.
    """
    part = active_part(module)
    if part is not module and isinstance(part, nn.Linear) and part.weight.is_floating_point():
        return part.weight.detach().clone()
    if (summed := _lora_weight(module)) is not None:
        return summed
    given = next(p for p in module.parameters() if p.is_floating_point())
    columns = []
    nothing = _output(module, given.new_zeros(1, width))
    for start in range(0, width, _AT_ONCE):
        count = min(_AT_ONCE, width - start)
        alone = given.new_zeros(count, width)
        alone[torch.arange(count), start + torch.arange(count)] = 1
        columns.append((_output(module, alone) - nothing).T)
    return torch.cat(columns, 1)


@plain_torch(False)
def wrapped_size(module: nn.Module, width: int) -> int:
    """Return how long what a wrapped projection writes is."""
    given = next(p for p in module.parameters() if p.is_floating_point())
    return int(_output(module, given.new_zeros(1, width)).shape[-1])


@plain_torch(False)
def wrapped_bias(module: nn.Module, width: int) -> torch.Tensor | None:
    """Return what a wrapped projection writes when no neuron is active; None for nothing."""
    given = next(p for p in module.parameters() if p.is_floating_point())
    nothing = _output(module, given.new_zeros(1, width))[0]
    return nothing if bool(nothing.any()) else None


@plain_torch(False)
def in_halves(module: nn.Module, activation: torch.Tensor) -> torch.Tensor:
    """Return what a projection makes of every second neuron plus what it makes of the others.

    Of one that is linear but for its bias that is what it makes of all of them.
    """
    odd = torch.arange(activation.shape[-1], device=activation.device) % 2 == 1
    halves = [_output(module, activation * chosen) for chosen in (odd, ~odd)]
    return halves[0] + halves[1] - _output(module, activation * 0)


def _output(module: nn.Module, activation: torch.Tensor) -> torch.Tensor:
    """Run a projection without its hooks and without dropout."""
    with in_evaluation([inner for inner in module.modules() if inner.training]):
        made: torch.Tensor = module.forward(activation)
    return made


def _lora_weight(module: Any) -> torch.Tensor | None:
    """Return the weight of a plain LoRA layer with what is active or merged; None for others."""
    if "LoraLayer" not in _kinds(module):
        return None
    base = module.base_layer
    weight = getattr(base, "weight", None)
    if not isinstance(base, nn.Linear) or not isinstance(weight, torch.Tensor):
        return None
    if not weight.is_floating_point():
        return None
    if weight.is_meta or (module.disable_adapters and module.merged):
        return None
    if module.disable_adapters or module.merged:
        return weight.detach().clone()
    active = [name for name in module.active_adapters if name in module.lora_A]
    if any(name in module.lora_variant for name in active):
        return None
    total = weight.detach().float() if active else weight.detach().clone()
    for name in active:
        total = total + module.get_delta_weight(name).detach().float()
    return total.to(weight.dtype)

"""What other libraries put round a model: taken off at loading, or refused by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..core import BadArgument, NotSupported

__all__ = ["unwrapped"]

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

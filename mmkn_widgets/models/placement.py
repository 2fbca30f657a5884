"""On which device, in which type, and packed or not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch

from ..core import Deferred, NotSupported, bad_argument, ending, sure

__all__ = ["best_device", "choose_dtype", "placement", "same_draws"]

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


_SAID: set[str] = set()


def _said_once(record: logging.LogRecord) -> bool:
    """Let bitsandbytes say once, not at every product, in which type it computes."""
    text = record.getMessage()
    new = text not in _SAID
    _SAID.add(text)
    return new


def best_device() -> torch.device:
    """Return the GPU, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@sure
def same_draws(device: torch.device) -> Iterator[None]:
    """Give a model that draws random numbers (flow matching, diffusion) the same ones."""
    devices = [device] if device.type == "cuda" else []
    fork = ExitStack()
    with ending(fork.close):
        with Deferred():
            fork.enter_context(torch.random.fork_rng(devices=devices))
        torch.manual_seed(0)
        yield


def choose_dtype(asked: str | torch.dtype | None, device: torch.device, config: Any) -> Any:
    """Return the type to load in: float32 on a CPU, elsewhere the checkpoint's own."""
    if isinstance(asked, torch.dtype):
        return asked
    if asked is None:
        if device.type == "cpu" and config is not None:
            return torch.float32
        own = getattr(config, "dtype", None)
        return torch.float16 if device.type == "mps" and own is torch.bfloat16 else own
    if asked == "auto":
        return getattr(config, "dtype", None)
    if asked not in _DTYPES:
        raise bad_argument("dtype", asked, "one of 'auto', " + ", ".join(map(repr, _DTYPES)))
    return _DTYPES[asked]


def placement(device: torch.device, device_map: Any, load_in_8bit: bool) -> dict[str, Any]:
    """Return what `from_pretrained` needs to spread or pack the weights."""
    options: dict[str, Any] = {}
    if device_map is not None:
        options["device_map"] = device_map
    if load_in_8bit:
        try:
            import bitsandbytes  # noqa: F401
        except ImportError as error:
            raise NotSupported(
                "load_in_8bit: bitsandbytes is not installed; pip install bitsandbytes"
            ) from error
        from transformers import BitsAndBytesConfig

        logging.getLogger("bitsandbytes.autograd._functions").addFilter(_said_once)
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
        options.setdefault("device_map", {"": device})
    return options

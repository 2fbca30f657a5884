"""No progress bar where there is nothing to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["quiet_when_small"]

_SMALL = 64 * 2**20


@contextmanager
def quiet_when_small(folder: str) -> Iterator[None]:
    """Hide transformers' progress bar while a folder of less than 64 MiB of weights is read."""
    from transformers.utils import logging

    weights = Path(folder).glob("*.safetensors") if Path(folder).is_dir() else ()
    sizes = [file.stat().st_size for file in weights]
    if not sizes or sum(sizes) > _SMALL or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()

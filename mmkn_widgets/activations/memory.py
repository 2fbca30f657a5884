"""What a capture needs before it starts, and the choices where that is not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import BadArgument
from ..models import needed_bytes as needed_bytes
from ..models import readable as readable
from .picture import ROLES

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["check_room", "free_memory", "need"]


def need(
    model: MultimodalModel,
    *,
    tokens: int,
    kept: int,
    n_images: int,
    rows: int,
    gradients: bool,
    reduced: bool,
    to_disk: bool,
) -> tuple[int, int]:
    """Return (bytes held at once, bytes written in all) of a capture.

    Parameters
    ----------
    model : MultimodalModel
    tokens, kept : int
        Tokens of one picture, and those of them whose role is kept: a picture is captured whole,
        then cut.
    n_images, rows, gradients
        As in `needed_bytes`.
    reduced : bool
        Whether the reductions over roles alone are kept; else they lie beside a store on disk.
    to_disk : bool
        Whether a picture is written before the next one is captured.
    """

    def size(n_tokens: int, n: int, on_disk: bool = False) -> int:
        return needed_bytes(model, n_tokens, n, rows=rows, gradients=gradients, on_disk=on_disk)

    reductions = n_images * 2 * len(ROLES) * rows * model.n_neurons * 4 * (1 + gradients)
    one = size(tokens, 1)
    if to_disk:
        return one, reductions + (0 if reduced else size(kept, n_images, on_disk=True))
    if reduced:
        return one + reductions, 0
    return size(kept, n_images) + (one if kept < tokens else 0), 0


def free_memory() -> int:
    """Return the bytes this process can still take, a container's limit included."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no limit, or not on Linux
        pass
    return max(free, 0)


def check_room(in_memory: int, on_disk: int, n_images: int, out: Path | None) -> None:
    """Raise when a capture will not fit.

    Parameters
    ----------
    in_memory, on_disk : int
        Bytes it will hold at once, and write in all.
    n_images : int
    out : pathlib.Path or None
        Where it writes.

    Raises
    ------
    BadArgument
        The message says how much is missing, and gives the choices.
    """
    free = free_memory()
    if in_memory > 0.9 * free:
        choices = "fewer layers=, roles=('image',), fewer images or reduced=True"
        if out is None and n_images > 1:
            choices += ", or out=FOLDER, which holds one picture at a time"
        raise BadArgument(
            f"images: got {n_images} whose store needs {readable(in_memory)}, expected at most the "
            f"{readable(free)} of free memory; give {choices}"
        )
    if out is not None:
        there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
        room = shutil.disk_usage(there).free
        if on_disk > room:
            raise BadArgument(
                f"out: {readable(on_disk)} have to be written and {readable(room)} are free in "
                f"{there}; give fewer layers=, roles=('image',), fewer images or reduced=True, or "
                "another folder"
            )

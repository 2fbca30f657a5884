"""Files that are on the disk when a function returns, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["commit_group", "flush", "sync", "write_group"]


def write_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Write the file that makes a folder a zarr group."""
    described = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (folder / "zarr.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def commit_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Write a group's file at once or not at all."""
    part = folder / ".part"
    part.mkdir(exist_ok=True)
    write_group(part, attributes)
    flush(part)
    os.replace(part / "zarr.json", folder / "zarr.json")
    part.rmdir()
    sync(folder)


def flush(folder: Path) -> None:
    """Have everything below a folder on the disk."""
    for path, _folders, files in os.walk(folder):
        for file in files:
            sync(Path(path) / file)
        sync(Path(path))


def sync(path: Path) -> None:
    """Have one file or folder on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

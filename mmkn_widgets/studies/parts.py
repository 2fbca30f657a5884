"""The folder of a study: whose it is, its parts, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from .._errors import bad_argument

__all__ = ["claim", "part_path", "write_json"]


def part_path(folder: Path, word: str, method: str) -> Path:
    """Return where a concept's figures by a method stand; no word leaves the folder."""
    return folder / "parts" / (re.sub(r"[^\w\- ]", "_", word) or "_") / f"{method}.json"


def claim(folder: Path, described: dict[str, Any]) -> None:
    """Take a new folder, or one with parts of the same configuration.

    Raises
    ------
    BadArgument
        If the folder holds parts of another one.
    """
    mark = folder / "provenance.json"
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    if mark.is_file():
        held = json.loads(mark.read_text(encoding="utf-8"))
        if held.get("key") != key:
            raise bad_argument(
                "out", str(folder), "a new folder: this one holds parts of another configuration"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(mark, {"key": key, **described})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)

"""How large the built widgets are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .profile import of_bytes
from .report import Row

STATIC = Path(__file__).resolve().parents[2] / "mmkn_widgets" / "static"


def measure() -> list[Row]:
    files = sorted(STATIC.glob("*.js"))
    if not files:
        raise FileNotFoundError(f"{STATIC} holds no widget: run `make`")
    return [
        Row(f"bundle {f.name}", f.stat().st_size / 1024, "KB", 136.0, "", partial(of_bytes, f))
        for f in files
    ]

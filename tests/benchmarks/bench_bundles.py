"""How large the built widgets are."""

from __future__ import annotations

from pathlib import Path

from .report import Row

STATIC = Path(__file__).resolve().parents[2] / "mmkn_widgets" / "static"


def measure() -> list[Row]:
    files = sorted(STATIC.glob("*.js"))
    if not files:
        raise FileNotFoundError(f"{STATIC} holds no widget: run `make`")
    return [Row(f"bundle {file.name}", file.stat().st_size / 1024, "KB", 136.0) for file in files]

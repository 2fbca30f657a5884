"""What a measurement is, how two ways are timed in pairs, and how the table is written."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["Row", "milliseconds", "paired_ratio", "profiles", "table", "write_json"]


@dataclass(frozen=True)
class Row:
    """One figure: its value, and the budget that it must not exceed (None: reported only).

    A figure over its budget says why: `profile` is then called, and its text stands in `why`.
    """

    name: str
    value: float
    unit: str
    budget: float | None = None
    note: str = ""
    profile: Callable[[], str] | None = None
    why: str = ""

    @property
    def within(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        return None if self.budget is None else self.value <= self.budget

    def explained(self) -> Row:
        """Return the figure with its profile where it misses its budget."""
        if self.within is not False or self.why:
            return self
        if self.profile is None:
            raise ValueError(f"{self.name}: over its budget, and no profile that says why")
        return replace(self, why=self.profile())


def paired_ratio(
    measured: Callable[[], Any], base: Callable[[], Any], repeats: int = 9, warm: int = 2
) -> tuple[float, float]:
    """Time two ways in turns, so that a busy machine slows both.

    Returns
    -------
    ratio : float
        Median over pairs of measured / base.
    base_ms : float
        Median time of `base` in milliseconds.
    """
    for _ in range(warm):
        base()
        measured()
    ratios, bases = [], []
    for turn in range(repeats):
        times = {}
        for way in (base, measured) if turn % 2 else (measured, base):
            start = time.perf_counter()
            way()
            times[way] = time.perf_counter() - start
        ratios.append(times[measured] / times[base])
        bases.append(times[base] * 1000)
    return statistics.median(ratios), statistics.median(bases)


def milliseconds(way: Callable[[], Any], repeats: int = 9, warm: int = 1) -> float:
    """Return the median time of a call."""
    for _ in range(warm):
        way()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        way()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def table(rows: list[Row]) -> str:
    """Return the rows as a table in plain text."""
    head = ("what", "measured", "budget", "", "note")
    lines = [head]
    for row in rows:
        budget = "" if row.budget is None else f"<= {row.budget:g} {row.unit}".rstrip()
        mark = {True: "ok", False: "OVER", None: ""}[row.within]
        lines.append((row.name, f"{row.value:.3g} {row.unit}".rstrip(), budget, mark, row.note))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def profiles(rows: list[Row]) -> str:
    """Return why each figure over its budget is over it; empty where none is."""
    parts = [
        f"why {row.name} is over its budget:\n" + "\n".join(f"    {x}" for x in row.why.split("\n"))
        for row in rows
        if row.why
    ]
    return "\n".join(parts)


def write_json(rows: list[Row], path: Path) -> None:
    """Write the rows and the machine they were measured on."""
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    content = {
        "machine": machine,
        "rows": [
            {k: v for k, v in asdict(row).items() if k != "profile"} | {"within": row.within}
            for row in rows
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

"""Why a figure misses its goal: where the time of what was measured goes, in a few lines."""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "BrowserTime",
    "of_bytes",
    "of_imports",
    "of_memory",
    "of_parts",
    "of_python",
    "of_torch",
]

_TOP, _TIMES = 5, 3


def of_torch(measured: Callable[[], Any], base: Callable[[], Any] | None = None) -> str:
    """Return where a way's time goes beyond the way it is compared with, by torch's operations.

    Parameters
    ----------
    measured, base : callable
        Each is run three times under torch's profiler, after one run that is not.

    Returns
    -------
    str
        The time of a run and the operations that take the most of the difference; what no
        operation accounts for is Python's (the profiler's own share included). On CUDA the time
        is the card's beside.
    """
    whole, spent = _torch(measured)
    if base is None:
        against, other = 0.0, {}
    else:
        against, other = _torch(base)
    more = {name: time - other.get(name, (0.0, 0.0))[0] for name, (time, _) in spent.items()}
    gone = {name: -time for name, (time, _) in other.items() if name not in spent}
    more |= gone
    calls = {name: n - other.get(name, (0.0, 0.0))[1] for name, (_, n) in spent.items()}
    rest = whole - against - sum(more.values())
    largest = sorted(more.items(), key=lambda item: -abs(item[1]))[:_TOP]
    lines = [f"{whole:.3g} ms" + (f", {whole - against:+.3g} ms over the base" if base else "")]
    lines += [f"{n:+.3g} ms {name} ({calls.get(name, 0):+.3g} calls)" for name, n in largest]
    lines.append(f"{sum(more.values()) - sum(n for _, n in largest):+.3g} ms other operations")
    lines.append(f"{rest:+.3g} ms outside operations: Python, hooks, waiting")
    return "\n".join(lines)


def _torch(way: Callable[[], Any]) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return a run's milliseconds, and of each operation the milliseconds and calls."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU]
    cuda = torch.cuda.is_available()
    if cuda:
        kinds.append(ProfilerActivity.CUDA)
    way()
    with profile(activities=kinds) as seen:
        start = time.perf_counter()
        for _ in range(_TIMES):
            way()
        if cuda:
            torch.cuda.synchronize()
        took = (time.perf_counter() - start) * 1000 / _TIMES
    found: dict[str, tuple[float, float]] = {}
    for event in seen.key_averages():
        own = event.self_cpu_time_total + (event.self_device_time_total if cuda else 0.0)
        found[event.key] = (own / 1000 / _TIMES, event.count / _TIMES)
    return took, found


def of_memory(way: Callable[[], Any]) -> str:
    """Return the operations of torch that take the most memory, all their calls together."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        way()
    taken = [(e.key, e.self_cpu_memory_usage / 1e6, e.count) for e in seen.key_averages()]
    ordered = sorted(taken, key=lambda one: -one[1])[:_TOP]
    return "\n".join(
        ["taken and not given back by the same operation:"]
        + [f"{size:.3g} MB {name} ({calls} x)" for name, size, calls in ordered]
    )


class BrowserTime:
    """What a page's main thread does from here on, by Chromium's own account.

    Parameters
    ----------
    page : playwright page
    """

    _KINDS = (
        ("ScriptDuration", "scripts"),
        ("RecalcStyleDuration", "styles"),
        ("LayoutDuration", "layout"),
    )

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: float(one["value"]) for one in metrics}

    def split(self, times: int = 1) -> str:
        """Return the milliseconds since, over the number of frames or clicks they were for."""
        now = self._now()
        spent = {key: (now[key] - self._before.get(key, 0.0)) * 1000 / times for key in now}
        parts = [(name, spent[key]) for key, name in self._KINDS]
        rest = spent["TaskDuration"] - sum(value for _, value in parts)
        return "the page's main thread: " + of_parts(
            "ms", [*parts, ("paint and other tasks", rest)]
        )


def of_python(way: Callable[[], Any]) -> str:
    """Return the functions in which a call spends its own time, the largest first."""
    seen = cProfile.Profile()
    start = time.perf_counter()
    seen.runcall(way)
    took = (time.perf_counter() - start) * 1000
    stats: Any = pstats.Stats(seen, stream=io.StringIO())
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:_TOP]
    lines = [f"{took:.3g} ms under Python's profiler"]
    for (file, line, name), (_, calls, own, whole, _) in rows:
        where = f"{Path(file).name}:{line} {name}" if line else name
        lines.append(f"{own * 1000:.3g} ms own, {whole * 1000:.3g} ms in all: {where} ({calls} x)")
    return "\n".join(lines)


def of_imports(code: str) -> str:
    """Return the modules whose own code takes longest when a line of Python is run."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)", done.stderr)
    largest = sorted(found, key=lambda item: -int(item[0]))[:_TOP]
    lines = [f"{len(found)} modules, {sum(int(own) for own, *_ in found) / 1000:.3g} ms in all"]
    lines += [
        f"{int(own) / 1000:.3g} ms own, {int(whole) / 1000:.3g} ms with what it imports: {name}"
        for own, whole, name in largest
    ]
    return "\n".join(lines)


def of_parts(unit: str, parts: Sequence[tuple[str, float]]) -> str:
    """Return the split of a figure that was measured in parts."""
    whole = sum(value for _, value in parts)
    ordered = sorted(parts, key=lambda part: -part[1])
    lines = [f"{whole:.3g} {unit}"]
    lines += [f"{value:.3g} {unit} {name}" for name, value in ordered[:_TOP]]
    return "\n".join(lines)


def of_bytes(file: Path) -> str:
    """Return what a bundle holds: its texts (styles among them) and its code, in KB."""
    text = file.read_text(encoding="utf-8")
    strings = re.findall(r"`(?:[^`\\]|\\.)*`|\"(?:[^\"\\\n]|\\.)*\"", text)
    styles = [one for one in strings if "{" in one and ":" in one and ";" in one]
    held = sum(map(len, strings))
    longest = max(strings, key=len, default="")
    return (
        of_parts(
            "KB",
            [
                ("code", (len(text) - held) / 1024),
                ("styles", sum(map(len, styles)) / 1024),
                ("other texts", (held - sum(map(len, styles))) / 1024),
            ],
        )
        + f"\nthe longest text, {len(longest) / 1024:.3g} KB, begins {longest[:60]!r}"
    )

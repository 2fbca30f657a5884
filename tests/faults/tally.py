"""What a kind of fault reports: how many were tried, what failed, how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Tally", "share_out", "table", "write_json"]


@dataclass
class Tally:
    """The account of one kind."""

    kind: str
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    @contextmanager
    def one(self, what: str) -> Iterator[None]:
        """Count one trial; an exception that leaves the block is its failure."""
        self.tried += 1
        try:
            yield
        except Exception as error:
            self.fail(what, error)

    def fail(self, what: str, error: BaseException | str) -> None:
        """Note a failure in one line."""
        said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.failed.append(f"{what}: {' '.join(said.split())[:1500]}")

    @contextmanager
    def timed(self) -> Iterator[Tally]:
        """Add the seconds of a block."""
        start = time.perf_counter()
        try:
            yield self
        finally:
            self.seconds += time.perf_counter() - start


def share_out(total: int, names: Sequence[str]) -> dict[str, int]:
    """Return how many of a total fall to each name: at least one, together the total or more."""
    return {name: max(1, -(-total // len(names))) for name in names}


def table(tallies: Sequence[Tally]) -> str:
    """Return one line a kind, and the failures below."""
    rows = [f"{'kind':<12}{'tried':>9}{'failed':>8}{'seconds':>9}  note"]
    rows += [
        f"{t.kind:<12}{t.tried:>9,}{len(t.failed):>8,}{t.seconds:>9.0f}  {t.note}" for t in tallies
    ]
    shown = [f"{t.kind}: {line}" for t in tallies for line in t.failed[:20]]
    hidden = [
        f"{t.kind}: {len(t.failed) - 20} more are in faults.json"
        for t in tallies
        if len(t.failed) > 20
    ]
    return "\n".join([*rows, *shown, *hidden])


def write_json(tallies: Sequence[Tally], path: Path, **about: Any) -> None:
    """Write every count and failure."""
    found = {**about, "kinds": [asdict(t) for t in tallies]}
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

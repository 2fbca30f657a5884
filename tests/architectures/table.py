"""Print the README's table of architectures from ``results.json``.

Run ``python tests/architectures/table.py`` after ``python tests/architectures/write_results.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["main", "markdown"]

RESULTS = Path(__file__).with_name("results.json")
_MARK = {True: "yes", False: "no"}


def _neurons(row: dict[str, Any]) -> str:
    if not row["sites"]:
        return ""
    experts = f", {row['routed']} of them routed experts" if row["routed"] else ""
    return f"{row['sites']} sites{experts}"


def _picture(row: dict[str, Any]) -> str:
    if not row["paints"]:
        return "no"
    rough = ", approximate" if row["approximate"] else ""
    return f"{row['geometry'].replace('_', ' ')}{rough}"


def _cannot(row: dict[str, Any]) -> str:
    said = [row["reason"]] if row["reason"] else []
    said += [name for name, good in row["checks"].items() if not good]
    if not row["paints"] and row["paint_reason"] not in said:
        said.append(f"no painting: {row['paint_reason']}")
    reasons = {
        text.rpartition(": ")[2] if text.startswith("layer") else text for text in row["refused"]
    }
    return "; ".join([*said, *sorted(reasons)]).replace("|", "\\|").replace("\n", " ")


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table, one line an architecture, and a line of totals above it."""
    works = sum(row["works"] for row in rows)
    paints = sum(row["paints"] and not row["approximate"] for row in rows)
    rough = sum(row["paints"] and row["approximate"] for row in rows)
    lines = [
        f"{works} of {len(rows)} architectures pass the whole round trip; token maps paint on "
        f"{paints} with the occlusion test agreeing, on {rough} more approximately (through "
        "cross-attention), and are refused with the reason on the rest.",
        "",
        "| architecture | round trip | neurons | captions | painting | what it cannot |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            row["architecture"],
            _MARK[row["works"]],
            _neurons(row),
            _MARK[row["generates"]],
            _picture(row),
            _cannot(row),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(markdown(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()

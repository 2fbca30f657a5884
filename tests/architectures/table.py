"""Write the documentation's table of architectures from ``results.json``.

Run ``python tests/architectures/table.py docs/models.md`` after ``write_results.py``; without a
file the table is printed.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

__all__ = ["BEGIN", "END", "main", "markdown", "summary"]

RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- architectures: made by tests/architectures/table.py -->", "<!-- end -->"
#: what a result says where the test had to make the pixels itself
CUT = "pixels cut by the test"
_MARK = {True: "yes", False: "no"}


def _neurons(row: dict[str, Any]) -> str:
    """Return whose neurons are reached: of dense FFNs, of routed experts."""
    if not row["sites"]:
        return ""
    dense = row["sites"] - row["routed"]
    kinds = ["FFN"] if dense else []
    return " and ".join([*kinds, *(["routed experts"] if row["routed"] else [])])


def _unconfirmed(row: dict[str, Any]) -> bool:
    """Return whether there is a map that the occlusion test did not agree with."""
    return not row["paints"] and row["geometry"] not in ("", "none")


def _picture(row: dict[str, Any]) -> str:
    shown = row["geometry"].replace("_", " ")
    if row["paints"]:
        return f"{shown}, approximate" if row["approximate"] else shown
    return f"{shown}, not confirmed" if _unconfirmed(row) else "no"


def _cannot(row: dict[str, Any]) -> str:
    said = [f"needs {row['needs']}"] if row["needs"] else []
    said += [row["reason"].rstrip("; ")] if row["reason"] else []
    said += [f"fails: {name}" for name, good in row["checks"].items() if not good]
    if not row["paints"] and row["paint_reason"] != row["reason"]:
        said.append(f"no painting: {row['paint_reason']}" if not _unconfirmed(row) else (
            f"painting: {row['paint_reason']} (random weights of a deep convolutional tower)"
        ))  # fmt: skip
    for text in row["refused"]:
        what = text.removeprefix("caption: NotSupported: generate: ")
        what = what.rpartition(": ")[2] if what.startswith("layer") else what
        if what not in said:
            said.append(what)
    return "; ".join(said).replace("|", "\\|").replace("\n", " ")


def summary(rows: list[dict[str, Any]]) -> str:
    """Return the totals as one paragraph."""
    works = sum(row["works"] for row in rows)
    paints = sum(row["paints"] and not row["approximate"] for row in rows)
    rough = sum(row["paints"] and row["approximate"] for row in rows)
    unsure = sum(map(_unconfirmed, rows))
    parts = [row for row in rows if row["works"] and any(": " in t for t in row["refused"])]
    refused = sum(any("experts" in text for text in row["refused"]) for row in parts)
    needs = [row["architecture"] for row in rows if row["needs"]]
    own = sum(row["pictures"] not in ("", "text only", CUT) for row in rows)
    cut = sum(row["pictures"] == CUT for row in rows)
    return (
        f"{works} of {len(rows)} architectures pass the whole round trip (captured values equal an "
        "independent hook's, also while generating; a finite difference agrees with the gradient; "
        "zeroing all neurons leaves what the bias writes; restoring is bit-exact); in "
        f"{refused} of them some experts are out of reach. Token maps paint on {paints} with the "
        f"occlusion test agreeing, on {rough} approximately (through cross-attention), on {unsure} "
        f"without the test agreeing, and are refused with the reason on the other "
        f"{len(rows) - paints - rough - unsure}. {', '.join(needs)} need timm, which brings "
        "torchvision; without it they are refused by name. Pictures were read by transformers' own "
        f"image processor on {own} and cut by the test, in the order that the model documents, on "
        f"{cut}."
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the totals, and the table with one line an architecture."""
    lines = [
        textwrap.fill(summary(rows), 105),
        "",
        "| architecture | round trip | neurons of | captions | painting | what it cannot |",
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


def main(arguments: list[str]) -> None:
    """Print the table, or put it between the marks of a file."""
    text = markdown(json.loads(RESULTS.read_text()))
    if not arguments:
        print(text)
        return
    page = Path(arguments[0])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    if not rest:
        raise SystemExit(f"{page} has no line {BEGIN}")
    behind = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{behind}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

"""A study's tables (CSV, Markdown) and figures (PNG, SVG)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

__all__ = ["write_figures", "write_tables"]

_COLUMNS = (
    "method",
    "neurons",
    "suppression",
    "retention scene",
    "retention other",
    "identical",
    "substitution",
    "random control",
    "BLEU with",
    "BLEU without",
    "ROUGE-L with",
    "ROUGE-L without",
    "BERTScore with",
    "BERTScore without",
)
_TEXT = ("bleu", "rougeL", "bertscore")


def _cells(name: str, row: dict[str, Any]) -> list[dict[str, float] | str | None]:
    return [
        name,
        row["neurons"],
        row["suppression"],
        row["retention"]["scene"],
        row["retention"]["other"],
        row["identical"],
        row["substitution"],
        row["random_control"],
        row["bleu"]["with"]["after"],
        row["bleu"]["without"]["after"],
        row["rougeL"]["with"]["after"],
        row["rougeL"]["without"]["after"],
        row["bertscore"]["with"]["after"],
        row["bertscore"]["without"]["after"],
    ]


def _unchanged(row: dict[str, Any]) -> list[dict[str, float] | str | None]:
    """Return the text metrics of the unchanged model, as a line of the table."""
    metrics = [row[name][side]["before"] for name in _TEXT for side in ("with", "without")]
    return ["unchanged model", *[None] * (len(_COLUMNS) - 1 - len(metrics)), *metrics]


def _lines(result: dict[str, Any]) -> list[list[dict[str, float] | str | None]]:
    rows = result["methods"]
    return [
        _unchanged(next(iter(rows.values()))),
        *(_cells(name, row) for name, row in rows.items()),
    ]


def write_tables(result: dict[str, Any], folder: Path) -> None:
    """Write ``table.csv`` (mean, low, high apart) and ``table.md`` (mean [low, high]).

    Parameters
    ----------
    result : dict
        From `summarize`.
    folder : pathlib.Path
    """
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head = ["method"]
        for column in _COLUMNS[1:]:
            head += [column, f"{column} low", f"{column} high"]
        writer.writerow(head)
        for cells in _lines(result):
            line: list[Any] = [cells[0]]
            for cell in cells[1:]:
                assert not isinstance(cell, str)
                line += [cell["mean"], cell["low"], cell["high"]] if cell else ["", "", ""]
            writer.writerow(line)
    lines = [
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
    ]
    for cells in _lines(result):
        lines.append("| " + " | ".join(_markdown(cell) for cell in cells) + " |")
    lines += [
        "",
        f"Mean over {len(result['concepts'])} concepts, 95 % bootstrap interval over concepts; "
        f"at least {result['n_scenes']} held-out scenes with each concept and as many without. "
        "Random control: mean suppression by equally many neurons of the same layers. BLEU, "
        "ROUGE-L and BERTScore against the reference captions, on scenes with and without.",
    ]
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown(cell: dict[str, float] | str | None) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or cell["mean"] is None:
        return "-"
    if cell["mean"] > 5:
        return f"{cell['mean']:.0f}"
    return f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"


def write_figures(result: dict[str, Any], folder: Path) -> None:
    """Draw suppression against retention for every method, as ``methods.png`` and ``methods.svg``.

    Parameters
    ----------
    result : dict
        From `summarize`.
    folder : pathlib.Path
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, row in result["methods"].items():
        gone, kept = row["suppression"], row["retention"]["scene"]
        other = row["retention"]["other"]
        if gone is None or kept is None:
            continue
        least = kept if other is None or kept["mean"] <= other["mean"] else other
        axes.errorbar(
            least["mean"],
            gone["mean"],
            xerr=[
                [max(0.0, least["mean"] - least["low"])],
                [max(0.0, least["high"] - least["mean"])],
            ],
            yerr=[[max(0.0, gone["mean"] - gone["low"])], [max(0.0, gone["high"] - gone["mean"])]],
            fmt="o",
            capsize=2,
        )
        axes.annotate(
            name, (least["mean"], gone["mean"]), xytext=(5, 4), textcoords="offset points"
        )
    axes.set(
        xlabel="retention (the smaller of scene and other)",
        ylabel="suppression",
        title=f"{len(result['concepts'])} concepts, held-out scenes",
    )
    axes.grid(alpha=0.25)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"methods.{suffix}", dpi=150)

"""A study's tables (CSV, Markdown) and figures (PNG, SVG)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core import COLORS, counted, label_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_files", "table_files"]

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


def table_files(result: dict[str, Any]) -> dict[str, str]:
    """Return ``table.csv`` (mean, low, high apart) and ``table.md`` (mean [low, high]).

    Parameters
    ----------
    result : dict
        From `summarize`.

    Returns
    -------
    dict of str to str
        Name to content.
    """
    file = io.StringIO(newline="")
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
    for word, reason in result.get("skipped", {}).items():
        lines += ["", f"Left out: {word} ({reason})."]
    return {"table.csv": file.getvalue(), "table.md": "\n".join(lines) + "\n"}


def _markdown(cell: dict[str, float] | str | None) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or cell["mean"] is None:
        return "-"
    if cell["mean"] > 5:
        return f"{cell['mean']:.0f}"
    return f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"


def figure_files(result: dict[str, Any]) -> dict[str, bytes]:
    """Draw every method's figures with intervals, as ``methods.png`` and ``methods.svg``.

    Parameters
    ----------
    result : dict
        From `summarize`.

    Returns
    -------
    dict of str to bytes
        Name to content.
    """
    figure = _figure(result)
    drawn = {}
    for suffix in ("png", "svg"):
        file = io.BytesIO()
        figure.savefig(file, dpi=110, format=suffix)
        drawn[f"methods.{suffix}"] = file.getvalue()
    return drawn


def _figure(result: dict[str, Any]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(result["methods"])
    figure = Figure(figsize=(9, 1.5 + 0.26 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for axes, (title, cell_of) in zip(panels, _PANELS, strict=True):
        for place, name in enumerate(names):
            cell = cell_of(result["methods"][name])
            if cell is None or cell["mean"] is None:
                continue
            spread = [
                [max(0.0, cell["mean"] - cell["low"])],
                [max(0.0, cell["high"] - cell["mean"])],
            ]
            color = COLORS["grey" if name.startswith("random") else "blue"]
            axes.errorbar(
                cell["mean"], place, xerr=spread, fmt="o", color=color, ms=4, capsize=2,
                clip_on=False, zorder=3,
            )  # fmt: skip
        if title in ("suppression", "substitution"):
            axes.set_xlim(-0.05, 1.05)
            axes.set_xticks([0, 0.5, 1])
        else:  # each near one end: on a scale of its own
            if title == "random control":
                axes.set_xlim(left=-0.05 * axes.get_xlim()[1])
            axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names)
        open_frame(axes, "both")
        label_axes(axes, title=title, xlabel="share (0 to 1)")
    figure.suptitle(
        f"{counted(len(result['concepts']), 'concept')}, held-out scenes, 95% intervals; "
        "retention and control on scales of their own",
        fontsize="medium",
    )
    return figure


#: retention is the smaller of scene and other
_PANELS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("suppression", lambda row: row["suppression"]),
    ("retention", lambda row: row["retention"]),
    ("random control", lambda row: row["random_control"]),
    ("substitution", lambda row: row["substitution"]),
)

"""The measured part of the pocket model's card, written from its report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["figures_section", "write_figures"]

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def figures_section(report: Mapping[str, Any]) -> str:
    """Return the figures of a report as Markdown.

    Parameters
    ----------
    report : mapping
        What ``pocket_lab.report`` writes.
    """
    lines = [
        f"Weights `{report['weights'][:16]}`; neurons chosen on `val`, all figures from `test`.",
        "",
        "| captions | recall | colour of found | exact scenes | hallucinated objects | CHAIR_s |",
        "|---|---|---|---|---|---|",
    ]
    for name, key in (("ordinary", "captions"), ("hallucination subset", "hallucination_subset")):
        f = report[key]
        shown = [f[k] for k in ("recall", "color", "exact", "hallucinated", "chair_s")]
        lines.append(f"| {name} | " + " | ".join(map(_percent, shown)) + " |")
    lines += [
        "",
        "| concept | word gone | kept in scene | kept elsewhere | random mean | random max |"
        " gone, image tokens signed | points, raw | points, signed | random points, raw |"
        " logit lens |",
        "|---" * 11 + "|",
    ]
    for word, f in report["concepts"].items():
        control, points = f["random_control"], f["pointing"]
        shown = [
            f["suppression"], f["retention"]["scene"], f["retention"]["other"],
            control["mean"], control["max"], f["image_signed"]["suppression"],
            points["raw"], points["signed"], points["random_raw"], f["logit_lens"],
        ]  # fmt: skip
        lines.append(f"| {word} | " + " | ".join(map(_percent, shown)) + " |")
    mean = report["mean"]
    shown = [
        mean["suppression"], mean["retention_scene"], mean["retention_other"],
        mean["random_control"], None, mean["image_signed_suppression"],
        mean["pointing_raw"], mean["pointing_signed"], mean["pointing_random_raw"],
        mean["logit_lens"],
    ]  # fmt: skip
    lines.append("| **mean** | " + " | ".join(map(_percent, shown)) + " |")
    moved = report["transplant"]
    lines += ["", f"Transplant: {_percent(moved['success'])} of {moved['n']} pairs."]
    return "\n".join(lines)


def write_figures(card: Path, report: Mapping[str, Any]) -> None:
    """Replace what stands between the two marks of a model card by a report's figures.

    Raises
    ------
    ValueError
        If the card lacks the marks.
    """
    text = card.read_text(encoding="utf-8")
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"card: {card} has no {_BEGIN} ... {_END} to write figures into")
    before, rest = text.split(_BEGIN, 1)
    after = rest.split(_END, 1)[1]
    partial = card.with_suffix(".partial")
    partial.write_text(
        f"{before}{_BEGIN}\n{figures_section(report)}\n{_END}{after}", encoding="utf-8"
    )
    os.replace(partial, card)

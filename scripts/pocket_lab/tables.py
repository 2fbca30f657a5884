"""The pocket study on one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkn_widgets.studies.judged import JUDGEMENTS
from mmkn_widgets.studies.summary import mean_interval

__all__ = ["claims", "figure", "write_summary"]

_SHOWN = {
    "precision_single": "precision, single",
    "recall_single": "recall, single",
    "overlap_single": "overlap@20, single",
    "rank_correlation": "rank correlation",
    "precision_joint": "precision, joint",
    "recall_joint": "recall, joint",
    "overlap_joint": "overlap@20, joint",
}


def figure(cell: Mapping[str, float] | None) -> str:
    """Return a mean with its interval, as in ``.998 [.990, 1.000]``."""
    if cell is None or cell.get("mean") is None:
        return "-"
    mean, low, high = (_short(cell[name]) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _short(value: float) -> str:
    if abs(value) >= 10:
        return f"{value:.0f}"
    shown = f"{value:.3f}"
    return "0" if float(shown) == 0 else shown.replace("0.", ".", 1) if abs(value) < 1 else shown


def claims(
    result: Mapping[str, Any],
    edits: Mapping[str, Any],
    cure: Mapping[str, Any],
    report: Mapping[str, Any],
) -> list[tuple[str, str, str, bool]]:
    """Return what was asked of the methods, and what was measured.

    Parameters
    ----------
    result, edits, cure, report : mapping
        As for `write_summary`.

    Returns
    -------
    list of (str, str, str, bool)
        What, asked, measured, and whether it holds.
    """
    auto = result["methods"]["two_stage_auto"]
    scene, other = auto["retention"]["scene"], auto["retention"]["other"]
    moved = report["transplant"]
    points = [concept["pointing"] for concept in report["concepts"].values()]
    gap, signed = (
        mean_interval([one[kind] - one[f"random_{kind}"] for one in points])
        for kind in ("raw", "signed")
    )
    found = [
        (
            "suppression, two-stage at the proposed thresholds",
            "≥ .95",
            figure(auto["suppression"]),
            auto["suppression"]["mean"] >= 0.95,
        ),
        ("retention in the scene", "≥ .97", figure(scene), scene["mean"] >= 0.97),
        ("retention elsewhere", "≥ .97", figure(other), other["mean"] >= 0.97),
        (
            "random control",
            "≤ .02",
            figure(auto["random_control"]),
            auto["random_control"]["mean"] <= 0.02,
        ),
        (
            f"transplants that name the other object, of {moved['n']}",
            "≥ .90",
            _short(moved["success"]),
            moved["success"] >= 0.9,
        ),
        *(
            (
                f"pointing above random neurons, {name}",
                "≥ .30",
                figure(cell),
                cell is not None and cell["mean"] >= 0.30,
            )
            for name, cell in (("raw", gap), ("sign-weighted", signed))
        ),
    ]
    for method, name in (("closed_form", "closed form"), ("optimised", "optimised")):
        summary = edits[method]["summary"]
        found += [
            (
                f"edits, {name}: {field}, {len(edits[method]['pairs'])} pairs",
                f"≥ {_short(asked)}",
                figure(summary[field]),
                summary[field]["mean"] >= asked,
            )
            for field, asked in (("success", 0.9), ("locality", 0.95))
        ]
    before, *after = cure["subset"]
    for row in after:
        name = {"zero": "silencing", "edit": "editing"}[row["cure"]]
        lost = max(before["recall"][word] - row["recall"][word] for word in before["recall"])
        found.append(
            (
                f"CHAIR_s of the hallucination subset, {name} {row['n_neurons']} neurons;"
                " recall lost",
                "halved, ≤ .05",
                f"{_short(before['chair_s'])} → {_short(row['chair_s'])}; {_short(lost)}",
                row["chair_s"] <= before["chair_s"] / 2 and lost <= 0.05,
            )
        )
    rows = cure["points"]
    for word in dict.fromkeys(row["word"] for row in rows):
        for kind, name in (("zero", "silencing"), ("edit", "editing")):
            start, end = cheapest(rows, word, kind)
            shown = (
                f"{_short(start['chair'])} → {_short(end['chair'])}, recall "
                f"{_short(start['recall'])} → {_short(end['recall'])}"
            )
            found.append(
                (
                    f"false {word}, {name}, neurons: {end['n_neurons']}; CHAIR_s, recall",
                    "halved, ≤ .05 lost",
                    shown,
                    _cured(start, end),
                )
            )
    return found


def cheapest(
    rows: Sequence[Mapping[str, Any]], word: str, cure: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the point before, and the one of fewest neurons that cures (else the lowest)."""
    own = [row for row in rows if row["word"] == word]
    points = [row for row in own if row["cure"] == cure]
    good = [row for row in points if _cured(own[0], row)]
    best = min(good, key=lambda row: row["n_neurons"]) if good else None
    return own[0], best or min(points, key=lambda row: row["chair"])


def _cured(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    halved = after["chair"] <= before["chair"] / 2
    return bool(halved and after["recall"] >= before["recall"] - 0.05)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
    ]


def write_summary(
    path: Path,
    result: Mapping[str, Any],
    judged: Mapping[str, Any],
    edits: Mapping[str, Any],
    cure: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """Write the page.

    Parameters
    ----------
    path : pathlib.Path
    result : mapping
        From `run_study`.
    judged : mapping
        From `judge_methods`.
    edits : mapping
        From `measure_edits`.
    cure : mapping
        ``points`` from `cure_curves`, ``subset`` from `cure_subset`.
    report : mapping
        The pocket model's ``report.json``.
    """
    lines = [
        "# The pocket study",
        "",
        "Written by `make study`; `provenance.json` says from what. Neurons, thresholds, sizes and"
        " deltas come from `val`, all figures from `test` but those against the atlas, which was"
        " measured on `val`; means over concepts (edits: pairs) with 95 % bootstrap intervals. One"
        " model, one seed. That silencing a concept's neurons removes"
        " its word is what this model was trained for (its card says how): the figures show that"
        " the package finds and measures what is there, not what another model hides.",
        "",
        "## Asked and measured",
        "",
        *_table(
            ("", "asked", "measured", ""),
            [(a, b, c, "yes" if ok else "**no**") for a, b, c, ok in claims(
                result, edits, cure, report)],
        ),
        "## Methods",
        "",
        f"{len(result['concepts'])} concepts, {result['n_scenes']} scenes with each and as many"
        " without. Retention: the smaller of scene and other. BLEU and BERTScore against the"
        " references, on scenes without the concept (those with it lose its word by design). All"
        " columns with intervals: `table.md`, `table.csv`; by concept: `study.json`. Best first,"
        " by the smaller of suppression and retention.",
        "",
        *_table(
            ("method", "neurons", "suppression", "retention", "random", "identical", "BLEU",
             "ROUGE-L", "BERTScore"),
            [
                (
                    name,
                    _short(row["neurons"]["mean"]),
                    figure(row["suppression"]),
                    figure(row["retention"]),
                    figure(row["random_control"]),
                    _short(row["identical"]["mean"]),
                    *(_short(row[key]["without"]["after"]["mean"])
                      for key in ("bleu", "rougeL", "bertscore")),
                )
                for name, row in sorted(result["methods"].items(), key=_worse, reverse=True)
            ],
        ),
        "![suppression, retention, random control, substitution](methods.png)",
        "",
        "## Against the atlas",
        "",
        "The atlas holds the measured effect of every single neuron (`single`), and a greedy order"
        " in which they were switched off together (`joint`). Truth by the first: neurons whose"
        " loss costs at least 5 % of what the strongest one's costs"
        f" ({_span(judged, 'single')} a concept); by the second: the first of the order, until no"
        f" scene says the word ({_span(judged, 'joint')}). A choice of 60 cannot be precise about"
        " so few; rank correlation is over all 3,072 neurons.",
        "",
        *_table(
            ("method", *_SHOWN.values()),
            [
                (name, *(figure(row[key]) for key in JUDGEMENTS))
                for name, row in judged["methods"].items()
            ],
        ),
        "## Edits",
        "",
        *_table(
            ("pair", "closed form: success", "locality", "optimised: success", "locality"),
            [
                (
                    f"{one['source']} → {one['target']}",
                    _short(one["success"]),
                    _short(one["locality"]),
                    _short(two["success"]),
                    _short(two["locality"]),
                )
                for one, two in zip(
                    edits["closed_form"]["pairs"], edits["optimised"]["pairs"], strict=True
                )
            ],
        ),
        "## Hallucination",
        "",
        "Silencing (`zero`) and editing (`edit`) of the neurons that push a caption from the truth"
        " where it leaves it; `hallucination.csv` has every point.",
        "",
        *_table(
            ("word", "cure", "neurons", "CHAIR_s", "recall", "other objects kept"),
            [
                (
                    str(row["word"]),
                    str(row["cure"]),
                    str(row["n_neurons"]),
                    _short(row["chair"]),
                    _short(row["recall"]),
                    _short(row["kept"]),
                )
                for row in cure["points"]
            ],
        ),
        "![the trade-off](hallucination.png)",
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _worse(method: tuple[str, Mapping[str, Any]]) -> float:
    """Return the smaller of a method's suppression and retention."""
    row = method[1]
    return float(min(row["suppression"]["mean"], row["retention"]["mean"]))


def _span(judged: Mapping[str, Any], truth: str) -> str:
    sizes = [counts[truth] for counts in judged["truth"].values()]
    return f"{min(sizes)} to {max(sizes)}"

"""The pocket study on one page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkn_widgets.studies.judged import JUDGEMENTS
from mmkn_widgets.studies.summary import mean_interval

from .cure import cheapest, cured

__all__ = ["claims", "figure", "figures_json", "rounded", "shrink", "write_summary"]

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


def rounded(value: Any) -> Any:
    """Return figures with five digits: what is written, and what every table is made of."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value


def figures_json(models: Mapping[str, Any]) -> str:
    """Return figures as JSON, a line a row."""
    return json.dumps(models, separators=(",", ":")).replace('},"', '},\n"') + "\n"


def shrink(path: Path) -> None:
    """Write a drawn picture again with a palette: a third of the size, nothing to see."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _short(value: float) -> str:
    if abs(value) >= 10:
        return f"{value:.0f}"
    shown = f"{value:.3f}"
    return "0" if float(shown) == 0 else shown.replace("0.", ".", 1) if abs(value) < 1 else shown


def claims(
    result: Mapping[str, Any],
    edits: Mapping[str, Any],
    cure: Mapping[str, Any],
    moved: Mapping[str, Any],
    report: Mapping[str, Any],
) -> list[tuple[str, str, str, bool]]:
    """Return what was asked of the methods, and what was measured.

    Parameters
    ----------
    result, edits, cure, moved, report : mapping
        As for `write_summary`.

    Returns
    -------
    list of (str, str, str, bool)
        What, asked, measured, and whether it holds.
    """
    auto = result["methods"]["two_stage_auto"]
    scene, other = auto["retention"]["scene"], auto["retention"]["other"]
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
            f"transplants that name the other object, of {moved['n']}; its background's",
            "≥ .90",
            f"{_short(moved['success'])}; {_short(moved['background'])}",
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
                f"edits of {edits[method]['top']}, {name}: {field},"
                f" {len(edits[method]['pairs'])} pairs; random neurons",
                f"≥ {_short(asked)}",
                f"{figure(summary[field])}; {figure(edits[method]['control'].get(field))}",
                summary[field]["mean"] >= asked,
            )
            for field, asked in (("success", 0.9), ("locality", 0.95))
        ]
    before, *after = cure["subset"]
    for row in after:
        if row["random"]:
            continue
        drawn = next(one for one in after if one["random"] and one["cure"] == row["cure"])
        lost = max(before["recall"][word] - row["recall"][word] for word in before["recall"])
        found.append(
            (
                f"CHAIR_s of the hallucination subset, {_DOING[row['cure']]} {row['n_neurons']}"
                " neurons; recall lost; random neurons",
                "halved, ≤ .05",
                f"{_short(before['chair_s'])} → {_short(row['chair_s'])}; {_short(lost)};"
                f" {_short(drawn['chair_s'])}",
                row["chair_s"] <= before["chair_s"] / 2 and lost <= 0.05,
            )
        )
    rows = cure["points"]
    for word in dict.fromkeys(row["word"] for row in rows):
        for kind, name in _DOING.items():
            start, end = cheapest(rows, word, kind)
            _, drawn = cheapest(rows, word, kind, random=True)
            shown = (
                f"{_short(start['chair'])} → {_short(end['chair'])}, recall "
                f"{_short(start['recall'])} → {_short(end['recall'])}; {_short(drawn['chair'])}"
            )
            found.append(
                (
                    f"false {word}, {name}, neurons: {end['n_neurons']}; CHAIR_s, recall; random"
                    " neurons",
                    "halved, ≤ .05 lost",
                    shown,
                    cured(start, end),
                )
            )
    return found


_DOING = {"zero": "silencing", "edit": "editing"}


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
    moved: Mapping[str, Any],
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
    moved : mapping
        From `measure_transplants`.
    report : mapping
        The pocket model's ``report.json``.
    """
    lines = [
        "# The pocket study",
        "",
        "Written by `make study`; `provenance.json` says from what. Neurons, thresholds, sizes and"
        " deltas come from `val`, all figures from `test` but those against the atlas, which was"
        " measured on other scenes of `val` than those that choose; means over concepts (edits:"
        " pairs) with 95 % bootstrap intervals. One"
        " model, one seed. That silencing a concept's neurons removes"
        " its word is what this model was trained for (its card says how): the figures show that"
        " the package finds and measures what is there, not what another model hides.",
        "",
        "## Asked and measured",
        "",
        *_table(
            ("", "asked", "measured", ""),
            [(a, b, c, "yes" if ok else "**no**") for a, b, c, ok in claims(
                result, edits, cure, moved, report)],
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
        " loss costs at least 5 % of what the strongest one's costs, and surely more than nothing:"
        " its 95 % interval over scenes is above 0"
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
        "## Transplants",
        "",
        f"An object's patches in the place of a word, at two neighbouring layers; on `val` they"
        f" name the object in {_listed(moved['val'])} of the scenes (by layers). Layers"
        f" {moved['layers'][0]} and {moved['layers'][1]} on `test`: {_short(moved['success'])} of"
        f" {moved['n']}; where the patches show no object at all, {_short(moved['background'])}.",
        "",
        "## Edits",
        "",
        "The number of neurons is the smallest with the asked success and locality on other scenes"
        " of `val` than those that choose and teach; random: as many neurons of the same layers,"
        " edited in the same way. On `val`, neurons: success / locality: "
        + "; ".join(
            f"{name} " + ", ".join(
                f"{n}: {_short(one['success'])} / {_short(one['locality'])}"
                for n, one in edits[method]["sizes"].items()
            )
            for method, name in (("closed_form", "closed form"), ("optimised", "optimised"))
        )
        + ".",
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
        " where it leaves it; *random*: as many neurons of the same layers. The sizes that count"
        " are chosen on `val`. `hallucination.csv` has every point.",
        "",
        *_table(
            ("word", "cure", "neurons", "CHAIR_s", "recall", "other objects kept"),
            [
                (
                    str(row["word"]),
                    f"random {row['cure']}" if row["random"] else str(row["cure"]),
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


def _listed(shares: Mapping[str, float]) -> str:
    return "; ".join(f"{_short(share)} ({layers})" for layers, share in shares.items())


def _worse(method: tuple[str, Mapping[str, Any]]) -> float:
    """Return the smaller of a method's suppression and retention."""
    row = method[1]
    return float(min(row["suppression"]["mean"], row["retention"]["mean"]))


def _span(judged: Mapping[str, Any], truth: str) -> str:
    sizes = [counts[truth] for counts in judged["truth"].values()]
    return f"{min(sizes)} to {max(sizes)}"

"""``make study``: everything that the two papers claim, measured on the pocket model.

Writes ``mmkn_widgets/pocket/study/``: the methods' table, the methods against the atlas, sixteen
edits in two ways, the cure of the hallucination. Neurons, thresholds, sizes and deltas come from
``val``, all figures from ``test``. Finished parts are kept in ``--work`` and not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkn_widgets.core.files import write_whole
from mmkn_widgets.core.provenance import provenance
from mmkn_widgets.studies.atlas import open_atlas
from mmkn_widgets.studies.jobs import part_path, write_json
from mmkn_widgets.studies.judged import judge, mean_judgement
from mmkn_widgets.studies.run import METHODS, PACKAGED, method_scores, run_study

from .cure import cure_curves, cure_subset, write_cure
from .tables import figures_json, rounded, shrink, write_summary

if TYPE_CHECKING:
    from mmkn_widgets.core.jobs import Progress
    from mmkn_widgets.models import MultimodalModel

__all__ = ["SIZES", "judge_methods", "measure_edits", "measure_transplants", "study_path"]

#: methods that score every neuron, so that their ranking can be held against the atlas
_SCORING = (
    "activation_difference",
    "gradcam",
    "contribution",
    "attribution_patching",
    "attribution_patching_star",
    "gradient",
    "integrated_gradients",
    "activation",
    "random",
)
_CHOOSING, _PAIRS = 48, 16
#: scenes of val that choose and teach edits; those behind them size these
_LEARNING = 560
#: numbers of neurons that are tried for an edit, and what is asked of them
SIZES = (1, 2, 5, 10)
_ASKED = {"success": 0.9, "locality": 0.95}
_PUBLISHED = ("table.csv", "table.md", "methods.png")


def study_path() -> Path:
    """Return where the shipped study is."""
    from mmkn_widgets.pocket import path

    return Path(path()).parent / "study"


def judge_methods(
    model: MultimodalModel, folder: Path, words: Sequence[str], progress: Progress | None = None
) -> dict[str, Any]:
    """Hold the neurons of a finished study against the atlas.

    Parameters
    ----------
    model : MultimodalModel
    folder : pathlib.Path
        What `run_study` wrote.
    words : sequence of str
    progress : callable, optional

    Returns
    -------
    dict
        ``methods``: name to `mean_judgement`; ``per_concept``: name to word to `judge`;
        ``truth``: word to the number of neurons that each truth holds.
    """
    from mmkn_widgets.attribution import NeuronSet
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.studies.judged import truths
    from mmkn_widgets.studies.study import study

    atlas, val = open_atlas(), pocket_world("val")
    judged: dict[str, dict[str, Any]] = {name: {} for name in METHODS}
    truth: dict[str, Any] = {}
    for number, word in enumerate(words):
        if progress is not None:
            progress("judging by the atlas", number, len(words))
        truth[word] = {name: len(places) for name, places in truths(atlas, word).items()}
        made = study(model, word, list(val.with_concept(word, _CHOOSING)))
        for name in METHODS:
            chosen = NeuronSet.load(part_path(folder, word, name).with_suffix(".mmkn.json"))
            scores = method_scores(made, name) if name in _SCORING else None
            judged[name][word] = judge(atlas, word, chosen, scores)
    return {
        "methods": {name: mean_judgement(by_word, words) for name, by_word in judged.items()},
        "per_concept": judged,
        "truth": truth,
    }


def measure_edits(
    model: MultimodalModel,
    progress: Progress | None = None,
    *,
    methods: Sequence[str] = ("closed_form", "optimised"),
    **few: Any,
) -> dict[str, Any]:
    """Swap the words of 16 pairs drawn by seed 0, by the closed form and by learning.

    How many neurons are edited is chosen on scenes of ``val`` that chose and taught nothing: the
    fewest of `SIZES` with success and locality as asked, else those with the larger of the smaller
    of both. Beside the edits stand those of as many random neurons of the same layers.

    Parameters
    ----------
    model : MultimodalModel
    progress : callable, optional
    methods : sequence of str
        Of `edit_study`.
    **few
        For tests: ``n_pairs``, and of `edit_study` ``n_choose``, ``n_with``, ``n_without``.

    Returns
    -------
    dict
        Method to `EditStudy.to_dict`, with ``top`` (the number of neurons), ``sizes`` (number to
        success and locality on ``val``) and ``control`` (the summary of the random neurons).
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import edit_study, pairs_to_edit

    val, test = pocket_world("val"), pocket_world("test")
    few = dict(few)
    pairs = pairs_to_edit(list(test.categories), few.pop("n_pairs", _PAIRS), seed=0)
    learning, sizing = val[:_LEARNING], val[_LEARNING:]
    found: dict[str, Any] = {}
    for method in methods:
        sizes: dict[str, dict[str, float]] = {}
        for top in SIZES:
            summary = edit_study(
                model, pairs, learning, sizing, method=method, top=top, progress=progress,
                **{"n_with": 12, "n_without": 18, **few},
            ).summary()  # fmt: skip
            sizes[str(top)] = {key: float(summary[key]["mean"] or 0) for key in _ASKED}
        good = [n for n in sizes if all(sizes[n][key] >= _ASKED[key] for key in _ASKED)]
        top = int(good[0] if good else max(sizes, key=lambda n: min(sizes[n].values())))
        made = edit_study(
            model, pairs, learning, test, method=method, top=top, progress=progress, **few
        )
        drawn = edit_study(
            model, pairs, learning, test, method=method, top=top, control=0, progress=progress,
            **few,
        )  # fmt: skip
        found[method] = {
            **made.to_dict(), "top": top, "sizes": sizes, "control": drawn.summary()
        }  # fmt: skip
    return found


def measure_transplants(
    model: MultimodalModel, n: int = 200, progress: Progress | None = None
) -> dict[str, Any]:
    """Put another picture's object in a word's place, and as a control its background.

    Parameters
    ----------
    model : MultimodalModel
    n : int
        Scenes of ``test``; half as many of ``val`` choose which two neighbouring layers.
    progress : callable, optional

    Returns
    -------
    dict
        ``layers`` (those with most success on ``val``), ``val`` (layers to success), ``success``
        and ``n`` on ``test``, ``background``: success where patches without any object are put.
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import transplant_report

    val, test = pocket_world("val")[: n // 2], pocket_world("test")[:n]
    tried = {}
    for first in range(model.n_layers - 1):
        layers = [first, first + 1]
        report = transplant_report(model, val, layers=layers, progress=progress)
        tried[first] = report.success or 0.0
    best = max(tried, key=lambda first: (tried[first], first))
    layers = [best, best + 1]
    made = transplant_report(model, test, layers=layers, progress=progress)
    empty = transplant_report(model, test, layers=layers, patches="background", progress=progress)
    return {
        "layers": layers,
        "val": {f"{first}, {first + 1}": share for first, share in tried.items()},
        "success": made.success,
        "background": empty.success,
        "n": made.n,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.models import load_model
    from mmkn_widgets.studies.text import progress_line

    from .report import report_path, weights_digest

    parser = argparse.ArgumentParser(prog="pocket_lab.study", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument("--out", type=Path, help="default: study/ beside the shipped model")
    arguments = parser.parse_args(argv)
    work, out = arguments.work, arguments.out or study_path()
    show, model = progress_line(sys.stderr), load_model("pocket")
    words = pocket_world("test", 1).categories
    result = run_study(
        model, "pocket:test", concepts=words, bertscore=PACKAGED, out=work, progress=show
    )
    judged = _once(work / "judged.json", lambda: judge_methods(model, work, words, show))
    edits = _once(work / "edits.json", lambda: measure_edits(model, show))
    moved = _once(work / "transplants.json", lambda: measure_transplants(model, progress=show))

    def cures() -> dict[str, Any]:
        points = cure_curves(model, progress=show)
        return {"points": points, "subset": cure_subset(model, points)}

    cure = _once(work / "hallucination.json", cures)
    result, judged = rounded(result), rounded(judged)
    out.mkdir(parents=True, exist_ok=True)
    for name in _PUBLISHED:
        shutil.copyfile(work / name, out / name)
    write_cure(cure["points"], out)
    for name in ("methods.png", "hallucination.png"):
        shrink(out / name)
    for name, held in (("study", result), ("judged", judged)):
        write_whole(out / f"{name}.json", figures_json(held))
    write_json(out / "hallucination.json", cure)
    write_json(out / "edits.json", edits)
    write_json(out / "transplants.json", moved)
    made = json.loads((work / "provenance.json").read_text("utf-8"))
    from mmkn_widgets.pocket import path

    write_json(
        out / "provenance.json",
        {"weights_file": weights_digest(Path(path())), **provenance("pocket_study"), "study": made},
    )
    report = json.loads(report_path().read_text("utf-8"))
    write_summary(out / "README.md", result, judged, edits, cure, moved, report)


def _once(path: Path, make: Any) -> dict[str, Any]:
    """Return what a file holds, or make it and write it there."""
    if not path.is_file():
        write_json(path, make())
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


if __name__ == "__main__":
    main()

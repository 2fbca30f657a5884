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

from mmkn_widgets.core.provenance import provenance
from mmkn_widgets.studies.atlas import open_atlas
from mmkn_widgets.studies.jobs import part_path, write_json
from mmkn_widgets.studies.judged import judge, mean_judgement
from mmkn_widgets.studies.run import METHODS, PACKAGED, method_scores, run_study

from .cure import cure_curves, cure_subset, write_cure
from .tables import write_summary

if TYPE_CHECKING:
    from mmkn_widgets.core.jobs import Progress
    from mmkn_widgets.models import MultimodalModel

__all__ = ["judge_methods", "measure_edits", "study_path"]

#: methods that score every neuron, so that their ranking can be held against the atlas
_SCORING = (
    "activation_difference",
    "gradcam",
    "contribution",
    "gradient",
    "integrated_gradients",
    "activation",
    "random",
)
_CHOOSING, _PAIRS = 48, 16
_PUBLISHED = ("table.csv", "table.md", "study.json", "methods.png")


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


def measure_edits(model: MultimodalModel, progress: Progress | None = None) -> dict[str, Any]:
    """Swap the words of 16 pairs drawn by seed 0, by the closed form and by learning.

    Returns
    -------
    dict
        Method to `EditStudy.to_dict`.
    """
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.evaluation import edit_study, pairs_to_edit

    val, test = pocket_world("val"), pocket_world("test")
    pairs = pairs_to_edit(list(test.categories), _PAIRS, seed=0)
    return {
        method: edit_study(model, pairs, val, test, method=method, progress=progress).to_dict()
        for method in ("closed_form", "optimised")
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
    cure = _once(
        work / "hallucination.json",
        lambda: {"points": cure_curves(model, progress=show), "subset": cure_subset(model)},
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in _PUBLISHED:
        shutil.copyfile(work / name, out / name)
    write_cure(cure["points"], out)
    write_json(out / "hallucination.json", cure)
    write_json(out / "judged.json", judged)
    write_json(out / "edits.json", edits)
    made = json.loads((work / "provenance.json").read_text("utf-8"))
    from mmkn_widgets.pocket import path

    write_json(
        out / "provenance.json",
        {"weights_file": weights_digest(Path(path())), **provenance("pocket_study"), "study": made},
    )
    report = json.loads(report_path().read_text("utf-8"))
    write_summary(out / "README.md", result, judged, edits, cure, report)


def _once(path: Path, make: Any) -> dict[str, Any]:
    """Return what a file holds, or make it and write it there."""
    if not path.is_file():
        write_json(path, make())
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


if __name__ == "__main__":
    main()

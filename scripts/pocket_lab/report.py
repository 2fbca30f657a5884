"""``make evaluate-pocket``: measure the shipped pocket model on held-out scenes.

Neurons are chosen on ``val`` (48 scenes a concept), every figure is measured on ``test``. Writes
``report.json`` beside the weights; the model card quotes it and a test holds it against them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkn_widgets.attribution import as_concept, random_like, two_stage
from mmkn_widgets.core.provenance import provenance
from mmkn_widgets.datasets import pocket_world
from mmkn_widgets.evaluation import pointing
from mmkn_widgets.studies.study import Study, study

if TYPE_CHECKING:
    from mmkn_widgets.attribution import NeuronSet
    from mmkn_widgets.datasets import SceneDataset
    from mmkn_widgets.models import MultimodalModel

__all__ = ["concept_figures", "lens_share", "measure", "report_path", "weights_digest"]

_CHOOSING, _MEASURING, _POINTING = 48, 100, 40
_NEURONS, _POINTERS = 60, 20


def report_path() -> Path:
    """Return where the shipped report is."""
    from mmkn_widgets.pocket import path

    return Path(path()) / "report.json"


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _pointing(made: Study, neurons: NeuronSet, scenes: Sequence[Any], signed: bool) -> float:
    """Return the share of scenes in which the mean map's maximum lies in the concept's mask."""
    word = made.concept.word
    held = Study(
        made.model, made.concept, scenes, made.evidence, pairs=made.pairs, options=made.options
    )
    rows = neurons.rows(made.model)
    hits = [
        pointing(held.maps(rows, neurons.index, scene=i, signed=signed).mean(0), scene.mask(word))
        for i, scene in enumerate(scenes)
    ]
    return float(np.mean(hits))


def lens_share(model: MultimodalModel, scenes: Sequence[Any], word: str) -> float:
    """Return the share of an object's patches at which the logit lens reads its word first.

    Patches with more than .4 of their area in the mask; last layer, final norm and unembedding,
    over the whole vocabulary; mean over scenes (design: "Logit lens at patches").

    Parameters
    ----------
    model : MultimodalModel
    scenes : sequence of Scene
        That show the word.
    word : str
    """
    import torch

    from mmkn_widgets.interventions import coverage

    token = as_concept(word).first_tokens(model.tokenizer)[0]
    shares = []
    for scene in scenes:
        prepared = model.prepare(scene.image)
        with torch.no_grad():
            logits = model.forward(prepared).logits[0]
        tokens = model.token_maps(prepared)[0]
        places = np.flatnonzero(np.asarray(tokens.role) == "image")
        on = coverage(tokens.geometry.boxes, scene.mask(word)) > 0.4
        if on.any():
            shares.append(float((logits[places[on]].argmax(-1) == token).float().mean()))
    return float(np.mean(shares))


def concept_figures(
    model: MultimodalModel,
    word: str,
    val: SceneDataset,
    test: SceneDataset,
    *,
    measuring: int = _MEASURING,
    n_random: int = 20,
) -> dict[str, Any]:
    """Measure one concept.

    Parameters
    ----------
    model : MultimodalModel
    word : str
    val, test : SceneDataset
        Choosing and measuring scenes.
    measuring : int
        Test scenes with, and as many without, the concept.
    n_random : int
        Draws of the random control.

    Returns
    -------
    dict
        JSON-able.
    """
    choosing = val.with_concept(word, _CHOOSING)
    shown, absent = test.with_concept(word, measuring), test.without_concept(word, measuring)
    made = study(model, word, choosing)
    neurons = made.neurons(quantile_d=0.95, top=_NEURONS)
    effect = made.evaluate(neurons, shown, absent, n_random=n_random, metrics=())
    signed = study(model, word, choosing, positions="image", difference="signed")
    paper = two_stage(
        made.evidence.assign(difference=signed.evidence["difference"]),
        quantile_d=0.95,
        top=_NEURONS,
    )
    as_paper = made.evaluate(paper, shown, absent, n_random=0, metrics=())
    pointers = neurons.top(_POINTERS)
    others = random_like(model, pointers, seed=0)
    where = list(shown[:_POINTING])
    return {
        "suppression": effect.suppression,
        "retention": {key: effect.retention[key] for key in ("scene", "other")},
        "identical": effect.identical,
        "random_control": effect.random_control,
        "n_scenes": effect.n_scenes,
        "image_signed": {
            "suppression": as_paper.suppression,
            "retention": {key: as_paper.retention[key] for key in ("scene", "other")},
        },
        "pointing": {
            "raw": _pointing(made, pointers, where, False),
            "signed": _pointing(made, pointers, where, True),
            "random_raw": _pointing(made, others, where, False),
            "random_signed": _pointing(made, others, where, True),
        },
        "logit_lens": lens_share(model, where, word),
        "layers": {str(k): v for k, v in neurons.layer_histogram().items()},
    }


def measure(
    folder: Path, *, concepts: Sequence[str] | None = None, measuring: int = _MEASURING
) -> dict[str, Any]:
    """Measure a pocket model folder.

    Parameters
    ----------
    folder : pathlib.Path
    concepts : sequence of str, optional
        All sixteen by default.
    measuring : int
        Test scenes a concept.

    Returns
    -------
    dict
        The report.
    """
    from mmkn_widgets.evaluation import transplant_report
    from mmkn_widgets.models import load_model

    from .exam import captions_of, examine

    model = load_model(str(folder))
    val, test = pocket_world("val"), pocket_world("test")
    report: dict[str, Any] = {
        "weights": weights_digest(folder),
        "captions": examine(captions_of(model.hf, "test", 1000), "test", 1000),
        "hallucination_subset": examine(
            captions_of(model.hf, "test", 300, "hallucination"), "test", 300, "hallucination"
        ),
        "concepts": {},
    }
    for word in concepts or test.categories:
        begun = time.monotonic()
        figures = concept_figures(model, word, val, test, measuring=measuring)
        report["concepts"][word] = figures
        print(
            f"{word}: gone {figures['suppression']:.3f}, kept {figures['retention']}, as the paper "
            f"{figures['image_signed']['suppression']:.3f}, pointing {figures['pointing']}, lens "
            f"{figures['logit_lens']:.3f} ({time.monotonic() - begun:.0f} s)",
            flush=True,
        )
    several = [scene for scene in test[:400]][:200]
    moved = transplant_report(model, several, layers=[4, 5])
    report["transplant"] = {"success": moved.success, "n": moved.n}
    report["mean"] = _means(report["concepts"])
    report["provenance"] = provenance("pocket_report", measuring=measuring, neurons=_NEURONS)
    return report


def _means(concepts: dict[str, dict[str, Any]]) -> dict[str, float]:
    def over(*keys: str) -> list[float]:
        values = []
        for figures in concepts.values():
            value: Any = figures
            for key in keys:
                value = value[key]
            values.append(float(value))
        return values

    return {
        "suppression": float(np.mean(over("suppression"))),
        "suppression_worst": float(np.min(over("suppression"))),
        "retention_scene": float(np.mean(over("retention", "scene"))),
        "retention_other": float(np.mean(over("retention", "other"))),
        "random_control": float(np.mean(over("random_control", "mean"))),
        "image_signed_suppression": float(np.mean(over("image_signed", "suppression"))),
        "pointing_raw": float(np.mean(over("pointing", "raw"))),
        "pointing_signed": float(np.mean(over("pointing", "signed"))),
        "pointing_random_raw": float(np.mean(over("pointing", "random_raw"))),
        "pointing_random_signed": float(np.mean(over("pointing", "random_signed"))),
        "logit_lens": float(np.mean(over("logit_lens"))),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from mmkn_widgets.pocket import path

    parser = argparse.ArgumentParser(prog="pocket_lab.report", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(path()))
    parser.add_argument("--concepts", nargs="+")
    parser.add_argument("--scenes", type=int, default=_MEASURING)
    parser.add_argument("--out", type=Path, help="default: report.json beside the weights")
    arguments = parser.parse_args(argv)
    report = measure(arguments.model, concepts=arguments.concepts, measuring=arguments.scenes)
    out = arguments.out or arguments.model / "report.json"
    part = out.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, out)
    if out == report_path():
        from .card import write_figures

        write_figures(out.with_name("README.md"), report)
    print(json.dumps(report["mean"], indent=1))


if __name__ == "__main__":
    main()

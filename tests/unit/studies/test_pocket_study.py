"""The committed study speaks of the shipped weights; its claims hold and can be measured again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pocket_lab.atlas import BEHIND, lesioned
from pocket_lab.cure import cheapest, cure_scenes, cured
from pocket_lab.report import weights_digest
from pocket_lab.study import _CHOOSING, study_path
from pocket_lab.tables import claims, figure

import mmkn_widgets as mmkn
from mmkn_widgets import pocket
from mmkn_widgets.attribution import collect, two_stage
from mmkn_widgets.evaluation import edit_study, trade_off
from mmkn_widgets.interventions import ablate, blame, corrections
from mmkn_widgets.studies import open_atlas
from mmkn_widgets.studies.judged import truths
from mmkn_widgets.studies.run import run_study

WORD = "star"


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def held() -> dict:
    folder = study_path()
    names = ("study", "judged", "edits", "hallucination", "transplants", "provenance")
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


def test_it_is_about_the_shipped_weights(held, model) -> None:
    assert held["provenance"]["weights_file"] == weights_digest(Path(pocket.path()))
    assert held["provenance"]["study"]["arguments"]["weights"] == model.weights_hash
    assert open_atlas().attrs["weights"] == model.weights_hash
    categories = list(mmkn.datasets.pocket_world("test", 1).categories)
    assert held["study"]["concepts"] == categories
    assert list(open_atlas()["concept"].values) == categories
    assert held["study"]["n_scenes"] >= 100


def test_what_was_asked_holds_and_stands_on_the_page(held) -> None:
    report = json.loads((Path(pocket.path()) / "report.json").read_text())
    found = claims(held["study"], held["edits"], held["hallucination"], held["transplants"], report)
    assert len(found) == 17
    assert [what for what, _, _, holds in found if not holds] == []
    page = (study_path() / "README.md").read_text()
    for what, asked, measured, _ in found:
        assert f"| {what} | {asked} | {measured} | yes |" in page


def test_the_curve_is_in_a_table_too(held) -> None:
    with (study_path() / "hallucination.csv").open() as file:
        rows = list(csv.DictReader(file))
    points = held["hallucination"]["points"]
    assert [float(row["chair"]) for row in rows] == [point["chair"] for point in points]
    assert {row["cure"] for row in rows} == {"none", "zero", "edit"}


def test_everything_is_small() -> None:
    files = [*study_path().iterdir(), study_path().parent / "atlas.npz"]
    assert sum(path.stat().st_size for path in files) < 650_000


def test_a_concept_measured_again_gives_the_same_figures(held, model, tmp_path) -> None:
    again = run_study(
        model, concepts=[WORD], methods=["two_stage_auto"], n_random=1, out=tmp_path / "out"
    )["per_concept"]["two_stage_auto"][WORD]
    written = held["study"]["per_concept"]["two_stage_auto"][WORD]
    assert again["neurons"] == written["neurons"]
    assert again["suppression"] == pytest.approx(written["suppression"], abs=0.02)
    for name in ("scene", "other"):
        assert again["retention"][name] == pytest.approx(written["retention"][name], abs=0.01)
    assert again["random_control"]["mean"] <= 0.05


def test_neurons_of_the_atlas_measured_again(model) -> None:
    atlas = open_atlas()
    n = int(atlas["scenes"].sel(concept=WORD))
    behind = mmkn.datasets.pocket_world("val").with_concept(WORD, BEHIND + n)[BEHIND:]
    scenes = lesioned(model, WORD, behind)
    base = [scene.lesion(None)[0] for scene in scenes]
    written = atlas["single"].sel(concept=WORD).values
    for layer in (4, 5):
        neurons = np.arange(512) if layer == 5 else np.argsort(-written[layer])[:16]
        after = np.mean([scene.effect_of(layer, neurons) for scene in scenes], 0)
        np.testing.assert_allclose(
            np.mean(base) - after, written[layer, neurons], rtol=2e-3, atol=2e-6
        )
    off = np.zeros((6, 512), bool)
    for place in truths(atlas, WORD)["joint"]:
        off[place] = True
    now = [scene.lesion(off) for scene in scenes]
    assert not any(said for _, said in now)
    course = atlas["course"].sel(concept=WORD).values[int(off.sum()) - 1]
    assert np.mean([p for p, _ in now]) == pytest.approx(float(course[0]), abs=1e-3)


def test_an_edit_made_again_gives_the_same_figures(held, model) -> None:
    written = next(p for p in held["edits"]["closed_form"]["pairs"] if p["source"] == WORD)
    worlds = mmkn.datasets.pocket_world("val"), mmkn.datasets.pocket_world("test")
    top = held["edits"]["closed_form"]["top"]
    again = edit_study(model, [(WORD, written["target"])], *worlds, top=top).reports[0]
    assert again.success == pytest.approx(written["success"], abs=0.03)
    assert again.locality == pytest.approx(written["locality"], abs=0.03)


def test_a_point_of_the_curve_measured_again(held, model) -> None:
    scenes = cure_scenes()["bird"]
    wrong, instead, _ = corrections(model, "bird", scenes["learn"])
    chosen = blame(model, wrong, instead, top=10)
    before, after = trade_off(
        model, [ablate(model, chosen, name="zero")], "bird", scenes["present"], scenes["absent"]
    )
    rows = [row for row in held["hallucination"]["points"] if row["word"] == "bird"]
    assert before.chair == pytest.approx(rows[0]["chair"], abs=0.01)
    written = next(
        row
        for row in rows
        if row["cure"] == "zero" and row["n_neurons"] == 10 and not row["random"]
    )
    assert after.chair == pytest.approx(written["chair"], abs=0.02)
    assert after.recall == pytest.approx(written["recall"], abs=0.01)


def test_the_two_stage_filter_finds_what_the_atlas_knows(held, model) -> None:
    judged = held["judged"]["per_concept"]["two_stage"][WORD]
    scenes = mmkn.datasets.pocket_world("val").with_concept(WORD, 48)
    chosen = two_stage(collect(model, WORD, scenes), quantile_d=0.95, top=60)
    known = set(truths(open_atlas(), WORD)["single"])
    hits = len(known & {(n.layer, n.index) for n in chosen})
    assert judged["recall_single"] == pytest.approx(hits / len(known))
    chance = held["judged"]["methods"]["random"]["recall_single"]["mean"]
    assert held["judged"]["methods"]["two_stage"]["recall_single"]["mean"] > chance + 0.3


def test_sizes_are_chosen_on_val_and_random_neurons_do_nothing(held) -> None:
    points = held["hallucination"]["points"]
    for word in {row["word"] for row in points}:
        for cure in ("zero", "edit"):
            _, chosen = cheapest(points, word, cure)
            smaller = [
                row
                for row in points
                if (row["word"], row["cure"]) == (word, cure)
                and not row["random"]
                and row["n_neurons"] < chosen["n_neurons"]
            ]
            before = next(row for row in points if row["word"] == word)
            assert not any(cured(before, row, "val_") for row in smaller)
            _, drawn = cheapest(points, word, cure, random=True)
            assert drawn["n_neurons"] == chosen["n_neurons"]
            assert drawn["chair"] > chosen["chair"]
    for method in held["edits"].values():
        assert method["top"] in map(int, method["sizes"])
        assert method["control"]["success"]["mean"] < 0.5 < method["summary"]["success"]["mean"]
    assert held["transplants"]["background"] < 0.2 < held["transplants"]["success"]


def test_no_scene_of_the_atlas_chooses_neurons() -> None:
    val = mmkn.datasets.pocket_world("val")
    chosen = {scene.id for scene in val.with_concept(WORD, _CHOOSING)}
    asked = {scene.id for scene in val.with_concept(WORD, BEHIND + 16)[BEHIND:]}
    assert len(asked) == 16
    assert not chosen & asked


def test_no_scene_sizes_what_it_taught() -> None:
    for scenes in cure_scenes().values():
        learned = {scene.id for scene in scenes["learn"]}
        sized = {scene.id for part in ("absent", "present") for scene in scenes[f"sizing {part}"]}
        assert len(scenes["sizing absent"]) >= 20
        assert not learned & sized


def test_the_page_of_evidence_repeats_the_figures(held) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text("utf-8")
    named = {
        "two_stage_auto": "two-stage, thresholds by the search",
        "learned_mask": "learned mask, at most 60",
        "contrastive_mean": "contribution score less the other words' mean",
        "contribution": "contribution score (Pan et al.)",
        "gradcam": "GradCAM alone",
        "two_stage": "two-stage, the default",
        "attribution_patching_star": "attribution patching (AtP\\*)",
        "integrated_gradients": "integrated gradients",
        "attribution_patching": "attribution patching (AtP)",
        "gradient": "gradient at image tokens",
        "random": "random",
    }
    for method, name in named.items():
        row, atlas = held["study"]["methods"][method], held["judged"]["methods"][method]
        cells = [name, f"{row['neurons']['mean']:.0f}"]
        cells += [figure(row[key]) for key in ("suppression", "retention")]
        cells += [f"{row['random_control']['mean']:.3f}"[1:]]
        cells += [f"{atlas['recall_single']['mean']:.2f}"[1:]]
        assert f"| {' | '.join(cells)} |" in page
    words = list(held["judged"]["truth"].values())
    fewest, most = (pick(one["single"] for one in words) for pick in (min, max))
    assert f"the {fewest} to {most} neurons a word" in page.replace("\n", " ")

"""The models side by side: what is measured is written, and what is said follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pocket_lab import choices, ordinary
from pocket_lab.ordinary import MODELS
from pocket_lab.study import study_path

import mmkn_widgets as mmkn

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def three() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study_path() / "three_models.json").read_text("utf-8"))
    return found


def test_the_choices_of_a_word_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    some = (
        "two_stage",
        "two_stage, logit",
        "attribution_patching",
        "one picture",
        "contribution, 10",
        "two_stage, minimal",
    )
    monkeypatch.setattr(choices, "CHOSEN", {name: choices.CHOSEN[name] for name in some})
    monkeypatch.setattr(choices, "QUESTIONS", choices.QUESTIONS[:1])
    small = {"CHOOSING": 4, "LEARNING": 4, "MEASURING": 3, "STREAMING": 1, "LAYERS": 2}
    monkeypatch.setattr(choices, "LEARNED", ())
    for name, value in small.items():
        monkeypatch.setattr(choices, name, value)
    model = mmkn.load_model("pocket")
    found = choices.measure(model, "car")
    assert set(found["chosen"]) == set(some)
    assert found["chosen"]["contribution, 10"]["neurons"] == 10
    assert found["chosen"]["two_stage"]["suppression"] == 1.0
    assert set(found["put_out"]) == set(choices.PUT_OUT)
    assert found["put_out"]["zero"]["suppression"] == 1.0
    assert found["forced"]["drop"] > 1 > abs(found["forced"]["random_drop"])
    assert found["patching"]["noising"] > 0.5 > abs(found["patching"]["random_noising"])
    assert found["halves"]["mask"] is None  # of four words only
    halves = [
        mmkn.datasets.pocket_world("val").with_concept("car", 8)[start::2] for start in (0, 1)
    ]
    one, two = (mmkn.study(model, "car", half).neurons(quantile_d=0.95, top=60) for half in halves)
    assert found["halves"]["default"] == len(one & two) / min(len(one), len(two)) > 0.2
    assert set(found["streams"]["residual, predicting"]) == {"0", "5"}
    assert found["streams"]["residual, predicting"]["5"]["noising"] == pytest.approx(1, abs=1e-3)
    assert not model.interventions.active
    assert choices.measure(model, "car", found) is found
    lacking = {**found, "chosen": {k: v for k, v in found["chosen"].items() if k != "one picture"}}
    again = choices.measure(model, "car", lacking)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    shown = choices.table({"pocket": choices.summary([found])})
    assert "| two stage | " in shown
    assert "**Only**: car." in shown
    assert "| zero, predicting |" in shown


def test_the_same_neurons_in_sixteen_and_in_thirty_two_bits() -> None:
    model, test = mmkn.load_model("pocket", dtype="bfloat16"), mmkn.datasets.pocket_world("test")
    made = mmkn.study(model, "car", mmkn.datasets.pocket_world("val").with_concept("car", 4))
    shown, rest = list(test.with_concept("car", 3)), list(test.without_concept("car", 3))
    chosen = made.neurons(top=20)
    found = choices._whole(
        made, [*shown, *rest], 3, mmkn.core.as_vocabulary(["car", "dog"]), chosen
    )
    assert tuple(found) == choices.WHOLE
    whole = mmkn.load_model("pocket")
    effect = mmkn.evaluation.measure_effect(whole, chosen, shown, rest, "car", n_random=0)
    assert found["float32, default"]["suppression"] == effect.suppression == 1.0
    assert found["float32, default"]["identical"] == effect.identical
    assert found["float32, alone"]["identical"] == 1.0
    assert found["float32, random"]["suppression"] == 0.0
    assert not whole.interventions.active and not model.interventions.active


def test_a_word_is_measured_where_figures_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("two_stage", "two_stage_image", "learned_mask", "random")
    monkeypatch.setattr(ordinary, "METHODS", {name: ordinary.METHODS[name] for name in names})
    for name, value in (("CHOOSING", 4), ("LEARNING", 4), ("MEASURING", 3)):
        monkeypatch.setattr(ordinary, name, value)
    model = mmkn.load_model("pocket")
    first = ordinary.measure(model, "car", (20,), ())
    assert {name: list(found) for name, found in first["methods"].items()} == {
        "two_stage": ["20"],
        "two_stage_image": ["20"],
        "learned_mask": [],
        "random": ["20"],
    }
    assert ordinary.measure(model, "car", (20,), (), first) is first
    more = ordinary.measure(model, "car", (20, 5), (), first)
    assert set(more["methods"]["two_stage"]) == {"5", "20"}
    assert more["methods"]["two_stage"]["20"] is first["methods"]["two_stage"]["20"]
    assert more["methods"]["two_stage"]["5"]["neurons"] == 5
    assert more["overlap"] == first["overlap"]


def test_seeds_that_are_not_given_stay(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = study_path()
    (tmp_path / "seeds.json").write_bytes((shipped / "seeds.json").read_bytes())
    parts = tmp_path / "work" / "pocket-plain"
    parts.mkdir(parents=True)
    cell = {"neurons": 60, **dict.fromkeys(ordinary._FIGURES, 0.25)}
    methods = {name: {"60": cell} for name in ordinary.METHODS}
    made = {"word": "car", "recall": 1.0, "overlap": 0.5, "methods": methods, "seconds": 1.0}
    (parts / "car.json").write_text(json.dumps(made))
    monkeypatch.setattr(ordinary, "study_path", lambda: tmp_path)
    ordinary.main(["--work", str(tmp_path / "work"), "--write"])
    before = json.loads((shipped / "seeds.json").read_text())
    after = json.loads((tmp_path / "seeds.json").read_text())
    assert after["1"] == before["1"]
    assert after["0"]["methods"]["two_stage"]["60"]["suppression"]["mean"] == 0.25
    assert "| two stage | 60 | " in (tmp_path / "three_models.md").read_text()


def test_the_choices_in_the_package_are_of_known_rows() -> None:
    held = json.loads((study_path() / "choices.json").read_text("utf-8"))
    assert list(held) == list(MODELS)
    for name, found in held.items():
        assert set(found["chosen"]) == set(choices.CHOSEN), name
        assert set(found["put_out"]) == set(choices.PUT_OUT), name
        assert set(found["questions"]) == set(choices.QUESTIONS), name
    text = (study_path() / "choices.md").read_text("utf-8")
    assert text == choices.table(held).rstrip() + "\n"


def test_the_table_is_made_of_the_figures_in_the_package(three: dict[str, Any]) -> None:
    seeds = json.loads((study_path() / "seeds.json").read_text("utf-8"))
    assert list(seeds) == ["0", "1", "2"]
    text = (study_path() / "three_models.md").read_text("utf-8")
    assert text == ordinary.table(three, seeds).rstrip() + "\n"


def test_the_page_says_what_other_seeds_give(three: dict[str, Any]) -> None:
    seeds = json.loads((study_path() / "seeds.json").read_text("utf-8"))
    page = " ".join((ROOT / "docs" / "evidence.md").read_text("utf-8").split())
    for method, size in (("contribution", "600"), ("two_stage", "60"), ("learned_mask", "60")):
        shares = [one["methods"][method][size]["suppression"]["mean"] for one in seeds.values()]
        mean, low, high = (f"{x:.2f}"[1:] for x in (sum(shares) / 3, min(shares), max(shares)))
        assert f"{mean} [{low}, {high}]" in page
    plain = three["pocket-plain"]["methods"]
    small = [row[n]["suppression"]["mean"] for row in plain.values() for n in row if n != "600"]
    assert max(small) <= 0.03


def test_the_page_says_what_was_measured(three: dict[str, Any]) -> None:
    """docs/evidence.md repeats rows of three_models.json."""
    page = (ROOT / "docs" / "evidence.md").read_text("utf-8")
    for model, method, size, name in (
        ("pocket", "two_stage", "60", "two-stage"),
        ("pocket-plain", "two_stage", "60", "two-stage"),
        ("pocket-smollm2", "two_stage", "60", "two-stage"),
        ("pocket-smollm2", "learned_mask", "60", "learned mask"),
        ("pocket-smollm2", "learned_mask", "200", "learned mask of 105"),
        (
            "pocket-smollm2",
            "learned_mask_no_substitute",
            "60",
            "learned mask against substitutes",
        ),
        ("pocket-smollm2", "random", "60", "random"),
    ):
        row = three[model]["methods"][method][size]
        figures = [f"{row[key]['mean']:.3f}"[1:] for key in ("suppression", "scene", "identical")]
        words = len(three[model]["words"])
        assert f"| `{model}`, {name} ({words} words) | {' | '.join(figures)} |" in page
    masks = three["pocket-smollm2"]["methods"]["learned_mask"]
    assert f"keeps {masks['200']['neurons']:.0f} (of 46,080)" in page
    (least, most), (low, high) = (
        (f"{masks[n]['suppression'][side]:.2f}"[1:] for side in ("low", "high"))
        for n in ("60", "200")
    )
    assert f"[{least}, {most}]" in page
    assert f"[{low}, {high}]" in page


def _said(cell: dict[str, float]) -> str:
    mean, low, high = (f"{cell[key]:.2f}".removeprefix("0") for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def test_the_page_says_what_halves_bits_and_the_sample_gave() -> None:
    page = " ".join((ROOT / "docs" / "evidence.md").read_text("utf-8").split())
    held = json.loads((study_path() / "choices.json").read_text("utf-8"))["pocket-smollm2"]
    assert held["halved"] == {"default": 4, "mask": 4}
    for name in ("default", "mask"):
        assert _said(held["halves"][name]) in page
    bits = held["whole"]
    for figure in ("suppression", "identical"):
        rows = (bits[f"{name}, default"][figure]["mean"] for name in ("bfloat16", "float32"))
        first, then = (f"{mean:.2f}"[1:] for mean in rows)
        assert f"{figure} {first} and {then}" in page
    sample = json.loads((study_path() / "sample.json").read_text("utf-8"))["pocket-smollm2"]
    cam = sample["methods"]["gradcam"]
    assert f"{_said(cam['together_20'])} together" in page
    whole = cam["together_60"]
    assert f"{whole['mean']:.1f} [{whole['low']:.1f}, {whole['high']:.1f}]" in page
    assert f"{cam['sum']['mean']:.3f}"[1:] + " added up" in page
    assert f"correlation with them is {cam['rank']['mean']:.2f}".replace("0.", ".") in page
    assert f"nothing there.** Of {sample['drawn']['neurons'] // 4} neurons" in page

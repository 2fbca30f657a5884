"""Two concepts side by side: whose neurons are whose, ablation of a part, its random control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import mask, off
from fake_study import FakeStudy
from test_html import embedded

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets import ConceptPair, Explorer
from mmkn_widgets.widgets.html import offline_page


@pytest.fixture
def studies() -> tuple[FakeStudy, FakeStudy]:
    """Return studies of two words on one model; half of the good neurons are good for both."""
    car, bus = FakeStudy("car"), FakeStudy("bus", seed=2, scenes=4)
    bus.model = car.model
    for name in ("difference", "gradcam"):
        one, two = (study.evidence[name].values for study in (car, bus))
        two[:, ::2] = one[:, ::2]
    return car, bus


@pytest.fixture
def pair(studies: tuple[FakeStudy, FakeStudy]) -> Iterator[ConceptPair]:
    made = mmkn.compare(*studies)
    yield made
    made.close()


def places(neurons: Any) -> set[tuple[int, int]]:
    return {(n.layer, n.index) for n in neurons}


def test_three_parts_are_the_algebra_of_two_sets(
    pair: ConceptPair, studies: tuple[FakeStudy, FakeStudy]
) -> None:
    car, bus = (
        places(study.neurons(threshold_d=pair.side(s).thresholds[0], threshold_g=cut))
        for s, study, cut in (
            ("a", studies[0], pair.a_threshold_g),
            ("b", studies[1], pair.b_threshold_g),
        )
    )
    assert car & bus
    assert car - bus
    assert places(pair.own_a) == car - bus
    assert places(pair.shared) == car & bus
    assert places(pair.own_b) == bus - car
    frame = pair.to_dataframe()
    assert frame["part"].value_counts().to_dict() == {
        "a": len(car - bus),
        "shared": len(car & bus),
        "b": len(bus - car),
    }
    first = frame.iloc[0]
    acts = studies[1].evidence["activation"].values[first.layer, first["index"]]
    assert first["activation_b"] == acts
    assert first["gradcam_b"] == studies[1].evidence["gradcam"].values[first.layer, first["index"]]
    pair.a_mode, pair.a_quantile_d, pair.a_quantile_g = "quantile", 0.98, 0.5
    car = places(studies[0].neurons(quantile_d=0.98, quantile_g=0.5))
    assert places(pair.own_a) == car - bus


def test_a_click_ablates_one_part_and_writes_both_captions_beside_random(
    pair: ConceptPair, studies: tuple[FakeStudy, FakeStudy]
) -> None:
    page, model = Page(pair), studies[0].model
    ids = pair.ids_of("a").astype("<i4")
    message, _ = page.ask("ablate", [ids.tobytes()], part="a")
    assert message["ok"]
    (active,) = model.interventions.active
    np.testing.assert_array_equal(off(active), np.sort(ids))
    assert active.name == f"{len(ids)} neurons ablated: own of car"
    assert pair.a_caption_after == "a red bus next to a big green tree on the grass"
    assert pair.b_caption_after
    assert pair.a_caption_random  # as many random ones are off: this fake forgets as well
    assert pair.a_scenes[0]["after"] == pair.a_caption_after
    page.ask("undo")
    assert model.interventions.active == ()
    assert pair.a_caption_after == pair.a_caption_random == ""
    page.ask("redo")
    assert len(model.interventions.active) == 1
    pair.restore()
    assert model.interventions.active == ()


def test_the_control_runs_alone_and_leaves_what_is_active(
    pair: ConceptPair, studies: tuple[FakeStudy, FakeStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = studies[0].model, []
    write = model.caption

    def caption(image: Any, *a: Any, **options: Any) -> str:
        seen.append(tuple(model.interventions.active))
        return write(image, *a, **options)

    monkeypatch.setattr(model, "caption", caption)
    pair.ablate("shared")
    (active,) = model.interventions.active
    assert [len(at) for at in seen] == [1, 1, 1, 1]
    assert [at[0] is active for at in seen] == [True, True, False, False]
    drawn, inside = mask(seen[2][0]), mask(active)
    np.testing.assert_array_equal(drawn.sum(1), inside.sum(1))  # as many in every layer
    assert not (drawn & inside).any()
    np.testing.assert_array_equal(drawn, mask(seen[3][0]))  # one draw for both pictures


def test_what_another_view_takes_back_has_no_control(
    pair: ConceptPair, studies: tuple[FakeStudy, FakeStudy]
) -> None:
    other = Explorer(studies[1])
    pair.ablate("b")
    other.wait()
    assert other.ablation["active"][0]["own"] is False
    assert pair.b_caption_random
    other.restore()
    pair.wait()
    assert pair.ablation["active"] == []
    assert [pair.b_caption_after, pair.b_caption_random] == ["", ""]
    other.close()


def test_scenes_change_apart(pair: ConceptPair, studies: tuple[FakeStudy, FakeStudy]) -> None:
    before = pair.a_picture
    pair.b_scene = 3
    pair.wait()
    assert pair.a_picture == before
    ids = np.frombuffer(pair.map_ids, "<i4")
    scale = np.frombuffer(pair.b_map_scale, "<f4")[:, None]
    offset = np.frombuffer(pair.b_map_offset, "<f4")[:, None]
    grids = np.frombuffer(pair.b_maps, np.uint8).reshape(len(ids), -1)
    truth = studies[1].maps(ids // 512, ids % 512, scene=3).reshape(len(ids), -1)
    assert (np.abs(offset + scale * grids - truth) <= scale * 0.5001 + 1e-6).all()
    _, (mean,) = Page(pair).ask("mean_map", [ids[:9].astype("<i4").tobytes()], side="b")
    wanted = truth[:9].mean(0)
    np.testing.assert_allclose(np.frombuffer(mean, "<f4"), wanted, atol=1e-5)
    with pytest.raises(BadArgument, match="0 to 3"):
        pair.b_scene = 4
    with pytest.raises(BadArgument, match="shared"):
        pair.part = "both"


def test_each_part_is_measured_on_both_concepts(pair: ConceptPair) -> None:
    pair.a_threshold_d = pair.a_threshold_g = 99.0
    message, _ = Page(pair).ask("evaluate")
    assert message["ok"]
    assert [line["part"] for line in pair.part_effects] == ["a", "shared", "b"]
    assert pair.part_effects[0] == {"part": "a", "neurons": 0, "a": None, "b": None}
    assert pair.part_effects[2]["b"] == {"value": 0.94, "random": 0.02, "scenes": 4}
    json.dumps(pair.part_effects)


def test_wrong_asks_are_refused_in_words(pair: ConceptPair) -> None:
    page = Page(pair)
    assert "a or b" in page.ask("maps", ids=[1], side="c")[0]["error"]
    assert "flat ids" in page.ask("maps", ids=[10**9], side="a")[0]["error"]
    pair.b_threshold_d = 1e9
    pair.part = "b"
    assert "lower a threshold" in page.ask("ablate")[0]["error"]


def test_studies_of_two_models_are_refused(studies: tuple[FakeStudy, FakeStudy]) -> None:
    with pytest.raises(BadArgument, match="two studies of one model"):
        mmkn.compare(FakeStudy("car"), FakeStudy("bus"))
    with pytest.raises(BadArgument, match="study_b"):
        mmkn.compare(studies[0], studies[0].model)


def test_an_explorer_hands_over_its_thresholds(studies: tuple[FakeStudy, FakeStudy]) -> None:
    explorer = Explorer(studies[0])
    explorer.threshold_d = 0.9
    pair = mmkn.compare(explorer, studies[1])
    assert pair.a_threshold_d == pytest.approx(0.9)
    explorer.ablate()
    pair.wait()
    assert pair.ablation["active"][0]["own"] is False
    assert pair.a_caption_after == explorer.caption_after
    assert pair.a_caption_before == studies[0].caption(0)
    pair.close()
    assert len(studies[0].model.interventions.active) == 1
    explorer.close()


def test_the_offline_page_and_the_account_hold_both(pair: ConceptPair, tmp_path: Path) -> None:
    pair.ablate("a")
    page = pair.save_html(tmp_path / "pair.html").read_text(encoding="utf-8")
    saved = embedded(page, "mmkn-scenes")
    assert {name: len(scenes) for name, scenes in saved["single"].items()} == {
        "a_scene": 6,
        "b_scene": 4,
    }
    assert saved["single"]["b_scene"]["2"]["b_caption_before"] == pair.study_b.caption(2)
    state = embedded(offline_page(pair), "mmkn-state")
    assert state["read_only"] is True
    assert len(state["b_scenes"]) == 4
    text = pair._repr_mimebundle_()[0]["text/html"]
    assert f"own of car: {len(pair.own_a)} neurons" in text
    assert f"shared: {len(pair.shared)} neurons" in text
    assert text.count("<img") == 2


def test_on_the_pocket_model_own_neurons_hold_their_own_word() -> None:
    model = mmkn.load_model("pocket")
    world = mmkn.datasets.pocket_world("val", 60)
    car, bus = (mmkn.study(model, w, world.with_concept(w, 3)) for w in ("car", "bus"))
    pair = mmkn.compare(car, bus)
    after = pair.ablate("a")
    assert "car" in pair.a_caption_before.split()
    assert "car" not in after[0].split()
    assert after[1] == pair.b_caption_before
    assert pair.a_caption_random == pair.a_caption_before
    namespace: dict[str, Any] = {}
    exec(pair.setup_code, namespace)
    again = namespace["study_b"].neurons(
        threshold_d=pair.b_threshold_d, threshold_g=pair.b_threshold_g
    )
    assert places(again) == places(pair.shared) | places(pair.own_b)
    pair.close()
    assert model.interventions.active == ()


def test_words_are_those_of_the_side_on_which_a_neuron_acts() -> None:
    """A neuron may fire for one concept and against zero for the other; its column has two ends."""
    model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 120)
    car, bus = (mmkn.study(model, w, val.with_concept(w, 4)) for w in ("car", "bus"))
    pair = ConceptPair(car, bus)
    page = Page(pair)
    signs = [np.sign(study.evidence["activation"].values) for study in (car, bus)]
    apart = np.flatnonzero((signs[0] * signs[1] < 0).ravel())
    best = pair.a.selection.gradcam.ravel()[apart].argsort()[-3:]
    ids = [int(i) for i in apart[best]]
    said = {}
    for k, side in enumerate("ab"):
        message, _ = page.ask("words", ids=ids, side=side)
        said[side] = message["result"]["words"]
        for flat, words in zip(ids, said[side], strict=True):
            row, index = divmod(flat, model.n_neurons)
            column = model.w_out(model.sites[row].layer)[:, index].float()
            scores = model.unembedding.float() @ column * signs[k].ravel()[flat]
            best_token = int(scores[: len(model.tokenizer)].argmax())
            assert words[0] == model.tokenizer.decode([best_token]).strip()
    assert said["a"] != said["b"]
    frame = pair.to_dataframe(words=True)
    assert (
        (frame["words_a"] != frame["words_b"])
        .eq(np.sign(frame["activation_a"]) != np.sign(frame["activation_b"]))
        .all()
    )
    pair.close()

"""The Explorer's wire: encodings, requests, thresholds, ablation; no browser, no model."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import traitlets
from fake_model import off
from fake_study import FakeStudy

from conftest import Page
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.widgets import ConceptPair, Explorer


def flat(explorer: Explorer) -> set[tuple[int, int]]:
    return {(n.layer, n.index) for n in explorer.neurons}


def test_scores_travel_as_little_endian_float32(explorer: Explorer, study: FakeStudy) -> None:
    sent = np.frombuffer(explorer.difference, "<f4").reshape(explorer.shape)
    np.testing.assert_array_equal(sent, study.evidence["difference"].values)
    sent = np.frombuffer(explorer.gradient_sum, "<f4").reshape(explorer.shape)
    np.testing.assert_array_equal(sent, study.evidence["gradient_sum"].values)
    state = explorer.get_state()
    assert isinstance(state["difference"], bytes)
    assert explorer.rows[3] == [3, -1]


def test_grids_decode_to_the_maps_within_half_a_step(explorer: Explorer, study: FakeStudy) -> None:
    ids = np.frombuffer(explorer.map_ids, "<i4")
    rows, cols = explorer.grid["rows"], explorer.grid["cols"]
    grids = np.frombuffer(explorer.maps, np.uint8).reshape(len(ids), rows, cols)
    scale = np.frombuffer(explorer.map_scale, "<f4")[:, None, None]
    offset = np.frombuffer(explorer.map_offset, "<f4")[:, None, None]
    truth = study.maps(ids // 512, ids % 512, scene=0)
    assert (np.abs(offset + scale * grids - truth) <= scale * 0.5001 + 1e-6).all()
    signs = np.frombuffer(explorer.map_sign, np.int8)
    np.testing.assert_array_equal(signs, np.sign(study.evidence["activation"].values).ravel()[ids])


def test_prefetched_begin_with_the_default_choice(explorer: Explorer) -> None:
    ids = np.frombuffer(explorer.map_ids, "<i4")
    assert len(ids) == len(set(ids.tolist())) == 2000
    np.testing.assert_array_equal(ids[: len(explorer.kept)], explorer.kept)
    assert len(explorer.kept) == 60


def test_neurons_follow_the_thresholds_in_both_modes(explorer: Explorer, study: FakeStudy) -> None:
    d, g = (study.evidence[name].values for name in ("difference", "gradcam"))
    seen: list[int] = []
    explorer.observe(lambda change: seen.append(len(change["new"])), "neurons")
    explorer.threshold_d, explorer.threshold_g = 0.9, 0.05
    wanted = np.argwhere((d > np.float32(0.9)) & (g > np.float32(0.05)))
    assert flat(explorer) == {(int(r), int(i)) for r, i in wanted}
    assert seen[-1] == len(wanted)
    by_library = study.neurons(threshold_d=0.9, threshold_g=0.05)
    assert explorer.neurons == by_library
    np.testing.assert_array_equal(explorer.neurons.sign, by_library.sign)
    assert explorer.neurons.provenance["arguments"]["threshold_g"] == pytest.approx(0.05)
    explorer.mode, explorer.quantile_d, explorer.quantile_g = "quantile", 0.97, 0.98
    cut_d, cut_g = explorer.thresholds
    by_hand = np.argwhere((d > np.float32(cut_d)) & (g > np.float32(cut_g)))
    assert flat(explorer) == {(int(r), int(i)) for r, i in by_hand}
    assert len(explorer.kept) == len(explorer.neurons)


def test_a_score_equal_to_its_threshold_does_not_pass(explorer: Explorer, study: FakeStudy) -> None:
    d, g = (study.evidence[name].values for name in ("difference", "gradcam"))
    row, index = next(iter(flat(explorer)))
    low = np.float32(-1e9)
    for cut_d, cut_g in ((d[row, index], low), (low, g[row, index])):
        for step, kept in ((0, False), (-1, True)):  # the threshold, and the float32 below it
            explorer.threshold_d, explorer.threshold_g = (
                float(np.nextafter(cut, low) if step and cut != low else cut)
                for cut in (cut_d, cut_g)
            )
            assert ((row, index) in flat(explorer)) is kept


def test_unchecked_and_layers_off_leave_the_set(explorer: Explorer) -> None:
    best = int(explorer.kept[0])
    row = best // 512
    before = flat(explorer)
    explorer.unchecked = [best]
    assert flat(explorer) == before - {(row, best % 512)}
    explorer.rows_off = [row]
    assert all(layer != row for layer, _ in flat(explorer))
    assert {int(i) // 512 for i in explorer.kept} == {layer for layer, _ in flat(explorer)}


def test_ablate_snapshots_exactly_what_the_page_sent(page: Page, study: FakeStudy) -> None:
    ids = np.asarray(page.widget.kept[:7], "<i4")
    message, _ = page.ask("ablate", [ids.tobytes()], mode="zero", scale=0)
    assert message["ok"]
    (active,) = study.model.interventions.active
    assert off(active) == sorted(ids.tolist())
    assert page.widget.caption_after == "a red bus next to a big green tree on the grass"
    assert page.widget.ablation["active"][0]["count"] == 7
    tokens = [m["text"] for m, _ in page.messages if m["kind"] == "token"]
    assert "".join(tokens).strip() == page.widget.caption_after
    page.widget.threshold_d = 99.0
    assert study.model.interventions.active == (active,)


def test_undo_redo_restore(page: Page, study: FakeStudy) -> None:
    explorer, stack = page.widget, study.model.interventions
    page.ask("ablate", [np.asarray(explorer.kept[:7], "<i4").tobytes()], mode="zero")
    page.ask("ablate", [np.asarray(explorer.kept[:9], "<i4").tobytes()], mode="scale", scale=0.5)
    assert [item.n_neurons for item in stack.active] == [9]
    page.ask("undo")
    assert [item.n_neurons for item in stack.active] == [7]
    page.ask("undo")
    assert stack.active == ()
    assert explorer.caption_after == ""
    page.ask("redo")
    page.ask("redo")
    assert [(i.n_neurons, i.mode) for i in stack.active] == [(9, "scale")]
    page.ask("restore")
    assert stack.active == ()
    assert explorer.ablation["active"] == []


def test_two_explorers_show_one_model(study: FakeStudy) -> None:
    one, two = Explorer(study), Explorer(study)
    try:
        one.ablate()
        one.wait()
        assert two.ablation["active"][0]["count"] == len(one.kept)
        assert not two.ablation["active"][0]["own"]
        assert two.caption_after == one.caption_after != ""
        one.close()
        two.wait()
        assert study.model.interventions.active == ()
        assert two.caption_after == ""
    finally:
        one.close()
        two.close()


def test_errors_come_back_in_words(page: Page) -> None:
    message, _ = page.ask("ablate", [b""])
    assert not message["ok"]
    assert "lower a threshold" in message["error"]
    message, _ = page.ask("maps", ids=[10**9])
    assert "flat ids from 0 to 3071" in message["error"]
    message, _ = page.ask("mean_map", [b"abc"])
    assert "multiple of 4" in message["error"]
    message, _ = page.ask("no such thing")
    assert "one of" in message["error"]


def test_unexpected_failures_say_so_and_leave_the_widget_ready(
    page: Page, study: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(study, "maps", broken)
    message, _ = page.ask("maps", ids=[3])
    assert "(RuntimeError)" in message["error"]
    assert "please report it" in message["error"]
    assert "a secret path" not in message["error"] + message["remedy"]
    assert "log" in message["remedy"]
    page.widget.scene = 2
    page.widget.wait()
    assert page.widget.status["state"] == "error"
    assert "RuntimeError" in page.widget.status["message"]


def test_maps_beyond_the_prefetched(page: Page, study: FakeStudy) -> None:
    message, (grid,) = page.ask("maps", ids=[5], scene=1, signed=True)
    assert message["ok"]
    truth = study.maps([0], [5], scene=1, signed=True)
    np.testing.assert_array_equal(np.frombuffer(grid, "<f4").reshape(1, 12, 12), truth)
    ids = np.arange(4097 * 0 + 300, dtype="<i4")
    _, (mean,) = page.ask("mean_map", [ids.tobytes()], scene=1)
    truth = study.maps(ids // 512, ids % 512, scene=1).mean(0)
    np.testing.assert_allclose(np.frombuffer(mean, "<f4").reshape(12, 12), truth, atol=1e-5)


def test_the_last_scene_wins(explorer: Explorer, study: FakeStudy) -> None:
    gate = threading.Event()
    study.model.worker.submit(gate.wait)
    drawn: list[int] = []
    pictures = study.pictures
    study.pictures = lambda scene: drawn.append(scene) or pictures(scene)  # type: ignore
    for scene in (1, 2, 3, 4):
        explorer.scene = scene
    gate.set()
    explorer.wait()
    assert drawn == [4]
    assert explorer.scenes[4]["before"] == explorer.caption_before
    with pytest.raises(BadArgument, match="0 to 5"):
        explorer.scene = 6


def test_a_newer_request_of_a_kind_cancels_the_older(page: Page, study: FakeStudy) -> None:
    gate = threading.Event()
    study.model.worker.submit(gate.wait)
    first = page.send("ablate", [np.asarray([1], "<i4").tobytes()], mode="zero")
    second = page.send("ablate", [np.asarray([2], "<i4").tobytes()], mode="zero")
    gate.set()
    page.widget.wait()
    assert page.reply(first)[0]["error"] == "cancelled"
    assert page.reply(second)[0]["ok"]
    (active,) = study.model.interventions.active
    assert off(active) == [2]


def test_state_round_trips(explorer: Explorer, study: FakeStudy) -> None:
    explorer.threshold_d, explorer.colormap, explorer.scene = 0.75, "cividis", 3
    explorer.wait()
    explorer.unchecked = [int(explorer.kept[1])]
    explorer.rows_off = [0, 2]
    explorer.selected = int(explorer.kept[0])
    saved = json.loads(json.dumps(explorer.state))
    again = Explorer(study, state=saved)
    try:
        again.wait()
        assert again.state == saved
        assert flat(again) == flat(explorer)
        with pytest.raises(BadArgument, match=r"Explorer\.state"):
            again.state = {"nonsense": 1}
    finally:
        again.close()


def test_measures_and_marks(page: Page) -> None:
    page.ask("evaluate")
    assert page.widget.effect["measures"]["suppression"] == {"value": 0.94, "random": 0.02}
    assert page.widget.effect["measures"]["substitution"] == {"value": 0.31, "random": None}
    assert page.widget.effect["held_out"] is False
    page.ask("propose")
    assert len(page.widget.marks) == 3
    assert [mark["random"] for mark in page.widget.marks] == [0.01, 0.0, None]
    assert page.widget.threshold_d == page.widget.marks[1]["threshold_d"]


def test_the_inpainted_pictures_caption_is_the_unchanged_models(
    page: Page, study: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer, write = page.widget, study.model.caption
    seen: list[Any] = []

    def caption(image: Any, *args: Any, **options: Any) -> str:
        seen.append((image, study.model.interventions.active))
        return write(image, *args, **options)

    monkeypatch.setattr(study.model, "caption", caption)
    explorer.ablate()
    assert "bus" in explorer.caption_after
    message, _ = page.ask("caption_inpainted", scene=0)
    assert seen[-1] == (study.pictures(0)[1], ())
    assert explorer.caption_inpainted == message["result"]["caption"] == study.caption(0)
    assert "bus" in explorer.caption_after
    explorer.scene = 1
    explorer.wait()
    assert explorer.caption_inpainted == ""
    explorer.scene = 0
    explorer.wait()
    assert explorer.caption_inpainted == study.caption(0)  # written once
    page.ask("inpaint", [np.full((8, 8), 255, np.uint8).tobytes()], shape=[8, 8], scene=0)
    assert explorer.caption_inpainted == ""


def test_a_scene_without_a_mask_has_no_inpainted_caption(
    page: Page, study: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "has_pair", lambda scene: False)
    message, _ = page.ask("caption_inpainted", scene=2)
    assert not message["ok"]
    assert "inpaint first" in message["error"]


def test_how_long_still_is_the_pace_since_the_clock_started(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first word of a stage often says that much is done already: that is no pace."""
    now = [100.0]
    monkeypatch.setattr("mmkn_widgets.widgets._base.time.monotonic", lambda: now[0])
    told, left = explorer._progress(), []
    for seconds, done in ((0, 96), (2, 100), (4, 120), (5, 504)):
        now[0] = 100.0 + seconds
        told("searching", done, 504)
        left.append(explorer.status["seconds_left"])
    assert left == [None, 2 / 4 * 404, 4 / 24 * 384, None]
    told("another stage", 0, 3)
    assert explorer.status["seconds_left"] is None


def test_compute_brings_another_concept(study: FakeStudy) -> None:
    other = FakeStudy("bus", seed=2)
    other.model = study.model
    made = Explorer(study, restudy=lambda word, **_: other)
    try:
        message, _ = Page(made).ask("compute", concept="bus")
        assert message["ok"]
        assert made.concept == "bus"
        np.testing.assert_array_equal(
            np.frombuffer(made.gradcam, "<f4"), other.evidence["gradcam"].values.ravel()
        )
    finally:
        made.close()


def test_approximate_places_are_said(study: FakeStudy) -> None:
    study.approximate, study.reason = True, "painted through cross-attention"
    explorer, pair = Explorer(study), ConceptPair(study, study)
    for grid in (explorer.grid, pair.a_grid, pair.b.grid):
        assert (grid["approximate"], grid["reason"]) == (True, study.reason)
    explorer.close()
    pair.close()


def test_no_geometry_is_said_not_painted(study: FakeStudy) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotSupported("32 query tokens have no place")

    study.maps = refuse  # type: ignore[method-assign]
    made = Explorer(study)
    assert made.grid["rows"] == 0
    assert made.grid["reason"] == "32 query tokens have no place"
    made.close()


def test_closing_frees_the_model_and_stops_listening(study: FakeStudy) -> None:
    made = Explorer(study)
    made.ablate()
    layout = made.layout
    made.close()
    assert study.model.interventions.active == ()
    assert study.model.interventions._observers._callbacks == ()
    assert made.comm is None
    assert layout.comm is None
    assert (made.difference, made.maps, made.words, made.thumbnails) == (b"", b"", [], [])
    made.close()


def test_links_with_other_widgets(explorer: Explorer, study: FakeStudy) -> None:
    other = Explorer(study)
    traitlets.link((explorer, "threshold_d"), (other, "threshold_d"))
    explorer.threshold_d = 0.77
    assert len(other.neurons) == len(explorer.neurons)
    other.close()


def pick(explorer: Explorer, ids: list[int], label: str = "mine") -> None:
    """What the page sets."""
    where = ("mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g")
    explorer.picked = {"ids": ids, "label": label} | {n: getattr(explorer, n) for n in where}


def test_a_picked_set_is_kept_until_a_threshold_moves(explorer: Explorer) -> None:
    before, was = flat(explorer), explorer.threshold_d
    pick(explorer, [3, 512, 1030])
    assert flat(explorer) == {(0, 3), (1, 0), (2, 6)}
    g = explorer.selection.gradcam.ravel()[explorer.kept]
    assert (np.diff(g) <= 0).all()
    assert explorer.neurons.provenance["arguments"]["picked"] == "mine"
    explorer.unchecked, explorer.rows_off = [512], [2]
    assert flat(explorer) == {(0, 3)}
    assert explorer.selection.python() == "mmkn.NeuronSet([0], [3])"
    explorer.unchecked, explorer.rows_off = [], []
    explorer.threshold_d = was / 2
    assert len(explorer.neurons) > len(before)
    explorer.threshold_d = was
    assert flat(explorer) == {(0, 3), (1, 0), (2, 6)}
    explorer.picked = None
    assert flat(explorer) == before


def test_a_picked_set_is_part_of_the_state(explorer: Explorer, study: FakeStudy) -> None:
    pick(explorer, [3, 512])
    saved = json.loads(json.dumps(explorer.state))
    assert saved["picked"] == {"label": "mine", "places": [[0, 3], [1, 0]]}
    again = Explorer(study, state=saved)
    assert flat(again) == {(0, 3), (1, 0)}
    explorer.threshold_d += 1
    assert explorer.state["picked"] is None


@pytest.mark.parametrize("ids", [[-1], [10**6], [1.5]])
def test_a_picked_set_of_neurons_that_are_not_there_is_refused(
    explorer: Explorer, ids: Any
) -> None:
    with pytest.raises(BadArgument, match="picked"):
        pick(explorer, ids)


def test_the_frontier_is_measured_and_its_sets_can_be_taken(
    page: Page, explorer: Explorer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "mmkn_widgets.studies.measure_frontier", lambda study, *a, **how: study.frontier(*a, **how)
    )
    page.ask("frontier")
    found = explorer.frontier
    assert found is not None and not found["held_out"]
    # a set of which nothing could be counted is left out, an unknown figure is none
    assert [point["count"] for point in found["points"]] == [5, 20]
    assert found["points"][1]["substitution"] is None
    assert found["points"][1]["suppression"] == 0.9
    best = explorer.study.neurons(top=5)
    pick(explorer, found["points"][0]["ids"])
    assert flat(explorer) == {(n.layer, n.index) for n in best}


def test_ones_own_set_is_picked_and_a_frontier_shown(explorer: Explorer, study: FakeStudy) -> None:
    mine = study.neurons(top=7)
    explorer.pick(mine, "seven")
    assert flat(explorer) == {(n.layer, n.index) for n in mine}
    measured = study.frontier([1], [2], progress=lambda *_: None)
    explorer.show_frontier(measured)
    assert explorer.frontier["held_out"] and explorer.frontier["scenes"] == 2
    measured.concept = "zebra"
    with pytest.raises(BadArgument, match="measured"):
        explorer.show_frontier(measured)

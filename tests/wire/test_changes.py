"""Transplant, measured change, both stages over patches, shares: what the page asks and gets."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy

from conftest import Page
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets import AblationPanel, CaptionDiff, Explorer

CAR = 2  # "a red car next to …"


def ids(explorer: Explorer, n: int) -> list[bytes]:
    return [np.asarray(explorer.kept[:n], "<i4").tobytes()]


def test_an_object_takes_the_place_of_a_word(page: Page, study: FakeStudy) -> None:
    explorer = page.widget
    given: list[np.ndarray] = []
    transplant = study.transplant

    def watched(scene: int, index: int, mask: np.ndarray, **options: Any) -> Any:
        given.append(mask)
        return transplant(scene, index, mask, **options)

    study.transplant = watched  # type: ignore[method-assign]
    message, _ = page.ask("transplant", index=4, object="car", scene=0)
    assert message["ok"]
    assert explorer.caption_after.split()[4] == "car"
    assert explorer.transplanted["word"] == explorer.caption_before.split()[4]
    assert explorer.transplanted["success"] is True
    np.testing.assert_array_equal(given[0], study.scenes[0].mask("car"))
    (shown,) = explorer.ablation["active"]
    assert (shown["mode"], shown["own"]) == ("transplant", True)
    assert study.model.interventions.active == ()  # one picture's matter, not the model's
    tokens = [m for m, _ in page.messages if m["kind"] == "token"]
    assert "".join(m["text"] for m in tokens).strip() == explorer.caption_after


def test_chosen_patches_become_a_mask_of_the_picture(page: Page, study: FakeStudy) -> None:
    given: list[np.ndarray] = []
    transplant = study.transplant
    study.transplant = lambda s, i, mask, **o: given.append(mask) or transplant(s, i, mask, **o)  # type: ignore
    page.ask("transplant", index=CAR, object="", cells=[0, 1, 143], scene=0)
    mask = given[0]
    assert mask.shape == (96, 96)  # 12 x 12 cells of 8 x 8 pixels
    assert mask.sum() == 3 * 64
    assert mask[:8, :16].all()
    assert mask[88:, 88:].all()
    assert page.widget.transplanted["success"] is None
    assert "3 patches" in page.widget.ablation["active"][0]["label"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"index": 99, "object": "car"}, "a word of the caption"),
        ({"index": CAR, "object": "sofa"}, "an object of scene"),
        ({"index": CAR, "cells": []}, "at least one patch"),
        ({"index": CAR, "cells": [144]}, "cells from 0 to 143"),
    ],
)
def test_a_wrong_transplant_is_refused_in_words(page: Page, args: Any, said: str) -> None:
    message, _ = page.ask("transplant", **args)
    assert said in message["error"]
    assert page.widget.ablation["active"] == []
    assert page.widget.caption_after == ""


def test_transplant_and_ablation_undo_each_other(page: Page, study: FakeStudy) -> None:
    explorer, stack = page.widget, study.model.interventions
    page.ask("ablate", ids(explorer, 7), mode="zero")
    ablated = explorer.caption_after
    page.ask("transplant", index=CAR, object="car")
    assert stack.active == ()
    page.ask("undo")
    assert [item.n_neurons for item in stack.active] == [7]
    assert explorer.caption_after == ablated
    assert explorer.transplanted is None
    page.ask("redo")
    assert explorer.transplanted["object"] == "car"
    page.ask("restore")
    assert explorer.ablation["active"] == []
    assert (explorer.caption_after, explorer.transplanted) == ("", None)


def test_a_failed_transplant_leaves_the_last_good_state(page: Page, study: FakeStudy) -> None:
    explorer = page.widget
    page.ask("ablate", ids(explorer, 7), mode="zero")
    good = explorer.caption_after

    def broken(*_: Any, **__: Any) -> Any:
        raise BadArgument("threshold: no patch is covered")

    study.transplant = broken  # type: ignore[method-assign]
    message, _ = page.ask("transplant", index=CAR, object="car")
    assert message["error"] == "threshold: no patch is covered"
    assert explorer.caption_after == good
    assert [item.n_neurons for item in study.model.interventions.active] == [7]
    assert not explorer.ablation["can_redo"]


def test_a_transplant_can_be_cancelled(page: Page, study: FakeStudy) -> None:
    started, gate = threading.Event(), threading.Event()

    def slow(*_: Any, cancel: Any = None, **__: Any) -> Any:
        started.set()
        gate.wait(10)
        cancel.raise_if_cancelled()

    study.transplant = slow  # type: ignore[method-assign]
    key = page.send("transplant", index=CAR, object="car")
    assert started.wait(10)
    page.send("cancel")
    gate.set()
    page.widget.wait()
    assert page.reply(key)[0]["error"] == "cancelled"
    assert page.widget.ablation["active"] == []


def test_a_transplant_belongs_to_its_picture(page: Page) -> None:
    explorer = page.widget
    page.ask("transplant", index=CAR, object="car")
    after = explorer.caption_after
    explorer.scene = 2
    explorer.wait()
    assert (explorer.caption_after, explorer.transplanted) == ("", None)
    explorer.scene = 0
    explorer.wait()
    assert explorer.caption_after == after


def test_transplant_from_python(explorer: Explorer) -> None:
    after = explorer.transplant("tree", "car")
    assert after.split()[explorer.transplanted["index"]] == "car"
    with pytest.raises(BadArgument, match="a word of the caption"):
        explorer.transplant("zebra", "car")


def test_the_change_is_measured_beside_the_prediction(page: Page, study: FakeStudy) -> None:
    explorer = page.widget
    assert explorer.ablation["measured"] is None
    page.ask("ablate", ids(explorer, 7), mode="zero")
    explorer.wait()
    chosen = explorer.kept[:7]
    sums = study.evidence["gradient_sum"].values.ravel()[chosen]
    assert explorer.ablation["predicted"] == pytest.approx(-float(sums.sum()), rel=1e-5)
    assert explorer.ablation["predicted_here"] == pytest.approx(-0.35)
    assert explorer.ablation["measured"] == pytest.approx(-0.28)
    assert explorer.ablation["unit"] == "nats"
    page.ask("ablate", ids(explorer, 7), mode="scale", scale=0.5)
    explorer.wait()
    assert explorer.ablation["predicted"] == pytest.approx(-0.5 * float(sums.sum()), rel=1e-5)
    page.ask("restore")
    explorer.wait()
    assert explorer.ablation["measured"] is None


def test_what_cannot_be_measured_says_why(page: Page, study: FakeStudy) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BadArgument("concept: the caption does not name it")

    study.measured_change = refuse  # type: ignore[method-assign]
    page.ask("ablate", ids(page.widget, 7), mode="zero")
    page.widget.wait()
    assert page.widget.ablation["measured"] is None
    assert "does not name it" in page.widget.ablation["why"]
    assert page.widget.status["state"] == "ready"


def test_the_panel_alone_measures_too(study: FakeStudy) -> None:
    panel = AblationPanel(study, scene=3)
    page = Page(panel)
    page.ask("ablate", [np.asarray(panel.kept[:4], "<i4").tobytes()], mode="zero")
    panel.wait()
    assert panel.ablation["measured"] == pytest.approx(-0.16)
    with pytest.raises(BadArgument, match="0 to 5"):
        AblationPanel(study, scene=6)
    panel.close()


def test_both_stages_over_the_patches(page: Page, study: FakeStudy) -> None:
    explorer = page.widget
    chosen = np.asarray(explorer.kept[:5])
    message, _ = page.ask("patch_scores", [chosen.astype("<i4").tobytes()], scene=0)
    assert message["result"] == {"count": 5}
    found = study.patch_scores(chosen // 512, chosen % 512, scene=0)
    sent = np.frombuffer(explorer.difference_map, "<f4").reshape(12, 12)
    np.testing.assert_allclose(sent, found.difference, rtol=1e-6)
    sent = np.frombuffer(explorer.gradcam_map, "<f4").reshape(12, 12)
    np.testing.assert_allclose(sent, found.gradcam, rtol=1e-6)
    assert "nats" in explorer.labels["gradcam_map"]
    page.ask("lens", scene=0)
    assert explorer.patch_words[3] == study.patch_words(0)[3]
    explorer.scene = 1
    explorer.wait()
    assert explorer.difference_map == explorer.gradcam_map == b""
    assert explorer.patch_words == []


def test_the_neuron_s_page_says_what_it_adds_to_other_words(page: Page, study: FakeStudy) -> None:
    flat = int(page.widget.kept[0])
    message, _ = page.ask("neuron", id=flat)
    result = json.loads(json.dumps(message["result"]))
    assert len(result["scenes"]) == 6
    assert result["scenes"][0]["value"] >= result["scenes"][-1]["value"]
    assert result["neurons"] == 6 * 512
    contribution = study.word_shares(progress=lambda *_: None)["contribution"].values
    row, index = flat // 512, flat % 512
    assert {share["name"] for share in result["concepts"]} == {"bus", "car", "tree"}
    best = result["concepts"][0]
    assert best["contribution"] == pytest.approx(float(contribution[:, row, index].max()))
    place = ["bus", "car", "tree"].index(best["name"])
    ahead = (contribution[place] > contribution[place, row, index]).sum()
    assert best["rank"] == ahead + 1


def test_the_table_says_which_other_words_neurons_serve(page: Page, study: FakeStudy) -> None:
    ids = [int(one) for one in page.widget.kept[:40]]
    message, _ = page.ask("serves", ids=ids)
    result = json.loads(json.dumps(message["result"]))
    contribution = study.word_shares(progress=lambda *_: None)["contribution"].values
    flat = contribution.reshape(3, -1)
    best = {word: set(np.argsort(-flat[n])[:200].tolist()) for n, word in ((0, "bus"), (2, "tree"))}
    for place, words in zip(ids, result["serves"], strict=True):
        assert set(words) == {word for word, some in best.items() if place in some}
    assert 0 < sum(map(bool, result["serves"])) < len(ids)


def test_a_caption_alone_takes_what_is_carried_onto_it() -> None:
    asked: list[tuple[int, str, list[int]]] = []

    def put(index: int, name: str, cells: list[int]) -> str:
        asked.append((index, name, cells))
        return "a red bus"

    diff = CaptionDiff("a red car", concept="car", transplant=put)
    assert diff.transplants
    Page(diff).ask("transplant", index=2, object="bus", cells=[])
    assert asked == [(2, "bus", [])]
    assert (diff.caption_after, diff.transplanted["said"]) == ("a red bus", "bus")
    message, _ = Page(CaptionDiff("a red car")).ask("transplant", index=2, object="bus")
    assert "transplant=" in message["error"]


def test_the_prediction_is_of_what_acts_now(study: FakeStudy) -> None:
    """What another Explorer took back predicts nothing beside what that one ablated instead."""
    one, two = Explorer(study), Explorer(study)
    try:
        one.ablate()
        one.wait()
        assert one.ablation["predicted"] is not None
        two.restore()
        two.threshold_d = 1.0
        two.ablate()
        two.wait()
        assert one.ablation["active"][0]["own"] is False
        assert (one.ablation["predicted"], one.ablation["predicted_here"]) == (None, None)
        assert one.ablation["measured"] == two.ablation["measured"]
        assert two.ablation["predicted"] is not None
    finally:
        one.close()
        two.close()

"""The copied Python does what acts on the model: the same neurons, the same caption, any mode."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.widgets import AblationPanel, ConceptPair, Explorer

CAR = 3


@pytest.fixture(scope="module")
def pocket() -> Any:
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 2)
    return mmkn.study(model, "car", scenes, target="logit")


@pytest.fixture
def real(pocket: Any) -> Iterator[Page]:
    explorer = Explorer(pocket)
    yield Page(explorer)
    explorer.close()


def places(neurons: Any) -> set[tuple[int, int]]:
    return {(n.layer, n.index) for n in neurons}


def run(code: str) -> tuple[dict[str, Any], list[str]]:
    """Run code in a fresh namespace; return it and the lines that it prints."""
    namespace: dict[str, Any] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, namespace)
    return namespace, said.getvalue().splitlines()


def touched(item: Any) -> set[tuple[int, int]]:
    return {(int(row), int(i)) for row, at in item.rows.items() for i in at}


@pytest.mark.parametrize(
    ("mode", "scale"), [("zero", 0), ("mean", 0), ("scale", -0.75), ("from_inpainted", 0)]
)
def test_what_acts_is_done_again(real: Page, mode: str, scale: float) -> None:
    """The thresholds moved on since the click, and the mode too: the click counts."""
    explorer = real.widget
    explorer.scene = 1
    explorer.wait()
    scores = explorer.selection
    explorer.threshold_d, explorer.threshold_g = (
        float(np.quantile(values, 0.8)) for values in (scores.difference, scores.gradcam)
    )
    explorer.rows_off = [2]
    explorer.unchecked = [int(i) for i in explorer.kept[-2:]]
    clicked = explorer.kept
    assert real.ask("ablate", [clicked.astype("<i4").tobytes()], mode=mode, scale=scale)[0]["ok"]
    (acting,) = explorer.study.model.interventions.active
    explorer.mode, explorer.quantile_d, explorer.quantile_g = "quantile", 0.9, 0.5
    explorer.ablate_mode, explorer.ablate_scale, explorer.unchecked = "zero", 3.0, [7]
    found, said = run(explorer.to_python())
    assert places(found["neurons"]) == places(explorer.neurons)
    assert places(found["acting"]) == touched(acting)
    assert said == [explorer.caption_after]
    if mode == "zero":
        assert explorer.caption_after != explorer.caption_before
    assert found["study"].model.interventions.active == ()


def test_neurons_that_no_threshold_gives_are_named(real: Page) -> None:
    explorer = real.widget
    chosen = np.asarray([5, 700, 2049], "<i4")
    real.ask("ablate", [chosen.tobytes()], mode="zero")
    code = explorer.ablation["code"]
    assert "acting = [(0, 5), (1, 188), (4, 1)]" in code
    _, said = run(explorer.to_python())
    assert said == [explorer.caption_after]


def test_all_that_acts_acts_in_its_order(real: Page) -> None:
    explorer = real.widget
    model = explorer.study.model
    model.interventions.push(model.ablate({4: [1, 2]}, "scale", scale=2.5, name="mine"))
    panel = AblationPanel(explorer.study)
    Page(panel).ask("ablate", mode="zero")
    best = explorer.kept[20]
    explorer.threshold_g = float(explorer.selection.gradcam.ravel()[best])
    assert len(explorer.kept) == 20
    explorer.ablate("mean")
    code = explorer.to_python()
    (line,) = (line for line in code.splitlines() if line.startswith("with "))
    assert line.index("scale=2.5") < line.index("acting_2") < line.index('acting_3, mode="mean"')
    assert run(code)[1] == [explorer.caption_after]
    panel.close()
    model.interventions.clear()


def test_what_cannot_be_written_down_is_said(real: Page) -> None:
    explorer = real.widget
    model = explorer.study.model
    values = np.ones((len(model.sites), model.n_neurons), np.float32)
    model.interventions.push(model.ablate({4: [1]}, "mean", reference=values, name="by hand"))
    assert "# active too, and made elsewhere: <ablation 'by hand'" in explorer.ablation["code"]
    model.interventions.clear()
    assert explorer.ablation["code"] == ""
    assert run(explorer.to_python())[1] == []


def test_a_transplant_is_done_again(real: Page) -> None:
    explorer = real.widget
    word = explorer.caption_before.split()[-1]
    for how in ({"object": "car"}, {"patches": [9, 10, 17, 18]}):
        explorer.transplant(word, **how)
        assert run(explorer.to_python())[1] == [explorer.caption_after]
    explorer.restore()


def test_a_picture_of_one_s_own_is_asked_for(real: Page, pocket: Any) -> None:
    explorer = real.widget
    explorer.add_picture(pocket.scenes[0].image, "mine.png")
    explorer.wait()
    explorer.ablate()
    with pytest.raises(NameError, match=r"put here the path of mine\.png"):
        run(explorer.to_python())


def test_a_pair_s_part_is_done_again(pocket: Any) -> None:
    world = mmkn.datasets.pocket_world("val", 60)
    bus = mmkn.study(pocket.model, "bus", world.with_concept("bus", 2))
    pair = ConceptPair(pocket, bus)
    for part in ("a", "shared", "b"):
        if not len(pair.neurons_of(part)):
            continue
        captions = pair.ablate(part)
        (acting,) = pocket.model.interventions.active
        found, said = run(pair.setup_code + "\n" + pair.ablation["code"])
        assert places(found["acting"]) == touched(acting)
        assert tuple(said) == captions
    pair.close()


def test_experts_keep_their_places() -> None:
    study = FakeStudy(layers=4)
    for k, site in enumerate(study.model.sites):
        site.layer, site.expert = k // 2, k % 2
    explorer = Explorer(study)
    explorer.rows_off = [3]
    explorer.unchecked = [int(explorer.kept[0])]
    explorer.ablate()
    code = explorer.ablation["code"]
    assert ".filter(lambda n: (n.layer, n.expert) not in {(1, 1)})" in code
    gone = explorer.selection.place(explorer.unchecked[0])
    assert f"exclude=[{gone}]" in code
    assert len(gone) == 3
    explorer.close()

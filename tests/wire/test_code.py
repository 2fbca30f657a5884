"""The copied Python does what acts on the model: the same neurons, the same caption, any mode."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy
from PIL import Image

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


def own_picture(pocket: Any) -> tuple[Page, Any]:
    """Return an Explorer that shows a picture of one's own, and that picture's scene."""
    explorer = Explorer(pocket)
    scene = mmkn.datasets.pocket_world("test", 60).with_concept("car", 1)[0]
    explorer.add_picture(scene.image, "mine é.png")
    explorer.wait()
    return Page(explorer), scene


def paint(page: Page, mask: np.ndarray) -> None:
    rows, cols = page.widget.mask_shape
    small = np.asarray(Image.fromarray(mask).resize((cols, rows)), np.uint8) * 255
    shown = page.widget.scene
    assert page.ask("inpaint", [small.tobytes()], shape=[rows, cols], scene=shown)[0]["ok"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_picture_of_one_s_own_is_read_from_a_file(pocket: Any, folder: Path) -> None:
    page, _ = own_picture(pocket)
    explorer = page.widget
    explorer.ablate()
    assert run(explorer.to_python())[1] == [explorer.caption_after]
    explorer.transplant(explorer.caption_before.split()[-1], patches=[9, 10, 17, 18])
    assert run(explorer.to_python())[1] == [explorer.caption_after]
    assert [p.suffix for p in (folder / "mmkn_pictures").iterdir()] == [".png"]
    explorer.close()


def test_the_exported_script_runs_alone_and_prints_what_it_found(pocket: Any, folder: Path) -> None:
    """Painted, computed with, ablated; the script reads picture and mask from their files."""
    page, scene = own_picture(pocket)
    explorer = page.widget
    paint(page, scene.mask("car"))
    assert page.ask("compute", concept="car")[0]["ok"]
    assert explorer.scenes[explorer.scene]["name"] == "mine é.png"
    first = explorer.to_python()
    explorer.ablate()
    files = page.ask("write_pictures")[0]["result"]["files"]
    assert len(files) == len(set(files)) == 2
    script = explorer.save_python(folder / "car.py")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(script)], cwd=elsewhere, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{len(explorer.neurons)} neurons of 'car' in pocket"
    assert lines[1].split()[:3] == ["layer", "expert", "index"]
    assert lines[-2:] == [
        f"before: {explorer.caption_before}",
        f"after: {explorer.caption_after}",
    ]
    assert explorer.caption_after != explorer.caption_before
    found, _ = run(explorer.to_python())
    assert places(found["neurons"]) == places(explorer.neurons)
    np.testing.assert_array_equal(
        found["study"].evidence["difference"].values,
        explorer.study.evidence["difference"].values,
    )

    # Painted anew: until it is computed again the code is that of the scores.
    paint(page, np.roll(scene.mask("car"), 5, 1))
    assert explorer.to_python().startswith(first[: first.index("neurons =")])
    assert run(explorer.to_python())[1] == [explorer.caption_after]
    explorer.close()


def test_a_picture_alone_is_copied_without_scores(pocket: Any, folder: Path) -> None:
    explorer = Explorer(pocket.model, pocket.scenes[0].image, "car")
    found, _ = run(explorer.to_python())
    assert len(found["study"].scored) == len(found["neurons"]) == 0
    assert found["study"].caption(0) == explorer.caption_before
    explorer.close()


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

"""Three people's paths, from the first click to the file that they keep, on the pocket model."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, drag

CELLS = [
    "import torch; torch.set_num_threads(1)\n"
    "import mmkn_widgets as mmkn\n"
    "model = mmkn.load_model('pocket')\n"
    "val = mmkn.datasets.pocket_world('val')\n"
    "study = mmkn.study(model, 'car', val.with_concept('car', 12))\n"
    "mine = mmkn.datasets.pocket_world('test', 60).with_concept('car', 1)[0]",
    "explorer = mmkn.Explorer(study)\nexplorer",
    "explorer",
    "bus = mmkn.study(model, 'bus', val.with_concept('bus', 12))\n"
    "pair = mmkn.compare(study, bus)\npair",
]
PNG = "import io; out = io.BytesIO(); mine.image.save(out, 'PNG')"


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    return open_shared("people.ipynb", CELLS, accept_downloads=True)


@pytest.fixture
def explorer(notebook: NotebookPage) -> Iterator[ExplorerOnPage]:
    notebook.scroll_to(1)
    yield ExplorerOnPage(notebook.page, notebook.output(1))
    notebook.execute("explorer.restore(); explorer._show_study(study); explorer.overlay = 'kept'")
    assert notebook.errors == []


def bring(notebook: NotebookPage, root: Locator) -> None:
    """Upload the own picture, and wait until it is the scene."""
    data = bytes.fromhex(notebook.execute(PNG, "out.getvalue().hex()"))
    file = {"name": "mine.png", "mimeType": "image/png", "buffer": data}
    root.locator("input[type=file]").set_input_files(files=[file])  # type: ignore[list-item]
    expect(root.locator(".strip [aria-selected=true]")).to_have_attribute(
        "aria-label", re.compile("your own picture, mine.png")
    )


def paint_car(notebook: NotebookPage, root: Locator) -> None:
    stage = root.locator(".a-without canvas")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    x, y = notebook.python("[float(a.mean() / 96) for a in mine.mask('car').nonzero()[::-1]]")
    at = (box["x"] + x * box["width"], box["y"] + y * box["height"])
    drag(notebook.page, (at[0] - 12, at[1]), (at[0] + 12, at[1]))


def saved_script(explorer: ExplorerOnPage, folder: Path) -> Path:
    """Export as a person does, and return the file."""
    explorer.root.locator("summary", has_text="export").click()
    with explorer.page.expect_download() as download:
        explorer.button("thresholds as Python").click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def run(script: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def own_scene_shown(root: Locator) -> None:
    """The own picture is the scene, and its thumbnail is in sight."""
    chosen = root.locator(".strip [aria-selected=true]")
    expect(chosen).to_have_attribute("aria-label", re.compile("your own picture, mine.png"))
    root.page.wait_for_timeout(200)
    tile, strip = chosen.bounding_box(), root.locator(".tiles").bounding_box()
    assert tile is not None and strip is not None
    assert strip["x"] - 1 <= tile["x"]
    assert tile["x"] + tile["width"] <= strip["x"] + strip["width"] + 1


def test_own_picture_to_ablated_caption(
    notebook: NotebookPage,
    explorer: ExplorerOnPage,
    tmp_path: Path,
) -> None:
    root = explorer.root
    root.get_by_role("radio", name="GradCAM", exact=True).click()
    started, clicks = time.monotonic(), 0

    bring(notebook, root)
    clicks += 1
    own_scene_shown(root)
    expect(root.locator(".knows")).to_contain_text("nothing but drawn scenes")
    expect(root.locator(".a-picture")).to_contain_text("paint a mask of the car first")
    paint_car(notebook, root)
    explorer.button("inpaint").click()
    clicks += 2
    expect(root.locator(".a-top .chip")).to_contain_text("scores are of the old one")
    own_scene_shown(root)
    explorer.button("compute again").click()
    clicks += 1
    notebook.wait_for_python("explorer.facts['own'] == 1")
    own_scene_shown(root)
    explorer.ablate.click()
    clicks += 1
    expect(explorer.caption_after.locator("del")).to_contain_text("car")
    seconds = time.monotonic() - started
    print(f"own ablated caption: {clicks} clicks, {seconds:.1f} s")  # pytest -s shows it
    assert clicks == 5
    own_scene_shown(root)
    expect(root.locator(".fault")).to_have_count(0)

    lines = run(saved_script(explorer, tmp_path))
    assert lines[0] == f"{notebook.python('len(explorer.neurons)')} neurons of 'car' in pocket"
    before, after = notebook.python("[explorer.caption_before, explorer.caption_after]")
    assert lines[-2:] == [f"before: {before}", f"after: {after}"]

    # Another word is one click away, and the picture stays.
    other = notebook.python("next(w for w in mine.categories if w != 'car')")
    root.locator(".captions dd").first.get_by_role("button", name=re.compile(other)).first.click()
    notebook.wait_for_python(f"explorer.concept == {other!r}")
    own_scene_shown(root)
    assert notebook.python("[explorer.facts[k] for k in ('scenes', 'own')]") == [12, 0]
    expect(root.locator(".a-picture")).to_contain_text(f"paint a mask of the {other} first")


def test_two_concepts_compared(notebook: NotebookPage) -> None:
    notebook.scroll_to(3)
    pair = ExplorerOnPage(notebook.page, notebook.output(3), "two concepts side by side").root
    pair.locator(".choose", has_text="shared").click()
    # A neuron that both share and that acts on two sides: each concept's own words and sign.
    flat, name, acts = notebook.python(
        "(lambda t: [int(pair.a.look.index.flat(int(t['layer']), int(t['index']))),"
        " f\"L{t['layer']}·{t['index']}\", [float(t['activation_a']), float(t['activation_b'])]])"
        "((lambda f: f[(f.part == 'shared') & (f.activation_a * f.activation_b < 0)].iloc[0])"
        "(pair.to_dataframe()))"
    )
    row = pair.locator(".trow", has_text=re.compile(f"^{name}"))
    row.scroll_into_view_if_needed()
    sides = row.locator(".side")
    expect(sides).to_have_count(2)
    for k, side in enumerate("ab"):
        word = notebook.python(f"pair.{side}.look.words([{flat}])[0][0]")
        expect(sides.nth(k)).to_contain_text("+" if acts[k] > 0 else "−")
        expect(sides.nth(k)).to_contain_text(word)
    pair.get_by_role("button", name=re.compile("^ablate .* own of car")).click()
    notebook.wait_for_python("pair.b_caption_random != ''")
    expect(pair.locator(".p-a .captions dd").nth(1).locator("del")).to_contain_text("car")
    pair.get_by_role("button", name="measure", exact=True).click()
    expect(pair.locator("table.effects")).to_contain_text("own of car", timeout=90_000)
    found = notebook.python(
        "(lambda space: [exec(pair.setup_code, space), exec("
        f"{PAIR_SETS!r}, space), len(space['shared'])][2])(dict())"
    )
    assert found == notebook.python("len(pair.shared)")
    pair.get_by_role("button", name="restore all").click()
    notebook.wait_for_python("not model.interventions.active")
    expect(pair.locator(".fault")).to_have_count(0)
    assert notebook.errors == []


PAIR_SETS = "a, b = study_a.neurons(), study_b.neurons(); shared = a & b"


def test_thresholds_tuned_and_exported(
    notebook: NotebookPage, explorer: ExplorerOnPage, tmp_path: Path
) -> None:
    root = explorer.root
    kept = notebook.python("len(explorer.neurons)")
    explorer.drag_slider("difference", -0.05)
    notebook.wait_for_python(f"len(explorer.neurons) != {kept}")
    table = root.locator(".trow input").first
    table.scroll_into_view_if_needed()
    table.uncheck()
    notebook.wait_for_python("len(explorer.unchecked) == 1")
    kept = notebook.python("len(explorer.neurons)")
    expect(explorer.ablate).to_have_text(f"Ablate {kept:,} neurons")
    lines = run(saved_script(explorer, tmp_path))
    assert lines[0] == f"{kept} neurons of 'car' in pocket"
    best = notebook.python("[explorer.neurons[0].layer, explorer.neurons[0].index]")
    assert [int(lines[2].split()[0]), int(lines[2].split()[2])] == best
    assert lines[-1] == f"before: {notebook.python('explorer.caption_before')}"


def test_an_error_goes_when_the_same_succeeds_and_shown_twice_is_no_error(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    """A word that no scene shows, then one that they show; the Explorer is there twice."""
    root, page = explorer.root, notebook.page
    concept = root.locator(".a-top input").first
    concept.fill("zebra")
    concept.press("Enter")
    fault = root.locator(".a-top .fault")
    expect(fault).to_contain_text("an object that the scenes show")
    concept.fill("dog")
    concept.press("Enter")
    notebook.wait_for_python("explorer.concept == 'dog'")
    expect(root.locator(".fault")).to_have_count(0)
    expect(root.locator(".alert")).to_be_hidden()
    concept.fill("zebra")
    concept.press("Enter")
    expect(fault).to_be_visible()
    explorer.ablate.click()  # who goes on has read it
    expect(root.locator(".fault")).to_have_count(0)
    expect(concept).to_have_value("dog")
    notebook.wait_for_python("explorer.ablation['measured'] is not None")
    notebook.scroll_to(2)
    second = ExplorerOnPage(page, notebook.output(2)).root
    for k in range(3):
        second.locator(".trow:not([hidden])").nth(k).click()
        notebook.execute("pair.ablate('a'); explorer.restore()")
    page.wait_for_timeout(1000)
    for one in (root, second):
        expect(one.locator(".fault")).to_have_count(0)
        expect(one.locator(".alert")).to_be_hidden()

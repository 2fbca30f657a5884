"""Every notebook runs from top to bottom, shows what it is kept with, and checks its exercise."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image
from run_tutorials import run

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: kept without outputs: charts of another package, which have no picture
BARE = {"dashboard"}

#: what solves each exercise, run in the kernel that has run the notebook
SOLVED = {
    "01_quickstart": "mine = mmkn.study(model, 'dog', val.with_concept('dog', 16)).neurons(top=20)",
    "02_neurons": "against = int((activation * votes[bus]).argmin())",
    "03_two_stage_filter": "against = int((study.evidence.gradcam.values[rivals['stage 1 only']"
    ".rows(model), rivals['stage 1 only'].index] < 0).sum())",
    "04_thresholds": "import numpy as np\n"
    "threshold_d, threshold_g = 2.0, float(np.sort(study.evidence.gradcam.values.ravel())[-9])",
    "05_methods_and_truth": "which = str(largest.concept.values[int(largest.argmax())])",
    "06_what_a_neuron_sees": "sharer = max(counts, key=counts.get)",
    "challenge": "import numpy as np\nthreshold_d = 0.0\n"
    "threshold_g = float(np.sort(game.study.evidence.gradcam.values.ravel())[-9])",
    "07_editing": "mine = interventions.edit(model, neurons, 'car', 'boat', top=5, alpha=None,"
    " activation=study.evidence, scenes=scenes)",
    "08_three_models": "best = max((r for r in rows if r['model'] == 'pocket-smollm2'"
    " and float(r['scene_mean']) >= 0.9), key=lambda r: float(r['suppression_mean']))['method']",
    "09_your_own_model": "Image.fromarray(example.mask('bird')).save(folder / 'bird.png')\n"
    "seen = mmkn.datasets.single_scene(folder / 'mine.png', folder / 'bird.png', 'bird')\n"
    "mine = mmkn.study(model, 'bird', seen).neurons()",
    "10_data_sets": "more = studies.run_study(model, spec, concepts=['car', 'dog', 'cup'],"
    " out=out, **small)",
}

_NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


def told(notebook: Any) -> list[str]:
    """Return the text that a notebook shows, output by output."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            found.append("".join(text))
    return found


def pictures(notebook: Any) -> list[np.ndarray]:
    """Return the figures (not those of widgets), small and grey."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data and "A widget" not in data.get("text/plain", ""):
                png = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
                found.append(np.asarray(png.convert("L").resize((48, 48)), float))
    return found


def assert_same_text(now: str, kept: str) -> None:
    assert _NUMBER.sub("#", now).split() == _NUMBER.sub("#", kept).split()
    for a, b in zip(_NUMBER.findall(now), _NUMBER.findall(kept), strict=True):
        x, y = (float(one.replace(",", "").replace("−", "-")) for one in (a, b))
        # captions of another machine may differ on a scene; the last digits of an error always do
        assert x == pytest.approx(y, rel=0.1, abs=0.06), (now, kept)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_is_kept_with(path: Path) -> None:
    answers: list[str] = []

    def solve(ask: Any) -> None:
        notebook = nbformat.read(path, as_version=4)
        tagged = [c for c in notebook.cells if "check" in c.metadata.get("tags", [])]
        if path.stem in SOLVED:
            ask(SOLVED[path.stem])
            answers.extend(told(nbformat.v4.new_notebook(cells=[ask(tagged[0].source)])))

    now, kept = run(path, after=solve), nbformat.read(path, as_version=4)
    cells = [cell for cell in now.cells if cell.cell_type == "code" and cell.source.strip()]
    assert cells
    assert all(cell.execution_count for cell in cells)
    if path.stem in SOLVED:
        assert "Right." in "".join(answers), answers
    if path.stem in BARE:
        return
    for a, b in zip(told(now), told(kept), strict=True):
        assert_same_text(a, b)
    for x, y in zip(pictures(now), pictures(kept), strict=True):
        assert np.abs(x - y).mean() < 8


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_with_what_it_shows_and_nothing_else(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in code for output in cell.outputs]
    assert bool(shown) is (path.stem not in BARE)
    for output in shown:
        assert output.get("name") != "stderr"
        assert output.output_type != "error"
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = [one for one in re.findall(r"\]\(([^)]+)\)", text) if "://" not in one]
    assert [one for one in links if not (FOLDER / one).exists()] == []


def test_every_tutorial_has_an_exercise_that_is_solved_here() -> None:
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
        assert ("exercise" in tags) is (path.stem in SOLVED)
        assert ("check" in tags) is (path.stem in SOLVED)


def test_the_quickstart_is_there_and_in_the_list() -> None:
    names = [path.name for path in NOTEBOOKS]
    assert names[0] == "01_quickstart.ipynb"
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"({name})" not in listed] == []

"""The Explorer in a real JupyterLab: drag, click, read the captions, look into the kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .notebook import NotebookPage, drag

WIRE = Path(__file__).resolve().parents[1] / "wire"
OpenNotebook = Callable[..., NotebookPage]


@pytest.fixture
def notebook(open_notebook: OpenNotebook, write_cells: Callable[..., None]) -> NotebookPage:
    """Return a notebook whose last output is an Explorer of a study without a model."""
    write_cells(
        "explorer.ipynb",
        [
            f"import sys; sys.path.insert(0, {str(WIRE)!r})\n"
            "from fake_study import FakeStudy\n"
            "from mmkn_widgets.widgets import Explorer\n"
            "study = FakeStudy()",
            "explorer = Explorer(study)\nexplorer",
        ],
    )
    made = open_notebook("explorer.ipynb")
    made.run_all()
    return made


def widget(notebook: NotebookPage) -> Locator:
    found = notebook.output(1).locator(".mmkn")
    expect(found).to_be_visible(timeout=20_000)
    return found


def test_drag_then_ablate_then_restore(notebook: NotebookPage) -> None:
    root = widget(notebook)
    before = notebook.python("len(explorer.neurons)")
    assert before == notebook.python("len(study.neurons())") > 40
    corner = root.locator(".plane .corner")
    corner.scroll_into_view_if_needed()
    box = corner.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    drag(notebook.page, (x, y), (x + 90, y - 20))
    notebook.wait_for_python(f"len(explorer.neurons) != {before}")
    kept = notebook.python("len(explorer.kept)")
    assert notebook.python("len(explorer.neurons)") == kept
    button = root.locator("button.primary")
    expect(button).to_have_text(re.compile(rf"Ablate {kept} neurons"))
    button.click()
    expect(root.locator(".captions ins")).to_have_text("bus")
    expect(root.locator(".captions del")).to_have_text("car")
    expect(root.locator(".chip:not([hidden])")).to_contain_text(f"{kept} car neurons ablated")
    after = notebook.python("explorer.caption_after")
    assert "car" not in after.split()
    assert "tree" in after.split()
    assert notebook.python("study.model.interventions.active[0].n_neurons") == kept
    root.locator(".a-act").get_by_role("button", name="undo").click()
    notebook.wait_for_python("study.model.interventions.active == ()")
    root.get_by_role("button", name="redo").click()
    notebook.wait_for_python("len(study.model.interventions.active) == 1")
    root.get_by_role("button", name="restore all").click()
    notebook.wait_for_python("study.model.interventions.active == ()")
    expect(root.locator(".chip:not([hidden])")).to_have_count(0)
    assert notebook.errors == []


def test_a_drag_sends_nothing_until_it_ends(notebook: NotebookPage) -> None:
    root = widget(notebook)
    notebook.execute("seen = []; explorer.observe(lambda c: seen.append(c['new']), 'threshold_d')")
    corner = root.locator(".plane .corner")
    corner.scroll_into_view_if_needed()
    box = corner.bounding_box()
    assert box is not None
    page = notebook.page
    page.mouse.move(box["x"] + 7, box["y"] + 7)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(box["x"] + 7 + step * 2, box["y"] + 7)
    page.wait_for_timeout(300)
    assert notebook.python("seen") == []
    page.mouse.up()
    notebook.wait_for_python("len(seen) == 1")
    shown = root.locator('input[aria-label="difference threshold, number"]').input_value()
    assert notebook.python("seen[0]") == pytest.approx(float(shown), rel=1e-3)


def test_scene_table_and_python_move_each_other(notebook: NotebookPage) -> None:
    root = widget(notebook)
    root.locator(".strip button").nth(2).click()
    notebook.wait_for_python("explorer.scene == 2")
    best = notebook.python("int(explorer.kept[0])")
    root.locator(".trow input[type=checkbox]").first.click()
    notebook.wait_for_python(f"explorer.unchecked == [{best}]")
    expect(root.locator("button.primary")).to_have_text("Ablate 59 neurons")
    notebook.execute("explorer.threshold_d = 99.0")
    expect(root.locator("button.primary")).to_be_disabled()
    notebook.execute("explorer.threshold_d = 0.7")
    expect(root.locator("button.primary")).to_be_enabled()


def test_a_cell_that_is_run_again_leaves_nothing_that_works(
    open_notebook: OpenNotebook, write_cells: Callable[..., None]
) -> None:
    """Each run leaves an Explorer in the kernel; a click costs the caption of the shown one."""
    write_cells(
        "again.ipynb",
        [
            f"import sys; sys.path.insert(0, {str(WIRE)!r})\n"
            "from fake_study import FakeStudy\n"
            "from mmkn_widgets.widgets import Explorer\n"
            "study, made = FakeStudy(), globals().get('made', [])",
            "made.append(Explorer(made[0].study if made else study))\nmade[-1]",
        ],
    )
    notebook = open_notebook("again.ipynb")
    for number in range(3):
        notebook.run_all()
        notebook.wait_for_python(f"made[{number}].shown")
    notebook.wait_for_python("[one.shown for one in made] == [False, False, True]")
    notebook.execute("made[0].study.model.written = 0")
    widget(notebook).locator("button.primary").click()
    notebook.wait_for_python("made[2].caption_after")
    notebook.execute("for one in made: one.wait()")
    assert notebook.python("made[0].study.model.written") == 1
    assert notebook.python("made[0].caption_after == made[2].caption_after")
    assert notebook.errors == []


def test_errors_and_closing_are_said_in_the_widget(notebook: NotebookPage) -> None:
    root = widget(notebook)
    notebook.execute(
        "def broken(*a, **k):\n    raise RuntimeError('out of memory')\nstudy.maps = broken"
    )
    root.locator(".strip button").nth(1).click()
    expect(root.locator(".fault")).to_contain_text("(RuntimeError); please report it")
    root.locator(".fault button").click()
    expect(root.locator(".fault")).to_be_hidden()

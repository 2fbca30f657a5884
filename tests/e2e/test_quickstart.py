"""The main job as a person does it: run the quickstart, drag, click ablate, read the caption."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .explorer import ExplorerOnPage

#: Sentences of the caption in terms of what is named, asked in the kernel.
NAMED = """
from mmkn_widgets.attribution import Concept
from mmkn_widgets.pocket.world import CATEGORIES
def named(text):
    return sorted(word for word in CATEGORIES if Concept(word).named_in(text))
"""
EXPLORER_CELL = 8
SHORT = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
study = mmkn.study(model, "car", mmkn.datasets.pocket_world("val").with_concept("car", 6))
explorer = mmkn.Explorer(study)
explorer
"""


@pytest.fixture
def short(open_notebook, write_cells):
    write_cells("short.ipynb", [SHORT])
    notebook = open_notebook("short.ipynb")
    notebook.run_all()
    return notebook


def test_drag_a_slider_and_ablate(open_notebook) -> None:
    quickstart = open_notebook("01_quickstart.ipynb")
    quickstart.run_all()
    quickstart.scroll_to(EXPLORER_CELL)
    quickstart.execute(NAMED)
    explorer = ExplorerOnPage(quickstart.page)
    before = quickstart.python("explorer.caption_before")
    named_before = quickstart.python(f"named({before!r})")
    assert "car" in named_before
    assert len(named_before) > 1
    kept = quickstart.python("len(explorer.neurons)")
    assert kept > 0

    explorer.drag_slider("difference", -0.04)
    quickstart.wait_for_python(f"len(explorer.neurons) != {kept}")
    kept = quickstart.python("len(explorer.neurons)")
    expect(explorer.ablate).to_have_text(f"Ablate {kept:,} neurons")

    explorer.ablate.click()
    after = quickstart.wait_for_python("explorer.caption_after")
    named_after = quickstart.python(f"named({after!r})")
    assert "car" not in named_after
    assert set(named_before) - {"car"} <= set(named_after)
    expect(explorer.caption_after.locator("del", has_text="car")).to_be_visible()
    # The same model that the notebook holds is changed, by as many neurons as the button said.
    assert quickstart.python("[item.n_neurons for item in model.interventions.active]") == [kept]
    assert quickstart.python("model.caption(explorer.study.scenes[explorer.scene].image)") == after

    explorer.button("restore all").click()
    quickstart.wait_for_python("not model.interventions.active")
    scene = "explorer.study.scenes[explorer.scene].image"
    assert quickstart.python(f"model.caption({scene})") == before
    assert quickstart.errors == []


def test_a_snapshot_is_ablated_and_sliders_move_on(short) -> None:
    explorer = ExplorerOnPage(short.page)
    explorer.ablate.click()
    short.wait_for_python("len(model.interventions.active) == 1")
    kept = short.python("len(explorer.neurons)")
    explorer.drag_slider("GradCAM", 0.15)
    short.wait_for_python(f"len(explorer.neurons) != {kept}")
    assert short.python("[item.n_neurons for item in model.interventions.active]") == [kept]


def test_the_side_panel_opens_an_explorer_of_its_own(short) -> None:
    page = short.page
    short.command("mmkn:open-panel")
    panel = page.locator("#mmkn-neurons")
    panel.locator('[data-variable="study"]').get_by_role("button", name="Open Explorer").click()
    view = page.locator(".mmkn-view")
    explorer = ExplorerOnPage(page, view)
    explorer.ablate.click()
    short.wait_for_python("len(model.interventions.active) == 1")
    expect(panel.locator('[data-variable="model"] li')).to_have_count(1)
    page.locator(".lm-TabBar-tab", has_text="Explorer: study").locator(
        ".lm-TabBar-tabCloseIcon"
    ).click()
    # Closing the view takes its ablation along.
    short.wait_for_python("not model.interventions.active")
    expect(panel.locator('[data-variable="model"]')).to_contain_text("unchanged")

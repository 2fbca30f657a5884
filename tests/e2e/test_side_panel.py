"""The JupyterLab extension: what its panel shows of the kernel, and how its commands begin."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

MODEL = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
"""
ABLATE = """
from mmkn_widgets.interventions import ablate
model.interventions.push(ablate(model, {4: [1, 2, 3]}, name="wheels <b>&</b> doors"))
"""


@pytest.fixture
def notebook(open_notebook):
    opened = open_notebook("panel.ipynb", [MODEL, ABLATE, "x = 1"])
    opened.command("mmkn:open-panel")
    return opened


def test_an_active_ablation_shows_and_can_be_restored(notebook) -> None:
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel).to_contain_text("No model in this notebook yet")
    notebook.run_all()
    entry = panel.locator('[data-variable="model"]')
    expect(entry).to_contain_text("wheels <b>&</b> doors")  # data is text, never HTML
    expect(entry).to_contain_text("3 neurons")
    assert entry.locator("b").count() == 0
    assert notebook.python("len(model.interventions.active)") == 1
    entry.get_by_role("button", name="Restore all").click()
    expect(entry).to_contain_text("unchanged")
    assert notebook.python("len(model.interventions.active)") == 0


def test_a_change_made_in_python_appears_by_itself(notebook) -> None:
    notebook.run_all()
    entry = notebook.page.locator('#mmkn-neurons [data-variable="model"]')
    expect(entry.locator("li")).to_have_count(1)
    notebook.execute("model.interventions.clear()")
    expect(entry).to_contain_text("unchanged")


def test_asking_leaves_no_trace_in_the_kernel(notebook) -> None:
    notebook.run_all()
    expect(notebook.page.locator('#mmkn-neurons [data-variable="model"]')).to_be_visible()
    counts = [cell["execution_count"] for cell in notebook.saved()["cells"]]
    assert counts == [1, 2, 3]
    notebook.command("notebook:run-cell")
    notebook.wait_for_python("x == 1")
    assert notebook.python("[n for n in dir() if 'overview' in n or 'mmkn_view' in n]") == []


def test_the_hint_can_be_followed(notebook) -> None:
    panel = notebook.page.locator("#mmkn-neurons")
    hint = panel.locator("pre")
    expect(hint).to_contain_text("import mmkn_widgets as mmkn")
    notebook.execute(hint.inner_text())  # a kernel in which nothing was run
    expect(panel.locator('[data-variable="model"]')).to_contain_text("pocket")


def test_the_hint_can_be_inserted(notebook) -> None:
    notebook.page.locator("#mmkn-neurons").get_by_role("button", name="Insert").click()
    sources = [cell["source"] for cell in notebook.saved()["cells"]]
    assert sources[1] == 'import mmkn_widgets as mmkn\n\nmodel = mmkn.load_model("pocket")'
    assert [sources[0], *sources[2:]] == [MODEL, ABLATE, "x = 1"]  # nothing is overwritten


def test_a_change_is_switched_off_and_on(notebook) -> None:
    notebook.run_all()
    notebook.execute("model.interventions.push(ablate(model, {5: [7]}, name='door'))")
    panel = notebook.page.locator("#mmkn-neurons")
    wheels = panel.get_by_role("switch", name="wheels")
    expect(wheels).to_be_checked()
    wheels.focus()
    notebook.page.keyboard.press("Space")
    expect(panel.locator("li", has_text="wheels")).to_have_class("mmkn-panel-off")
    assert notebook.python("[i.name for i in model.interventions.active]") == ["door"]
    expect(wheels).to_be_focused()  # drawn anew, and the keyboard is where it was
    notebook.page.keyboard.press("Space")
    names = notebook.wait_for_python(
        "len(model.interventions.active) == 2 and [i.name for i in model.interventions.active]"
    )
    assert names == ["door", "wheels <b>&</b> doors"]
    expect(wheels).to_be_checked()


def test_sets_and_stores_are_listed_and_act(notebook) -> None:
    notebook.run_all()
    notebook.execute(
        "few = mmkn.NeuronSet([4, 5], [1, 7])\n"
        "picture = mmkn.datasets.pocket_world('val', 1)[0].image\n"
        "store = mmkn.capture(model, picture)"
    )
    panel = notebook.page.locator("#mmkn-neurons")
    few = panel.locator('[data-variable="few"]')
    expect(few).to_contain_text("2 neurons · L4: 1, L5: 1")
    few.get_by_role("button", name="Ablate…").click()
    notebook.wait_for_python("len(model.interventions.active) == 2")
    expect(panel.locator("li", has_text="few")).to_contain_text("2 neurons")
    panel.locator('[data-variable="store"]').get_by_role("button", name="Open Explorer").click()
    notebook.page.locator(".mmkn-view").get_by_role("region").first.wait_for()
    assert notebook.python("[n for n in dir() if n.startswith('_mmkn_view')]") != []
    tab = notebook.page.locator(".lm-TabBar-tab", has_text="Explorer: store")
    tab.locator(".lm-TabBar-tabCloseIcon").click()
    notebook.wait_for_python("[n for n in dir() if n.startswith('_mmkn_view')] == []")


def test_a_restarted_kernel_is_recognised(notebook) -> None:
    notebook.run_all()
    panel = notebook.page.locator("#mmkn-neurons")
    expect(panel.locator('[data-variable="model"]')).to_be_visible()
    notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    expect(panel).to_contain_text("No model in this notebook yet", timeout=60_000)

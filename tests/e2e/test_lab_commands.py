"""The extension's status item, commands, menus, shortcuts, settings and launcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, wait_for

MODEL = """
import mmkn_widgets as mmkn
from mmkn_widgets.interventions import ablate
model = mmkn.load_model("pocket")
few = mmkn.NeuronSet([4, 5], [1, 7])
"""
STUDY = """
study = mmkn.study(model, "car", mmkn.datasets.pocket_world("val").with_concept("car", 6))
explorer = mmkn.Explorer(study)
explorer
"""
COMMANDS = {
    "mmkn:open-panel",
    "mmkn:restore-all",
    "mmkn:ablate",
    "mmkn:copy-as-python",
    "mmkn:new-study",
    "mmkn:open-study",
    "mmkn:tutorials",
}


@pytest.fixture(scope="module")
def shared(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    return open_shared(
        "commands.ipynb",
        [MODEL, STUDY],
        permissions=["clipboard-read", "clipboard-write"],
    )


@pytest.fixture
def notebook(shared: NotebookPage) -> Iterator[NotebookPage]:
    shared.command("docmanager:open", path="commands.ipynb")
    yield shared
    shared.execute("model.interventions.clear()")
    for dialog in shared.page.locator(".jp-Dialog").all():
        dialog.locator("button", has_text="Cancel").click()


def enabled(notebook: NotebookPage, command: str) -> bool:
    return bool(notebook.page.evaluate("(id) => window.jupyterapp.commands.isEnabled(id)", command))


def is_idle(notebook: NotebookPage, path: str) -> bool:
    return any(
        session["path"] == path and session["kernel"]["execution_state"] == "idle"
        for session in notebook.server.get("/api/sessions")
    )


def start(notebook: NotebookPage, command: str, **arguments: object) -> None:
    """Run a command that asks something, and do not wait for it."""
    notebook.page.evaluate(
        "([id, args]) => void window.jupyterapp.commands.execute(id, args)", [command, arguments]
    )


def test_the_status_bar_says_what_is_off_and_opens_the_panel(notebook) -> None:
    page = notebook.page
    item = page.locator("button.mmkn-status")
    expect(item).to_be_hidden()
    explorer = ExplorerOnPage(page)
    explorer.ablate.click()  # a widget's own work, in a thread of the kernel
    n = notebook.wait_for_python("sum(i.n_neurons for i in model.interventions.active)")
    expect(item).to_have_text(f"{n} neurons off")
    panel = page.locator("#mmkn-neurons")
    expect(panel).to_be_hidden()
    item.click()
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Restore all").click()
    expect(item).to_be_hidden()
    notebook.execute("model.interventions.push(ablate(model, {4: [1]}, 'scale', scale=3.0))")
    expect(item).to_have_text("1 neuron changed")


def test_the_status_bar_follows_a_running_cell(notebook) -> None:
    item = notebook.page.locator("button.mmkn-status")
    notebook.command("notebook:insert-cell-below")
    notebook.page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.activeCell.model.sharedModel.setSource(
                'import time\\nwith ablate(model, {4: [1, 2]}):\\n    time.sleep(4)\\n' +
                'time.sleep(4)');
            void window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    expect(item).to_have_text("2 neurons off", timeout=3_000)
    expect(item).to_be_hidden(timeout=8_000)
    busy = notebook.page.locator(".jp-InputPrompt", has_text="[*]")
    assert busy.count() == 1
    expect(busy).to_have_count(0, timeout=20_000)


def test_commands_have_names_a_category_and_a_state(notebook) -> None:
    page = notebook.page
    known = page.evaluate("() => window.jupyterapp.commands.listCommands()")
    assert set(known) >= COMMANDS
    wait_for("nothing to restore", lambda: not enabled(notebook, "mmkn:restore-all"))
    assert not enabled(notebook, "mmkn:copy-as-python")
    wait_for("a set to ablate", lambda: enabled(notebook, "mmkn:ablate"))
    notebook.command("apputils:activate-command-palette")
    page.locator(".lm-CommandPalette-input").fill("neurons")
    shown = page.locator(".lm-CommandPalette-item")
    expect(shown.filter(has_text="Ablate Neurons…")).to_be_visible()
    expect(shown.filter(has_text="Restore All Neurons")).to_be_hidden()  # nothing to restore
    page.locator(".lm-CommandPalette-input").fill("")
    expect(
        page.locator(".lm-CommandPalette-header").get_by_text("Neurons", exact=True)
    ).to_have_count(1)
    page.keyboard.press("Escape")


def test_ablate_and_restore_from_the_run_menu(notebook) -> None:
    page = notebook.page
    wait_for("a set to ablate", lambda: enabled(notebook, "mmkn:ablate"))
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator(".lm-Menu-item", has_text="Ablate Neurons…").click()
    notebook.wait_for_python("[i.name for i in model.interventions.active] == ['few']")
    wait_for("something to restore", lambda: enabled(notebook, "mmkn:restore-all"))
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator(".lm-Menu-item", has_text="Restore All Neurons").click()
    notebook.wait_for_python("not model.interventions.active")


def test_ablate_asks_where_there_is_a_choice(notebook) -> None:
    page = notebook.page
    notebook.execute("many = mmkn.NeuronSet([5], [3]); second = mmkn.load_model('pocket')")
    notebook.command("mmkn:open-panel")
    expect(page.locator('#mmkn-neurons [data-variable="many"]')).to_be_visible()
    expect(page.locator('#mmkn-neurons [data-variable="second"]')).to_be_visible()
    start(notebook, "mmkn:ablate")
    dialog = page.locator(".jp-Dialog")
    dialog.locator("select").select_option("many")
    dialog.get_by_role("button", name="OK").click()
    expect(dialog).to_contain_text("In which model?")
    dialog.locator("select").select_option("second (pocket)")
    dialog.get_by_role("button", name="OK").click()
    notebook.wait_for_python("[i.name for i in second.interventions.active] == ['many']")
    assert notebook.python("len(model.interventions.active)") == 0
    notebook.execute("del many, second")
    expect(page.locator('#mmkn-neurons [data-variable="many"]')).to_be_hidden()


def test_the_changes_are_copied_as_python(notebook) -> None:
    notebook.execute("model.interventions.push(ablate(model, {4: [1, 2]}, name='it\\'s \"x\"'))")
    wait_for("something to copy", lambda: enabled(notebook, "mmkn:copy-as-python"))
    notebook.command("mmkn:copy-as-python")
    code = notebook.page.evaluate("() => navigator.clipboard.readText()")
    notebook.execute("model.interventions.clear()")
    notebook.execute(code)
    assert notebook.python("[i.name for i in model.interventions.active]") == ['it\'s "x"']
    assert notebook.python("model.interventions.active[0].n_neurons") == 2


def test_shortcuts_act_and_collide_with_none(notebook) -> None:
    page = notebook.page
    page.evaluate(
        """() => {
            const { shell } = window.jupyterapp;
            shell.collapseRight();
        }"""
    )
    panel = page.locator("#mmkn-neurons")
    expect(panel).to_be_hidden()
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    page.keyboard.press("Alt+Shift+n")
    expect(panel).to_be_visible()
    notebook.execute("model.interventions.push(ablate(model, {4: [1]}))")
    expect(panel.locator('[data-variable="model"] li')).to_have_count(1)
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    page.keyboard.press("Alt+Shift+r")
    notebook.wait_for_python("not model.interventions.active")
    keys = page.evaluate(
        """() => window.jupyterapp.commands.keyBindings
            .filter(({ keys }) => /^Alt Shift [NR]$/.test(keys.join(' ')))
            .map(({ command }) => command)"""
    )
    assert sorted(keys) == ["mmkn:open-panel", "mmkn:restore-all"]


def test_settings_shape_what_is_inserted(notebook, notebooks) -> None:
    page = notebook.page
    page.evaluate(
        """async () => {
            const { serviceManager } = window.jupyterapp;
            await serviceManager.settings.save('mmkn-widgets:plugin',
                JSON.stringify({ colormap: 'viridis', preset: 'compact', method: 'otsu' }));
        }"""
    )
    page.reload()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.evaluate("() => window.jupyterapp.restored")
    notebook.command("mmkn:new-study", cwd="")
    page.locator(".jp-NotebookPanel:visible", has_text="mmkn.Explorer(study").wait_for()
    path = page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
    cells = [cell["source"] for cell in notebook.saved()["cells"]]
    made = notebook.execute("\n".join(cells), "[explorer.colormap, explorer.preset]")
    assert made == ["viridis", "compact"]
    assert "otsu" in cells[2]
    wait_for("its kernel", lambda: is_idle(notebook, path))
    for session in notebook.server.get("/api/sessions"):
        if session["path"] == path:
            notebook.server.delete(f"/api/sessions/{session['id']}")
    page.evaluate(
        """() => window.jupyterapp.serviceManager.settings.save('mmkn-widgets:plugin', '{}')"""
    )


def test_the_launcher_begins_a_study_and_overwrites_nothing(notebook, notebooks) -> None:
    page = notebook.page
    (notebooks / "begin").mkdir()
    (notebooks / "begin" / "neurons.ipynb").write_text("mine")
    notebook.command("launcher:create", cwd="begin")
    page.locator(".jp-LauncherCard:visible", has_text="New study").click()
    page.locator(".jp-NotebookPanel:visible", has_text="mmkn.Explorer(study").wait_for()
    assert (notebooks / "begin" / "neurons.ipynb").read_text() == "mine"
    assert (notebooks / "begin" / "neurons-1.ipynb").exists()


def test_a_tutorial_is_copied_once(notebook, notebooks) -> None:
    page = notebook.page
    folder = notebooks / "lessons"
    folder.mkdir()
    (folder / "03_two_stage_filter.ipynb").write_text("mine")
    notebook.command("launcher:create", cwd="lessons")
    page.locator(".jp-LauncherCard:visible", has_text="Tutorials").click()
    dialog = page.locator(".jp-Dialog")
    dialog.locator("option").nth(4).wait_for(state="attached")
    dialog.get_by_role("button", name="Open").click()
    page.locator(".jp-NotebookPanel:visible h1", has_text="neurons").first.wait_for()
    copied = folder / "01_quickstart.ipynb"
    assert copied.exists()
    was = copied.stat().st_mtime_ns
    notebook.command("mmkn:tutorials", cwd="lessons", tutorial="01_quickstart.ipynb")
    notebook.command("mmkn:tutorials", cwd="lessons", tutorial="03_two_stage_filter.ipynb")
    wait_for("a copy", (folder / "03_two_stage_filter-1.ipynb").exists)
    assert (folder / "03_two_stage_filter.ipynb").read_text() == "mine"
    assert copied.stat().st_mtime_ns == was
    assert not (folder / "01_quickstart-1.ipynb").exists()

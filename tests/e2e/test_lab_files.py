"""Files in JupyterLab: *.mmkn.json as a page, pictures and saved studies from the file browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, expect

import mmkn_widgets as mmkn

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, drag

#: a name that would end a string, a tag, a shell word
NASTY = 'it\'s "a" <b>car & {x}'


@pytest.fixture(scope="module")
def files(notebooks) -> None:
    """Write a picture, neurons and a study under awkward names, in a folder of their own."""
    folder = notebooks / "files & more"
    folder.mkdir()
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 4)
    study = mmkn.study(model, "car", scenes)
    scenes[0].image.save(folder / f"{NASTY}.png")
    study.neurons(words=True).save(folder / f"{NASTY}.mmkn.json")
    study.save(folder / f"{NASTY} study")
    (folder / "no study").mkdir()
    (folder / "broken.mmkn.json").write_text('{"format": "<img src=x onerror=alert(1)>"}')
    (folder / "hand-made.mmkn.json").write_text(
        json.dumps(
            {
                "format": "mmkn-neuron-set",
                "version": 1,
                "neurons": [{"layer": 4, "index": 2, "score": 1.0, "words": ["<b>x</b>"]}],
                "provenance": {},
            }
        )
    )


@pytest.fixture(scope="module")
def shared(open_shared: Callable[..., NotebookPage], files) -> NotebookPage:
    return open_shared("active.ipynb", ["import mmkn_widgets as mmkn"])


@pytest.fixture
def notebook(shared: NotebookPage) -> Iterator[NotebookPage]:
    shared.command("docmanager:open", path="active.ipynb")
    shared.command("filebrowser:activate")
    shared.command("filebrowser:go-to-path", path="/files & more")
    shared.page.locator(".jp-DirListing-item", has_text="no study").wait_for()
    yield shared
    for dialog in shared.page.locator(".jp-Dialog").all():
        dialog.get_by_role("button").first.click()
    shared.page.evaluate(
        """() => {
            for (const widget of [...window.jupyterapp.shell.widgets('main')]) {
                if (widget.context?.path !== 'active.ipynb') widget.dispose();
            }
        }"""
    )


def item(notebook: NotebookPage, name: str) -> Locator:
    listed = notebook.page.locator(".jp-DirListing-item")
    return listed.filter(has=notebook.page.get_by_text(name, exact=True))


def choose(notebook: NotebookPage, name: str, entry: str) -> None:
    """Choose an entry of a file's context menu."""
    item(notebook, name).click(button="right")
    notebook.page.locator(".lm-Menu-item", has_text=entry).click()


def test_neurons_open_as_a_page_that_can_be_read(notebook) -> None:
    page = notebook.page
    item(notebook, f"{NASTY}.mmkn.json").dblclick()
    shown = page.locator(".mmkn-file:visible")
    neurons = mmkn.NeuronSet.load(notebook_path(notebook) / f"{NASTY}.mmkn.json")
    expect(shown.locator("h1")).to_have_text(f"{len(neurons)} neurons of “car”")
    facts = shown.locator("dl").inner_text().split("\n")
    for name, value in (("Model", "pocket"), ("Method", "two_stage"), ("Scenes", "4 (pocket:val)")):
        assert facts[facts.index(name) + 1] == value
    rows = shown.locator(".mmkn-file-neurons tbody tr")
    expect(rows).to_have_count(len(neurons))
    first = rows.first.locator("td").all_text_contents()
    assert first[:3] == ["1", str(neurons[0].layer), str(neurons[0].index)]
    saved = json.loads((notebook_path(notebook) / f"{NASTY}.mmkn.json").read_text())
    assert first[-1] == ", ".join(saved["neurons"][0]["words"])
    layers = shown.locator(".mmkn-file-layers tr")
    expect(layers).to_have_count(len(neurons.layer_histogram()))


def notebook_path(notebook: NotebookPage):
    return notebook.server.folder / "files & more"


def test_neurons_open_in_the_explorer_of_their_study(notebook) -> None:
    page = notebook.page
    item(notebook, f"{NASTY}.mmkn.json").dblclick()
    page.locator(".mmkn-file:visible").get_by_role("button", name="Open in Explorer").click()
    ExplorerOnPage(page, page.locator(".jp-NotebookPanel:visible"))
    kept = notebook.wait_for_python("len(study.neurons())")
    assert kept == notebook.python("len(neurons)")
    assert notebook.python("set(study.neurons().places) == set(neurons.places)")
    notebook.execute("del model, study, neurons, wanted, found")


@pytest.mark.parametrize("name", ["broken", "hand-made"])
def test_what_a_file_says_is_text(notebook, name) -> None:
    item(notebook, f"{name}.mmkn.json").dblclick()
    shown = notebook.page.locator(".mmkn-file:visible")
    expected = {"broken": "cannot be read as neurons", "hand-made": "1 neuron"}
    expect(shown.locator("h1")).to_contain_text(expected[name])
    expect(shown).to_contain_text({"broken": "<img src=x", "hand-made": "<b>x</b>"}[name])
    assert shown.locator("img, b").count() == 0


def test_a_picture_from_its_context_menu(notebook) -> None:
    page = notebook.page
    before = notebook.python("sorted(n for n in dir() if not n.startswith('_'))")
    choose(notebook, f"{NASTY}.png", "Find Neurons in This Picture…")
    dialog = page.locator(".jp-Dialog")
    dialog.locator("input").fill("car")
    dialog.get_by_role("button", name="Find").click()
    view = ExplorerOnPage(page, page.locator(".mmkn-view"))
    expect(view.root).to_contain_text("car")
    expect(view.root).to_contain_text("paint the car")
    # No model was held: the pocket model is loaded once, and stays.
    after = notebook.python("sorted(n for n in dir() if not n.startswith('_'))")
    assert set(after) - set(before) == {"pocket_model"}
    notebook.command("mmkn:open-panel")
    entry = page.locator('#mmkn-neurons [data-variable="pocket_model"]')
    expect(entry).to_be_visible()


def test_a_picture_dragged_onto_the_panel(notebook) -> None:
    page = notebook.page
    notebook.command("mmkn:open-panel")
    start = item(notebook, f"{NASTY}.png").bounding_box()
    end = page.locator("#mmkn-neurons").bounding_box()
    assert start is not None and end is not None
    drag(page, (start["x"] + 40, start["y"] + 8), (end["x"] + 60, end["y"] + 200), steps=20)
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Find neurons in this picture")
    dialog.locator("input").fill("car")
    dialog.get_by_role("button", name="Find").click()
    ExplorerOnPage(page, page.locator(".mmkn-view"))
    assert item(notebook, f"{NASTY}.png").count() == 1  # dragged, not moved


def test_a_saved_study_from_its_folder(notebook) -> None:
    page = notebook.page
    choose(notebook, f"{NASTY} study", "Open Study in Explorer")
    view = ExplorerOnPage(page, page.locator(".mmkn-view"))
    expect(view.root.get_by_role("listbox", name="scenes").get_by_role("option")).to_have_count(4)
    page.locator(".mmkn-view").wait_for()


def test_a_folder_without_a_study_says_so(notebook) -> None:
    choose(notebook, "no study", "Open Study in Explorer")
    expect(notebook.page.locator(".jp-Dialog")).to_contain_text("no study.json")
    assert notebook.page.locator(".mmkn-view").count() == 0


def test_without_a_notebook_a_new_one_is_made_and_run(page, lab, files, notebooks) -> None:
    page.goto(f"{lab.url}/lab/workspaces/alone/?reset&token={lab.token}")
    page.wait_for_function(
        "() => window.jupyterapp?.commands.hasCommand('mmkn:open-panel')", timeout=60_000
    )
    page.evaluate(
        """([path]) => void window.jupyterapp.commands.execute(
            'mmkn:find-in-picture', { path, concept: 'car' })""",
        [f"files & more/{NASTY}.png"],
    )
    ExplorerOnPage(page, page.locator(".jp-NotebookPanel:visible"))
    assert (notebooks / "files & more" / "neurons.ipynb").exists()
    for session in lab.get("/api/sessions"):
        if session["path"].startswith("files"):
            lab.delete(f"/api/sessions/{session['id']}")

"""The Explorer of a captured store in a real JupyterLab: a row, a picture, a slider, the keys."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage

CELLS = [
    "import torch; torch.set_num_threads(1)\n"
    "import mmkn_widgets as mmkn\n"
    "model = mmkn.load_model('pocket')\n"
    "images = [scene.image for scene in mmkn.datasets.pocket_world('val', 3)]\n"
    "store = mmkn.capture(model, images, generate=True)",
    "explorer = store.mmkn.explore(images)\nexplorer",
]


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    made = open_shared("store.ipynb", CELLS)
    made.scroll_to(1)
    return made


@pytest.fixture
def explorer(notebook: NotebookPage) -> ExplorerOnPage:
    return ExplorerOnPage(notebook.page, name="Explorer of stored activations")


def test_a_row_shows_its_neuron_on_the_picture_and_along_the_tokens(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    root = explorer.root
    row = root.locator('.trow[aria-rowindex="5"]:not([hidden])')
    row.click()
    third = notebook.python("int(explorer.kept[3])")
    notebook.wait_for_python(f"explorer.selected == {third}")
    name = row.locator("[role=gridcell]").nth(1).text_content() or ""
    expect(root.locator(".w-picture .reads .note")).to_have_text(name)
    expect(root.locator(".w-tokens .head .note")).to_have_text(f"activation of {name}")
    label = notebook.wait_for_python(f"explorer.token_label.endswith({name!r}) and explorer.tokens")
    shown = [text for text in root.locator(".tokens .generated").all_text_contents()]
    assert shown == [token["text"] for token in label if token["role"] == "generated"]
    assert notebook.errors == []


def test_another_picture_brings_its_maps_and_tokens(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    root = explorer.root
    picture = "() => document.querySelector('.w-picture canvas').toDataURL()"
    first = notebook.page.evaluate(picture)
    root.locator(".strip button").nth(2).click()
    notebook.wait_for_python("explorer.scene == 2")
    notebook.page.wait_for_function(f"(old) => ({picture})() !== old", arg=first)
    wanted = notebook.wait_for_python(
        "(lambda t: [x['text'] for x in explorer.tokens if x['role'] == 'generated'] == t and t)("
        "store.token_text.isel(image=2).values[(store.role.isel(image=2) == 'generated').values"
        " & store.valid.isel(image=2).values].tolist())"
    )
    expect(root.locator(".tokens .generated")).to_have_text(wanted)


def test_a_slider_and_python_keep_the_same_neurons(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    root = explorer.root
    before = notebook.python("len(explorer.neurons)")
    notebook.execute("seen = []; explorer.observe(lambda c: seen.append(1), 'threshold_d')")
    explorer.drag_slider("image", 0.1)
    notebook.wait_for_python("seen == [1]")
    kept = notebook.python("len(explorer.neurons)")
    assert 0 < kept < before
    wanted = re.compile(rf"^{kept:,}\b")
    expect(root.locator(".w-table > .head .note").first).to_have_text(wanted)
    slider = explorer.slider("text")
    slider.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.wait_for_python("explorer.threshold_g > 0")
    notebook.execute("explorer.threshold_d = explorer.threshold_g = 1e9")
    expect(root.locator(".w-table > .head .note").first).to_have_text(re.compile("^0 kept"))
    assert notebook.python("len(explorer.to_neurons())") == 0
    notebook.execute("explorer.threshold_d = explorer.threshold_g = 0.0")
    count = notebook.python("len(explorer.to_neurons())")
    expect(root.locator(".w-table > .head .note").first).to_have_text(
        re.compile(rf"^{count:,} kept")
    )


def test_where_else_lists_the_pictures_that_excite_a_neuron(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    root = explorer.root
    root.locator(".trow:not([hidden])").first.click()
    root.get_by_role("button", name="where else?").click()
    found = root.locator(".page .strip > *")
    expect(found).to_have_count(3)
    assert notebook.errors == []

"""The pocket model in a real JupyterLab: carry onto a word, bring a picture, restart."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, drag

OpenNotebook = Callable[..., NotebookPage]
#: an object other than the car whose word the caption has: its name and its place on the picture
OTHER = """(lambda words: next(
    [o.category, float(o.mask.nonzero()[1].mean() / o.mask.shape[1]),
     float(o.mask.nonzero()[0].mean() / o.mask.shape[0])]
    for o in explorer.study.scenes[explorer.scene].objects
    if o.category != 'car' and o.category in words)
)(explorer.caption_before.replace(',', '').split())
"""


@pytest.fixture
def notebook(open_notebook: OpenNotebook, write_cells: Callable[..., None]) -> NotebookPage:
    """Return a notebook with an Explorer of a study of the pocket model."""
    write_cells(
        "pocket.ipynb",
        [
            "import torch; torch.set_num_threads(1)\n"
            "import mmkn_widgets as mmkn\n"
            "model = mmkn.load_model('pocket')\n"
            "scenes = mmkn.datasets.pocket_world('val', 60).with_concept('car', 3)\n"
            "study = mmkn.study(model, 'car', scenes)",
            "explorer = mmkn.Explorer(study)\nexplorer",
        ],
    )
    made = open_notebook("pocket.ipynb")
    made.run_all()
    made.scroll_to(1)
    return made


def centre(found: Locator) -> tuple[float, float]:
    found.scroll_into_view_if_needed()
    box = found.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_an_object_carried_onto_a_word_changes_the_caption(notebook: NotebookPage) -> None:
    explorer = ExplorerOnPage(notebook.page)
    root = explorer.root
    name, x, y = notebook.python(OTHER)
    picture, car = root.locator(".a-picture canvas"), root.locator(".captions .word.concept").first
    expect(car).to_have_text(re.compile("car"))
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    start = (box["x"] + x * box["width"], box["y"] + y * box["height"])
    drag(notebook.page, start, centre(car))
    expect(explorer.caption_after.locator("ins")).to_have_text(re.compile(name))
    expect(explorer.caption_after.locator("del")).to_have_text(re.compile("car"))
    expect(root.locator(".a-caption")).to_contain_text(f"the model writes “{name}”")
    expect(root.locator(".chip", has_text=name)).to_contain_text("scene 1 only")
    assert notebook.python("explorer.transplanted['success']") is True
    assert notebook.python("model.interventions.active == ()")
    explorer.ablate.click()
    notebook.wait_for_python("len(model.interventions.active) == 1")
    notebook.wait_for_python("explorer.ablation['measured'] is not None")
    measured = notebook.python("explorer.ablation['measured']")
    assert measured == pytest.approx(notebook.python("study.measured_change(0).measured"), abs=1e-6)
    expect(root.locator(".effect")).to_contain_text("measured")
    expect(root.locator(".effect")).to_contain_text("nats")
    root.locator(".a-act").get_by_role("button", name="undo").click()
    notebook.wait_for_python("explorer.transplanted is not None")
    explorer.button("restore all").click()
    notebook.wait_for_python("explorer.caption_after == ''")
    assert notebook.errors == []


def test_the_keyboard_transplants_patches_too(notebook: NotebookPage) -> None:
    explorer = ExplorerOnPage(notebook.page)
    root, page = explorer.root, notebook.page
    picture = root.locator(".a-picture canvas")
    picture.focus()
    for key in ("ArrowRight", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    part = root.get_by_role("combobox", name="part of the picture to transplant")
    part.select_option(label="2 patches")
    root.get_by_role("combobox", name="word whose place it takes").select_option(label="car")
    expect(root.locator(".a-picture .hover")).to_contain_text("reads")
    transplant = explorer.button("transplant")
    transplant.focus()
    page.keyboard.press("Enter")
    notebook.wait_for_python("explorer.transplanted is not None")
    assert notebook.python("explorer.transplanted['object']") == "2 patches"
    assert notebook.python("explorer.caption_after") == notebook.python(
        "explorer.scenes[0]['after']"
    )


def test_one_s_own_picture_is_captioned_painted_and_computed_with(
    notebook: NotebookPage,
) -> None:
    explorer = ExplorerOnPage(notebook.page)
    root = explorer.root
    upload = root.locator("input[type=file]")
    upload.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(root.locator(".fault")).to_contain_text("this is none")
    root.locator(".fault button").click()
    code = "import io; out = io.BytesIO(); study.scenes[1].image.save(out, 'PNG')"
    data = bytes.fromhex(notebook.execute(code, "out.getvalue().hex()"))
    assert Image.open(io.BytesIO(data)).size[0] > 0
    upload.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": data})
    notebook.wait_for_python("explorer.scene == 3")
    caption = notebook.python("study.caption(1)")
    shown = root.locator(".captions dd").first
    expect(shown).to_have_text(re.compile(r"\s*".join(map(re.escape, caption.split()))))
    expect(root.locator(".a-without .hint")).to_be_visible()
    stage = root.locator(".a-without canvas")
    x, y = notebook.python(
        "[float(a.mean() / 96) for a in study.scenes[1].mask('car').nonzero()[::-1]]"
    )
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    at = (box["x"] + x * box["width"], box["y"] + y * box["height"])
    drag(notebook.page, (at[0] - 10, at[1]), (at[0] + 10, at[1]))
    explorer.button("inpaint").click()
    expect(root.locator(".a-top .chip")).to_contain_text("scores are of the old one")
    expect(root.locator(".a-without")).to_contain_text("not in the scores")
    explorer.button("compute again").click()
    notebook.wait_for_python("explorer.facts['scenes'] == 4")
    expect(root.locator(".a-top .chip")).to_be_hidden()
    assert notebook.python("explorer.study.scored[3].id") == "mine.png"
    assert notebook.errors == []


def test_a_dropped_file_is_an_upload(notebook: NotebookPage) -> None:
    root = ExplorerOnPage(notebook.page).root
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, "PNG")
    root.locator(".a-picture .stage").evaluate(
        """(stage, bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "teal.png", { type: "image/png" }));
            for (const type of ["dragover", "drop"])
                stage.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true }));
        }""",
        list(out.getvalue()),
    )
    notebook.wait_for_python("explorer.scenes[-1]['name'] == 'teal.png'")


def test_patches_show_both_stages_and_a_neuron_its_other_words(notebook: NotebookPage) -> None:
    root = ExplorerOnPage(notebook.page).root
    for kind, words in (("difference", "painted away"), ("GradCAM", "activation × gradient")):
        root.get_by_role("radio", name=kind, exact=True).click()
        expect(root.locator(".a-picture .reads")).to_contain_text(words)
    expect(root.locator(".a-picture .legend")).to_contain_text("nats")
    assert notebook.python("len(explorer.difference_map)") == 4 * 64
    root.locator(".trow").first.click()
    root.get_by_role("button", name="where else?").click()
    expect(root.locator(".shares .own")).to_have_text("car", timeout=60_000)
    root.get_by_role("button", name="also serve?").click()
    tag = root.locator(".trow .also").first
    expect(tag).to_have_attribute("title", re.compile(r"^also serves \w"), timeout=60_000)
    named = (tag.get_attribute("title") or "").removeprefix("also serves ").split(", ")
    known = notebook.python("list(study.dataset.categories)")
    assert set(named) <= set(known) - {"car"}
    more = f" +{len(named) - 1}" if len(named) > 1 else ""
    expect(tag).to_have_text(named[0] + more)
    expect(root.locator(".a-table .head")).to_contain_text(" shared")


def test_a_restarted_kernel_is_said_and_nothing_can_be_asked(notebook: NotebookPage) -> None:
    explorer = ExplorerOnPage(notebook.page)
    notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
    )
    expect(explorer.root.locator(".alert")).to_contain_text("The kernel was restarted")
    expect(explorer.root.locator(".alert")).to_contain_text("run the notebook's cells again")
    expect(explorer.ablate).to_be_disabled()
    before = explorer.ablate.text_content()
    explorer.drag_slider("difference", 0.2)
    expect(explorer.ablate).not_to_have_text(before or "")

"""Undo and redo with the same keys everywhere: one history of the page and of the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage
from .pages import ROOT, WIDGETS, opened

CELLS = [
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests' / 'wire')!r})\n"
    "from fake_study import FakeStudy\n"
    "from mmkn_widgets.widgets import Explorer\n"
    "study = FakeStudy('car')\n"
    "explorer = Explorer(study)\n"
    "explorer",
    "study.model.interventions.undo()",
]


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    return open_shared("undo.ipynb", CELLS[:1], viewport={"width": 1500, "height": 1300})


@pytest.fixture
def explorer(notebook: NotebookPage) -> ExplorerOnPage:
    found = ExplorerOnPage(notebook.page)
    found.root.scroll_into_view_if_needed()
    return found


def chips(explorer: ExplorerOnPage) -> Locator:
    return explorer.root.locator(".chip:not([hidden])").filter(has_text="ablated")


def box(explorer: ExplorerOnPage, name: str) -> Locator:
    return explorer.root.get_by_role("spinbutton", name=f"{name} threshold, number")


def press(explorer: ExplorerOnPage, keys: str) -> None:
    explorer.page.keyboard.press(keys)
    explorer.page.wait_for_timeout(120)


def test_a_key_on_a_slider_changes_no_other_field(explorer: ExplorerOnPage) -> None:
    """Chromium's own undo goes to whatever field was typed in last, wherever the focus is."""
    d, g = box(explorer, "difference"), box(explorer, "GradCAM")
    before = d.input_value(), g.input_value()
    d.fill("0.5")
    d.press("Enter")
    explorer.page.wait_for_timeout(800)
    explorer.slider("GradCAM").focus()
    press(explorer, "ArrowRight")  # several within a moment are one step, on a slow machine more
    moved = g.input_value()
    assert moved != before[1]
    press(explorer, "Control+z")
    assert (d.input_value(), g.input_value()) == ("0.5", before[1])
    press(explorer, "Control+z")
    assert (d.input_value(), g.input_value()) == before
    press(explorer, "Control+z")
    assert (d.input_value(), g.input_value()) == before
    press(explorer, "Control+Shift+Z")
    press(explorer, "Control+y")
    assert (d.input_value(), g.input_value()) == ("0.5", moved)
    press(explorer, "Control+z")
    press(explorer, "Control+z")


def test_a_field_that_is_typed_in_keeps_its_own(explorer: ExplorerOnPage) -> None:
    explorer.slider("difference").press("ArrowRight")
    explorer.page.wait_for_timeout(250)  # the box follows in a frame, which may be late
    moved = box(explorer, "difference").input_value()
    search = explorer.root.get_by_role("searchbox")
    search.click()
    explorer.page.keyboard.type("ca")
    press(explorer, "Control+z")
    assert search.input_value() == ""
    assert box(explorer, "difference").input_value() == moved
    press(explorer, "Control+z")
    assert box(explorer, "difference").input_value() != moved
    d = box(explorer, "difference")
    d.click()
    explorer.page.keyboard.type("9")
    press(explorer, "Control+z")
    d.press("Tab")
    explorer.page.wait_for_timeout(100)
    expect(explorer.ablate).to_have_text("Ablate 60 neurons")


def test_rows_thresholds_and_ablations_in_the_order_of_the_hand(
    explorer: ExplorerOnPage, notebook: NotebookPage
) -> None:
    label = explorer.ablate
    expect(label).to_have_text("Ablate 60 neurons")
    explorer.root.get_by_role("checkbox", name="keep L").first.click()
    expect(label).to_have_text("Ablate 59 neurons")
    label.click()
    expect(chips(explorer)).to_have_text("59 car neurons ablated")
    slider = explorer.slider("difference")
    slider.press("PageUp")
    expect(label).not_to_have_text("Ablate 59 neurons")
    undo = explorer.button("undo")
    assert undo.get_attribute("title") == "undo: thresholds (Ctrl+Z)"
    press(explorer, "Control+z")
    expect(label).to_have_text("Ablate 59 neurons")
    expect(chips(explorer)).to_have_count(1)
    assert undo.get_attribute("title") == "undo: 59 car neurons ablated (Ctrl+Z)"
    press(explorer, "Control+z")
    expect(chips(explorer)).to_have_count(0, timeout=30_000)
    expect(label).to_have_text("Ablate 59 neurons")
    undo.click()
    expect(label).to_have_text("Ablate 60 neurons")
    expect(explorer.button("redo")).to_be_focused()
    for _ in range(3):
        press(explorer, "Control+y")
    expect(chips(explorer)).to_have_text("59 car neurons ablated")
    expect(label).not_to_have_text("Ablate 59 neurons")
    for _ in range(3):
        explorer.page.keyboard.press("Control+z")  # faster than the captions are written
    expect(chips(explorer)).to_have_count(0, timeout=30_000)
    expect(label).to_have_text("Ablate 60 neurons")
    assert notebook.errors == []


def test_what_python_takes_back_leaves_its_place(
    explorer: ExplorerOnPage, notebook: NotebookPage
) -> None:
    explorer.ablate.click()
    expect(chips(explorer)).to_have_count(1)
    explorer.slider("difference").press("PageUp")
    explorer.page.wait_for_timeout(200)
    notebook.execute(CELLS[1])
    expect(chips(explorer)).to_have_count(0, timeout=30_000)
    explorer.slider("difference").focus()
    press(explorer, "Control+z")
    expect(explorer.ablate).to_have_text("Ablate 60 neurons")
    press(explorer, "Control+Shift+Z")
    press(explorer, "Control+Shift+Z")
    expect(chips(explorer)).to_have_count(1)
    press(explorer, "Control+z")
    press(explorer, "Control+z")
    expect(chips(explorer)).to_have_count(0, timeout=30_000)


def test_what_is_painted_is_a_step(explorer: ExplorerOnPage) -> None:
    painter = explorer.root.locator(".a-without")
    canvas = painter.locator("canvas")
    note = painter.locator(".note").first
    canvas.scroll_into_view_if_needed()
    before = note.text_content()
    size = canvas.bounding_box()
    assert size is not None
    x, y = size["x"] + 10, size["y"] + 10
    mouse = explorer.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 60, y + 4, steps=4)
    mouse.up()
    expect(note).to_contain_text("not yet inpainted")
    explorer.slider("difference").press("PageUp")
    explorer.page.wait_for_timeout(200)
    press(explorer, "Control+z")
    expect(note).to_contain_text("not yet inpainted")
    press(explorer, "Control+z")
    expect(note).to_have_text(before or "")
    expect(explorer.ablate).to_have_text("Ablate 60 neurons")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the offline pages of the widgets with something that is chosen in them."""
    folder = tmp_path_factory.mktemp("undo")
    found = {}
    for name in ("ThresholdPlane", "NeuronTable", "ConceptPair", "StoreExplorer", "MaskPainter"):
        widget = WIDGETS[name]()
        found[name] = widget.save_html(folder / f"{name}.html")
        widget.close()
    return found


@pytest.mark.parametrize(
    ("name", "role", "label", "trait"),
    [
        ("ThresholdPlane", "slider", "GradCAM threshold", "threshold_g"),
        ("ConceptPair", "slider", "bus: difference threshold", "b_threshold_d"),
        ("StoreExplorer", "slider", "difference threshold", "threshold_d"),
    ],
)
def test_the_same_keys_in_every_widget(
    page: Page, saved: dict[str, Path], name: str, role: str, label: str, trait: str
) -> None:
    opened(page, saved[name])
    value = f"mmkn.model.get('{trait}')"
    before = page.evaluate(value)
    first = page.get_by_role("slider").filter(has_not=page.locator("canvas"))
    slider = page.get_by_role(role, name=label, exact=True)  # type: ignore[arg-type]
    if not slider.count():  # a store calls its scores by other names
        slider = first.locator("xpath=self::input[contains(@aria-label,'threshold')]").first
    for _ in range(3):
        slider.press("PageUp")
    page.wait_for_timeout(100)
    moved = page.evaluate(value)
    assert moved != before
    slider.press("Control+z")
    assert page.evaluate(value) == before
    slider.press("Control+y")
    assert page.evaluate(value) == moved


def test_a_row_and_a_mask_alone(page: Page, saved: dict[str, Path]) -> None:
    opened(page, saved["NeuronTable"])
    first = page.get_by_role("checkbox").first
    first.click()
    expect(first).not_to_be_checked()
    page.keyboard.press("Control+z")
    expect(first).to_be_checked()
    opened(page, saved["MaskPainter"])
    share = page.locator(".head .note")
    expect(page.get_by_role("button", name="undo mask")).to_be_disabled()
    page.get_by_role("button", name="car").click()
    expect(share).to_contain_text("%")
    page.get_by_role("button", name="clear mask").click()
    expect(share).not_to_contain_text("%")
    page.keyboard.press("Control+z")
    expect(share).to_contain_text("%")
    page.get_by_role("button", name="undo mask").click()
    expect(share).not_to_contain_text("%")

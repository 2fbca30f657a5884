"""The Explorer as a desk: on one screen, nothing cut, work shown where it was started, legends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .desk import cut, hidden_parts, second_scroll_bars, to_the_top
from .explorer import ExplorerOnPage
from .notebook import NotebookPage

WIRE = Path(__file__).resolve().parents[1] / "wire"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
CELLS = [
    f"import sys; sys.path.insert(0, {str(WIRE)!r})\n"
    "import time\n"
    "from fake_study import FakeStudy\n"
    "from mmkn_widgets.widgets import Explorer\n"
    "study = FakeStudy()\n"
    "def slow(*_, progress, cancel, **__):\n"
    "    for k in range(1, 300):\n"
    "        progress('counting', k, 300)\n"
    "        time.sleep(0.1)\n"
    "        cancel.raise_if_cancelled()\n",
    "explorer = Explorer(study)\nexplorer",
]
#: how to start slow work: the button, where it is shown, and the study's method that is slow
WORK = {
    "measure": (".figures .work", "evaluate"),
    "propose thresholds": (".a-plane .work:not(.front *)", "propose_thresholds"),
    "compute": (".a-top .ask .work", "of_word"),
    "where else?": (".a-neuron .work", "strongest_scenes"),
    "also serve?": (".a-table .work", "word_shares"),
}


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    """Return a notebook at 1440 x 900 with the file browser open, its Explorer in use."""
    made = open_shared("desk.ipynb", CELLS, viewport={"width": 1440, "height": 900})
    made.scroll_to(1)
    return made


@pytest.fixture
def explorer(notebook: NotebookPage) -> Iterator[ExplorerOnPage]:
    """Return the Explorer with an ablation, measures and tried pairs: as full as it gets."""
    found = ExplorerOnPage(notebook.page)
    if not notebook.python("explorer.marks"):
        found.ablate.click()
        found.button("measure").click()
        notebook.wait_for_python("explorer.effect")
        found.button("propose thresholds").click()
        notebook.wait_for_python("explorer.marks")
        found.button("write its caption").click()
        notebook.wait_for_python("explorer.caption_inpainted")
    to_the_top(found.root)
    yield found
    notebook.page.set_viewport_size({"width": 1440, "height": 900})


def resize(notebook: NotebookPage, explorer: ExplorerOnPage, width: int, height: int) -> None:
    notebook.page.set_viewport_size({"width": width, "height": height})
    notebook.page.wait_for_timeout(500)
    to_the_top(explorer.root)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [(1440, 900), (1920, 1080), (1366, 768)], ids=str)
def test_what_a_tuner_needs_is_on_one_screen(
    notebook: NotebookPage, explorer: ExplorerOnPage, size: tuple[int, int], theme: str
) -> None:
    notebook.command("apputils:change-theme", theme=THEMES[theme])
    expect(notebook.page.locator("#filebrowser")).to_be_visible()
    resize(notebook, explorer, *size)
    assert hidden_parts(explorer.root) == []
    assert cut(explorer.root) == []
    assert second_scroll_bars(explorer.root) == []
    top, tools = (
        explorer.root.locator(name).bounding_box() for name in (".a-top .ask", ".a-top .tools")
    )
    assert top is not None
    assert tools is not None
    if size[0] >= 1440:  # copy, export and settings stay on the line of the concept
        assert abs(top["y"] + top["height"] / 2 - tools["y"] - tools["height"] / 2) < 4


@pytest.mark.parametrize("map_", ["kept", "neuron", "difference", "GradCAM"])
def test_what_a_map_shows_is_said_in_full(
    notebook: NotebookPage, explorer: ExplorerOnPage, map_: str
) -> None:
    explorer.root.get_by_role("radio", name=map_, exact=True).click()
    notebook.page.wait_for_timeout(600)
    for size in ((1440, 900), (700, 900)):
        resize(notebook, explorer, *size)
        assert cut(explorer.root) == [], size
    explorer.root.get_by_role("radio", name="kept", exact=True).click()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("files", [True, False], ids=["file browser", "no file browser"])
@pytest.mark.parametrize("size", [(700, 900), (720, 450)], ids=["700 px", "200 % of 1440 x 900"])
def test_narrow_and_zoomed_nothing_is_cut(
    notebook: NotebookPage,
    explorer: ExplorerOnPage,
    size: tuple[int, int],
    files: bool,
    theme: str,
) -> None:
    notebook.command("apputils:change-theme", theme=THEMES[theme])
    if not files:
        notebook.command("application:toggle-left-area")
    resize(notebook, explorer, *size)
    found = cut(explorer.root), second_scroll_bars(explorer.root)
    if not files:
        notebook.command("application:toggle-left-area")
    assert found == ([], [])


@pytest.mark.parametrize("preset", ["full", "teaching"])
def test_whatever_is_drawn_has_its_legend_on_the_page(
    notebook: NotebookPage, explorer: ExplorerOnPage, preset: str
) -> None:
    explorer.settings().get_by_role("radio", name=preset, exact=True).click()
    notebook.wait_for_python(f"explorer.preset == {preset!r}")
    notebook.page.keyboard.press("Escape")
    root = explorer.root
    for part, words in {
        ".a-picture .legend": "activation",
        ".a-picture .reads": "mean of",
        ".a-plane .keys:not(.front *)": "other neurons",
        ".a-plane .legend-marks": "the smaller of suppression and retention",
        ".dots": "still named",
        ".key-line": "measured:",
        ".figures": "grey mark",
        ".a-layers": "A click leaves a layer out",
    }.items():
        expect(root.locator(part)).to_be_visible()
        expect(root.locator(part)).to_contain_text(words)
    measures = root.locator(".measures > :nth-child(4n + 1)")
    assert measures.all_text_contents() == ["suppression", "retention", "substitution", "BLEU"]
    expect(root.locator(".measures")).to_contain_text(".31")
    expect(root.locator(".measures")).to_contain_text("now name what is not there")
    assert cut(root) == []
    notebook.execute("explorer.preset = 'full'")


def test_the_inpainted_pictures_caption_is_there(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    inpainted = explorer.root.locator(".captions dd").nth(2)
    expect(inpainted).to_contain_text(notebook.python("study.caption(0)"))
    expect(explorer.button("write its caption")).to_be_hidden()


@pytest.mark.parametrize("button", WORK)
def test_work_is_shown_beside_what_started_it_and_in_the_title_when_that_is_away(
    notebook: NotebookPage, explorer: ExplorerOnPage, button: str
) -> None:
    place, method = WORK[button]
    root, page = explorer.root, notebook.page
    notebook.execute(f"study.{method} = slow; explorer.status")
    try:
        explorer.button(button).scroll_into_view_if_needed()
        explorer.button(button).click()
        work, title = root.locator(place), root.locator(".a-top > .work")
        expect(work).to_contain_text(re.compile(r"counting \d+/300 · \d+ s left"))
        expect(work.get_by_role("button", name="cancel")).to_be_visible()
        expect(work.get_by_role("progressbar")).to_be_visible()
        expect(title).to_be_hidden()
        assert cut(root) == []
        if button == "where else?":
            to_the_top(root)
        else:
            page.set_viewport_size({"width": 1440, "height": 500})
            root.locator(".a-neuron").scroll_into_view_if_needed()
        bar = ".a-top .ask .work" if button == "compute" else ".a-top > .work"
        expect(root.locator(bar)).to_be_visible()
        expect(root.locator(bar)).to_contain_text(re.compile(r"\d+ s left"))
        assert hidden_parts(root, {"the title bar's work": bar}) == []
        root.locator(bar).get_by_role("button", name="cancel").click()
        expect(work).to_be_hidden()
        expect(root.locator(bar)).to_be_hidden()
    finally:
        notebook.execute(f"del study.{method}\nexplorer.wait()")
    notebook.wait_for_python("explorer.status['state'] == 'ready'")


def test_a_caption_that_takes_long_can_be_cancelled_beside_ablate(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    notebook.execute(
        "write = study.model.caption\n"
        "def late(*args, cancel=None, **options):\n"
        "    for _ in range(100):\n"
        "        time.sleep(0.1)\n"
        "        if cancel is not None: cancel.raise_if_cancelled()\n"
        "    return write(*args, **options)\n"
        "study.model.caption = late"
    )
    try:
        explorer.ablate.click()
        work = explorer.root.locator(".a-act .work")
        expect(work).to_be_visible()
        expect(work).to_contain_text("writing the caption")
        expect(explorer.root.locator(".a-top > .work")).to_be_hidden()
        assert hidden_parts(explorer.root, {"its cancel": ".a-act .work button"}) == []
        work.get_by_role("button", name="cancel").click()
        expect(work).to_be_hidden()
    finally:
        notebook.execute("study.model.caption = write")


def test_work_that_python_starts_is_in_the_title(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    title = explorer.root.locator(".a-top > .work")
    notebook.execute("told = explorer._progress(); told('scoring', 0, 12)")
    expect(title).to_contain_text("scoring 0/12")
    expect(title).not_to_contain_text("left")  # nobody knows yet
    notebook.execute("from mmkn_widgets.widgets.traits import READY; explorer.status = READY")
    expect(title).to_be_hidden()
    assert notebook.errors == []

"""Every widget for everyone: axe-core, light and dark, high contrast, no motion, names, focus."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .hearing import CONTROLS, heard
from .notebook import NotebookPage
from .pages import ROOT, WIDGETS, opened, violations, write_pages


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("name", WIDGETS)
def test_axe_finds_nothing_against_wcag_2_2_in_light_dark_and_narrow(
    page: Page, saved: dict[str, Path], name: str
) -> None:
    trouble = opened(page, saved[name])
    for scheme, width in (("light", 1300), ("dark", 1300), ("dark", 620)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(150)
        assert violations(page, best=True) == [], f"{name}, {scheme}, {width} pixels"
    assert trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", WIDGETS)
def test_forced_colours_leave_everything_visible(
    page: Page, saved: dict[str, Path], name: str, scheme: str
) -> None:
    """What is drawn by a background alone is gone in a high-contrast theme unless it says so."""
    page.emulate_media(color_scheme=scheme, forced_colors="active")  # type: ignore[arg-type]
    opened(page, saved[name])
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    assert violations(page, best=True) == []
    lost = page.evaluate(
        """() => {
            const seen = (el) => el.getBoundingClientRect().width > 2;
            const back = (el) => {
                for (; el; el = el.parentElement) {
                    const color = getComputedStyle(el).backgroundColor;
                    if (!/^rgba\\(.*, 0\\)$/.test(color)) return color;
                }
                return "rgb(255, 255, 255)";
            };
            const bars = [...document.querySelectorAll(
                ".bar > i, .layers i.track > i, .stack i, .key, .dab, .corner")];
            return bars.filter(seen).filter((el) => {
                const style = getComputedStyle(el);
                const border = parseFloat(style.borderTopWidth) > 0
                    && style.borderTopColor !== back(el.parentElement);
                return style.backgroundColor === back(el.parentElement) && !border;
            }).map((el) => el.outerHTML.slice(0, 120));
        }"""
    )
    assert lost == []
    inked = page.evaluate(
        """() => [...document.querySelectorAll(".plane canvas")].map((canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            const bg = getComputedStyle(canvas.closest(".card")).backgroundColor.match(/\\d+/g);
            let n = 0;
            for (let i = 0; i < data.length; i += 4) {
                const far = [0, 1, 2].reduce((sum, c) => sum + Math.abs(data[i + c] - bg[c]), 0);
                n += data[i + 3] > 128 && far > 150;
            }
            return n / (data.length / 4);
        })"""
    )
    assert all(0.005 < share < 0.5 for share in inked), inked


@pytest.mark.parametrize("name", ["Explorer", "ConceptPair", "StoreExplorer"])
def test_nothing_moves_for_who_asked_for_no_motion(
    page: Page, saved: dict[str, Path], name: str
) -> None:
    moving = """() => [...document.querySelectorAll(".mmkn, .mmkn *")].filter((el) => {
        const style = getComputedStyle(el);
        const times = `${style.transitionDuration},${style.animationDuration}`.split(",");
        return times.some((time) => parseFloat(time) > 0) || style.scrollBehavior === "smooth";
    }).length"""
    page.emulate_media(reduced_motion="no-preference")
    opened(page, saved[name])
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("name", WIDGETS)
def test_every_control_has_a_name_and_shows_its_focus(
    page: Page, saved: dict[str, Path], name: str
) -> None:
    opened(page, saved[name])
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
                const el = document.activeElement;
                if (!el || el === document.body) return null;
                const style = getComputedStyle(el);
                const label = el.getAttribute("aria-label") || el.closest("label")?.textContent
                    || el.textContent || el.getAttribute("title") || "";
                return { html: el.outerHTML.slice(0, 120), label: label.trim(),
                    shown: style.outlineStyle !== "none" || style.boxShadow !== "none" };
            }"""
        )
        if found is None or found["html"] in reached:
            break
        reached.add(found["html"])
        assert found["label"], found
        assert found["shown"], found
    if name not in ("TokenStrip", "CaptionDiff", "AblationPanel", "MaskPainter"):
        assert len(reached) >= 3  # the others have nothing to do without a kernel


def test_a_live_page_is_clean_too(browser: Browser, saved: dict[str, Path]) -> None:
    """With a kernel more is enabled: the same page, told that it is not read-only."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    page = context.new_page()
    for name, path in saved.items():
        opened(page, path)
        page.evaluate("mmkn.model.set('read_only', false)")
        page.wait_for_timeout(150)
        expect(page.locator(".alert")).to_be_hidden()
        assert violations(page, best=True) == [], name
    context.close()


def live(page: Page, path: Path) -> None:
    """Open a page as one with a kernel: everything is enabled."""
    opened(page, path)
    page.evaluate("mmkn.model.set('read_only', false)")
    page.wait_for_timeout(200)


def stops(page: Page, most: int = 120) -> list[str]:
    """Press Tab through a page; return what has the focus, by role or element, and name."""
    found = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const el = document.activeElement;
                if (!el || el === document.body) return null;
                const name = el.getAttribute("aria-label") || el.textContent || "";
                return `${el.getAttribute("role") || el.localName} ${name.trim().slice(0, 60)}`;
            }"""
        )
        if stop is None:
            break
        found.append(stop)
    return found


@pytest.mark.parametrize(
    ("name", "most"), [("Explorer", 38), ("ConceptPair", 26), ("StoreExplorer", 24)]
)
def test_the_table_is_two_keys_away_and_every_group_is_one_tab_stop(
    page: Page, saved: dict[str, Path], name: str, most: int
) -> None:
    live(page, saved[name])
    page.keyboard.press("Tab")
    bar = page.get_by_role("toolbar", name="go to")
    expect(bar.get_by_role("button", name="neurons")).to_be_focused()
    expect(bar).to_be_in_viewport()
    page.keyboard.press("Enter")
    grid = page.get_by_role("grid", name=re.compile("^neurons"))
    expect(grid).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(150)
    row = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    expect(row).to_have_attribute("aria-selected", "true")
    live(page, saved[name])
    found = stops(page)
    assert len(found) <= most, found


def test_every_place_of_go_to_is_there(page: Page, saved: dict[str, Path]) -> None:
    for name in ("Explorer", "ConceptPair", "StoreExplorer"):
        live(page, saved[name])
        bar = page.get_by_role("toolbar", name="go to")
        seen = set()
        for k in range(bar.get_by_role("button").count()):
            page.keyboard.press("Escape")
            page.evaluate("document.activeElement.blur()")
            bar.get_by_role("button").nth(k).focus()
            page.keyboard.press("Enter")
            page.wait_for_timeout(50)
            seen.add(page.evaluate("document.activeElement.outerHTML.slice(0, 160)"))
            assert page.evaluate("!document.activeElement.closest('.jumps')"), (name, k)
        assert len(seen) == bar.get_by_role("button").count()


def test_words_and_layers_are_reached_with_arrows(page: Page, saved: dict[str, Path]) -> None:
    live(page, saved["Explorer"])
    words = page.get_by_role("toolbar", name=re.compile("words of the caption")).get_by_role(
        "button"
    )
    words.first.focus()
    page.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(words.last).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(words.first).to_be_focused()
    layers = page.get_by_role("toolbar", name=re.compile("per layer")).get_by_role("button")
    layers.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    expect(layers.nth(2)).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Control+z")
    expect(layers.nth(2)).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("Explorer", ".a-picture canvas"),
        ("PatchHeatmap", ".stage canvas"),
        ("StoreExplorer", ".w-picture canvas"),
        ("ConceptPair", ".p-a canvas"),
    ],
)
def test_patches_are_cells_that_arrows_reach(
    page: Page, saved: dict[str, Path], name: str, where: str
) -> None:
    live(page, saved[name])
    canvas = page.locator(where)
    expect(canvas).to_have_attribute("role", "grid")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = cell_of(page)
    page.keyboard.press("ArrowDown")
    second = cell_of(page)
    assert first.startswith("patch ")
    assert second.startswith("patch ")
    assert first != second
    assert canvas.get_attribute("aria-rowcount") == canvas.get_attribute("aria-colcount")
    if name != "ConceptPair":
        page.keyboard.press(" ")
        page.wait_for_timeout(100)
        told = next(one for one in heard(page) if one.role == "gridcell" and one.name == second)
        assert told.states["selected"] is True


def cell_of(page: Page) -> str:
    """Return the words of the active cell of the grid that has the focus."""
    page.wait_for_timeout(100)
    return str(
        page.evaluate(
            "document.getElementById(document.activeElement.getAttribute("
            "'aria-activedescendant')).textContent"
        )
    )


def test_a_mask_is_painted_with_keys(page: Page, saved: dict[str, Path]) -> None:
    live(page, saved["MaskPainter"])
    canvas = page.get_by_role("application")
    share = page.locator(".head .note")

    def masked() -> float:
        page.wait_for_timeout(120)
        text = (share.text_content() or "").rpartition("mask ")[2].rstrip("%")
        return float(text) if text and text[0].isdigit() else 0.0

    page.get_by_role("button", name="clear mask").click()
    assert masked() == 0
    canvas.focus()
    page.keyboard.press(" ")
    dab = masked()
    assert dab > 0
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert masked() > dab * 1.3
    page.get_by_role("button", name="clear mask").click()
    page.get_by_role("radio", name="box").click()
    canvas.focus()
    page.keyboard.press(" ")
    for key in (*["ArrowRight"] * 10, *["ArrowDown"] * 10):
        page.keyboard.press(key)
    page.keyboard.press(" ")
    assert masked() == pytest.approx(9, abs=2.5)
    page.keyboard.press("Control+z")
    assert masked() == 0
    page.get_by_role("radio", name="lasso").click()
    canvas.focus()
    page.keyboard.press(" ")
    for leg in (["ArrowLeft"] * 8, ["ArrowUp"] * 8):
        for key in leg:
            page.keyboard.press(key)
        page.keyboard.press(" ")
    page.keyboard.press("Enter")
    assert 1 < masked() < 6


def test_tokens_are_read_one_by_one(page: Page, saved: dict[str, Path]) -> None:
    opened(page, saved["TokenStrip"])
    tokens = page.get_by_role("listbox", name="tokens")
    tokens.focus()
    said = []
    for key in ("ArrowRight", "ArrowRight", "End"):
        page.keyboard.press(key)
        said.append(page.locator("[role=option]").text_content() or "")
    assert said[0].startswith("image token 1 ·")
    assert said[1].startswith("image token 2 ·")
    assert "generated" in said[2]
    assert page.locator(".mmkn > [role=status]").text_content() == said[2]


@pytest.mark.parametrize("name", WIDGETS)
def test_what_is_heard_makes_sense(page: Page, saved: dict[str, Path], name: str) -> None:
    """Read as a screen reader reads: names, values in words, nothing told twice."""
    live(page, saved[name])
    told = heard(page)
    controls = [one for one in told if one.role in CONTROLS]
    assert [str(one) for one in controls if not one.name and one.role != "gridcell"] == []
    long = [one for one in controls if len(one.name) > 110 and one.role not in ("option", "row")]
    assert [str(one) for one in long] == []
    arrows = [one for one in controls if set(one.name) & set("▾↓↑→")]
    assert [str(one) for one in arrows] == []
    pressed = [(one.role, one.name) for one in controls if one.role in ("button", "slider")]
    twice = {pair for pair in pressed if pressed.count(pair) > 1}
    words = {word for one in told if one.role == "StaticText" for word in one.name.split()}
    assert {pair for pair in twice if pair[1] not in words or len(pair[1]) > 12} == set()
    for slider in (one for one in controls if one.role == "slider" and "threshold" in one.name):
        text = page.get_by_role("slider", name=slider.name, exact=True)
        assert re.search(r"top|kept|above", text.get_attribute("aria-valuetext") or ""), slider
    texts = {one.name for one in told if one.role == "StaticText"}
    assert {one.description for one in controls if len(one.description) > 40}.isdisjoint(texts)


LAB = [
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests' / 'wire')!r})\n"
    "from fake_study import FakeStudy\n"
    "from mmkn_widgets.widgets import Explorer, compare\n"
    "car, bus = FakeStudy('car'), FakeStudy('bus', seed=2)\n"
    "bus.model = car.model",
    "explorer = Explorer(car)\nexplorer.ablate()\nexplorer",
    "pair = compare(car, bus)\npair",
]


def test_jupyterlab_s_themes_and_the_side_panel(open_shared: Callable[..., NotebookPage]) -> None:
    notebook = open_shared("themes.ipynb", LAB, viewport={"width": 1600, "height": 1200})
    notebook.command("mmkn:open-panel")
    page = notebook.page
    for theme in ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"):
        notebook.command("apputils:change-theme", theme=theme)
        for cell in (1, 2):
            notebook.scroll_to(cell)
            chip = notebook.output(cell).locator(".mmkn .chip").filter(has_text="ablated")
            expect(chip).to_be_visible()
            page.wait_for_timeout(300)
            assert violations(page, "'.jp-Notebook .mmkn'") == [], f"cell {cell}, {theme}"
        assert violations(page, "'#mmkn-neurons'") == [], f"side panel, {theme}"
    assert notebook.errors == []

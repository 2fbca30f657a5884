"""Every widget for everyone: axe-core, light and dark, high contrast, no motion, names, focus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .notebook import NotebookPage
from .pages import ROOT, WIDGETS, opened, serious, write_pages


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("name", WIDGETS)
def test_axe_finds_nothing_serious_in_light_dark_and_narrow(
    page: Page, saved: dict[str, Path], name: str
) -> None:
    trouble = opened(page, saved[name])
    for scheme, width in (("light", 1300), ("dark", 1300), ("dark", 620)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(150)
        assert serious(page) == [], f"{name}, {scheme}, {width} pixels"
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
        assert serious(page) == [], name
    context.close()


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
            assert serious(page, "'.jp-Notebook .mmkn'") == [], f"cell {cell}, {theme}"
        assert serious(page, "'#mmkn-neurons'") == [], f"side panel, {theme}"
    assert notebook.errors == []

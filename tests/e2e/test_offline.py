"""The offline pages in a browser without a network: they work, and data stays text in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .pages import EVIL, WIDGETS, evil_study, opened


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Path]]]:
    """Return the three composed widgets and the page of each."""
    folder = tmp_path_factory.mktemp("offline")
    made = {name: WIDGETS[name]() for name in ("Explorer", "ConceptPair", "StoreExplorer")}
    yield {name: (w, w.save_html(folder / f"{name}.html")) for name, w in made.items()}
    for widget in made.values():
        widget.close()


def pixels(page: Page, selector: str) -> str:
    return str(page.evaluate("(q) => document.querySelector(q).toDataURL()", selector))


def wait_for_pixels(page: Page, selector: str, old: str) -> None:
    page.wait_for_function(
        "([q, old]) => document.querySelector(q).toDataURL() !== old", arg=[selector, old]
    )


def row(page: Page, place: int) -> Locator:
    """Return a row of the table by its place, from 1."""
    return page.locator(f'.trow[aria-rowindex="{place + 1}"]:not([hidden])')


def test_explorer_thresholds_scenes_overlays_and_table(
    page: Page, saved: dict[str, tuple[Any, Path]]
) -> None:
    explorer, path = saved["Explorer"]
    trouble = opened(page, path)
    button = page.locator("button.primary")
    expect(button).to_be_disabled()
    expect(button).to_have_text("Ablate 60 neurons")
    expect(page.locator(".alert")).to_contain_text("read-only")
    corner = page.locator(".plane .corner")
    for _ in range(8):
        corner.press("Shift+ArrowRight")
    expect(button).not_to_have_text("Ablate 60 neurons")
    page.wait_for_timeout(100)
    cut = page.evaluate("mmkn.model.get('threshold_d')")
    explorer.threshold_d = cut
    expect(button).to_have_text(f"Ablate {len(explorer.kept)} neurons")
    expect(page.locator(".captions ins")).to_have_text("bus")
    canvas = ".a-picture canvas"
    first = pixels(page, canvas)
    page.locator(".strip button").nth(3).click()
    wait_for_pixels(page, canvas, first)
    expect(page.locator(".a-picture .reads .note").first).to_have_text(re.compile("kept"))
    second = pixels(page, canvas)
    third = row(page, 3)
    third.click()
    wait_for_pixels(page, canvas, second)
    name = third.locator("[role=gridcell]").nth(1).text_content()
    expect(page.locator(".a-picture .reads .note").first).to_have_text(name or "-")
    chosen = explorer.selection
    by_difference = max(chosen.kept.tolist(), key=lambda i: float(chosen.difference.ravel()[i]))
    page.get_by_role("button", name="diff", exact=True).click()
    best = chosen.name(by_difference)
    expect(row(page, 1).locator("[role=gridcell]").nth(1)).to_have_text(best)
    page.get_by_role("button", name="copy as Python").click()
    assert trouble == []


def test_pair_thresholds_scenes_parts_and_captions(
    page: Page, saved: dict[str, tuple[Any, Path]]
) -> None:
    pair, path = saved["ConceptPair"]
    trouble = opened(page, path)
    counts = page.locator(".choose b")
    wanted = [str(len(pair.ids_of(part))) for part in ("a", "shared", "b")]
    expect(counts).to_have_text(wanted)
    expect(page.locator(".p-a .captions ins").first).to_have_text("bus")
    page.get_by_role("slider", name="car: difference threshold", exact=True).press("PageUp")
    expect(counts).not_to_have_text(wanted)
    pair.a_threshold_d = page.evaluate("mmkn.model.get('a_threshold_d')")
    expect(counts).to_have_text([str(len(pair.ids_of(part))) for part in ("a", "shared", "b")])
    canvas = ".p-b .stage canvas"
    first = pixels(page, canvas)
    page.locator(".choose").nth(2).click()
    wait_for_pixels(page, canvas, first)
    second = pixels(page, canvas)
    page.locator(".p-b .strip button").nth(2).click()
    wait_for_pixels(page, canvas, second)
    assert page.evaluate("mmkn.model.get('b_caption_before')") == pair.study_b.caption(2)
    expect(page.locator(".effects tbody tr")).to_have_count(3)
    assert trouble == []


def test_store_pictures_and_rows(page: Page, saved: dict[str, tuple[Any, Path]]) -> None:
    explorer, path = saved["StoreExplorer"]
    trouble = opened(page, path)
    canvas = ".w-picture canvas"
    first = pixels(page, canvas)
    page.locator(".strip button").nth(2).click()
    wait_for_pixels(page, canvas, first)
    second = pixels(page, canvas)
    row(page, 2).click()
    wait_for_pixels(page, canvas, second)
    assert page.evaluate("mmkn.model.get('selected')") == int(explorer.kept[1])
    assert trouble == []


@pytest.mark.parametrize("which", ["Explorer", "ConceptPair"])
def test_tags_and_scripts_in_data_are_letters(page: Page, tmp_path: Path, which: str) -> None:
    from mmkn_widgets.widgets import Explorer, compare

    one = evil_study(EVIL)
    if which == "Explorer":
        widget: Any = Explorer(one)
        widget._receive(widget, {"kind": "request", "id": "1", "name": "lens"}, [])
        widget._receive(
            widget, {"kind": "request", "id": "2", "name": "tokens", "args": {"id": 3}}, []
        )
    else:
        two = evil_study("bus", seed=2)
        two.model = one.model
        widget = compare(one, two)
    widget.ablate()
    widget.wait()
    trouble = opened(page, widget.save_html(tmp_path / f"{EVIL[:4]}.html"))
    page.locator(".trow:not([hidden])").first.click()
    page.locator(".strip button").nth(1).click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit === undefined")
    assert page.locator(".mmkn :is(script, img[src='x'])").count() == 0
    text = page.locator(".mmkn").text_content() or ""
    assert text.count("<img src=x") > (10 if which == "Explorer" else 5)
    expect(page.locator(".captions dd").first).to_contain_text("<script>window.hit=2</script>")
    html = widget._repr_mimebundle_()[0]["text/html"]
    page.set_content(html)
    assert page.evaluate("window.hit === undefined")
    assert page.locator("img[src=x], script").count() == 0
    expect(page.locator(".mmkn-static")).to_contain_text("<img src=x")
    assert trouble == []
    widget.close()

"""The offline page in a browser: it works without a kernel, and axe-core finds nothing serious."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "wire"))
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a saved Explorer with an ablation, figures and marks in it."""
    from fake_study import FakeStudy

    from mmkn_widgets.widgets import Explorer

    explorer = Explorer(FakeStudy())
    explorer.ablate()
    for name in ("evaluate", "propose"):
        explorer._receive(explorer, {"kind": "request", "id": name, "name": name}, [])
    explorer.wait()
    yield explorer.save_html(tmp_path_factory.mktemp("offline") / "car.html")
    explorer.close()


def opened(page: Page, path: Path, scheme: str = "light") -> list[str]:
    """Open the page; return what it asks of a network and what fails in it, as it happens."""
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: trouble.append(r.url) if r.url.startswith("http") else None)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(path.as_uri())
    expect(page.locator(".mmkn .plane canvas")).to_be_visible()
    return trouble


def test_thresholds_scenes_and_overlays_live_without_a_kernel(page: Page, offline: Path) -> None:
    trouble = opened(page, offline)
    button = page.locator("button.primary")
    expect(button).to_be_disabled()
    before = button.text_content()
    page.locator(".plane .corner").press("ArrowRight")
    for _ in range(8):
        page.locator(".plane .corner").press("Shift+ArrowRight")
    expect(button).not_to_have_text(before or "")
    expect(page.locator(".captions ins")).to_have_text("bus")
    picture = "() => document.querySelector('.a-picture canvas').toDataURL()"
    first = page.evaluate(picture)
    page.locator(".strip button").nth(3).click()
    page.wait_for_function(f"(old) => ({picture})() !== old", arg=first)
    expect(page.locator(".a-picture .note").first).to_have_text(re.compile("kept"))
    page.get_by_role("button", name="copy as Python").click()
    assert trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 640])
def test_axe_finds_nothing_serious(page: Page, offline: Path, scheme: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    opened(page, offline, scheme)
    page.wait_for_timeout(300)
    found = page.evaluate(
        f"async () => {{ {AXE.read_text(encoding='utf-8')}; "
        "return (await axe.run(document)).violations.map((v) => "
        "[v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]); }"
    )
    assert [v for v in found if v[0] in ("serious", "critical")] == []

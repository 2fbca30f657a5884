"""From an input event to the painted frame, in Chromium, at the size of a 7B model."""

from __future__ import annotations

import functools
import http.server
import statistics
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from scripts.browser import find_browser
from tests.e2e.conftest import ARGUMENTS

from .profile import BrowserTime
from .report import Row

ROOT = Path(__file__).resolve().parents[2]
PAGE = "/tests/benchmarks/slider.html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the table readable."""


def _drag_all(page: Page, selector: str, horizontal_only: bool) -> None:
    box = page.locator(selector).first.bounding_box()
    if box is None:
        raise AssertionError(f"{selector} is not on the page")
    x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.5
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(120):
        share = 0.2 + 0.6 * (step % 60) / 60
        down = 0.5 if horizontal_only else 0.2 + 0.6 * ((step * 7) % 60) / 60
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * down)
    page.mouse.up()


def measure() -> list[Row]:
    handler = functools.partial(_Quiet, directory=str(ROOT))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1400, "height": 1100})
            told: list[str] = []
            page.on("console", lambda message: told.append(message.text))
            spent = BrowserTime(page)
            page.goto(f"http://127.0.0.1:{server.server_port}{PAGE}")
            page.wait_for_function("window.firstPaint !== undefined", timeout=60_000)
            first = float(page.evaluate("window.firstPaint"))
            why = spent.split()
            rows.append(
                Row("first paint of the Explorer, 32 x 11,008", first, "ms", 1500.0, "", why.strip)
            )
            for name, selector, flat in (
                ("slider", 'input[aria-label="difference threshold"]', True),
                ("corner of the plane", ".plane canvas", False),
                ("opacity", 'input[aria-label="opacity of the heatmap"]', True),
                ("mask brush", ".a-without canvas", False),
            ):
                if name == "opacity":  # it is among the settings
                    page.locator("summary", has_text="settings").click()
                page.evaluate("window.reset()")
                told.clear()
                spent = BrowserTime(page)
                _drag_all(page, selector, flat)
                page.wait_for_timeout(600)
                got = page.evaluate("({frames: window.frames, during: window.sentDuring})")
                if len(got["frames"]) < 30:
                    raise AssertionError(f"{name}: only {len(got['frames'])} frames were seen")
                note = f"{len(got['frames'])} frames, worst {max(got['frames']):.0f} ms"
                median = statistics.median(got["frames"])
                why = spent.split(len(got["frames"]))
                what = f"{name} to painted frame, 32 x 11,008"
                rows.append(Row(what, median, "ms", 16.0, note, why.strip))
                what, sent = f"kernel messages during a {name} drag", "\n".join(told)
                rows.append(Row(what, got["during"], "", 0.0, "", sent.strip))
            browser.close()
    finally:
        server.shutdown()
    return rows

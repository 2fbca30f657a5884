"""The Explorer in marimo: the same module, a real click, the kernel's answer on the page."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .notebook import wait_for

ROOT = Path(__file__).resolve().parents[2]
APP = """
import marimo
app = marimo.App(width="full")

@app.cell
def _():
    import sys
    sys.path[:0] = [{root!r}, {wire!r}]
    from fake_study import FakeStudy
    from mmkn_widgets.widgets import Explorer, compare
    explorer = Explorer(FakeStudy())
    explorer
    return FakeStudy, compare

@app.cell
def _(FakeStudy, compare):
    car, bus = FakeStudy("car"), FakeStudy("bus", seed=2)
    bus.model = car.model
    pair = compare(car, bus)
    pair
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def marimo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running marimo app."""
    with serve(tmp_path_factory.mktemp("marimo"), APP) as url:
        yield url


@contextmanager
def serve(folder: Path, code: str) -> Iterator[str]:
    """Return a context in which marimo runs an app; its value is the address."""
    app = folder / "app.py"
    app.write_text(code.format(root=str(ROOT), wire=str(ROOT / "tests" / "wire")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", str(app), "--headless", "--no-token"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    settings = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                return bool(urllib.request.urlopen(f"{url}/health", timeout=2).status == 200)
            except OSError:
                return False

        try:
            wait_for("marimo", answers)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def test_ablate_in_marimo(page: Page, marimo_url: str) -> None:
    page.goto(marimo_url)
    root = page.locator(".mmkn").first
    expect(root).to_be_visible(timeout=60_000)
    button = root.locator("button.primary")
    expect(button).to_have_text("Ablate 60 neurons")
    for _ in range(6):
        root.locator(".plane .corner").press("Shift+ArrowRight")
    expect(button).not_to_have_text("Ablate 60 neurons")
    page.wait_for_timeout(300)  # frames: the label shows the last key
    kept = re.sub(r"\D", "", button.text_content() or "")
    button.click()
    expect(root.locator(".captions ins")).to_have_text("bus", timeout=20_000)
    expect(root.locator(".chip:not([hidden])")).to_contain_text(f"{kept} car neurons ablated")
    root.get_by_role("button", name="restore all").click()
    expect(root.locator(".chip:not([hidden])")).to_have_count(0)


def test_a_part_of_a_pair_in_marimo(page: Page, marimo_url: str) -> None:
    page.goto(marimo_url)
    root = page.get_by_role("region", name="two concepts side by side")
    expect(root).to_be_visible(timeout=60_000)
    counts = root.locator(".choose b")
    before = counts.all_text_contents()
    slider = root.get_by_role("slider", name="bus: difference threshold", exact=True)
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageUp")
    expect(counts).not_to_have_text(before)
    page.wait_for_timeout(300)  # frames: the label shows the last key
    kept = counts.nth(2).text_content() or ""
    root.get_by_role("button", name="own of bus").last.click()
    expect(root.locator(".chip")).to_contain_text(f"{kept} neurons ablated", timeout=20_000)
    expect(root.locator(".p-b .captions dd").nth(2)).to_contain_text("a red", timeout=20_000)
    root.get_by_role("button", name="restore all").click()
    expect(root.locator(".chip")).to_have_count(0)

"""marimo: the Explorer in an app, with a click that Python answers."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .explorer import ExplorerOnPage
from .notebook import wait_for
from .server import free_port

APP = """
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import mmkn_widgets as mmkn

    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 6)
    explorer = mmkn.Explorer(mmkn.study(model, "car", scenes))
    explorer
    return explorer, model


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    command = [
        *(sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token"),
        *("--host", "127.0.0.1", "--port", str(port), "--skip-update-check"),
    ]
    with (tmp_path / "marimo.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (tmp_path / "marimo.log").read_text()
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_for("answer of marimo", answers, 60)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def test_ablate_writes_a_new_caption(page: Page, address: str) -> None:
    page.goto(address)
    explorer = ExplorerOnPage(page)
    expect(explorer.ablate).to_be_enabled(timeout=60_000)
    explorer.ablate.click()
    expect(explorer.caption_after.locator("del").first).to_be_visible(timeout=60_000)
    explorer.button("restore all").click()
    expect(explorer.button("restore all")).to_be_disabled()

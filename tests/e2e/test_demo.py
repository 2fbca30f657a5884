"""What `make demo` starts: JupyterLab on a copy of the quickstart."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .notebook import wait_for
from .server import free_port


@pytest.fixture
def demo(root: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [
        *(sys.executable, "scripts/demo.py", "notebooks/01_quickstart.ipynb", "--no-browser"),
        *(f"--port={port}", "--IdentityProvider.token=demo", "--ServerApp.port_retries=0"),
    ]
    with (tmp_path / "demo.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (tmp_path / "demo.log").read_text()
        try:
            with urllib.request.urlopen(f"{url}/api/status?token=demo", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_for("answer of JupyterLab", answers, 90)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # one whose kernel is still starting waits for it
            server.kill()
            server.wait(30)


def test_the_quickstart_is_what_opens(demo: str, page: Page, root: Path) -> None:
    page.goto(f"{demo}/?token=demo")
    expect(page.locator(".jp-NotebookPanel h1")).to_contain_text("car", timeout=60_000)
    copied = json.loads((root / ".jupyter-demo" / "01_quickstart.ipynb").read_text())
    source = json.loads((root / "notebooks" / "01_quickstart.ipynb").read_text())
    assert len(copied["cells"]) == len(source["cells"])
    # JupyterLab's question about news, which lies over the lower right of the notebook
    settings = f"{demo}/lab/api/settings/@jupyterlab/apputils-extension:notification?token=demo"
    with urllib.request.urlopen(settings, timeout=30) as answer:
        schema = json.load(answer)["schema"]["properties"]
    assert schema["fetchNews"]["default"] == "false"
    page.wait_for_timeout(1500)
    expect(page.get_by_text("notified about official")).to_have_count(0)

"""Fixtures of the browser tests: one Chromium and one server a session, one page a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.browser import find_browser

from .notebook import NotebookPage
from .server import JupyterServer

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]

OpenNotebook = Callable[..., NotebookPage]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a running headless Chromium."""
    path = find_browser()
    if path is None:
        pytest.fail("no Chromium found: run `make browser`", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of its own context: no cookie or storage of another test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def notebooks(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository's notebooks, which tests may change."""
    folder = tmp_path_factory.mktemp("e2e") / "notebooks"
    if (root / "notebooks").is_dir():
        shutil.copytree(root / "notebooks", folder)
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def write_cells(notebooks: Path) -> Callable[[str, list[str]], None]:
    """Return a function that writes a notebook of code cells beside the copied ones."""
    return lambda name, cells: write_notebook(notebooks / name, cells)


@pytest.fixture(scope="session")
def lab(notebooks: Path) -> Iterator[JupyterServer]:
    """Return a running JupyterLab on the copied notebooks."""
    with JupyterServer(notebooks, notebooks.parent / "lab-home") as server:
        yield server


@pytest.fixture
def open_notebook(page: Page, lab: JupyterServer, notebooks: Path) -> Iterator[OpenNotebook]:
    """Return a function that opens a notebook of the repository, or one made of cells."""
    opened: list[NotebookPage] = []

    def open_it(name: str, cells: list[str] | None = None) -> NotebookPage:
        if cells is not None:
            write_notebook(notebooks / name, cells)
        opened.append(NotebookPage(page, lab, name))
        return opened[-1]

    yield open_it
    for notebook in opened:
        notebook.close()


@pytest.fixture(scope="module")
def open_shared(browser: Browser, lab: JupyterServer, notebooks: Path) -> Iterator[OpenNotebook]:
    """Return a function that opens a notebook made of cells for all tests of a file, and runs it.

    Each has a page of its own context; tests that share one leave it as they would find it.
    """
    opened: list[NotebookPage] = []

    def open_it(name: str, cells: list[str], **context: Any) -> NotebookPage:
        write_notebook(notebooks / name, cells)
        made = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **context})
        made.set_default_timeout(30_000)
        opened.append(NotebookPage(made.new_page(), lab, name))
        opened[-1].run_all()
        return opened[-1]

    yield open_it
    for notebook in opened:
        context = notebook.page.context
        notebook.close()
        context.close()


def write_notebook(path: Path, cells: list[str]) -> None:
    """Write a notebook of code cells for the default Python kernel."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)

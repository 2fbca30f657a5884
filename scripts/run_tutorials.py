"""Run the tutorials and keep what they show, so that they can be read where nothing runs.

``python scripts/run_tutorials.py`` runs all of notebooks/ in place, or those that are named. What
is kept is free of the machine that ran it: no time, no path, no name; warnings and progress are
left out. Of a widget a picture of its offline page is kept, which needs a Chromium.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"

_VIEW = "application/vnd.jupyter.widget-view+json"
_SAVE = """
from mmkn_widgets.widgets.html import offline_page as _offline_page
try:
    _page = _offline_page(Out[{count}])
except (AttributeError, KeyError, TypeError):
    _page = ""  # a widget of another package
open({path!r}, "w", encoding="utf-8").write(_page)
del _offline_page, _page
"""
#: what tells of the machine that ran it
_TRACES = (r"0x[0-9a-f]{6,}", r"/(?:tmp|home|root|work|Users|var)/", r"\bsite-packages\b")


@contextmanager
def _quiet() -> Iterator[None]:
    """Let kernels that start inside show no bars, one thread, and pictures in one look."""
    wanted = {
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        "HF_HUB_OFFLINE": "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def run(
    path: Path,
    *,
    change: Callable[[Any], None] | None = None,
    after: Callable[[Callable[[str], Any]], None] | None = None,
    pictures: Callable[[str], bytes] | None = None,
    timeout: int = 300,
) -> Any:
    """Run a notebook from top to bottom in a copy of its folder.

    Parameters
    ----------
    path : pathlib.Path
    change : callable, optional
        Changes the notebook before it runs.
    after : callable, optional
        Called with a function that runs a line of Python in the same kernel and returns its cell.
    pictures : callable, optional
        Makes a PNG of an offline page, for outputs that are widgets.
    timeout : int
        Seconds for a cell.

    Returns
    -------
    nbformat.NotebookNode
        With its outputs, as `kept` leaves them.
    """
    notebook = nbformat.read(path, as_version=4)
    if change is not None:
        change(notebook)
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        folder = Path(temporary) / "notebooks"
        shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns(".*"))
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        with client.setup_kernel():

            def ask(code: str) -> Any:
                more = nbformat.v4.new_code_cell(code)
                notebook.cells.append(more)
                try:
                    return client.execute_cell(more, len(notebook.cells) - 1, store_history=False)
                finally:
                    notebook.cells.pop()

            for place, cell in enumerate(list(notebook.cells)):
                if cell.cell_type == "code":
                    client.execute_cell(cell, place)
                    for output in cell.outputs:
                        if _VIEW in output.get("data", {}):
                            page = Path(temporary) / "page.html"
                            page.touch()
                            if pictures is not None:
                                count = cell.execution_count
                                ask(_SAVE.format(path=str(page), count=count))
                            kept_page = page.read_text(encoding="utf-8")
                            if pictures is not None and kept_page:
                                png = base64.b64encode(pictures(kept_page)).decode()
                                output["data"]["image/png"] = png
            if after is not None:
                after(ask)
    kept(notebook)
    return notebook


def kept(notebook: Any) -> None:
    """Take from a notebook what tells of the machine that ran it.

    Raises
    ------
    ValueError
        If a path or an address is left in an output.
    """
    count = 0
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3", "language": "python", "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )  # fmt: skip
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        cell.outputs = _joined([one for one in cell.outputs if one.get("name") != "stderr"])
        for output in cell.outputs:
            output.get("metadata", {}).clear()
            if "execution_count" in output:
                output["execution_count"] = cell.execution_count
            data = output.get("data", {})
            if data.pop(_VIEW, None) is not None:
                data.pop("text/html", None)
                data["text/plain"] = "A widget: it comes alive when the cell is run."
            if "image/png" in data:
                data["image/png"] = _small(data["image/png"])
            _check(output, cell.source)


def _joined(outputs: Sequence[Any]) -> list[Any]:
    """Return outputs with what was printed in pieces, as time would have it, put together."""
    found: list[Any] = []
    for one in outputs:
        if one.output_type == "stream" and found and found[-1].output_type == "stream":
            found[-1].text += one.text
        else:
            found.append(one)
    return found


def _small(png: str) -> str:
    """Return a picture with at most 256 colours, where that is smaller."""
    from PIL import Image

    raw = base64.b64decode(png)
    held = io.BytesIO()
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        held, "PNG", optimize=True
    )
    smaller = held.getvalue() if len(held.getvalue()) < len(raw) else raw
    return base64.b64encode(smaller).decode()


def _check(output: Any, source: str) -> None:
    data = output.get("data", {})
    told = [output.get("text", ""), data.get("text/plain", "")]
    told.append(re.sub(r"data:image/[^\"]*", "", "".join(data.get("text/html", ""))))
    text = "\n".join("".join(part) for part in told)
    for trace in _TRACES:
        if found := re.search(trace, text):
            around = text[max(0, found.start() - 60) : found.end() + 60]
            raise ValueError(f"the output of {source[:60]!r} tells of this machine: {around!r}")


def _photographer(browser: Any) -> Callable[[str], bytes]:
    def take(html: str) -> bytes:
        page = browser.new_page(viewport={"width": 1080, "height": 900}, color_scheme="light")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_text(html, encoding="utf-8")
            page.goto(file.as_uri())
            page.locator("#mmkn *").first.wait_for(state="attached")
            page.wait_for_timeout(800)
            png: bytes = page.locator("#mmkn").screenshot()
        page.close()
        return png

    return take


def main(given: Sequence[str]) -> None:
    """Run the named notebooks, or all, and write them with what they show."""
    from browser import find_browser
    from playwright.sync_api import sync_playwright

    paths = [Path(name) for name in given] or sorted(NOTEBOOKS.glob("*.ipynb"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"]
        )
        for path in paths:
            began = time.monotonic()
            notebook = run(path, pictures=_photographer(browser))
            nbformat.write(notebook, path)
            size = path.stat().st_size / 1024
            print(f"{path.name}: {time.monotonic() - began:.0f} s, {size:.0f} kB", flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])

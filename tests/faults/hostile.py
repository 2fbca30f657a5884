"""Hostile text in a browser and in copied code: it is shown as text, and runs nowhere."""

from __future__ import annotations

import ast
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from mmkn_widgets import widgets
from scripts.browser import find_browser
from tests.e2e.conftest import ARGUMENTS, write_notebook
from tests.e2e.notebook import NotebookPage
from tests.e2e.pages import ROOT, evil_study, opened
from tests.e2e.server import JupyterServer

from .tally import Tally

#: with __pwned in each: what a run of it would leave behind
TEXTS = (
    "<script>window.__pwned=1</script>",
    "</script><script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    "\"><svg onload=window.__pwned=1><a href='javascript:window.__pwned=1'>x</a>",
    "' onmouseover='window.__pwned=1' x='",
    '" autofocus onfocus="window.__pwned=1" x="',
    "`${window.__pwned=1}`",
    "${window.__pwned=1}{{window.__pwned=1}}#{window.__pwned=1}",
    "-->]]><iframe srcdoc='<script>parent.__pwned=1</script>'></iframe><!--",
    "\\'); window.__pwned=1; ('",
    "'); __import__('builtins').__pwned = 1  # \\",
    '"""); __pwned(1)\nimport __pwned  # """',
    "\r\n__pwned()\u2028__pwned()\u2029__pwned()\x0b__pwned()\x0c\x85__pwned()",
    "\u202egnp.__pwned\u202c\u200b\u200d\ufeff\u2066 x \u2069",
    "{__pwned} %(__pwned)s %s {0.__class__.__pwned}",
    "&lt;img src=x onerror=window.__pwned=1&gt;&#60;b&#62;__pwned",
    "</style><style>*{display:none}</style></textarea></title>__pwned",
    "\U0001d54f\u0301\u0301\u0301 \u05d0\u05d1 __pwned \u0e33 \ud83d\ude00".encode(
        "utf-16", "surrogatepass").decode("utf-16"),
    "__pwned.\udcff.png",
)  # fmt: skip
#: what only data could have put into a widget
INTRUDERS = (
    ".mmkn script, .mmkn iframe, .mmkn [onerror], .mmkn [onload], .mmkn [onfocus], "
    ".mmkn [onmouseover], .mmkn a[href^='javascript'], .mmkn img[src='x'], .mmkn textarea[onload]"
)


def _explorer(text: str) -> Any:
    made = widgets.Explorer(evil_study(text, evil=text))
    for number, (name, args) in enumerate((("lens", {}), ("tokens", {"id": 3}))):
        content = {"kind": "request", "id": str(number), "name": name, "args": args}
        made._receive(made, content, [])
    made.ablate()
    made.wait()
    return made


def _pair(text: str) -> Any:
    one, two = evil_study(text, evil=text), evil_study("bus", 2, evil=text)
    two.model = one.model
    made = widgets.compare(one, two)
    made.ablate()
    made.wait()
    return made


VIEWS: dict[str, Callable[[str], Any]] = {
    "Explorer": _explorer,
    "ConceptPair": _pair,
    "NeuronTable": lambda text: widgets.NeuronTable(evil_study(text, evil=text)),
    "AblationPanel": lambda text: _panel(text),
    "TokenStrip": lambda text: widgets.TokenStrip([(text, "text", -1)] * 2, [1.0, 2.0], text),
    "CaptionDiff": lambda text: widgets.CaptionDiff(f"a {text}", f"b {text}", concept=text),
    "MaskPainter": lambda text: _painter(text),
}


def _painter(text: str) -> Any:
    study = evil_study("car", evil=text)
    return widgets.MaskPainter(study.pictures(0)[0], {text: study.scenes[0].mask(text)})


def _panel(text: str) -> Any:
    study = evil_study(text, evil=text)
    made = widgets.AblationPanel(study)
    model = study.model
    model.interventions.push(model.ablate([(1, 2)], "scale", scale=0.5, name=text))
    made.wait()
    return made


def _plain(text: str) -> str:
    return "".join(text.split())


def _look(page: Page, trouble: list[str], text: str) -> None:
    """Use what is on the page, then see that nothing of the text came to life."""
    for selector in (".trow:not([hidden])", ".strip button >> nth=1", ".chip", "summary"):
        found = page.locator(selector).first
        if found.count() and found.is_visible() and found.is_enabled():
            found.hover()
            found.click()
    page.wait_for_timeout(100)
    assert page.evaluate("window.__pwned === undefined"), "it ran"
    assert page.locator(INTRUDERS).count() == 0, page.locator(INTRUDERS).first.evaluate(
        "e => e.outerHTML"
    )
    shown = _plain(page.locator("body").inner_text() + page.locator("body").inner_html())
    assert "pwned" in shown, "the text is not shown"
    assert not trouble, trouble[:3]


def _in_page(browser: Browser, view: str, text: str, folder: Path) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(20_000)
    made = VIEWS[view](text)
    try:
        page = context.new_page()
        _look(page, opened(page, made.save_html(folder / f"{view}.html")), text)
        body = page.locator(".mmkn").first.text_content() or ""
        if text.isprintable() and view != "MaskPainter":
            assert _plain(text)[:30] in _plain(body), "it is shown as another text"
        html = made._repr_mimebundle_()[0]["text/html"]
        page.set_content(html)
        assert page.evaluate("window.__pwned === undefined"), "it ran in the static picture"
        assert page.locator("script, iframe, [onerror], [onload], img[src=x]").count() == 0
    finally:
        made.close()
        context.close()


# -- code that is copied --------------------------------------------------------------------------


def shape(code: str) -> str:
    """Return what code does, with every text in it left out."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = "..."
        assert not (isinstance(node, ast.Name) and "pwned" in node.id), ast.unparse(node)
        assert not (isinstance(node, ast.Attribute) and "pwned" in node.attr), ast.unparse(node)
    return ast.dump(tree)


def codes(text: str) -> list[str]:
    """Return all that can be copied when every name is this text."""
    study = evil_study(text, evil=text)
    study.pairs = SimpleNamespace(name=text)
    study.options = {**study.options, "prompt": text, "positions": text}
    found = []
    for source in ("drawn", f"pocket:{text}", text):
        for scene in study.scenes:
            object.__setattr__(scene, "source", source)
        explorer = widgets.Explorer(study)
        explorer.ablate()
        model = study.model
        model.interventions.push(model.ablate([(1, 2)], "scale", scale=0.5, name=text))
        explorer.wait()
        found += [explorer.to_python(), explorer.ablation["code"]]
        explorer.close()
        model.interventions.clear()
    pair = _pair(text)
    found += [pair.setup_code, pair.ablation["code"]]
    pair.close()
    return found


def _copied(text: str) -> None:
    for hostile, plain in zip(codes(text), codes("plain"), strict=True):
        assert shape(hostile) == shape(plain), f"the code does something else: {hostile[:400]}"


# -- in a notebook, with a kernel behind it --------------------------------------------------------

CELLS = [
    f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
    "from tests.faults.hostile import TEXTS, VIEWS\n"
    "text = ' '.join(t for t in TEXTS if t.isprintable())\n"
    "explorer = VIEWS['Explorer'](text)\nexplorer",
    "table = VIEWS['NeuronTable'](text)\ntable",
    "explorer.neurons.to_dataframe(), explorer.study.scenes[0]",
]


def _in_lab(browser: Browser, folder: Path) -> None:
    write_notebook(folder / "hostile.ipynb", CELLS)
    with JupyterServer(folder, folder / "home") as server:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(30_000)
        notebook = NotebookPage(context.new_page(), server, "hostile.ipynb")
        try:
            notebook.run_all()
            notebook.page.locator(".mmkn .card").first.wait_for()
            _look(notebook.page, [], TEXTS[0])
        finally:
            notebook.close()
            context.close()


def run(tally: Tally, count: int, seed: int) -> None:
    """Show texts in every view; a text of every trial, and texts put together by chance."""
    draw = random.Random(seed)
    kinds = [*VIEWS, "copied code"]
    trials = [(kind, text) for text in TEXTS for kind in kinds]
    draw.shuffle(trials)
    while len(trials) < count:
        trials.append((draw.choice(kinds), "".join(draw.sample(TEXTS, 3))))
    path = find_browser()
    assert path is not None, "no Chromium found: run `make browser`"
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for kind, text in trials[:count]:
            with tally.one(f"{kind}, {text!a}"):
                if kind == "copied code":
                    _copied(text)
                else:
                    _in_page(browser, kind, text, Path(place))
        if count >= 100:
            with tally.one("JupyterLab"):
                (Path(place) / "lab").mkdir()
                _in_lab(browser, Path(place) / "lab")
        browser.close()
    tally.note = f"{len(TEXTS)} texts in {len(kinds)} views"

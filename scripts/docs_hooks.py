"""What mkdocs cannot do by itself: include papers of the repository, and turn formulas into MathML.

MathML is drawn by the browser: no script, no font and no other host is needed for it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
#: page -> the file of the repository whose text it is
PAPERS = {
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "pocket_study.md": "mmkn_widgets/pocket/study/README.md",
    "pocket_model.md": "mmkn_widgets/pocket/model/README.md",
    "pocket_plain.md": "mmkn_widgets/pocket/plain/README.md",
    "pocket_smollm2.md": "mmkn_widgets/pocket/smollm2/README.md",
    "three_models.md": "mmkn_widgets/pocket/study/three_models.md",
    "choices.md": "mmkn_widgets/pocket/study/choices.md",
    "sample.md": "mmkn_widgets/pocket/study/sample.md",
}
#: pictures that lie elsewhere: address in the pages -> file
PICTURES = {
    "images/explorer_light.webp": "notebooks/images/explorer_light.webp",
    "images/explorer_dark.webp": "notebooks/images/explorer_dark.webp",
    "methods.png": "mmkn_widgets/pocket/study/methods.png",
    "hallucination.png": "mmkn_widgets/pocket/study/hallucination.png",
    "three_models.png": "mmkn_widgets/pocket/study/three_models.png",
}
_TARGETS = {Path(paper).as_posix(): page for page, paper in PAPERS.items()} | {
    "README.md": "index.md",
    "../model/README.md": "pocket_model.md",
    "../study/README.md": "pocket_study.md",
    "../study": "pocket_study.md",
    "../plain/README.md": "pocket_plain.md",
    "../smollm2/README.md": "pocket_smollm2.md",
    "../study/three_models.md": "three_models.md",
    "../study/choices.md": "choices.md",
    "../study/sample.md": "sample.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and pictures whose source is elsewhere in the repository."""
    for page in PAPERS:
        files.append(File.generated(config, page, content=paper(page)))
    for address, source in PICTURES.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / source)))
    return files


def paper(page: str) -> str:
    """Return a paper's text, its links led to pages of the documentation."""
    source = PAPERS[page]
    text = (ROOT / source).read_text(encoding="utf-8")
    # a data sheet's YAML header is for the hub
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)

    def lead(found: re.Match[str]) -> str:
        shown, address = found.groups()
        target = _TARGETS.get(address.partition("#")[0].rstrip("/"))
        if target is not None:
            return f"[{shown}]({target})"
        local = "://" not in address and not address.startswith(("#", "mailto:"))
        return f"`{shown.strip('`')}`" if local else found[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", lead, text)


def on_page_content(content: str, **_: Any) -> str:
    """Replace what arithmatex marked by MathML."""

    def formula(found: re.Match[str]) -> str:
        text = html.unescape(found[2]).strip()
        block = found[1] == "div"
        text = text.removeprefix(r"\[" if block else r"\(").removesuffix(r"\]" if block else r"\)")
        return convert(text.strip(), display="block" if block else "inline")

    return re.sub(r'(?s)<(span|div) class="arithmatex">(.*?)</\1>', formula, content)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load our own stand-in for a worker instead of the theme's, which is on another host."""
    base = "../" * page.url.count("/")
    return output.replace("https://unpkg.com/iframe-worker/shim", f"{base}worker.js")

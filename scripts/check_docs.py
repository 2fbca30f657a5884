"""Check the built documentation: ``python scripts/check_docs.py build/docs``.

Every link and anchor inside leads somewhere, no page needs another host to be drawn, every public
name has its entry, and no formula or reference was left as it was typed.
"""

from __future__ import annotations

import importlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: attributes whose address is loaded to draw the page; a link is followed only when it is clicked
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "srcset", "video": "src"}


class Page(HTMLParser):
    """The links, ids and loaded addresses of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, links and loads."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(given["href"])
        if tag in _LOADED and given.get(_LOADED[tag]):
            self.loaded.append(given[_LOADED[tag]])


def _outside(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def faults(site: Path) -> list[str]:
    """Return what is wrong with a built site, one line each.

    Parameters
    ----------
    site : pathlib.Path
        The folder of its ``index.html``.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    pages = {path.resolve(): Page(text) for path, text in texts.items()}
    said = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        if name == "404.html":  # its addresses are those of a server's root
            continue
        said += [f"{name} loads {one}" for one in page.loaded if _outside(one)]
        inside = [one for one in page.links if not urlsplit(one).scheme and one[:2] != "//"]
        for address in [*inside, *(one for one in page.loaded if not _outside(one))]:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                said.append(f"{name} links {address}, which is not there")
            elif parts.fragment and target in pages:
                anchors = pages[target].ids
                if parts.fragment not in anchors and unquote(parts.fragment) not in anchors:
                    said.append(f"{name} links {address}, which has no such place")
    for path, text in texts.items():
        visible = re.sub(r"(?s)<(script|style|pre|code|annotation).*?</\1>", "", text)
        name = path.relative_to(site).as_posix()
        said += [f"{name} shows {one!r}" for one in re.findall(r"\$\$|\\\(|\]\[mmkn", visible)]
    for path in site.rglob("*.css"):
        found = re.findall(r"url\(\s*['\"]?(https?:[^)'\"]+)", path.read_text(encoding="utf-8"))
        said += [f"{path.name} loads {one}" for one in found]
    return said + _without_entry(pages)


def _without_entry(pages: dict[Path, Page]) -> list[str]:
    import mmkn_widgets

    ids = {one for path, page in pages.items() if path.parent.name == "api" for one in page.ids}
    said = []
    for room in mmkn_widgets._ROOMS:  # noqa: SLF001  ours
        for name in importlib.import_module(f"mmkn_widgets.{room}").__all__:
            if f"mmkn_widgets.{room}.{name}" not in ids:
                said.append(f"mmkn_widgets.{room}.{name} has no entry")
    return said


def main() -> int:
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    found = faults(site)
    print("\n".join(found) if found else f"{len(list(site.rglob('*.html')))} pages, no fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

"""Small pieces of HTML that a notebook shows of an object; everything given is text, never HTML.

A page may strip every style, as GitHub does: what counts is in tables, and pictures have their
size as an attribute. No colour is set, so that a dark page stays dark.
"""

from __future__ import annotations

import base64
import difflib
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = [
    "html_bars",
    "html_card",
    "html_changes",
    "html_figure",
    "html_gallery",
    "html_line",
    "html_picture",
    "html_table",
    "shade",
]

_MASK = (213, 94, 0)


def html_card(
    title: str, facts: Iterable[tuple[str, Any]] = (), *more: str, about: str = ""
) -> str:
    """Return the HTML of an object: a title, facts by name, and pieces of HTML below.

    Parameters
    ----------
    title, about : str
        Text; `about` stands beside the title.
    facts : iterable of (str, object)
        Text of each side. A fact whose value is None is left out.
    *more : str
        HTML from this module.

    Examples
    --------
    >>> html_card("Study", [("concept", "<car>")])
    '<div class="mmkn-repr"><div ...><strong>Study</strong></div>...&lt;car&gt;...</div>'
    """
    rows = "".join(
        f'<tr><th style="text-align:left;font-weight:normal;opacity:.75">{escape(str(name))}</th>'
        f'<td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in facts
        if value is not None
    )
    head = f"<strong>{escape(title)}</strong>" + (f" {escape(about)}" if about else "")
    held = f"<table>{rows}</table>" if rows else ""
    return f'<div class="mmkn-repr">{_padded(head)}{held}{"".join(more)}</div>'


def _padded(html: str) -> str:
    """Return a line whose left edge is that of the tables' text, in Jupyter."""
    return f'<div style="padding:.15em .5em">{html}</div>'


def html_line(text: str) -> str:
    """Return a line of text for a card.

    Examples
    --------
    >>> html_line("the first 12 of <800>")
    '<div style="padding:.15em .5em">the first 12 of &lt;800&gt;</div>'
    """
    return _padded(escape(text))


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]], below: str = "") -> str:
    """Return a table; numbers and their heads to the right, text to the left.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequence
        Floats are written with three digits; None is a dash.
    below : str
        A line of text under it.

    Examples
    --------
    >>> html_table(["word"], [["<b>"]])
    '<table><thead>...<td style="text-align:left">&lt;b&gt;</td></tr></tbody></table>'
    """
    rows = [list(row) for row in rows]
    sides = [_side([row[at] for row in rows if at < len(row)]) for at in range(len(head))]
    top = "".join(
        f'<th style="text-align:{side}">{escape(name)}</th>'
        for side, name in zip(sides, head, strict=True)
    )
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    more = html_line(below) if below else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>{more}"


def html_changes(head: tuple[str, str], pairs: Iterable[tuple[str, str]], below: str = "") -> str:
    """Return a table of texts before and after, the words that differ in bold.

    Parameters
    ----------
    head : (str, str)
    pairs : iterable of (str, str)
    below : str
        A line of text under it.

    Examples
    --------
    >>> html_changes(("before", "after"), [("a car", "a bus")]).count("<strong>bus</strong>")
    1
    """
    top = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in head)
    lines = ""
    for pair in pairs:
        words = [re.findall(r"\w+|\W+", text) for text in pair]
        same = difflib.SequenceMatcher(
            None, words[0], words[1], autojunk=False
        ).get_matching_blocks()
        for side, said in enumerate(words):
            kept = {block[side] + at for block in same for at in range(block.size)}
            shown = [
                f"<strong>{escape(word)}</strong>"
                if at not in kept and word[0].isalnum()
                else escape(word)
                for at, word in enumerate(said)
            ]
            cell = f'<td style="text-align:left">{"".join(shown)}</td>'
            lines += f"<tr>{cell}" if side == 0 else f"{cell}</tr>"
    more = html_line(below) if below else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>{more}"


_NUMBERS = (int, float, np.integer, np.floating)
_WRITTEN = re.compile(r"[-−+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?")


def _is_number(value: Any) -> bool:
    written = isinstance(value, str) and _WRITTEN.fullmatch(value) is not None
    return written or isinstance(value, _NUMBERS)


def _side(column: Sequence[Any]) -> str:
    """Return the side of a column's head: that of its numbers, if there is one."""
    return "right" if any(map(_is_number, column)) else "left"


def _cell(value: Any) -> str:
    side = "right" if value is None or _is_number(value) else "left"
    text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
    return f'<td style="text-align:{side}">{"–" if value is None else escape(text)}</td>'


def html_bars(counts: Iterable[tuple[str, int]]) -> str:
    """Return a table of counts with a bar each, made of text so that no style is needed.

    Examples
    --------
    >>> html_bars([("layer 4", 2), ("layer 5", 4)]).count("■")
    18
    """
    counts = list(counts)
    most = max((n for _, n in counts), default=0) or 1
    rows = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td><td style="text-align:right">{n}</td>'
        f'<td style="text-align:left;opacity:.6" aria-hidden="true">'
        f"{'■' * max(round(12 * n / most), bool(n))}</td></tr>"
        for name, n in counts
    )
    return f"<table>{rows}</table>"


def html_picture(image: Any, alt: str, height: int = 144) -> str:
    """Return a PIL picture as an ``img`` that needs nothing from outside.

    Parameters
    ----------
    image : PIL.Image.Image
    alt : str
    height : int
        On the page, in pixels; less where the picture would be wider than three times that. What
        is larger is sent in twice that size.

    Examples
    --------
    >>> from PIL import Image
    >>> html_picture(Image.new("RGB", (8, 4)), "a <b>", 40)[:22]
    '<img src="data:image/p'
    """
    from PIL import Image

    scale = min(height / image.height, 3 * height / image.width)
    width, height = (max(1, round(side * scale)) for side in image.size)
    sent = image.convert("RGB")
    if image.height > 2 * height:
        sent = sent.resize((2 * width, 2 * height), Image.Resampling.LANCZOS)
    elif image.height < height:
        sent = sent.resize((width, height), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    sent.save(held, "PNG", optimize=True)
    data = base64.b64encode(held.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}">'
    )


def shade(image: Any, mask: np.ndarray) -> Any:
    """Return the picture in grey with the mask in orange; a PIL picture.

    Examples
    --------
    >>> from PIL import Image
    >>> shade(Image.new("RGB", (4, 4)), np.eye(4) > 0).getpixel((0, 0))
    (213, 94, 0)
    """
    from PIL import Image

    grey = np.asarray(image.convert("L").convert("RGB"), np.float32) * 0.5 + 110
    tinted = np.where(mask[..., None], np.asarray(_MASK, np.float32), grey)
    return Image.fromarray(np.clip(tinted, 0, 255).astype(np.uint8))


def html_figure(image: str, text: str) -> str:
    """Return a cell of `html_gallery`: an ``img``, and a text as wide below it."""
    wide = re.search(r'width="(\d+)"', image)
    width = f";width:{wide[1]}px;min-width:{wide[1]}px" if wide else ""
    style = f"text-align:left;vertical-align:top{width}"
    return f'<td style="{style}">{image}<br>{escape(text)}</td>'


def html_gallery(figures: Sequence[str], columns: int = 6) -> str:
    """Lay figures out in rows.

    Parameters
    ----------
    figures : sequence of str
        From `html_figure`.
    columns : int

    Examples
    --------
    >>> html_gallery([html_figure("", "one"), html_figure("", "two")], columns=1).count("<tr ")
    2
    """
    lines = [figures[at : at + columns] for at in range(0, len(figures), columns)]
    row = '<tr style="background:none">'  # no stripes below pictures
    return f"<table>{''.join(row + ''.join(line) + '</tr>' for line in lines)}</table>"

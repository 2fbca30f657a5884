"""What stands in the output where no widget can be shown: a picture, captions, the best neurons."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Account", "fallback_html", "with_fallback"]

_SHOWN = 12


class Account(NamedTuple):
    """What a static view tells, as plain text and encoded pictures."""

    head: str
    pictures: list[tuple[str, bytes]]
    lines: list[str]
    columns: tuple[str, ...] = ()
    table: Sequence[tuple[str, ...]] = ()


def fallback_html(widget: Any) -> str:
    """Return a static HTML account of a widget; all text from data is escaped."""
    own = getattr(widget, "_account", None)
    made: Account = own() if callable(own) else _account_of(widget)
    parts = ['<div class="mmkn-static" style="font: 13px/1.5 system-ui, sans-serif">']
    parts.append(f"<p><strong>{html.escape(made.head)}</strong></p>")
    for name, data in made.pictures:
        kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
        code = base64.b64encode(data).decode()
        parts.append(
            f'<img alt="{html.escape(name)}" style="width: 220px; margin-right: 8px" '
            f'src="data:image/{kind};base64,{code}">'
        )
    parts += [f"<p>{html.escape(line)}</p>" for line in made.lines]
    if made.table:
        parts.append("<table>")
        for tag, row in (("th", made.columns), *(("td", row) for row in made.table)):
            cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
    parts.append("<p><em>Static view. Run the cell for the live widget.</em></p></div>")
    return "".join(parts)


def _account_of(widget: Any) -> Account:
    concept = str(getattr(widget, "concept", ""))
    facts = getattr(widget, "facts", {}) or {}
    kept = getattr(widget, "kept", None)
    head = f"{len(kept)} neurons" if kept is not None else type(widget).__name__
    if concept:
        head += f" of “{concept}”"
    if facts:
        head += f" in {facts.get('model', '')}"
    pictures = [(n, data) for n in ("picture", "inpainted") if (data := getattr(widget, n, b""))]
    if pictures and kept is not None and pictures[0][0] == "picture":
        from ._static_picture import with_map

        if covered := with_map(widget, kept):
            pictures[0] = ("picture with the mean map of the kept neurons", covered)
    said = (("before", "caption_before"), ("after", "caption_after"))
    lines = [f"{label}: {text}" for label, name in said if (text := getattr(widget, name, ""))]
    if kept is None or not len(kept):
        return Account(head, pictures, lines)
    d, g = widget._d.ravel(), widget._g.ravel()
    words = _words_of(widget)
    table = [
        (
            "L" + "·".join(map(str, widget._place(int(i)))),
            f"{d[i]:.3g}",
            f"{g[i]:.3g}",
            *([" ".join(words.get(int(i), ()))] if words else ()),
        )
        for i in kept[:_SHOWN]
    ]
    labels = getattr(widget, "labels", {})
    names = (labels.get("short_difference", "difference"), labels.get("short_gradcam", "GradCAM"))
    columns = ("neuron", *map(str, names), *(["writes"] if words else ()))
    return Account(head, pictures, lines, columns, table)


def _words_of(widget: Any) -> dict[int, list[str]]:
    words = getattr(widget, "words", None) or []
    ids = np.frombuffer(getattr(widget, "map_ids", b""), "<i4")[: len(words)].tolist()
    return {int(i): line for i, line in zip(ids, words, strict=False) if line}


def with_fallback(widget: Any, made: Any) -> Any:
    """Return the widget's mime bundle with a static text/html beside the live view."""
    if made is None:
        return None
    data, metadata = made if isinstance(made, tuple) else (made, {})
    return {**data, "text/html": fallback_html(widget)}, metadata

"""What stands in the output where no widget can be shown: a picture, captions, the best neurons."""

from __future__ import annotations

import base64
import html
from typing import Any

__all__ = ["fallback_html", "with_fallback"]

_SHOWN = 12


def fallback_html(widget: Any) -> str:
    """Return a static HTML account of a widget; all text from data is escaped."""
    parts = ['<div class="mmkn-static" style="font: 13px/1.5 system-ui, sans-serif">']
    concept = str(getattr(widget, "concept", ""))
    facts = getattr(widget, "facts", {}) or {}
    kept = getattr(widget, "kept", None)
    head = f"{len(kept)} neurons" if kept is not None else type(widget).__name__
    if concept:
        head += f" of “{concept}”"
    if facts:
        head += f" in {facts.get('model', '')}"
    parts.append(f"<p><strong>{html.escape(head)}</strong></p>")
    for name in ("picture", "inpainted"):
        data = getattr(widget, name, b"")
        if data:
            kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
            code = base64.b64encode(data).decode()
            parts.append(
                f'<img alt="{name}" style="width: 220px; margin-right: 8px" '
                f'src="data:image/{kind};base64,{code}">'
            )
    for label, name in (("before", "caption_before"), ("after", "caption_after")):
        if text := getattr(widget, name, ""):
            parts.append(f"<p>{label}: {html.escape(str(text))}</p>")
    if kept is not None and len(kept):
        parts.append("<table><tr><th>neuron</th><th>difference</th><th>GradCAM</th></tr>")
        d, g = widget._d.ravel(), widget._g.ravel()
        for flat in kept[:_SHOWN]:
            place = "·".join(str(part) for part in widget._place(int(flat)))
            parts.append(
                f"<tr><td>L{html.escape(place)}</td><td>{d[flat]:.3g}</td><td>{g[flat]:.3g}</td></tr>"
            )
        parts.append("</table>")
    parts.append("<p><em>Static view. Run the cell for the live widget.</em></p></div>")
    return "".join(parts)


def with_fallback(widget: Any, made: Any) -> Any:
    """Return the widget's mime bundle with a static text/html beside the live view."""
    if made is None:
        return None
    data, metadata = made if isinstance(made, tuple) else (made, {})
    return {**data, "text/html": fallback_html(widget)}, metadata

"""One offline page: the widget's module, its state, and a model that needs no kernel."""

from __future__ import annotations

import base64
import html
import json
from typing import Any

from ..core import NotSupported
from ._kinds import flag_of

__all__ = ["offline_page", "wire_state"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src blob: data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline' blob: data:">
<title>{title}</title>
<style>html {{ color-scheme: light dark; }}
body {{ margin: 16px; background: light-dark(#f4f6f9, #0e1116); }}
#mmkn {{ max-width: 1400px; margin: 0 auto; }}</style></head>
<body><main id="mmkn">{fallback}</main>
<script type="application/json" id="mmkn-state">{state}</script>
<script type="application/json" id="mmkn-scenes">{scenes}</script>
<script type="application/json" id="mmkn-module">{module}</script>
<script type="module">
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const unpack = (value) => {{
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if (typeof value["$bytes"] === "string") {{
    const raw = atob(value["$bytes"]);
    const data = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) data[i] = raw.charCodeAt(i);
    return new DataView(data.buffer);
  }}
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}};
const state = unpack(read("mmkn-state"));
const saved = read("mmkn-scenes");
const listeners = new Map();
const model = {{
  get: (name) => state[name],
  set: (name, value) => {{
    if (state[name] === value) return;
    state[name] = value;
    for (const listener of listeners.get("change:" + name) ?? []) listener();
    const others = unpack(saved[name]?.[value] ?? {{}});
    for (const [key, item] of Object.entries(others)) model.set(key, item);
  }},
  save_changes: () => undefined,
  on: (event, listener) => {{
    if (!listeners.has(event)) listeners.set(event, new Set());
    listeners.get(event).add(listener);
  }},
  off: (event, listener) => listeners.get(event)?.delete(listener),
  send: () => undefined,
}};
const url = URL.createObjectURL(new Blob([read("mmkn-module")], {{ type: "text/javascript" }}));
const {{ default: widget }} = await import(url);
const el = document.getElementById("mmkn");
el.textContent = "";
widget.render({{ model, el, signal: new AbortController().signal }});
globalThis.mmkn = {{ model }};
</script></body></html>
"""


def _pack(value: Any) -> Any:
    if isinstance(value, bytes | memoryview | bytearray):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {str(key): _pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item) for item in value]
    return value


def _script(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def wire_state(widget: Any) -> dict[str, Any]:
    """Return every trait of the contract by name, as it stands."""
    return {
        name: getattr(widget, name) for name, trait in widget.traits().items() if flag_of(trait)
    }


def offline_page(widget: Any) -> str:
    """Return a page that shows a widget as it is now, without kernel and network.

    Raises
    ------
    NotSupported
        If the page modules are not built.
    """
    from ._fallback import fallback_html

    module = str(widget._esm)
    if "render" not in module or "was installed without its page modules" in module:
        raise NotSupported("save_html: the page modules are not built; run `make` in the clone")
    state = {**wire_state(widget), "read_only": True}
    others = widget.saved_traits()
    for trait, scenes in others.items():  # "scene", or "a_scene" beside "b_scene"
        for name in ("scenes", "thumbnails"):
            key = trait.removesuffix("scene") + name
            state[key] = state[key][: max(scenes) + 1]
    title = f"{getattr(widget, 'concept', '') or type(widget).__name__} · mmkn_widgets"
    return _PAGE.format(
        title=html.escape(title),
        fallback=fallback_html(widget),
        state=_script(_pack(state)),
        scenes=_script(_pack(others)),
        module=_script(module),
    )

"""A widget without its kernel: one offline page that stays alive, and a static account."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..core import NotSupported
from .encode import encode_picture
from .saved import Pace
from .traits import flag_of

if TYPE_CHECKING:
    from .selection import Selection

__all__ = [
    "Account",
    "choosing_account",
    "fallback_html",
    "offline_page",
    "pictures_of",
    "wire_state",
    "with_fallback",
    "with_map",
    "words_by_id",
]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src blob: data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline' blob: data:">
<title>{title}</title>
<style>html {{ color-scheme: light dark; }}
body {{ margin: 16px; background: light-dark(#f4f6f9, #0e1116); }}
#mmkn {{ max-width: 1400px; margin: 0 auto; }}
h1, h2 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; \
clip-path: inset(50%); }}</style></head>
<body><main><h1>mmkn_widgets</h1><h2>{name}</h2><div id="mmkn">{fallback}</div></main>
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
    const take = (found) => {{
      for (const [key, item] of Object.entries(unpack(found ?? {{}}))) model.set(key, item);
    }};
    take(saved.single[name]?.[value]);
    for (const {{ of, known, otherwise }} of saved.several)
      if (of.includes(name)) take(known[of.map((one) => state[one]).join()] ?? otherwise);
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


def _text(value: str) -> str:
    """Return text as HTML shows it; half a surrogate pair, of a name of odd bytes, is no text."""
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.escape(whole)


def _script(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def wire_state(widget: Any) -> dict[str, Any]:
    """Return every trait of the contract by name, as it stands."""
    return {
        name: getattr(widget, name) for name, trait in widget.traits().items() if flag_of(trait)
    }


def offline_page(widget: Any, pace: Pace | None = None) -> str:
    """Return a page that shows a widget as it is now, without kernel and network.

    Parameters
    ----------
    widget : Widget
    pace : Pace, optional
        Who hears how far it is, and who stops it.

    Raises
    ------
    NotSupported
        If the page modules are not built.
    """
    widget.catch_up()
    module = str(widget._esm)
    if "render" not in module or "was installed without its page modules" in module:
        raise NotSupported("save_html: the page modules are not built; run `make` in the clone")
    state = {**wire_state(widget), "read_only": True}
    saved = widget.saved_traits(pace or Pace())
    state |= {name: getattr(widget, name) for name in state if name.endswith("scenes")}
    for trait, scenes in saved.single.items():  # "scene", or "a_scene" beside "b_scene"
        for name in ("scenes", "thumbnails"):
            key = trait.removesuffix("scene") + name
            state[key] = state[key][: max(scenes) + 1]
        if "tokens" in scenes[state[trait]]:
            state["tokens"] = scenes[state[trait]]["tokens"]
    for one in saved.several:
        state |= one.known.get(tuple(state[name] for name in one.of), {})
    title = f"{widget.title} · mmkn_widgets"
    return _PAGE.format(
        title=_text(title),
        name=_text(widget.title),
        fallback=fallback_html(widget),
        state=_script(_pack(state)),
        scenes=_script(_pack(saved.page())),
        module=_script(module),
    )


# -- a static account: what stands in the output where no widget can be shown ----------------------

_SHOWN, _SIDE = 12, 240
_INFERNO = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"


class Account(NamedTuple):
    """What a static view tells, as plain text and encoded pictures."""

    head: str
    pictures: Sequence[tuple[str, bytes]]
    lines: Sequence[str]
    columns: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()


def fallback_html(widget: Any) -> str:
    """Return a static HTML account of a widget; all text from data is escaped."""
    made: Account = widget.account()
    parts = ['<div class="mmkn-static" style="font: 13px/1.5 system-ui, sans-serif">']
    parts.append(f"<p><strong>{_text(made.head)}</strong></p>")
    for name, data in made.pictures:
        kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
        code = base64.b64encode(data).decode()
        parts.append(
            f'<img alt="{_text(name)}" style="width: 220px; margin-right: 8px" '
            f'src="data:image/{kind};base64,{code}">'
        )
    parts += [f"<p>{_text(line)}</p>" for line in made.lines]
    if made.table:
        parts.append("<table>")
        for tag, row in (("th", made.columns), *(("td", row) for row in made.table)):
            cells = "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in row)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
    parts.append("<p><em>Static view. Run the cell for the live widget.</em></p></div>")
    return "".join(parts)


def with_fallback(widget: Any, made: Any) -> Any:
    """Return the widget's mime bundle with a static text/html beside the live view."""
    if made is None:
        return None
    data, metadata = made if isinstance(made, tuple) else (made, {})
    return {**data, "text/html": fallback_html(widget)}, metadata


def choosing_account(
    selection: Selection,
    labels: Mapping[str, str],
    *,
    of: str = "",
    pictures: Iterable[tuple[str, bytes]] = (),
    lines: Iterable[str] = (),
    words: Mapping[int, Sequence[str]] | None = None,
) -> Account:
    """Return the account of a widget that chooses neurons: how many, and the best of them.

    Parameters
    ----------
    selection : Selection
    labels : mapping
        What the two scores are called.
    of : str
        The end of the headline, such as `` of “car” in pocket``.
    pictures, lines : optional
    words : mapping of int to words, optional
        What the neurons write, by flat id.
    """
    kept = selection.kept
    head = f"{len(kept)} neurons{of}"
    if not len(kept):
        return Account(head, list(pictures), list(lines))
    d, g = selection.difference.ravel(), selection.gradcam.ravel()
    known = words or {}
    table = [
        (
            selection.name(int(i)),
            f"{d[i]:.3g}",
            f"{g[i]:.3g}",
            *([" ".join(known.get(int(i), ()))] if known else ()),
        )
        for i in kept[:_SHOWN]
    ]
    names = (labels.get("short_difference", "difference"), labels.get("short_gradcam", "GradCAM"))
    columns = ("neuron", *names, *(["writes"] if known else ()))
    return Account(head, list(pictures), list(lines), columns, table)


def words_by_id(map_ids: bytes, words: Sequence[Sequence[str]]) -> dict[int, Sequence[str]]:
    """Return the words of the prefetched neurons by flat id."""
    ids = np.frombuffer(map_ids, "<i4")[: len(words)].tolist()
    return {int(i): line for i, line in zip(ids, words, strict=True) if line}


class Pictured(Protocol):
    """What `with_map` reads: a widget's picture and its maps, or those of one side."""

    @property
    def picture(self) -> bytes:
        """PNG or JPEG."""

    @property
    def grid(self) -> Mapping[str, Any]:
        """The token grid."""

    @property
    def maps(self) -> bytes:
        """See `PictureTraits`, likewise the others."""

    @property
    def map_scale(self) -> bytes:
        """."""

    @property
    def map_offset(self) -> bytes:
        """."""

    @property
    def map_sign(self) -> bytes:
        """."""


def pictures_of(widget: Any, kept: np.ndarray) -> list[tuple[str, bytes]]:
    """Return a widget's picture, under the kept neurons' mean map if there is one, and its twin."""
    covered = with_map(widget, widget.map_ids, kept, signed=widget.signed)
    first = ("picture with the mean map of the kept neurons", covered)
    shown = [first if covered else ("picture", widget.picture), ("inpainted", widget.inpainted)]
    return [(name, data) for name, data in shown if data]


def with_map(source: Pictured, map_ids: bytes, ids: np.ndarray, *, signed: bool) -> bytes:
    """Return the picture with the mean map of neurons on it, as the page paints it.

    Parameters
    ----------
    source : Pictured
    map_ids : bytes
        int32: the flat ids whose maps `source` has.
    ids : numpy.ndarray
        Flat ids; the mean is over those whose maps are there.
    signed : bool
        Whether the maps are weighted by their neurons' signs.

    Returns
    -------
    bytes
        An encoded picture; empty where there is no map of any of the neurons.
    """
    from PIL import Image

    known = np.frombuffer(map_ids, "<i4")
    at = np.flatnonzero(np.isin(known, ids))
    rows, cols = (int(source.grid[name]) for name in ("rows", "cols"))
    if not len(at) or not rows or not source.maps:
        return b""
    grids = np.frombuffer(source.maps, np.uint8).reshape(len(known), rows, cols)[at]
    scale = np.frombuffer(source.map_scale, "<f4")[at]
    offset = np.frombuffer(source.map_offset, "<f4")[at]
    maps = offset[:, None, None] + scale[:, None, None] * grids.astype(np.float32)
    if signed:
        maps = maps * np.frombuffer(source.map_sign, np.int8)[at, None, None]
    mean = maps.mean(0)
    if signed:
        mean = np.maximum(mean, 0)
    span = float(mean.max() - mean.min())
    picture = Image.open(io.BytesIO(source.picture)).convert("RGB")
    picture = picture.resize((_SIDE, max(1, round(_SIDE * picture.height / picture.width))))
    share = Image.fromarray(((mean - mean.min()) / (span or 1)).astype(np.float32))
    x0, y0, x1, y1 = source.grid["extent"]
    box = [round(v * n) for v, n in zip((x0, y0, x1, y1), picture.size * 2, strict=True)]
    size = (max(1, box[2] - box[0]), max(1, box[3] - box[1]))
    values = np.asarray(share.resize(size, Image.Resampling.BILINEAR))
    opacity = 0.6 * (0.3 + 0.7 * values)[..., None]
    under = np.asarray(picture.crop(tuple(box)), float)
    over = (under * (1 - opacity) + _colors(values) * opacity).round().astype(np.uint8)
    picture.paste(Image.fromarray(over), (box[0], box[1]))
    return encode_picture(picture)


def _colors(values: np.ndarray) -> np.ndarray:
    """Return RGB of values from 0 to 1, float (..., 3)."""
    stops = np.asarray([[int(x[k : k + 2], 16) for k in (0, 2, 4)] for x in _INFERNO.split()])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, c]) for c in range(3)], -1)

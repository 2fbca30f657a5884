// The chosen neuron along the sequence: text, image and generated tokens, shaded by its activation.

import { nth, num } from "../core/arrays";
import { asFloat32 } from "../core/binary";
import { DIVERGING, gradient, lut } from "../core/colormap";
import { h, setAttr, setText } from "../core/dom";
import { plural, short } from "../core/format";
import { uniqueId } from "../core/roving";
import type { Session } from "../core/session";
import { fit } from "../core/theme";

export function mountTokenStrip(session: Session, host: HTMLElement): void {
  const { store } = session;
  const note = h("span", { class: "note" });
  const list = h("div", {
    class: "tokens",
    role: "listbox",
    tabindex: "0",
    "aria-orientation": "horizontal",
    "aria-label": "tokens of the sequence",
  });
  const here = h("span", { class: "sr", role: "option", id: uniqueId("token") });
  const hover = h("div", { class: "note hover" });
  const [low, high] = [h("span"), h("span")];
  const scale = h(
    "div",
    { class: "legend below" },
    low,
    h("i", { style: { background: gradient(DIVERGING) } }),
    high,
    h("span", {}, "grey block: the image's tokens; underlined: written by the model"),
  );
  host.append(h("div", { class: "head" }, h("h3", {}, "tokens"), note), list, scale, hover);

  // For the keyboard the tokens are one list, of which only the active one is in the page.
  let at = -1;
  let lines: string[] = [];
  let places: HTMLElement[] = [];
  const mark = (): void => {
    const on = at >= 0 && list.matches(":focus");
    list.querySelector(".at")?.classList.remove("at");
    setAttr(list, "aria-activedescendant", on ? here.id : null);
    setAttr(here, "aria-selected", String(on));
    setText(here, on ? (lines[at] ?? "") : `${plural(lines.length, "token")}; arrow keys go along`);
    setAttr(here, "aria-posinset", on ? String(at + 1) : null);
    setAttr(here, "aria-setsize", on ? String(lines.length) : null);
    if (!on) return setText(hover, "");
    const place = places[at];
    place?.classList.add("at");
    place?.scrollIntoView({ block: "nearest" });
    setText(hover, lines[at] ?? "");
    session.announce(lines[at] ?? "");
  };
  list.addEventListener("focus", () => {
    at = Math.max(at, 0);
    mark();
  });
  list.addEventListener("blur", mark);
  list.addEventListener("keydown", (event) => {
    const last = lines.length - 1;
    const next = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + 10,
      ArrowUp: at - 10,
      Home: 0,
      End: last,
    }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    at = Math.min(Math.max(next, 0), last);
    mark();
  });

  session.paint(["tokens", "token_values", "token_label"], () => {
    const tokens = store.get("tokens") ?? [];
    const values = asFloat32(store.get("token_values"));
    const known = values.length === tokens.length && tokens.length > 0;
    const edge = Math.max(...values.map(Math.abs), 1e-12);
    const table = lut(DIVERGING);
    const color = (value: number): string => {
      const k = Math.round((0.5 + value / (2 * edge)) * 255) * 3;
      return `rgb(${table[k]} ${table[k + 1]} ${table[k + 2]} / ${Math.round(Math.abs(value / edge) * 55)}%)`;
    };
    const say = (k: number): string => {
      const token = nth(tokens, k);
      const step = token.step >= 0 ? `, step ${token.step + 1}` : "";
      return `“${token.text}” · ${token.role}${step}${known ? ` · ${short(num(values, k))}` : ""}`;
    };
    scale.hidden = !known;
    lines = tokens.map((_, k) => say(k));
    at = Math.min(at, tokens.length - 1);
    places = [];
    setText(low, short(-edge));
    setText(high, short(edge));
    list.textContent = "";
    for (let k = 0; k < tokens.length; k++) {
      const token = nth(tokens, k);
      if (token.role === "image") {
        let end = k;
        while (tokens[end]?.role === "image") end++;
        const from = k;
        for (let n = from; n < end; n++)
          lines[n] = `image token ${n - from + 1}${known ? ` · ${short(num(values, n))}` : ""}`;
        const run = imageRun(from, end, known ? values : null, color, (on) =>
          setText(hover, on < 0 ? "" : (lines[on] ?? "")),
        );
        list.append(run);
        for (let n = from; n < end; n++) places.push(run);
        k = end - 1;
        continue;
      }
      const el = h(
        "span",
        { class: token.role, title: say(k), "aria-hidden": "true" },
        token.text || " ",
      );
      if (known) el.style.background = color(num(values, k));
      list.append(el);
      places.push(el);
    }
    list.append(here);
    mark();
    setText(
      note,
      tokens.length
        ? store.get("token_label") || plural(tokens.length, "token")
        : "choose a neuron in the table",
    );
  });
}

/** A run of image tokens as one small picture, a column each. */
function imageRun(
  from: number,
  to: number,
  values: Float32Array | null,
  color: (v: number) => string,
  onhover: (at: number) => void,
): HTMLElement {
  const n = to - from;
  const width = Math.min(Math.max(n * 2, 60), 288);
  const canvas = h("canvas", { style: { width: `${width}px` } });
  const { ctx } = fit(canvas, width, 18);
  ctx.fillStyle = "rgb(128 128 128 / 12%)";
  ctx.fillRect(0, 0, width, 18);
  if (values) {
    for (let k = 0; k < n; k++) {
      ctx.fillStyle = color(num(values, from + k));
      ctx.fillRect((k / n) * width, 0, Math.max(width / n, 1), 18);
    }
  }
  canvas.addEventListener("pointermove", (event) =>
    onhover(values ? from + Math.min(Math.floor((event.offsetX / width) * n), n - 1) : -1),
  );
  canvas.addEventListener("pointerleave", () => onhover(-1));
  return h("span", { class: "image", title: `${n} image tokens`, "aria-hidden": "true" }, canvas);
}

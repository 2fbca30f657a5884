// The chosen neuron along the sequence: text, image and generated tokens, shaded by its activation.

import { nth, num } from "../core/arrays";
import { asFloat32 } from "../core/binary";
import { DIVERGING, gradient, lut } from "../core/colormap";
import { h, setText } from "../core/dom";
import { plural, short } from "../core/format";
import type { Session } from "../core/session";
import { fit } from "../core/theme";

export function mountTokenStrip(session: Session, host: HTMLElement): void {
  const { store } = session;
  const note = h("span", { class: "note" });
  const list = h("div", { class: "tokens", role: "list", "aria-label": "tokens of the sequence" });
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
    setText(low, short(-edge));
    setText(high, short(edge));
    list.textContent = "";
    for (let k = 0; k < tokens.length; k++) {
      const token = nth(tokens, k);
      if (token.role === "image") {
        let end = k;
        while (tokens[end]?.role === "image") end++;
        list.append(
          imageRun(k, end, known ? values : null, color, (at) =>
            setText(hover, at < 0 ? "" : `image token ${at - k + 1} · ${short(num(values, at))}`),
          ),
        );
        k = end - 1;
        continue;
      }
      const el = h(
        "span",
        { role: "listitem", class: token.role, title: say(k) },
        token.text || " ",
      );
      if (known) el.style.background = color(num(values, k));
      list.append(el);
    }
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
  return h("span", { class: "image", role: "listitem", title: `${n} image tokens` }, canvas);
}

// The two sliders, their numbers, and the choice of absolute or quantile thresholds.

import type { Axis } from "../core/axis";
import { clamp, h, segments, setText, steady } from "../core/dom";
import { float32Literal, plural, top } from "../core/format";
import { CUTS, type Session } from "../core/session";

type Key = "difference" | "gradcam";
type CutName = `${"threshold" | "quantile"}_${"d" | "g"}`;
const STEPS = 1000;

export function thresholdSliders(
  session: Session,
  axes: () => { d: Axis; g: Axis },
  settings?: HTMLElement,
): HTMLElement {
  const { store } = session;
  const mode = segments<"absolute" | "quantile">(
    "thresholds are",
    [
      ["absolute", "absolute"],
      ["quantile", "quantile"],
    ],
    (value) => {
      const [td, tg] = session.thresholds();
      const e = session.evidence();
      store.commit(
        value === "quantile"
          ? {
              mode: value,
              quantile_d: e.quantileOf("difference", td),
              quantile_g: e.quantileOf("gradcam", tg),
            }
          : { mode: value, threshold_d: td, threshold_g: tg },
      );
    },
  );
  const rows = (["difference", "gradcam"] as const).map((key) => slider(session, key, axes));
  session.store.watch(["mode"], () =>
    mode.set(store.get("mode") === "quantile" ? "quantile" : "absolute"),
  );
  const kinds = h(
    "div",
    { class: "row expert kinds" },
    settings ? h("span", { class: "note" }, "thresholds are") : null,
    mode.el,
  );
  settings?.append(kinds);
  return h("div", {}, h("div", { class: "sliders" }, ...rows.flat()), settings ? null : kinds);
}

function slider(session: Session, key: Key, axes: () => { d: Axis; g: Axis }): HTMLElement[] {
  const { store } = session;
  const name = session.scoreName(key);
  const axis = (): Axis => (key === "difference" ? axes().d : axes().g);
  const cut = (): number => session.thresholds()[key === "difference" ? 0 : 1];
  const quantile = (): boolean => store.get("mode") === "quantile";
  const range = h("input", {
    type: "range",
    min: 0,
    max: STEPS,
    step: 1,
    "aria-label": `${name} threshold`,
  });
  const box = h("input", {
    type: "number",
    step: "any",
    "aria-label": `${name} threshold, number`,
  });
  const share = h("span", { class: "note" });
  let typing = false;
  let refused = false; // what was typed is no number: the threshold stays, and it is said
  let shown = { text: "", value: 0 }; // a value is not what is left of it in the box

  const trait = (): CutName =>
    `${quantile() ? "quantile" : "threshold"}_${key === "difference" ? "d" : "g"}`;
  const preview = (value: number): void =>
    store.preview({ [trait()]: quantile() ? value : Math.fround(value) });
  const commit = (): void => {
    store.commit();
    session.announce(`${plural(session.kept().checked, "neuron")} kept`);
  };
  // In quantile mode the slider is logarithmic in the share that is kept: all on the left, one neuron on the right.
  const toQuantile = (position: number): number =>
    position <= 0 ? 0 : 1 - session.evidence().neurons ** -position;
  const fromQuantile = (q: number): number => {
    const n = Math.max(session.evidence().neurons, 2);
    return clamp(Math.log(Math.max(1 - q, 1 / n)) / -Math.log(n), 0, 1);
  };
  range.addEventListener("input", () => {
    refused = false;
    const position = Number(range.value) / STEPS;
    preview(quantile() ? toQuantile(position) : axis().value(position));
  });
  range.addEventListener("change", commit);
  box.addEventListener("input", () => {
    typing = true;
    refused = false;
    if (box.value === "" || !Number.isFinite(Number(box.value))) return;
    if (box.value === shown.text) store.preview({ [trait()]: shown.value });
    else preview(quantile() ? clamp(Number(box.value), 0, 1) : Number(box.value));
  });
  const typed = (): void => {
    if (!typing) return;
    typing = false;
    refused = box.value === ""; // what a number input cannot read it gives as nothing
    commit();
    if (!refused) return;
    store.touch("typed");
    session.announce(`that is no number: the ${name} threshold stays as it was`);
  };
  box.addEventListener("change", typed);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") typed(); // JupyterLab takes the key press from which a browser makes a change
  });
  box.addEventListener("blur", typed); // typed back to what it was: no change, but a preview

  session.paint([...CUTS, "axis", "typed"], () => {
    const value = cut();
    const q = store.get(key === "difference" ? "quantile_d" : "quantile_g") ?? 0;
    const position = quantile() ? fromQuantile(q) : clamp(axis().position(value), 0, 1);
    const at = String(Math.round(position * STEPS));
    if (range.value !== at) range.value = at;
    range.style.setProperty("--fill", `${position * 100}%`);
    if (!typing) {
      const digits = value.toPrecision(4);
      box.value = quantile()
        ? String(Number(q.toFixed(6)))
        : Math.abs(value) < 1e-3 && value
          ? Number(digits).toExponential()
          : float32Literal(Number(digits)).replace(/\.0$/, "");
      shown = { text: box.value, value: quantile() ? q : value };
    }
    const kept = session.evidence().rank(key, value) / Math.max(session.evidence().neurons, 1);
    setText(share, refused ? "no number" : top(kept));
    share.classList.toggle("refused", refused);
    range.setAttribute("aria-valuetext", `${box.value}, ${top(kept)}`);
  });
  return [h("span", {}, name), range, box, steady(share)];
}

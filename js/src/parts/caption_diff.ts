// The caption before and after, with what changed; a click on a word makes it the concept.

import { diffWords, isForm, words } from "../core/diff";
import { fill, h, setAttr, setText } from "../core/dom";
import { change, plural, short } from "../core/format";
import type { Session } from "../core/session";

export interface CaptionOptions {
  onword?: (word: string) => void;
  /** a patch of the picture was dropped on a word */
  ondrop?: (patch: string, word: string) => void;
}

/** Text that streams in while the model writes; null when it does not write. */
export interface CaptionPart {
  stream(text: string | null): void;
}

const MEASURES: readonly (readonly [string, string, string])[] = [
  ["suppression", "suppression", "share of scenes that named the concept before and no longer name it"],
  ["retention", "retention", "share of the other objects that are still named (the smaller of scenes with and without the concept)"],
  ["bleu", "BLEU", "corpus BLEU-4 of the captions after against those before"],
];

export function mountCaptionDiff(session: Session, host: HTMLElement, options: CaptionOptions = {}): CaptionPart {
  const { store } = session;
  const before = h("dd");
  const after = h("dd", { "aria-live": "polite" });
  const refs = h("dd", { class: "refs" });
  const refsHead = h("dt", {}, "refs");
  const note = h("span", { class: "note" }, options.onword ? "greedy · click a word to make it the concept" : "greedy");
  const measures = h("div", { class: "measures" });
  const legend = h("div", { class: "note" });
  const logit = h("div");
  let streaming: string | null = null;
  let all = false;
  host.append(
    h("div", { class: "head" }, h("h3", {}, "caption"), note),
    h("dl", { class: "captions", style: { margin: "0" } }, h("dt", {}, "before"), before, h("dt", {}, "after"), after, refsHead, refs),
    measures, legend, logit,
  );

  const word = (text: string): Node => {
    const concept = isForm(text, store.get("concept_forms") ?? []);
    if (!options.onword) return h("span", { class: concept ? "word concept" : "word" }, text);
    const el = h("button", { type: "button", class: concept ? "word concept" : "word", title: concept ? "the concept" : `make “${text}” the concept` }, text);
    el.addEventListener("click", () => options.onword?.(text));
    if (options.ondrop) {
      el.addEventListener("dragover", (event) => {
        event.preventDefault();
        el.classList.add("drop");
      });
      el.addEventListener("dragleave", () => el.classList.remove("drop"));
      el.addEventListener("drop", (event) => {
        event.preventDefault();
        el.classList.remove("drop");
        options.ondrop?.(event.dataTransfer?.getData("text/x-mmkn-patch") ?? "", text);
      });
    }
    return el;
  };
  const spaced = (nodes: Node[]): (Node | string)[] => nodes.flatMap((node) => [node, " "]);

  const paint = (): void => {
    const first = store.get("caption_before") ?? "";
    const second = store.get("caption_after") ?? "";
    fill(before, ...(first ? spaced(words(first).map(word)) : [h("span", { class: "note" }, "not written yet")]));
    if (streaming !== null) fill(after, streaming, h("span", { class: "note" }, " …"));
    else if (!second) fill(after, h("span", { class: "note" }, "ablate to see what changes"));
    else {
      const pieces = diffWords(first, second);
      const parts = pieces.map((piece) => {
        if (piece.kind === "gone") return h("del", { "aria-label": `removed: ${piece.text}` }, piece.text);
        if (piece.kind === "new") return h("ins", { "aria-label": `new: ${piece.text}` }, piece.text);
        return document.createTextNode(piece.text);
      });
      fill(after, ...spaced(parts));
      if (pieces.every((piece) => piece.kind === "same")) after.append(h("span", { class: "note" }, "(unchanged)"));
    }
    const references = store.get("references") ?? [];
    refsHead.hidden = refs.hidden = references.length === 0;
    if (all) fill(refs, ...references.map((line) => h("div", {}, line)));
    else fill(refs, references[0] ?? "");
    if (!all && references.length > 1) {
      refs.append(" ", h("button", { type: "button", class: "word note", onclick: () => {
        all = true;
        paint();
      } }, `· ${references.length - 1} more`));
    }
  };
  const paintMeasures = (): void => {
    const effect = store.get("effect");
    fill(measures);
    if (effect) {
      for (const [key, name, title] of MEASURES) {
        const measure = effect.measures[key];
        if (!measure) continue;
        const percent = `${Math.min(Math.max(measure.value, 0), 1) * 100}%`;
        const bar = h("span", { class: "bar", role: "img", "aria-label": `${name} ${short(measure.value)}${measure.random === null ? "" : `, random control ${short(measure.random)}`}` },
          h("i", { style: { width: percent } }));
        if (measure.random !== null) bar.append(h("b", { style: { left: `${Math.min(Math.max(measure.random, 0), 1) * 100}%` } }));
        measures.append(h("span", { title }, name), bar, h("span", { class: "num" }, measure.value.toFixed(2).replace(/^0/, "")));
      }
      const control = Object.values(effect.measures).some((m) => m.random !== null);
      setText(legend, `${plural(effect.scenes, "scene")}${effect.held_out ? ", held out" : ", the ones the neurons were chosen on"}`
        + (control ? ` · grey mark: ${effect.neurons} random neurons from the same layers` : ""));
    } else setText(legend, "");
    const state = store.get("ablation");
    const predicted = session.predicted?.() ?? null;
    const parts: (string | Node)[] = [];
    if (predicted !== null && store.get("concept")) {
      parts.push(h("span", { class: "note" }, `${store.get("labels")?.score || "score"} of “${store.get("concept")}”  `), "predicted ", h("b", {}, change(predicted)));
      if (state?.measured !== null && state?.measured !== undefined) parts.push("  measured ", h("b", {}, change(state.measured)));
    }
    fill(logit, ...parts);
    setAttr(logit, "title", "predicted: minus the sum of activation × gradient over the kept neurons, linear; mean over the scenes");
  };
  store.watch(["caption_before", "caption_after", "references", "concept_forms", "concept"], paint);
  store.watch(["effect", "ablation", "mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g", "unchecked", "rows_off", "gradient_sum", "difference",
    "gradcam", "ablate_mode", "ablate_scale", "concept", "labels"], paintMeasures);
  return {
    stream(text) {
      streaming = text;
      paint();
    },
  };
}

// Two concepts side by side: a column for each, between them what is own and what is shared.

import { button, h, setText } from "../core/dom";
import { integer, plural } from "../core/format";
import { Axis, suitableKind } from "../core/axis";
import { copyText } from "../core/clipboard";
import { Pair } from "../core/pair";
import { hasOwn, writePictures } from "../core/python";
import { SIDES } from "../core/pair_traits";
import { download } from "../core/pictures";
import { jumps } from "../core/roving";
import type { Session } from "../core/session";
import { derive } from "../core/store";
import { workLine } from "../core/work";
import { mountPairCaptions } from "./pair_captions";
import { mountPairParts } from "./pair_parts";
import { mountPairPicture } from "./pair_picture";
import { mountPairTable } from "./pair_table";
import { mountSceneStrip } from "./scene_strip";
import { thresholdSliders } from "./threshold_sliders";
import STYLE from "./concept_pair.css";

export function mountConceptPair(session: Session, card: HTMLElement): void {
  const { store } = session;
  const pair = new Pair(session, store.model);
  card.classList.add("pair");
  card.append(h("style", {}, STYLE));
  const area = (name: string, label: string): HTMLElement => {
    const el = h("section", { class: `part p-${name}`, "aria-label": label });
    card.append(el);
    return el;
  };

  const title = h("h3");
  const facts = h("span", { class: "note grow" });
  const stage = h("span", { class: "note", role: "status" });
  const cancel = button("cancel", () => void session.ask("cancel"));
  const signed = h("input", { type: "checkbox" });
  signed.addEventListener("change", () => store.commit({ signed: signed.checked }));
  const opacity = h("input", {
    type: "range",
    min: 0,
    max: 100,
    "aria-label": "opacity of both heatmaps",
    style: { "max-width": "110px" },
  });
  opacity.addEventListener("input", () => store.preview({ opacity: Number(opacity.value) / 100 }));
  opacity.addEventListener("change", () => store.commit());
  const copy = button("copy as Python", () => {
    const own = SIDES.some((side) => hasOwn(pair.side(side)));
    void writePictures(session, own).then(() => copyText(session, copy, pair.python()));
  });
  const csv = button("CSV", () => download("concept_pair.csv", pair.csv(), "text/csv"), {
    title: "the neurons of all three parts as CSV",
  });
  area("top", "both concepts").append(
    title,
    facts,
    stage,
    cancel,
    h(
      "label",
      { title: "maps times the sign of the neuron's mean activation at the predicting position" },
      signed,
      "sign-weighted",
    ),
    h("label", {}, "opacity", opacity),
    copy,
    csv,
  );
  store.watch(["facts", "part"], () => {
    const f = store.get("facts");
    setText(title, pair.names().join(" and "));
    if (f) setText(facts, `${f.model} · ${f.layers} × ${integer(f.neurons)} neurons · ${f.device}`);
  });
  store.watch(["status"], () => {
    const status = store.get("status");
    const working = status?.state === "working";
    cancel.hidden = !working;
    setText(stage, working && status ? workLine(status) : "");
  });
  store.watch(["signed", "opacity"], () => {
    signed.checked = Boolean(store.get("signed"));
    opacity.value = String(Math.round((store.get("opacity") ?? 0.6) * 100));
    opacity.style.setProperty("--fill", `${opacity.value}%`);
    for (const side of SIDES) pair.side(side).store.preview({ opacity: store.get("opacity") });
  });

  mountPairParts(pair, area("parts", "own and shared neurons"));
  for (const side of SIDES) {
    const one = pair.side(side);
    const host = area(side, side === "a" ? "first concept" : "second concept");
    const name = h("h3");
    const note = h("span", { class: "note" });
    const kept = h("span", { class: "note" });
    const strip = h("div");
    host.append(h("div", { class: "head" }, h("i", { class: `key ${side}` }), name, note), strip);
    mountSceneStrip(one, strip);
    mountPairPicture(pair, side, host);
    mountPairCaptions(pair, side, host);
    const axes = derive(one.store, ["difference", "gradcam", "shape"], () => {
      const make = (key: "difference" | "gradcam"): Axis => {
        const sorted = one.evidence().sorted(key);
        return new Axis(sorted, suitableKind(sorted));
      };
      return { d: make("difference"), g: make("gradcam") };
    });
    const sliders = thresholdSliders(one, axes);
    for (const input of sliders.querySelectorAll("input"))
      input.setAttribute(
        "aria-label",
        `${one.store.get("concept")}: ${input.getAttribute("aria-label")}`,
      );
    for (const group of sliders.querySelectorAll("[role=radiogroup]"))
      group.setAttribute(
        "aria-label",
        `${one.store.get("concept")}: ${group.getAttribute("aria-label")}`,
      );
    host.append(h("div", { class: "head" }, h("h3", {}, "thresholds"), kept), sliders);
    one.store.watch(["concept", "scenes", "scene"], () => {
      setText(name, pair.names()[side === "a" ? 0 : 1]);
      const scenes = one.store.get("scenes") ?? [];
      setText(
        note,
        scenes.length ? `scene ${(one.store.get("scene") ?? 0) + 1} of ${scenes.length}` : "",
      );
    });
    store.watch(["part"], () => setText(kept, `${plural(one.kept().checked, "neuron")} kept`));
  }
  mountPairTable(pair, area("table", "neurons of the chosen part"));
  const to = (what: string) => (): HTMLElement | null => card.querySelector<HTMLElement>(what);
  const side = (which: string, k: 0 | 1): readonly [string, () => HTMLElement | null] => [
    pair.names()[k],
    to(`.p-${which} canvas`),
  ];
  jumps(card, [
    ["neurons", to(".table")],
    ["parts", to(".parts button[tabindex='0']")],
    side("a", 0),
    side("b", 1),
  ]);
}

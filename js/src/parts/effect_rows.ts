// Suppression, retention and the random control of the kept neurons over the scenes, and the button that measures them.

import { button, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { plural, short } from "../core/format";
import { SETS, type Session } from "../core/session";
import { mountWork } from "../core/work";

/** key, name, what it is in few words (on the page), and in full. */
const MEASURES: readonly (readonly [string, string, string, string])[] = [
  [
    "suppression",
    "suppression",
    "no longer name it",
    "share of scenes that named the concept before and no longer name it",
  ],
  [
    "retention",
    "retention",
    "other objects still named",
    "share of the other objects that are still named (the smaller of scenes with and without the concept)",
  ],
  [
    "substitution",
    "substitution",
    "now name what is not there",
    "share of the captions of scenes with the concept that now name an object that is not there",
  ],
  [
    "bleu",
    "BLEU",
    "like before; 1: the same",
    "corpus BLEU-4 of the captions after against those before: 1 is unchanged",
  ],
];

/** `asks`: the kernel behind this widget can measure. */
export function mountEffectRows(session: Session, host: HTMLElement, asks: boolean): void {
  const { store } = session;
  const rows = h("div", { class: "measures" });
  const legend = h("div", { class: "note" });
  const measure = button(
    "measure",
    () => void session.ask("evaluate", {}, [session.survivors().slice().buffer as ArrayBuffer]),
    { class: "btn yields" },
  );
  const head = h(
    "div",
    { class: "head" },
    h("h3", {}, "over the scenes"),
    h("span", { class: "grow" }),
    ...(asks ? [mountWork(session, ["evaluate"]), measure] : []),
  );
  host.append(head, ...(asks ? [faultLine(session, "evaluate")] : []), rows, legend);

  const cuts = (): string => SETS.map((name) => store.version(name)).join();
  let seen = "";
  store.watch(["effect"], () => {
    const effect = store.get("effect");
    seen = cuts();
    fill(rows);
    for (const [key, name, brief, title] of effect ? MEASURES : []) {
      const measured = effect?.measures[key];
      if (!measured) continue;
      const { value, random } = measured;
      const place = (v: number): string => `${Math.min(Math.max(v, 0), 1) * 100}%`;
      const bar = h(
        "span",
        {
          class: "bar",
          role: "img",
          "aria-label": `${name} ${short(value)}${random === null ? "" : `, random control ${short(random)}`}`,
        },
        h("i", { style: { width: place(value) } }),
      );
      if (random !== null)
        bar.append(
          h("b", { style: { left: place(random) }, title: `random control ${random.toFixed(2)}` }),
        );
      rows.append(
        h("span", { title }, name),
        bar,
        h("span", { class: "num" }, value.toFixed(2).replace(/^0/, "")),
        h("span", { class: "note", title }, brief),
      );
    }
  });
  store.watch(["effect", "read_only", ...SETS], () => {
    const effect = store.get("effect");
    host.hidden = !asks && !effect;
    if (!effect)
      return setText(
        legend,
        asks && store.get("read_only")
          ? "not measured when this was saved"
          : asks
            ? "Over all scenes: how often the concept goes (suppression, beside random neurons), the rest stays (retention), and what is not there is named instead (substitution)."
            : "",
      );
    const moved = asks && (effect.neurons !== session.kept().checked || seen !== cuts());
    rows.classList.toggle("stale", moved);
    const control = Object.entries(effect.measures).flatMap(([key, { random }]) =>
      random === null ? [] : [`${key} ${random.toFixed(2).replace(/^0/, "")}`],
    );
    const of = moved
      ? `of ${plural(effect.neurons, "neuron")}: the thresholds have moved since`
      : `${plural(effect.scenes, "scene")}${effect.held_out ? ", held out" : ", the ones the neurons were chosen on"}`;
    const mark = control.length
      ? ` · grey mark: ${effect.neurons} random neurons from the same layers, ${control.join(", ")}`
      : "";
    setText(legend, of + mark);
  });
  if (!asks) return;
  store.watch(["read_only", "status", ...SETS], () => {
    const blocked = session.blocked();
    measure.disabled =
      blocked !== null || store.get("status")?.state === "working" || !session.kept().checked;
    setAttr(
      measure,
      "title",
      blocked ??
        "ablate the kept neurons over all scenes, and as many random ones beside: takes a while",
    );
  });
}

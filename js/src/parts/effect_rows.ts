// Suppression, retention and the random control of the kept neurons over the scenes, and the button that measures them.

import { button, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { plural, short } from "../core/format";
import { SETS, type Session } from "../core/session";

const MEASURES: readonly (readonly [string, string, string])[] = [
  [
    "suppression",
    "suppression",
    "share of scenes that named the concept before and no longer name it",
  ],
  [
    "retention",
    "retention",
    "share of the other objects that are still named (the smaller of scenes with and without the concept)",
  ],
  ["bleu", "BLEU", "corpus BLEU-4 of the captions after against those before: 1 is unchanged"],
];

/** `asks`: the kernel behind this widget can measure. */
export function mountEffectRows(session: Session, host: HTMLElement, asks: boolean): void {
  const { store } = session;
  const rows = h("div", { class: "measures" });
  const legend = h("span", { class: "note grow" });
  const measure = button(
    "measure",
    () => void session.ask("evaluate", {}, [session.survivors().slice().buffer as ArrayBuffer]),
  );
  const below = h("div", { class: "row" }, ...(asks ? [measure] : []), legend);
  host.append(rows, below, ...(asks ? [faultLine(session, "evaluate")] : []));

  const cuts = (): string => SETS.map((name) => store.version(name)).join();
  let seen = "";
  store.watch(["effect"], () => {
    const effect = store.get("effect");
    seen = cuts();
    fill(rows);
    for (const [key, name, title] of effect ? MEASURES : []) {
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
      );
    }
  });
  store.watch(["effect", ...SETS], () => {
    const effect = store.get("effect");
    below.hidden = !asks && !effect;
    if (!effect)
      return setText(
        legend,
        asks
          ? "suppression and retention of the kept neurons over the scenes, against random neurons"
          : "",
      );
    const moved = asks && (effect.neurons !== session.kept().checked || seen !== cuts());
    rows.classList.toggle("stale", moved);
    const control = Object.values(effect.measures).some((m) => m.random !== null);
    setText(
      legend,
      moved
        ? `of ${plural(effect.neurons, "neuron")}: the thresholds have moved since`
        : `${plural(effect.scenes, "scene")}${effect.held_out ? ", held out" : ", the ones the neurons were chosen on"}` +
            (control ? ` · grey mark: ${effect.neurons} random neurons from the same layers` : ""),
    );
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

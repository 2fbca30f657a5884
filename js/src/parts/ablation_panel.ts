// Ablate the kept set, restore, undo, redo; what is active is always visible.

import { button, fill, h, setAttr, setText, steady } from "../core/dom";
import { faultLine } from "../core/faults";
import { change, plural, short } from "../core/format";
import { rewriter, type Rewrite } from "../core/rewrite";
import { SETS, type Session } from "../core/session";
import { mountWork } from "../core/work";
import { historyButtons } from "./history_buttons";

export interface AblationOptions {
  /** how the caption is written anew; by default nobody sees it stream in */
  rewrite?: Rewrite;
  /** where predicted and measured change are said; by default here */
  effects?: HTMLElement;
}

const MODES: readonly (readonly [string, string])[] = [
  ["zero", "zero: the activation becomes 0"],
  ["mean", "mean: the neuron's mean activation"],
  ["scale", "scale: times a factor"],
  ["from_inpainted", "inpainted: the activation without the object"],
];

export function mountAblationPanel(
  session: Session,
  host: HTMLElement,
  options: AblationOptions = {},
): void {
  const { store } = session;
  const run = options.rewrite ?? rewriter(session);
  const label = h("span", {}, "Ablate");
  const ablate = button(
    "",
    () => {
      const ids = session.survivors();
      if (!ids.length) return;
      store.commit();
      void run("ablate", { mode: store.get("ablate_mode"), scale: store.get("ablate_scale") }, [
        ids.slice().buffer as ArrayBuffer,
      ]);
    },
    { class: "btn primary" },
  );
  ablate.append(steady(label));
  const mode = h(
    "select",
    { "aria-label": "what ablation does" },
    ...MODES.map(([value, title]) =>
      h(
        "option",
        { value, title },
        value === "scale" ? "scaled by" : `to ${value.replace("from_", "")}`,
      ),
    ),
  );
  mode.addEventListener("change", () => store.commit({ ablate_mode: mode.value }));
  const scale = h("input", {
    type: "number",
    step: "0.1",
    "aria-label": "scale factor",
    style: { width: "70px" },
  });
  scale.addEventListener("change", () => store.commit({ ablate_scale: Number(scale.value) || 0 }));
  session.history.withModel((way) => run(way));
  const [undo, redo] = historyButtons(session);
  const restore = button("restore all", () => void run("restore"), {
    title: "take back every ablation made here",
  });
  const active = h("span", { class: "row", role: "status", "aria-label": "active interventions" });
  const effect = h("div", {
    class: "effect",
    role: "status",
    "aria-label": "predicted and measured change",
  });
  for (const b of [undo, redo, restore]) b.classList.add("yields");
  const work = mountWork(session, ["ablate", "undo", "redo", "restore", "transplant"]);
  host.append(ablate, mode, scale, work, undo, redo, restore);
  const faults = faultLine(session, "change", "measure", "follow");
  host.append(faults);
  const key = h("div", { class: "note key-line" });
  if (options.effects)
    options.effects.prepend(h("div", { class: "row acts" }, active, effect), key);
  else host.append(active, effect, key);

  store.watch([...SETS, "status", "read_only", "facts", "stale"], () => {
    const { checked } = session.kept();
    setText(label, checked ? `Ablate ${plural(checked, "neuron")}` : "Ablate");
    const blocked = session.blocked();
    ablate.disabled = blocked !== null || checked === 0;
    setAttr(
      ablate,
      "title",
      blocked ??
        (checked
          ? "set these neurons for every view of this model; the caption is written again"
          : session.nothing()),
    );
  });
  store.watch(["ablate_mode", "ablate_scale", "read_only"], () => {
    mode.value = store.get("ablate_mode") || "zero";
    scale.hidden = mode.value !== "scale";
    if (document.activeElement !== scale) scale.value = String(store.get("ablate_scale") ?? 0);
    mode.disabled = session.blocked() !== null;
    mode.title = MODES.find(([value]) => value === mode.value)?.[1] ?? "";
  });
  const figure = (label: string, value: number, title: string): HTMLElement =>
    h("span", { title }, `${label} `, h("b", {}, change(value)));
  const FIRST =
    "minus the sum of activation × gradient over the neurons and positions: what zeroing them should do, to first order";
  const PATH =
    "the change with three quarters of the ablation done, and its slope there for the rest; on this picture";
  /** the same on the page, in short */
  const KEYS = {
    before: "predicted: minus activation × gradient, summed over the kept; mean over the scenes",
    after:
      "predicted: three quarters of the ablation, then the slope · measured: ablated minus unchanged, where the caption before says the word",
    none: "",
  };
  // While nothing is changed this line is written in every frame of a drag: its size is fixed.
  const lead = h("span", { class: "note" });
  const value = h("b");
  const line = h(
    "div",
    { class: "steady" },
    lead,
    h("span", { title: `${FIRST}; mean over the study's scenes` }, "predicted ", value),
  );
  store.watch(
    [
      "ablation",
      ...SETS,
      "gradient_sum",
      "ablate_mode",
      "ablate_scale",
      "concept",
      "labels",
      "facts",
    ],
    () => {
      const state = store.get("ablation");
      const score = `${store.get("labels")?.score || "score"}${store.get("concept") ? ` of “${store.get("concept")}”` : ""}`;
      const unit = state?.unit || (store.get("labels")?.score === "logit" ? "logits" : "nats");
      const changed = (state?.active ?? []).some((item) => item.mode !== "transplant");
      const parts: (Node | string)[] = [];
      let explained: keyof typeof KEYS = "none";
      if (changed && state.measured !== null && state.measured !== undefined) {
        explained = "after";
        parts.push(h("span", { class: "note" }, `${score}, this picture: `));
        if (state.predicted_here !== null)
          parts.push(figure("predicted", state.predicted_here, PATH), " · ");
        const times =
          unit === "nats"
            ? `; the word is ${short(Math.exp(Math.abs(state.measured)))} times ${state.measured < 0 ? "less" : "more"} likely`
            : "";
        parts.push(
          figure(
            "measured",
            state.measured,
            `where the unchanged caption predicts the word (teacher-forced): with all that is active, minus without${times}`,
          ),
          ` ${unit}`,
        );
        if (state.predicted !== null)
          parts.push(
            h(
              "span",
              { class: "note", title: `${FIRST}; mean over the study's scenes` },
              ` · first order, all scenes ${change(state.predicted)}`,
            ),
          );
      } else if (changed && state.why) {
        parts.push(
          h(
            "span",
            { class: "note", title: state.why },
            `change of the ${score} not measured: this caption does not name it`,
          ),
        );
      } else {
        const predicted = session.predicted();
        line.hidden = predicted === null || session.unscored();
        setText(lead, `${score}: `);
        setText(value, `${change(predicted ?? 0)} ${unit}`);
        if (effect.firstChild !== line || effect.childNodes.length > 1) fill(effect, line);
        setText(key, KEYS[line.hidden ? "none" : "before"]);
        return;
      }
      fill(effect, ...parts);
      setText(key, KEYS[explained]);
    },
  );
  store.watch(["ablation", "read_only"], () => {
    const state = store.get("ablation");
    const blocked = session.blocked();
    restore.disabled = blocked !== null || !state?.active?.length;
    if (blocked) setAttr(restore, "title", blocked);
    fill(
      active,
      ...(state?.active ?? []).map((item) =>
        h(
          "span",
          {
            class: "chip",
            title: item.own
              ? "made here"
              : "made elsewhere; it shows here because the model is shared",
          },
          item.label,
        ),
      ),
    );
  });
}

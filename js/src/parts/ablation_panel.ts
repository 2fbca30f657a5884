// Ablate the kept set, restore, undo, redo; what is active is always visible.

import { button, fill, h, setAttr, setText } from "../core/dom";
import { plural } from "../core/format";
import type { Session } from "../core/session";

export interface AblationOptions {
  /** the caption as it streams in; null at the end */
  onstream?: (text: string | null) => void;
}

const MODES: readonly (readonly [string, string])[] = [
  ["zero", "zero: the activation becomes 0"], ["mean", "mean: the neuron's mean activation"], ["scale", "scale: times a factor"],
  ["from_inpainted", "inpainted: the activation without the object"],
];

export function mountAblationPanel(session: Session, host: HTMLElement, options: AblationOptions = {}): void {
  const { store } = session;
  const run = (name: "ablate" | "restore" | "undo" | "redo", args: Record<string, unknown> = {}, buffers: ArrayBuffer[] = []): void => {
    let text = "";
    const stream = (piece: string): void => {
      text += piece;
      options.onstream?.(text);
    };
    for (const other of ["ablate", "restore", "undo", "redo"] as const) session.requests.drop(other);
    options.onstream?.("");
    void session.ask(name, args, buffers, stream).finally(() => {
      if (!(["ablate", "restore", "undo", "redo"] as const).some((other) => session.requests.waiting(other))) options.onstream?.(null);
    });
  };
  const ablate = button("Ablate", () => {
    const ids = session.survivors();
    if (!ids.length) return;
    store.commit();
    run("ablate", { mode: store.get("ablate_mode"), scale: store.get("ablate_scale") }, [ids.slice().buffer as ArrayBuffer]);
  }, { class: "btn primary" });
  const mode = h("select", { "aria-label": "what ablation does" }, ...MODES.map(([value, title]) => h("option", { value, title }, value.replace("from_", ""))));
  mode.addEventListener("change", () => store.commit({ ablate_mode: mode.value }));
  const scale = h("input", { type: "number", step: "0.1", "aria-label": "scale factor", style: { width: "70px" } });
  scale.addEventListener("change", () => store.commit({ ablate_scale: Number(scale.value) || 0 }));
  const undo = button("undo", () => run("undo"));
  const redo = button("redo", () => run("redo"));
  const restore = button("restore all", () => run("restore"), { title: "take back every ablation made here" });
  const active = h("span", { class: "row", role: "status", "aria-label": "active interventions" });
  host.append(ablate, mode, scale, undo, redo, restore, active);

  store.watch(["mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g", "unchecked", "rows_off", "difference", "gradcam", "shape", "status", "read_only"], () => {
    const { checked } = session.kept();
    setText(ablate, checked ? `Ablate ${plural(checked, "neuron")}` : "Ablate");
    const blocked = session.blocked();
    ablate.disabled = blocked !== null || checked === 0;
    setAttr(ablate, "title", blocked ?? (checked ? "set these neurons for every view of this model; the caption is written again" : "no neuron is kept: lower a threshold"));
  });
  store.watch(["ablate_mode", "ablate_scale", "read_only"], () => {
    mode.value = store.get("ablate_mode") || "zero";
    scale.hidden = mode.value !== "scale";
    if (document.activeElement !== scale) scale.value = String(store.get("ablate_scale") ?? 0);
    mode.disabled = session.blocked() !== null;
  });
  store.watch(["ablation", "read_only"], () => {
    const state = store.get("ablation");
    const blocked = session.blocked();
    undo.disabled = blocked !== null || !state?.can_undo;
    redo.disabled = blocked !== null || !state?.can_redo;
    restore.disabled = blocked !== null || !state?.active?.length;
    for (const b of [undo, redo, restore]) if (blocked) setAttr(b, "title", blocked);
    fill(active, ...(state?.active ?? []).map((item) => h("span", { class: "chip", title: item.own ? "made here" : "made elsewhere; it shows here because the model is shared" },
      item.label)));
  });
}

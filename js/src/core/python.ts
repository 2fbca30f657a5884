// The code that gives, without a widget, the neurons that are on screen.

import { float32Literal, pythonFloat, pythonString } from "./format";
import type { Session } from "./session";

/** Python source; running it gives the same neurons. */
export function asPython(session: Session): string {
  const { store } = session;
  const width = session.evidence().width || 1;
  const at = (id: number): string => `(${Math.floor(id / width)}, ${id % width})`;
  const cuts = store.get("mode") === "quantile"
    ? [`quantile_d=${pythonFloat(store.get("quantile_d"))}`, `quantile_g=${pythonFloat(store.get("quantile_g"))}`]
    : [`threshold_d=${float32Literal(store.get("threshold_d"))}`, `threshold_g=${float32Literal(store.get("threshold_g"))}`];
  const [td, tg] = session.thresholds();
  const off = session.rowsOff();
  const out = [...session.unchecked()].filter((id) => session.evidence().passes(id, Math.fround(td), Math.fround(tg), off));
  if (out.length) cuts.push(`exclude=[${out.map(at).join(", ")}]`);
  if (off.size) cuts.push(`exclude_rows=[${[...off].join(", ")}]`);
  const lines = [store.get("setup_code") || `study = mmkn.study(model, ${pythonString(store.get("concept") ?? "")}, scenes)`,
    `neurons = study.neurons(${cuts.join(", ")})`];
  const ablation = store.get("ablation");
  if (ablation?.active?.some((item) => item.own)) {
    const mode = store.get("ablate_mode");
    const how = mode === "zero" ? "" : mode === "scale" ? `, mode="scale", scale=${pythonFloat(store.get("ablate_scale"))}` : `, mode="${mode}"`;
    lines.push(`with study.model.ablate(neurons${how}):`, `    print(study.model.caption(study.scenes[${store.get("scene") ?? 0}].image))`);
  }
  return lines.join("\n") + "\n";
}

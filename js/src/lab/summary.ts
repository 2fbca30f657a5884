// A notebook's changes in few words, for the status bar.
import type { TranslationBundle } from "@jupyterlab/translation";

import type { Overview } from "./kernel.js";

/** What is changed, in few words; empty where nothing is. */
export function summary(overview: Overview | null, trans: TranslationBundle): string {
  const models = overview?.models ?? [];
  const on = models.flatMap((model) => model.changes.filter((change) => change.on));
  if (on.length === 0) return "";
  const n = models.reduce((sum, model) => sum + model.touched, 0);
  const many = n.toLocaleString("en-US");
  return on.every((change) => change.silenced)
    ? trans._n("%1 neuron off", "%1 neurons off", n).replace("%1", many)
    : trans._n("%1 neuron changed", "%1 neurons changed", n).replace("%1", many);
}

// The Python that the extension puts into notebooks and kernels. Names and paths are JSON strings, which Python reads
// the same way.
import { quoted } from "./kernel.js";
import type { Found } from "./neuron_set.js";
import { DEFAULTS, type Preferences } from "./preferences.js";

export const IMPORT = "import mmkn_widgets as mmkn";
export const LOAD_MODEL = `${IMPORT}\n\nmodel = mmkn.load_model("pocket")`;
export const PIP_INSTALL = "%pip install mmkn_widgets";

/** The Explorer call of a study, with what the settings say otherwise than the default. */
function explorer(
  study: string,
  { preset, method }: Preferences,
  thresholds: string[] = [],
): string {
  const options = [study, ...thresholds];
  if (preset !== DEFAULTS.preset) options.push(`preset=${quoted(preset)}`);
  if (method !== DEFAULTS.method && thresholds.length === 0) {
    options.push(`**mmkn.attribution.automatic_thresholds(study.evidence, ${quoted(method)})`);
  }
  return `mmkn.Explorer(${options.join(", ")})`;
}

/** Lines that show what a call makes, in the colours of the settings. */
function shown(call: string, { colormap }: Preferences): string {
  if (colormap === DEFAULTS.colormap) return call;
  return `explorer = ${call}\nexplorer.colormap = ${quoted(colormap)}\nexplorer`;
}

/** The three cells of a new study. */
export function studyCells(preferences: Preferences): string[] {
  return [
    LOAD_MODEL,
    'scenes = mmkn.datasets.pocket_world("val").with_concept("car", 12)\n' +
      'study = mmkn.study(model, "car", scenes)',
    shown(explorer("study", preferences), preferences),
  ];
}

/** Cells that open a study that was saved in a folder. */
export function savedStudyCells(path: string, preferences: Preferences): string[] {
  return [
    `${IMPORT}\n\nstudy = mmkn.open_study(${quoted(path)})`,
    shown(explorer("study", preferences), preferences),
  ];
}

/** Cells that look for a concept in one picture. */
export function pictureCells(path: string, concept: string, preferences: Preferences): string[] {
  const options = [`model, ${quoted(path)}, ${quoted(concept)}`];
  if (preferences.preset !== DEFAULTS.preset) options.push(`preset=${quoted(preferences.preset)}`);
  return [LOAD_MODEL, shown(`mmkn.Explorer(${options.join(", ")})`, preferences)];
}

/**
 * Lines that show the neurons of a file: in the Explorer of the study that they were found by, where the file says
 * which that was, else as a table.
 */
export function neuronsCode(path: string, file: Found, preferences: Preferences): string {
  const lines = [IMPORT, "", `neurons = mmkn.NeuronSet.load(${quoted(path)})`];
  if (!file.model) return [...lines, "neurons.to_dataframe()"].join("\n");
  lines.push(`model = mmkn.load_model(${quoted(file.model)})`);
  if (!file.concept || !file.dataset) {
    return [...lines, "neurons.with_words(model).to_dataframe()"].join("\n");
  }
  const dataset = `mmkn.datasets.open_dataset(${quoted(file.dataset)})`;
  const limits = file.thresholds.filter(([name]) => name.startsWith("threshold_"));
  const exact = limits.length === 2 ? limits.map(([name, at]) => `${name}=${at}`) : [];
  return [
    ...lines,
    `wanted = ${JSON.stringify(file.scenes)}`,
    `found = {str(scene.id): scene for scene in ${dataset}}`,
    `study = mmkn.study(model, ${quoted(file.concept)}, [found[name] for name in wanted])`,
    shown(explorer("study", preferences, exact), preferences),
  ].join("\n");
}

/**
 * Code for an output area beside the notebook: the widget that an expression of `mmkn` makes, kept under a name, so
 * that closing the tab can close it. No other name is left behind.
 */
export function viewCode(name: string, expression: string, preferences: Preferences): string {
  const { preset, colormap } = preferences;
  const made = `${name} = (lambda mmkn: ${expression})(__import__("mmkn_widgets"))`;
  const set = [
    ["preset", preset, DEFAULTS.preset],
    ["colormap", colormap, DEFAULTS.colormap],
  ].flatMap(([trait, value, usual]) =>
    value === usual
      ? []
      : [`if ${name}.has_trait(${quoted(trait!)}): ${name}.${trait!} = ${quoted(value!)}`],
  );
  return [made, ...set, name].join("\n");
}

/** Code that closes the widget of `viewCode`, where it is still there. */
export function closeCode(name: string): string {
  return `if "${name}" in globals(): globals().pop("${name}").close()`;
}

/** What is shown: a Python expression of `mmkn`, and the same as a cell that one can read. */
export interface Shown {
  expression: string;
  cell: string;
}

function asCell(expression: string, ...before: string[]): Shown {
  return { expression, cell: [IMPORT, "", ...before, expression].join("\n") };
}

/** What a variable of the notebook is shown by. */
export function explorerOf(variable: string, what: "study" | "store"): Shown {
  return asCell(what === "study" ? `mmkn.Explorer(${variable})` : `${variable}.mmkn.explore()`);
}

/** The Explorer of a picture in a notebook; a model that has to be loaded stays there as `pocket_model`. */
export function explorerOfPicture(model: string | null, path: string, concept: string): Shown {
  const call = (held: string): string =>
    `mmkn.Explorer(${held}, ${quoted(path)}, ${quoted(concept)})`;
  if (model !== null) return asCell(call(model));
  const load = 'mmkn.load_model("pocket")';
  return {
    expression: call(`globals().setdefault("pocket_model", ${load})`),
    cell: asCell(call("pocket_model"), `pocket_model = ${load}`).cell,
  };
}

/** The Explorer of a study that was saved in a folder. */
export function explorerOfSaved(path: string): Shown {
  return asCell(`mmkn.Explorer(mmkn.open_study(${quoted(path)}))`);
}

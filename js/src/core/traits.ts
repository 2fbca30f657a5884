// Every trait on the wire, by the part that declares it. Python declares the same (mmkn_widgets/widgets/traits.py);
// contract.json, written from Python, is compared with this file by a test.

import { bool, bytes, float, int, json, text, type Traits } from "./model";
import { PAIR, type PairTraits } from "./pair_traits";

export interface Status {
  state: "ready" | "working" | "error" | "closed";
  stage: string;
  done: number;
  total: number;
  seconds_left: number | null;
  /** what failed */
  action: string;
  message: string;
  remedy: string;
}

export interface Facts {
  model: string;
  layers: number;
  neurons: number;
  device: string;
  scenes: number;
  /** how many of them are pictures of one's own */
  own: number;
  seconds: number | null;
  inpainter: string;
  /** the only pictures that the model was trained on, where it says so */
  knows: string;
}

export interface Mark {
  threshold_d: number;
  threshold_g: number;
  count: number;
  suppression: number;
  retention: number;
  substitution: number | null;
  /** suppression by random neurons */
  random: number | null;
}

/** A set that no thresholds make; kept while they stay where they were when it was picked. */
export interface Picked {
  ids: number[];
  label: string;
  mode: string;
  threshold_d: number;
  threshold_g: number;
  quantile_d: number;
  quantile_g: number;
}

/** A set of one method and size, as it was measured. */
export interface FrontierPoint {
  method: string;
  count: number;
  suppression: number;
  retention: number;
  identical: number | null;
  substitution: number | null;
  random: number | null;
  ids: number[];
}

export interface Frontier {
  points: FrontierPoint[];
  scenes: number;
  held_out: boolean;
}

export interface Measure {
  value: number;
  random: number | null;
}

export interface Effect {
  measures: Record<string, Measure>;
  neurons: number;
  scenes: number;
  held_out: boolean;
}

export interface Labels {
  difference: string;
  gradcam: string;
  activation: string;
  score: string;
  /** names for sliders and columns */
  short_difference?: string;
  short_gradcam?: string;
  difference_map?: string;
  gradcam_map?: string;
}

export interface Grid {
  rows: number;
  cols: number;
  /** x0, y0, x1, y1 of the token grid as shares of the picture */
  extent: [number, number, number, number];
  approximate: boolean;
  reason: string;
}

export interface SceneLine {
  name: string;
  before: string;
  after: string;
  own: boolean;
}

export interface ActiveAblation {
  label: string;
  count: number;
  mode: string;
  own: boolean;
}

export interface AblationState {
  active: ActiveAblation[];
  can_undo: boolean;
  can_redo: boolean;
  /** how many steps the stack goes back and forward, and which was the last */
  steps: [number, number, number];
  /** to first order, mean over the study's scenes */
  predicted: number | null;
  /** on the shown scene, from the ablation done by three quarters */
  predicted_here: number | null;
  /** on the shown scene, with everything that is active */
  measured: number | null;
  unit: string;
  /** why nothing could be measured */
  why: string;
  /** Python lines that do what is active, and print the caption */
  code?: string;
}

export interface Transplanted {
  object: string;
  word: string;
  index: number;
  said: string;
  success: boolean | null;
  layers: number[];
}

export interface StripToken {
  text: string;
  role: "text" | "image" | "special" | "generated";
  step: number;
}

export interface MaskObject {
  name: string;
  area: number;
}

export const STATUS = {
  status: json<Status>(),
  read_only: bool,
};

export const EVIDENCE = {
  shape: json<[number, number]>(),
  /** layer and expert (-1: dense) of each row of the arrays */
  rows: json<[number, number][]>(),
  labels: json<Labels>(),
  difference: bytes,
  gradcam: bytes,
  gradient_sum: bytes,
  activation: bytes,
  mode: text,
  threshold_d: float,
  threshold_g: float,
  quantile_d: float,
  quantile_g: float,
  unchecked: json<number[]>(),
  rows_off: json<number[]>(),
  axis: text,
  marks: json<Mark[]>(),
  picked: json<Picked | null>(),
  selected: int,
};

export const WORDS = {
  map_ids: bytes,
  words: json<string[][]>(),
  concept_forms: json<string[]>(),
};

export const PICTURE = {
  picture: bytes,
  inpainted: bytes,
  grid: json<Grid>(),
  overlay: text,
  opacity: float,
  colormap: text,
  smooth: bool,
  signed: bool,
  above_percentile: bool,
  maps: bytes,
  map_scale: bytes,
  map_offset: bytes,
  map_sign: bytes,
  difference_map: bytes,
  gradcam_map: bytes,
  patch_words: json<string[][]>(),
};

export const CAPTION = {
  concept: text,
  caption_before: text,
  caption_after: text,
  references: json<string[]>(),
  transplanted: json<Transplanted | null>(),
  transplants: bool,
  effect: json<Effect | null>(),
};

export const TOKENS = {
  tokens: json<StripToken[]>(),
  token_values: bytes,
  token_label: text,
};

export const OBJECTS = {
  mask_shape: json<[number, number]>(),
  objects: json<MaskObject[]>(),
  object_masks: json<DataView[]>(),
};

export const MASK = {
  ...OBJECTS,
  mask: bytes,
};

export const ABLATION = {
  ablation: json<AblationState>(),
  ablate_mode: text,
  ablate_scale: float,
};

export const SCENES = {
  scene: int,
  scenes: json<SceneLine[]>(),
  thumbnails: json<DataView[]>(),
  /** scenes whose mask was painted anew since the scores were computed */
  stale: json<number[]>(),
  uploads: bool,
};

export const EXPLORER_ONLY = {
  facts: json<Facts>(),
  concepts: json<string[]>(),
  concept_tokens: json<string[]>(),
  caption_inpainted: text,
  frontier: json<Frontier | null>(),
  preset: text,
  setup_code: text,
  found_code: text,
};

export const EXPLORER = {
  ...STATUS,
  ...EVIDENCE,
  ...WORDS,
  ...PICTURE,
  ...CAPTION,
  ...TOKENS,
  ...MASK,
  ...ABLATION,
  ...SCENES,
  ...EXPLORER_ONLY,
};

export type ExplorerTraits = Traits<typeof EXPLORER> & PairTraits;
export type TraitName = keyof ExplorerTraits & string;

/** The traits of each widget. */
export const WIDGETS = /* @__PURE__ */ (() =>
  ({
    Explorer: EXPLORER,
    PatchHeatmap: { ...STATUS, ...EVIDENCE, ...WORDS, ...PICTURE, ...OBJECTS, ...SCENES },
    StoreExplorer: {
      ...STATUS,
      ...EVIDENCE,
      ...WORDS,
      ...PICTURE,
      ...TOKENS,
      ...SCENES,
      facts: EXPLORER_ONLY.facts,
    },
    ThresholdPlane: { ...STATUS, ...EVIDENCE },
    NeuronTable: { ...STATUS, ...EVIDENCE, ...WORDS },
    TokenStrip: { ...STATUS, ...TOKENS },
    ConceptPair: { ...STATUS, ablation: ABLATION.ablation, ...PAIR },
    CaptionDiff: { ...STATUS, ...CAPTION, concept_forms: WORDS.concept_forms },
    MaskPainter: { ...STATUS, ...MASK, picture: PICTURE.picture, inpainted: PICTURE.inpainted },
    AblationPanel: { ...STATUS, ...EVIDENCE, ...ABLATION },
  }) as const)();

/** Every request that the kernel answers. */
export const REQUESTS = [
  "hello",
  "cancel",
  "compute",
  "ablate",
  "restore",
  "undo",
  "redo",
  "maps",
  "mean_map",
  "words",
  "tokens",
  "neuron",
  "serves",
  "evaluate",
  "propose",
  "frontier",
  "inpaint",
  "export_html",
  "transplant",
  "upload",
  "patch_scores",
  "lens",
  "write_pictures",
  "caption_inpainted",
] as const;
export type RequestName = (typeof REQUESTS)[number];

/** Kinds of messages: what the front end sends, and what it receives. */
export const MESSAGES = { sent: ["request"], received: ["reply", "token"] } as const;

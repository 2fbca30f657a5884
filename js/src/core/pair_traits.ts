// The traits of two concepts side by side: shared ones, and those that each side has with `a_` or `b_` before the name.

import { bool, bytes, float, int, json, text, type Traits } from "./model";

export const SIDES = ["a", "b"] as const;
export type Side = (typeof SIDES)[number];
/** own neurons of the first concept, those of both, own neurons of the second */
export const PARTS = ["a", "shared", "b"] as const;
export type Part = (typeof PARTS)[number];

export interface PartEffect {
  part: Part;
  neurons: number;
  a: { value: number; random: number | null; scenes: number } | null;
  b: { value: number; random: number | null; scenes: number } | null;
}

/** Traits that no other widget has. */
export const PAIR_ONLY = {
  part: text,
  part_effects: json<PartEffect[]>(),
  caption_random: text,
};

/** What each side has of its own; the kinds are those of the Explorer's traits of the same name. */
export const SIDE = {
  concept: text,
  concept_forms: json(),
  labels: json(),
  difference: bytes,
  gradcam: bytes,
  activation: bytes,
  words: json(),
  mode: text,
  threshold_d: float,
  threshold_g: float,
  quantile_d: float,
  quantile_g: float,
  scene: int,
  scenes: json(),
  thumbnails: json(),
  picture: bytes,
  grid: json(),
  maps: bytes,
  map_scale: bytes,
  map_offset: bytes,
  map_sign: bytes,
  caption_before: text,
  caption_after: text,
  caption_random: text,
};

type Both<S> = { [K in keyof S & string as `a_${K}` | `b_${K}`]: S[K] };

function both<S extends object>(side: S): Both<S> {
  const lines = Object.entries(side).flatMap(([name, kind]) =>
    SIDES.map((which) => [`${which}_${name}`, kind]),
  );
  return Object.fromEntries(lines) as Both<S>;
}

export const PAIR = /* @__PURE__ */ (() => ({
  part: text,
  part_effects: PAIR_ONLY.part_effects,
  shape: json(),
  rows: json(),
  facts: json(),
  map_ids: bytes,
  selected: int,
  opacity: float,
  colormap: text,
  signed: bool,
  setup_code: text,
  ...both(SIDE),
}))();

export type PairTraits = Traits<typeof PAIR_ONLY>;

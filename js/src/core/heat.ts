// From a small grid of values to a picture of them: means over neurons, centred bilinear samples, colours.

import { int, num } from "./arrays";

export interface Maps {
  ids: Int32Array;
  /** neuron id -> position in the arrays */
  at: Map<number, number>;
  grids: Uint8Array;
  scale: Float32Array;
  offset: Float32Array;
  sign: Int8Array;
  rows: number;
  cols: number;
}

/** One neuron's map, in activation units; signed means times the sign of its activation at the predicting position. */
export function neuronMap(maps: Maps, id: number, signed: boolean): Float32Array | undefined {
  const k = maps.at.get(id);
  if (k === undefined) return undefined;
  const size = maps.rows * maps.cols;
  const s = signed ? maps.sign[k] || 1 : 1;
  const [offset, scale] = [num(maps.offset, k), num(maps.scale, k)];
  const grid = maps.grids.subarray(k * size, (k + 1) * size);
  return Float32Array.from(grid, (level) => s * (offset + scale * level));
}

/** The mean map over the prefetched neurons that pass; `used` says over how many. */
export function meanMap(
  maps: Maps,
  passes: (id: number) => boolean,
  signed: boolean,
): { map: Float32Array; used: number } {
  const size = maps.rows * maps.cols;
  const sum = new Float32Array(size);
  let base = 0;
  let used = 0;
  for (let k = 0; k < maps.ids.length; k++) {
    if (!passes(int(maps.ids, k))) continue;
    const s = signed ? maps.sign[k] || 1 : 1;
    const scale = s * num(maps.scale, k);
    base += s * num(maps.offset, k);
    const start = k * size;
    for (let p = 0; p < size; p++) sum[p] = num(sum, p) + scale * num(maps.grids, start + p);
    used++;
  }
  return { map: used ? sum.map((value) => (value + base) / used) : sum, used };
}

/** Centred bilinear samples of a grid at width x height; the border is held, not extrapolated. */
export function upsample(
  grid: Float32Array,
  rows: number,
  cols: number,
  width: number,
  height: number,
): Float32Array {
  const wide = new Float32Array(rows * width); // each row of the grid at full width
  for (let x = 0; x < width; x++) {
    const [low, high, part] = between(x, width, cols);
    for (let row = 0; row < rows; row++) {
      const left = num(grid, row * cols + low);
      wide[row * width + x] = left + (num(grid, row * cols + high) - left) * part;
    }
  }
  const out = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const [low, high, part] = between(y, height, rows);
    for (let x = 0; x < width; x++) {
      const upper = num(wide, low * width + x);
      out[y * width + x] = upper + (num(wide, high * width + x) - upper) * part;
    }
  }
  return out;
}

/** The two cells of `count` between whose centres a pixel of `size` lies, and how far along. */
function between(pixel: number, size: number, count: number): [number, number, number] {
  const at = Math.min(Math.max(((pixel + 0.5) * count) / size - 0.5, 0), count - 1);
  const low = Math.floor(at);
  return [low, Math.min(low + 1, count - 1), at - low];
}

export function range(values: Float32Array): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : [0, 0];
}

/** The value that a share `q` of the values does not exceed (linear interpolation). */
export function percentile(values: Float32Array, q: number): number {
  const sorted = Float32Array.from(values).sort();
  if (!sorted.length) return 0;
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return num(sorted, low) + (num(sorted, high) - num(sorted, low)) * (at - low);
}

export interface Shading {
  table: Uint8Array;
  low: number;
  high: number;
  /** opacity of the largest value, 0..1 */
  opacity: number;
  /** opacity of the smallest (diverging: of the middle) value as a share of the largest */
  floor: number;
  /** distance from the middle drives the opacity */
  diverging: boolean;
}

/** RGBA pixels of values between low and high. */
export function shade(
  values: Float32Array,
  out: Uint8ClampedArray<ArrayBuffer>,
  how: Shading,
): void {
  const { table, low, floor } = how;
  const span = how.high - low || 1;
  const alpha = how.opacity * 255;
  const bytes = new Uint8ClampedArray(1024);
  for (let t = 0; t < 256; t++) {
    const strength = how.diverging ? Math.abs((2 * t) / 255 - 1) : t / 255;
    bytes.set(table.subarray(t * 3, t * 3 + 3), t * 4);
    bytes[t * 4 + 3] = alpha * (floor + (1 - floor) * strength);
  }
  const pixels = new Uint32Array(bytes.buffer);
  const into = new Uint32Array(out.buffer, out.byteOffset, values.length);
  const scale = 255 / span;
  for (let i = 0; i < values.length; i++) {
    const level = Math.min(Math.max(Math.round((num(values, i) - low) * scale), 0), 255);
    into[i] = pixels[level] ?? 0; // what is no number has no colour
  }
}

// From a small grid of values to a picture of them: means over neurons, centred bilinear samples, colours.

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
  const out = new Float32Array(size);
  const s = signed ? maps.sign[k] || 1 : 1;
  for (let p = 0; p < size; p++)
    out[p] = s * (maps.offset[k] + maps.scale[k] * maps.grids[k * size + p]);
  return out;
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
    if (!passes(maps.ids[k])) continue;
    const s = signed ? maps.sign[k] || 1 : 1;
    const scale = s * maps.scale[k];
    base += s * maps.offset[k];
    const start = k * size;
    for (let p = 0; p < size; p++) sum[p] += scale * maps.grids[start + p];
    used++;
  }
  if (used) for (let p = 0; p < size; p++) sum[p] = (sum[p] + base) / used;
  return { map: sum, used };
}

/** Centred bilinear samples of a grid at width x height; the border is held, not extrapolated. */
export function upsample(
  grid: Float32Array,
  rows: number,
  cols: number,
  width: number,
  height: number,
): Float32Array {
  const out = new Float32Array(width * height);
  const x0 = new Int32Array(width);
  const x1 = new Int32Array(width);
  const fx = new Float32Array(width);
  for (let x = 0; x < width; x++) {
    const at = Math.min(Math.max(((x + 0.5) * cols) / width - 0.5, 0), cols - 1);
    x0[x] = Math.floor(at);
    x1[x] = Math.min(x0[x] + 1, cols - 1);
    fx[x] = at - x0[x];
  }
  for (let y = 0; y < height; y++) {
    const at = Math.min(Math.max(((y + 0.5) * rows) / height - 0.5, 0), rows - 1);
    const a = Math.floor(at) * cols;
    const b = Math.min(Math.floor(at) + 1, rows - 1) * cols;
    const fy = at - Math.floor(at);
    for (let x = 0; x < width; x++) {
      const upper = grid[a + x0[x]] + (grid[a + x1[x]] - grid[a + x0[x]]) * fx[x];
      const lower = grid[b + x0[x]] + (grid[b + x1[x]] - grid[b + x0[x]]) * fx[x];
      out[y * width + x] = upper + (lower - upper) * fy;
    }
  }
  return out;
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
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
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
    bytes.set(
      [table[t * 3], table[t * 3 + 1], table[t * 3 + 2], alpha * (floor + (1 - floor) * strength)],
      t * 4,
    );
  }
  const pixels = new Uint32Array(bytes.buffer);
  const into = new Uint32Array(out.buffer, out.byteOffset, values.length);
  const scale = 255 / span;
  for (let i = 0; i < values.length; i++)
    into[i] = pixels[Math.min(Math.max(Math.round((values[i] - low) * scale), 0), 255)];
}

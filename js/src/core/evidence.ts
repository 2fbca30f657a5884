// The reduced arrays (layer, neuron) and everything the sliders need of them: counts, orders, quantiles.

import { add, int, num } from "./arrays";

/** Indices that sort `values` from large to small; ties keep their order. Radix sort on the float bits. */
export function argsortDescending(values: Float32Array): Uint32Array {
  const n = values.length;
  // order-preserving key of a float, then complemented: large values first; NaN last
  const bits = new Uint32Array(values.buffer, values.byteOffset, n).map((b) =>
    (b & 0x7fffffff) > 0x7f800000 ? 0xffffffff : ~(b & 0x80000000 ? ~b : b | 0x80000000),
  );
  let from = new Uint32Array(n);
  let to = new Uint32Array(n);
  for (let i = 0; i < n; i++) from[i] = i;
  const counts = new Int32Array(2048);
  for (const shift of [0, 11, 22]) {
    counts.fill(0);
    for (let i = 0; i < n; i++) add(counts, (int(bits, i) >>> shift) & 2047);
    let sum = 0;
    counts.forEach((c, b) => {
      counts[b] = sum;
      sum += c;
    });
    for (let k = 0; k < n; k++) {
      const i = int(from, k);
      to[add(counts, (int(bits, i) >>> shift) & 2047)] = i;
    }
    [from, to] = [to, from];
  }
  return from;
}

export type SortKey = "gradcam" | "difference" | "position";

export interface Kept {
  /** Above both thresholds, in a layer that is switched on. */
  count: number;
  /** Of these, checked. */
  checked: number;
  /** Checked survivors per row. */
  perRow: Int32Array;
}

interface Ranked {
  g: Float32Array;
  d: Float32Array;
  row: Uint16Array;
}

export class Evidence {
  readonly size: number;
  private orderG: Uint32Array | undefined;
  private orderD: Uint32Array | undefined;
  private sortedD: Float32Array | undefined;
  private sortedG: Float32Array | undefined;
  private inRank: Ranked | undefined;
  private ordered: { of: Float32Array; values: Float32Array } | undefined;

  constructor(
    readonly difference: Float32Array,
    readonly gradcam: Float32Array,
    readonly rows: number,
    readonly width: number,
  ) {
    this.size = Math.min(difference.length, gradcam.length, rows * width);
  }

  /** The same scores for some neurons alone: no other passes any threshold. */
  only(ids: readonly number[]): Evidence {
    const d = new Float32Array(this.size).fill(NaN);
    const g = new Float32Array(this.size).fill(NaN);
    for (const i of ids) {
      d[i] = num(this.difference, i);
      g[i] = num(this.gradcam, i);
    }
    return new Evidence(d, g, this.rows, this.width);
  }

  /** Count survivors: one pass over those above the second threshold, in their order (well below 1 ms for 32 x 11,008). */
  count(
    thresholdD: number,
    thresholdG: number,
    off: ReadonlySet<number>,
    unchecked: ReadonlySet<number>,
  ): Kept {
    const td = Math.fround(thresholdD);
    const tg = Math.fround(thresholdG);
    const { d, row } = this.ranked();
    const perRow = new Int32Array(this.rows);
    for (let k = 0, n = this.above(tg); k < n; k++) add(perRow, int(row, k), +(num(d, k) > td));
    for (const out of off) if (out < this.rows) perRow[out] = 0;
    let count = 0;
    for (const here of perRow) count += here;
    let checked = count;
    for (const i of unchecked) {
      if (i < this.size && this.passes(i, td, tg, off)) {
        add(perRow, Math.floor(i / this.width), -1);
        checked--;
      }
    }
    return { count, checked, perRow };
  }

  /** The sum over the checked survivors of `values`, given in the order of the GradCAM score (`inOrder`). */
  sum(
    values: Float32Array,
    thresholdD: number,
    thresholdG: number,
    off: ReadonlySet<number>,
  ): number {
    const td = Math.fround(thresholdD);
    const { d, row } = this.ranked();
    const n = this.above(Math.fround(thresholdG));
    let sum = 0;
    const all = off.size === 0;
    for (let k = 0; k < n; k++)
      sum += num(d, k) > td && (all || !off.has(int(row, k))) ? num(values, k) : 0;
    return sum;
  }

  /** Values over (row, neuron) in the order of the GradCAM score, largest first; the last ones are kept for the next call. */
  inOrder(values: Float32Array): Float32Array {
    if (this.ordered?.of !== values) {
      const order = this.order("gradcam");
      const made = new Float32Array(order.length);
      order.forEach((i, k) => {
        made[k] = num(values, i);
      });
      this.ordered = { of: values, values: made };
    }
    return this.ordered.values;
  }

  /** How many GradCAM scores are above the threshold, and so come first in the order. */
  private above(tg: number): number {
    const { g } = this.ranked();
    let low = 0;
    let high = g.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (num(g, mid) > tg) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Both scores and the row in the order of the GradCAM score: a drag reads them one after the other. */
  private ranked(): Ranked {
    if (this.inRank) return this.inRank;
    const order = this.order("gradcam");
    const n = order.length;
    const made = { g: new Float32Array(n), d: new Float32Array(n), row: new Uint16Array(n) };
    order.forEach((i, k) => {
      made.g[k] = num(this.gradcam, i);
      made.d[k] = i < this.size ? num(this.difference, i) : NaN;
      made.row[k] = Math.floor(i / this.width);
    });
    return (this.inRank = made);
  }

  passes(i: number, td: number, tg: number, off: ReadonlySet<number>): boolean {
    return (
      num(this.difference, i) > td &&
      num(this.gradcam, i) > tg &&
      !off.has(Math.floor(i / this.width))
    );
  }

  /** Ids of the survivors in the order of `key`; at most `limit`. */
  list(
    thresholdD: number,
    thresholdG: number,
    off: ReadonlySet<number>,
    key: SortKey,
    ascending: boolean,
    limit = Infinity,
  ): Int32Array {
    const td = Math.fround(thresholdD);
    const tg = Math.fround(thresholdG);
    const order = key === "position" ? undefined : this.order(key);
    const cut = key === "gradcam" ? tg : td;
    const values = key === "gradcam" ? this.gradcam : this.difference;
    const room = Math.min(limit, this.size);
    const out = new Int32Array(room);
    let n = 0;
    if (!order) {
      for (let k = 0; k < this.size && n < room; k++) {
        const i = ascending ? k : this.size - 1 - k;
        if (this.passes(i, td, tg, off)) out[n++] = i;
      }
    } else if (ascending) {
      for (let k = this.rank(key as "gradcam" | "difference", cut) - 1; k >= 0 && n < room; k--) {
        const i = int(order, k);
        if (this.passes(i, td, tg, off)) out[n++] = i;
      }
    } else {
      for (let k = 0; k < this.size && n < room; k++) {
        const i = int(order, k);
        if (!(num(values, i) > cut)) break;
        if (this.passes(i, td, tg, off)) out[n++] = i;
      }
    }
    return out.slice(0, n);
  }

  order(key: "gradcam" | "difference"): Uint32Array {
    if (key === "gradcam") return (this.orderG ??= argsortDescending(this.gradcam));
    return (this.orderD ??= argsortDescending(this.difference));
  }

  /** How many neurons there are: padding of narrower layers (NaN) is none. */
  get neurons(): number {
    return this.sorted("difference").length;
  }

  /** Ascending copy of the values that are numbers, of neurons that have both scores. */
  sorted(key: "gradcam" | "difference"): Float32Array {
    const make = (values: Float32Array): Float32Array =>
      values
        .slice(0, this.size)
        .filter((_, i) => Number.isFinite(num(this.difference, i) + num(this.gradcam, i)))
        .sort();
    if (key === "gradcam") return (this.sortedG ??= make(this.gradcam));
    return (this.sortedD ??= make(this.difference));
  }

  /** How many values are above the threshold. */
  rank(key: "gradcam" | "difference", threshold: number): number {
    const values = this.sorted(key);
    const cut = Math.fround(threshold);
    let low = 0;
    let high = values.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (num(values, mid) > cut) high = mid;
      else low = mid + 1;
    }
    return values.length - low;
  }

  /** The quantile by linear interpolation between order statistics (numpy's default, in float64), as float32. */
  quantile(key: "gradcam" | "difference", q: number): number {
    const values = this.sorted(key);
    if (!values.length) return 0;
    const at = Math.min(Math.max(q, 0), 1) * (values.length - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, values.length - 1);
    const [a, b, part] = [num(values, low), num(values, high), at - low];
    return Math.fround(part < 0.5 ? a + (b - a) * part : b - (b - a) * (1 - part)); // from the nearer end, as numpy
  }

  /** The share of values that are at or below the threshold. */
  quantileOf(key: "gradcam" | "difference", threshold: number): number {
    return this.neurons ? 1 - this.rank(key, threshold) / this.neurons : 0;
  }
}

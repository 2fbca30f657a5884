// One axis of the threshold plane: value <-> position 0..1, linear, logarithmic, or logarithmic both ways from 0.

import { num } from "./arrays";

export type AxisKind = "linear" | "log";

export class Axis {
  /** the smallest value drawn at its own place; on a log axis of nothing negative everything below lies at position 0 */
  readonly low: number;
  /** a log axis with negative values: linear within ± `low`, logarithmic beyond (symlog) */
  readonly both: boolean;
  readonly high: number;
  /** a threshold below every value: keeps all */
  readonly below: number;
  private readonly span: number;
  /** how far the axis goes below 0, in units of symlog */
  private readonly deep: number;

  constructor(
    sorted: Float32Array,
    readonly kind: AxisKind,
  ) {
    const n = sorted.length;
    const min = sorted[0] ?? 0;
    const max = sorted[n - 1] ?? 1;
    this.high = max > 0 ? max * (kind === "log" ? 1.12 : 1.02) : 1;
    this.both = kind === "log" && min < 0;
    this.deep = 0;
    this.below = min >= 0 ? -1e-9 : Math.fround(min * 1.0001 - 1e-9);
    if (this.both) {
      const sizes = sorted.map(Math.abs).sort();
      this.low = Math.max(num(sizes, Math.floor(n / 2)), this.high * 1e-3);
      this.deep = symlog(-min * 1.02, this.low);
      this.span = this.deep + symlog(this.high, this.low);
    } else if (kind === "log") {
      const typical = sorted[Math.floor(n * 0.3)] ?? 0;
      this.low = Math.max(typical, this.high * 1e-4);
      if (this.low >= this.high) this.low = this.high * 1e-4;
      this.span = Math.log(this.high / this.low);
    } else {
      this.low = Math.min(0, min);
      this.span = this.high - this.low || 1;
    }
  }

  position(value: number): number {
    if (this.both) return (symlog(value, this.low) + this.deep) / this.span;
    if (this.kind === "log") return value <= this.low ? 0 : Math.log(value / this.low) / this.span;
    return (value - this.low) / this.span;
  }

  value(position: number): number {
    if (position <= 0) return this.below;
    if (this.both) return unsymlog(position * this.span - this.deep, this.low);
    if (this.kind === "log") return this.low * Math.exp(position * this.span);
    return this.low + position * this.span;
  }

  /** Round values for labels. */
  ticks(count = 4): number[] {
    if (this.both) {
      const deepest = unsymlog(this.deep, this.low);
      const down = decades(this.low, deepest).reverse();
      return [...down.map((v) => -v), 0, ...decades(this.low, this.high)];
    }
    if (this.kind === "log") return decades(this.low, this.high);
    const rough = this.span / count;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough) ?? rough;
    const out: number[] = [];
    for (let v = Math.ceil(this.low / step) * step; v <= this.high + 1e-12; v += step)
      out.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return out;
  }
}

/** Linear within ± `low`, where it is 1; logarithmic beyond. */
function symlog(value: number, low: number): number {
  const size = Math.abs(value) / low;
  return Math.sign(value) * (size > 1 ? 1 + Math.log(size) : size);
}

function unsymlog(value: number, low: number): number {
  const size = Math.abs(value);
  return Math.sign(value) * low * (size > 1 ? Math.exp(size - 1) : size);
}

/** Round values from `low` to `high`, a few a decade. */
function decades(low: number, high: number): number[] {
  const out: number[] = [];
  const many = Math.log10(high / low);
  const steps = many > 2.5 ? [1] : many > 1.2 ? [1, 3] : [1, 2, 5];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const m of steps) {
      const v = m * 10 ** e;
      if (v >= low && v <= high) out.push(v);
    }
  }
  return out;
}

/** Log when most of the neurons would otherwise crowd in the first tenth. */
export function suitableKind(sorted: Float32Array): AxisKind {
  const most = sorted.at(-1) ?? 0;
  if (most <= 0) return "linear";
  return num(sorted, Math.floor(sorted.length * 0.9)) < 0.12 * most ? "log" : "linear";
}

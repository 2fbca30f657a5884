// One axis of the threshold plane: value <-> position 0..1, linear or logarithmic.

import { num } from "./arrays";

export type AxisKind = "linear" | "log";

export class Axis {
  /** the smallest value drawn at its own place; on a log axis everything below lies at position 0 */
  readonly low: number;
  readonly high: number;
  /** a threshold below every value: keeps all */
  readonly below: number;
  private readonly span: number;

  constructor(
    sorted: Float32Array,
    readonly kind: AxisKind,
  ) {
    const n = sorted.length;
    const min = sorted[0] ?? 0;
    const max = sorted[n - 1] ?? 1;
    this.high = max > 0 ? max * (kind === "log" ? 1.12 : 1.02) : 1;
    this.below = min >= 0 ? -1e-9 : Math.fround(min * 1.0001 - 1e-9);
    if (kind === "log") {
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
    if (this.kind === "log") return value <= this.low ? 0 : Math.log(value / this.low) / this.span;
    return (value - this.low) / this.span;
  }

  value(position: number): number {
    if (position <= 0) return this.below;
    if (this.kind === "log") return this.low * Math.exp(position * this.span);
    return this.low + position * this.span;
  }

  /** Round values for labels. */
  ticks(count = 4): number[] {
    if (this.kind === "log") {
      const out: number[] = [];
      const decades = Math.log10(this.high / this.low);
      const steps = decades > 2.5 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 5];
      for (let e = Math.floor(Math.log10(this.low)); e <= Math.ceil(Math.log10(this.high)); e++) {
        for (const m of steps) {
          const v = m * 10 ** e;
          if (v >= this.low && v <= this.high) out.push(v);
        }
      }
      return out;
    }
    const rough = this.span / count;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough) ?? rough;
    const out: number[] = [];
    for (let v = Math.ceil(this.low / step) * step; v <= this.high + 1e-12; v += step)
      out.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return out;
  }
}

/** Log when most of the neurons would otherwise crowd in the first tenth. */
export function suitableKind(sorted: Float32Array): AxisKind {
  const most = sorted.at(-1) ?? 0;
  if (most <= 0) return "linear";
  return num(sorted, Math.floor(sorted.length * 0.9)) < 0.12 * most ? "log" : "linear";
}

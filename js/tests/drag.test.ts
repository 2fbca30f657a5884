import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { num } from "../src/core/arrays";
import { setText } from "../src/core/dom";
import { Evidence } from "../src/core/evidence";
import { shade } from "../src/core/heat";
import { Session } from "../src/core/session";
import { calmly } from "../src/core/store";
import { mountEffectRows } from "../src/parts/effect_rows";
import { FakeModel, floats, Frames } from "./fake";

describe("what a drag runs", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("calmly: at once at rest; while dragged now and then, and the last is never lost", () => {
    const store = { previewing: false };
    let value = 0;
    const seen: number[] = [];
    const show = calmly(store, 100, () => seen.push(value));
    for (value = 1; value <= 3; value++) show();
    expect(seen).toEqual([1, 2, 3]);
    store.previewing = true;
    for (value = 10; value <= 15; value++) show();
    value = 15;
    expect(seen.length).toBeLessThanOrEqual(4);
    vi.advanceTimersByTime(150);
    expect(seen.at(-1)).toBe(15);
    store.previewing = false;
    value = 16;
    show();
    expect(seen.at(-1)).toBe(16);
  });
});

describe("sums in rank order", () => {
  it("agree with a plain loop, with padding, layers off and ties", () => {
    const rows = 3;
    const width = 40;
    let seed = 7;
    const random = (): number => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    const make = (): Float32Array =>
      Float32Array.from({ length: rows * width }, () =>
        Math.fround(Math.round(random() * 20) / 20),
      );
    const [d, g, values] = [make(), make(), make()];
    for (const k of [5, 44, 119]) d[k] = g[k] = NaN;
    const evidence = new Evidence(d, g, rows, width);
    for (const off of [new Set<number>(), new Set([1])]) {
      for (const [td, tg] of [
        [0.2, 0.4],
        [-1, -1],
        [0.5, 0.95],
        [2, 0],
      ] as const) {
        let plain = 0;
        let count = 0;
        for (let k = 0; k < d.length; k++) {
          if (
            num(d, k) > Math.fround(td) &&
            num(g, k) > Math.fround(tg) &&
            !off.has(Math.floor(k / width))
          ) {
            plain += num(values, k);
            count++;
          }
        }
        expect(evidence.sum(evidence.inOrder(values), td, tg, off)).toBeCloseTo(plain, 5);
        expect(evidence.count(td, tg, off, new Set()).count).toBe(count);
      }
    }
  });
});

it("shading: the ends of the range have the ends of the table, opacity grows with the value", () => {
  const table = new Uint8Array(256 * 3).map((_, k) => Math.floor(k / 3));
  const out = new Uint8ClampedArray(12);
  shade(Float32Array.of(-5, 0.5, 9), out, {
    table,
    low: 0,
    high: 1,
    opacity: 0.5,
    floor: 0,
    diverging: false,
  });
  expect([...out.slice(0, 4)]).toEqual([0, 0, 0, 0]);
  expect([...out.slice(8)]).toEqual([255, 255, 255, 128]);
  expect(out[4]).toBe(128);
});

it("shading signed values: both ends are as opaque, the middle is as clear as it gets", () => {
  const values = Float32Array.of(-2, -1, 0, 1, 2);
  const out = new Uint8ClampedArray(values.length * 4);
  const table = new Uint8Array(256 * 3);
  shade(values, out, { table, low: -2, high: 2, opacity: 0.8, floor: 0.25, diverging: true });
  const alpha = [3, 7, 11, 15, 19].map((at) => (out[at] ?? NaN) / 255 / 0.8);
  [1, 0.625, 0.25, 0.625, 1].forEach((wanted, k) => expect(alpha[k]).toBeCloseTo(wanted, 1.7));
  shade(values, out, { table, low: -2, high: 2, opacity: 0.8, floor: 0.25, diverging: false });
  expect(out[3]).toBe(51);
  expect(out[19]).toBe(204);
});

it("a text is written into the node that is there", () => {
  const el = document.createElement("span");
  el.textContent = "60 kept";
  const node = el.firstChild;
  setText(el, "61 kept");
  expect(el.firstChild).toBe(node);
  expect(el.textContent).toBe("61 kept");
});

it("figures of other neurons than the kept ones are said to be old", () => {
  const frames = new Frames();
  const model = new FakeModel({
    shape: [1, 3],
    rows: [[0, -1]],
    difference: floats([1, 2, 3]),
    gradcam: floats([1, 2, 3]),
    mode: "absolute",
    threshold_d: 0,
    threshold_g: 0,
    unchecked: [],
    rows_off: [],
    read_only: false,
    status: { state: "ready" },
    effect: null,
  });
  const host = document.createElement("div");
  const session = new Session(model, host, frames.schedule);
  mountEffectRows(session, host, true);
  expect(host.textContent).toContain("beside random neurons");
  model.set("effect", {
    measures: { suppression: { value: 1, random: 0.02 } },
    neurons: 3,
    scenes: 8,
    held_out: false,
  });
  frames.run();
  expect(host.textContent).toContain("8 scenes");
  expect(host.textContent).toContain("3 random neurons from the same layers, suppression .02");
  expect(host.querySelector(".stale")).toBeNull();
  session.store.preview({ threshold_d: 1.5 });
  frames.run();
  expect(host.textContent).toContain("of 3 neurons: the thresholds have moved since");
  expect(host.querySelector(".stale")).not.toBeNull();
});

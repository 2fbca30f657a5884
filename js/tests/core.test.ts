import { describe, expect, it } from "vitest";
import { add, int, nth, num } from "../src/core/arrays";
import { Axis } from "../src/core/axis";
import { asFloat32, asInt32 } from "../src/core/binary";
import contract from "../src/core/contract.json";
import { diffWords, isForm } from "../src/core/diff";
import { argsortDescending, Evidence } from "../src/core/evidence";
import { float32Literal, pythonString, short } from "../src/core/format";
import { DIVERGING, lut, SEQUENTIAL } from "../src/core/colormap";
import { meanMap, neuronMap, percentile, upsample, type Maps } from "../src/core/heat";
import { MESSAGES, REQUESTS, WIDGETS } from "../src/core/traits";
import { fillPolygon } from "../src/parts/mask_painter";
import { random } from "./fake";
import quantiles from "./quantiles.json";

describe("contract with Python", () => {
  it("has the same traits and encodings", () => {
    const ours = Object.fromEntries(
      Object.entries(WIDGETS).map(([name, traits]) => [
        name,
        Object.fromEntries(Object.entries(traits).map(([key, kind]) => [key, kind.kind])),
      ]),
    );
    expect(ours).toEqual(contract.widgets);
  });
  it("asks only what the kernel answers, and all of it", () => {
    expect([...REQUESTS].sort()).toEqual(contract.requests);
    expect([...MESSAGES.sent]).toEqual(contract.messages.received);
    expect([...MESSAGES.received]).toEqual(contract.messages.sent);
  });
});

describe("bytes", () => {
  it("copies when the offset is not aligned, and never reads past the view", () => {
    const buffer = new ArrayBuffer(17);
    const view = new DataView(buffer, 1, 12);
    view.setFloat32(0, 1.5, true);
    view.setFloat32(4, -2, true);
    view.setFloat32(8, 7, true);
    expect([...asFloat32(view)]).toEqual([1.5, -2, 7]);
    expect(asInt32(new DataView(buffer, 4, 10)).length).toBe(2);
    expect(asFloat32(undefined).length).toBe(0);
  });
});

describe("arrays", () => {
  it("an item that must be there is, or it is said which is not", () => {
    expect(nth(["a", "b"], 1)).toBe("b");
    expect(() => nth(["a", "b"], 2)).toThrow("no item 2 of 2");
    expect(() => int(Int32Array.of(7), -1)).toThrow("no item -1 of 1");
    expect(int(Int32Array.of(0), 0)).toBe(0);
  });
  it("a score outside of the array is no number, and above no threshold", () => {
    expect(num(Float32Array.of(1.5), 0)).toBe(1.5);
    expect(num(Float32Array.of(1.5), 1) > -Infinity).toBe(false);
  });
  it("adding to a count gives what it was", () => {
    const counts = new Int32Array(2);
    expect([add(counts, 1), add(counts, 1, 4), add(counts, 1, -2)]).toEqual([0, 1, 5]);
    expect([...counts]).toEqual([0, 3]);
  });
});

describe("evidence", () => {
  const next = random(3);
  const [rows, width] = [5, 400];
  const d = Float32Array.from({ length: rows * width }, () => next() * 3 - 0.5);
  const g = Float32Array.from({ length: rows * width }, () => (next() - 0.3) * 0.1);
  d[17] = NaN;
  g[17] = NaN;
  const evidence = new Evidence(d, g, rows, width);

  it("sorts floats of both signs, NaN last", () => {
    const order = argsortDescending(g);
    const sorted = Array.from(order, (i) => num(g, i)).slice(0, -1);
    expect(sorted).toEqual([...sorted].sort((a, b) => b - a));
    expect(order.at(-1)).toBe(17);
  });
  it("counts and lists as a plain loop does, for any threshold", () => {
    for (let k = 0; k < 50; k++) {
      const [td, tg] = [next() * 3 - 0.6, (next() - 0.3) * 0.1];
      const off = new Set([k % 5]);
      const unchecked = new Set([3, 500, 901, 1700]);
      const wanted: number[] = [];
      for (let i = 0; i < d.length; i++) {
        if (
          num(d, i) > Math.fround(td) &&
          num(g, i) > Math.fround(tg) &&
          !off.has(Math.floor(i / width))
        )
          wanted.push(i);
      }
      const kept = evidence.count(td, tg, off, unchecked);
      expect(kept.count).toBe(wanted.length);
      expect(kept.checked).toBe(wanted.filter((i) => !unchecked.has(i)).length);
      expect([...kept.perRow].reduce((a, b) => a + b, 0)).toBe(kept.checked);
      for (const key of ["gradcam", "difference", "position"] as const) {
        for (const ascending of [true, false]) {
          const list = [...evidence.list(td, tg, off, key, ascending)];
          expect([...list].sort((a, b) => a - b)).toEqual(wanted);
          const values = list.map((i) =>
            key === "position" ? i : num(key === "gradcam" ? g : d, i),
          );
          const sorted = [...values].sort((a, b) => (ascending ? a - b : b - a));
          expect(values).toEqual(sorted);
        }
      }
    }
  });
  it("compares in float32", () => {
    const one = new Evidence(Float32Array.of(0.1), Float32Array.of(1), 1, 1);
    expect(one.count(0.1, 0, new Set(), new Set()).count).toBe(0);
  });
  it("a score equal to its threshold does not pass, in whatever order it is listed", () => {
    const d = Float32Array.of(0.5, 0.75, 0.5, 0.75);
    const g = Float32Array.of(0.25, 0.25, 0.125, 0.125);
    const tied = new Evidence(d, g, 2, 2);
    const none = new Set<number>();
    expect(Array.from(d, (_, i) => tied.passes(i, 0.5, 0.125, none))).toEqual([
      false,
      true,
      false,
      false,
    ]);
    expect(tied.count(0.5, 0.125, none, new Set([0])).checked).toBe(1);
    for (const key of ["gradcam", "difference", "position"] as const)
      for (const ascending of [true, false])
        expect([...tied.list(0.5, 0.125, none, key, ascending)]).toEqual([1]);
    expect(tied.rank("difference", 0.5)).toBe(2);
  });
  it("cuts at numpy's quantile, to the last bit", () => {
    for (const { values, quantiles: points, cuts } of quantiles) {
      const all = Float32Array.from(values);
      const made = new Evidence(all, all, 1, all.length);
      points.forEach((q, k) => expect(made.quantile("gradcam", q)).toBe(cuts[k]));
    }
  });
  it("leaves padding out of ranks and quantiles", () => {
    expect(evidence.neurons).toBe(rows * width - 1);
    expect(evidence.rank("difference", -1)).toBe(rows * width - 1);
    expect(evidence.quantile("gradcam", 1)).toBe(
      Math.max(...[...g].filter((v) => !Number.isNaN(v))),
    );
    expect(evidence.quantileOf("gradcam", evidence.quantile("gradcam", 0.9))).toBeCloseTo(0.9, 2);
  });
});

describe("axis", () => {
  it("has a place of their own for negative scores on a log axis, labelled", () => {
    const sorted = Float32Array.from({ length: 1001 }, (_, i) => ((i - 400) / 600) ** 3);
    const axis = new Axis(sorted, "log");
    const places = [...sorted].map((v) => axis.position(v));
    for (let i = 1; i < places.length; i++)
      expect(nth(places, i)).toBeGreaterThan(nth(places, i - 1));
    expect(nth(places, 0)).toBeGreaterThan(0);
    expect(nth(places, 0)).toBeLessThan(0.05);
    for (const p of [0.01, 0.2, 0.5, 0.93]) expect(axis.position(axis.value(p))).toBeCloseTo(p, 6);
    // symlog: as far below 0 as above, and each decade as long
    expect(axis.position(0) - axis.position(-0.1)).toBeCloseTo(
      axis.position(0.1) - axis.position(0),
      9,
    );
    expect(axis.position(0.2) - axis.position(0.1)).toBeCloseTo(
      axis.position(0.8) - axis.position(0.4),
      9,
    );
    const ticks = axis.ticks();
    expect(ticks).toContain(0);
    expect(ticks.some((v) => v < 0)).toBe(true);
    expect(ticks).toEqual([...ticks].sort((x, y) => x - y));
    expect(new Axis(Float32Array.from([0, 0.1, 1]), "log").both).toBe(false);
  });
  it("at its lower end it keeps the most negative value too", () => {
    for (const values of [
      [-2, -1, 0, 3],
      [-500, 4],
      [-1e-6, 1e-6],
      [0, 1],
      [2, 3],
    ]) {
      const sorted = Float32Array.from(values);
      for (const kind of ["linear", "log"] as const)
        expect(Math.fround(new Axis(sorted, kind).value(0))).toBeLessThan(num(sorted, 0));
    }
  });
  it("goes there and back, and can keep everything", () => {
    const sorted = Float32Array.from({ length: 1000 }, (_, i) => (i / 1000) ** 4);
    for (const kind of ["linear", "log"] as const) {
      const axis = new Axis(sorted, kind);
      for (const p of [0.1, 0.5, 0.93]) expect(axis.position(axis.value(p))).toBeCloseTo(p, 6);
      expect(axis.value(0)).toBeLessThan(num(sorted, 0));
      expect(axis.value(1)).toBeGreaterThan(num(sorted, 999));
      expect(axis.ticks().every((t) => t >= axis.low && t <= axis.high)).toBe(true);
    }
  });
});

describe("colour maps", () => {
  const light = (table: Uint8Array, i: number): number =>
    0.2126 * nth(table, i * 3) + 0.7152 * nth(table, i * 3 + 1) + 0.0722 * nth(table, i * 3 + 2);

  it("begin and end with their own colours", () => {
    expect([...lut("inferno").slice(0, 3)]).toEqual([0x00, 0x00, 0x04]);
    expect([...lut("inferno").slice(-3)]).toEqual([0xfc, 0xff, 0xa4]);
    expect([...lut(DIVERGING).slice(0, 3)]).toEqual([0x05, 0x30, 0x61]);
    expect([...lut(DIVERGING).slice(-3)]).toEqual([0x67, 0x00, 0x1f]);
    expect([...lut("greys")]).toEqual(Array.from({ length: 768 }, (_, k) => Math.floor(k / 3)));
    expect(lut("no such map")).toEqual(lut("inferno"));
  });
  it("grow lighter; one for signed values is lightest in the middle", () => {
    for (const name of SEQUENTIAL)
      for (let i = 1; i < 256; i++)
        expect(light(lut(name), i)).toBeGreaterThanOrEqual(light(lut(name), i - 1) - 1);
    const signed = Array.from({ length: 256 }, (_, i) => light(lut(DIVERGING), i));
    expect([127, 128]).toContain(signed.indexOf(Math.max(...signed)));
    expect(signed[0]).toBeLessThan(60);
    expect(signed[255]).toBeLessThan(60);
  });
});

describe("heat", () => {
  const maps: Maps = {
    ids: Int32Array.of(4, 9),
    at: new Map([
      [4, 0],
      [9, 1],
    ]),
    grids: Uint8Array.of(0, 255, 10, 20, 255, 0, 0, 51),
    scale: Float32Array.of(0.01, 0.02),
    offset: Float32Array.of(0, -1),
    sign: Int8Array.of(1, -1),
    rows: 2,
    cols: 2,
  };
  it("means are over the neurons that pass, in activation units", () => {
    const { map, used } = meanMap(maps, () => true, false);
    expect(used).toBe(2);
    expect(map[0]).toBeCloseTo((0 + (-1 + 0.02 * 255)) / 2, 5);
    const single = neuronMap(maps, 9, true)!;
    meanMap(maps, (id) => id === 9, true).map.forEach((value, p) =>
      expect(value).toBeCloseTo(num(single, p), 5),
    );
    expect(neuronMap(maps, 9, true)![3]).toBeCloseTo(-(-1 + 1.02), 5);
    expect(neuronMap(maps, 5, false)).toBeUndefined();
  });
  it("bilinear samples are centred and do not extrapolate", () => {
    const up = upsample(Float32Array.of(0, 1), 1, 2, 8, 1);
    expect(up[0]).toBe(0);
    expect(up[7]).toBe(1);
    for (let k = 0; k < 8; k++) expect(num(up, k) + num(up, 7 - k)).toBeCloseTo(1, 6);
  });
  it("samples lie at the cells' centres in y as in x", () => {
    const cells = Float32Array.of(0, 1, 2);
    const wanted = [0, 0.25, 0.75, 1.25, 1.75, 2];
    expect([...upsample(cells, 1, 3, 6, 1)]).toEqual(wanted);
    expect([...upsample(cells, 3, 1, 1, 6)]).toEqual(wanted);
    expect([...upsample(cells, 3, 1, 1, 3)]).toEqual([0, 1, 2]);
    const next = random(5);
    const grid = Float32Array.from({ length: 6 }, next); // 2 rows of 3
    const turned = Float32Array.of(0, 3, 1, 4, 2, 5).map((at) => num(grid, at));
    const [map, other] = [upsample(grid, 2, 3, 7, 4), upsample(turned, 3, 2, 4, 7)];
    for (let y = 0; y < 4; y++)
      for (let x = 0; x < 7; x++) expect(num(map, y * 7 + x)).toBeCloseTo(num(other, x * 4 + y), 6);
  });
  it("percentile interpolates as numpy does", () => {
    expect(percentile(Float32Array.of(4, 1, 3, 2), 0.5)).toBe(2.5);
  });
});

describe("words", () => {
  it("marks what changed, removed before new", () => {
    const kinds = diffWords("a red car next to a tree", "a red bus next to a tree").map(
      (p) => `${p.kind}:${p.text}`,
    );
    expect(kinds).toContain("gone:car");
    expect(kinds.indexOf("new:bus")).toBe(kinds.indexOf("gone:car") + 1);
    expect(diffWords("", "a b").every((p) => p.kind === "new")).toBe(true);
    expect(diffWords("x", "").map((p) => p.kind)).toEqual(["gone"]);
  });
  it("knows the concept's forms with punctuation", () => {
    expect(isForm("Cars,", ["car", "cars"])).toBe(true);
    expect(isForm("scar", ["car"])).toBe(false);
  });
});

describe("numbers", () => {
  it("float32 literals come back as the same float32", () => {
    const next = random(9);
    for (let k = 0; k < 2000; k++) {
      const value = Math.fround((next() - 0.3) * 10 ** Math.floor(next() * 12 - 8));
      expect(Math.fround(Number(float32Literal(value)))).toBe(value);
    }
    expect(float32Literal(1)).toBe("1.0");
  });
  it("python strings cannot break out", () => {
    expect(pythonString('a"\n\\é')).toBe('"a\\"\\n\\\\\\u00e9"');
  });
  it("are short", () => {
    expect([0.031, 1.924, -3.7, 0].map(short)).toEqual([".031", "1.92", "−3.70", "0"]);
  });
});

describe("mask", () => {
  it("fills a polygon", () => {
    const mask = new Uint8Array(100);
    fillPolygon(mask, 10, 10, [
      [0.2, 0.2],
      [0.6, 0.2],
      [0.6, 0.5],
      [0.2, 0.5],
    ]);
    expect(mask.filter(Boolean).length).toBe(12);
    expect(mask[2 * 10 + 2]).toBe(255);
  });
});

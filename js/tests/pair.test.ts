import { beforeEach, describe, expect, it } from "vitest";
import { nth } from "../src/core/arrays";
import { asInt32 } from "../src/core/binary";
import { Pair, sideModel } from "../src/core/pair";
import { Session } from "../src/core/session";
import { mountPairCaptions } from "../src/parts/pair_captions";
import { mountPairParts } from "../src/parts/pair_parts";
import { mountPairTable } from "../src/parts/pair_table";
import { FakeModel, floats, Frames, random } from "./fake";

let model: FakeModel;
let frames: Frames;
let session: Session;
let pair: Pair;
let host: HTMLElement;

beforeEach(() => {
  const side = (
    concept: string,
    difference: number[],
    gradcam: number[],
  ): Record<string, unknown> => ({
    concept,
    concept_forms: [concept],
    difference: floats(difference),
    gradcam: floats(gradcam),
    mode: "absolute",
    threshold_d: 0.5,
    threshold_g: 0.05,
    quantile_d: 0.5,
    quantile_g: 0.5,
    caption_before: `a red ${concept} here`,
    caption_after: "",
    caption_random: "",
    scene: 0,
    scenes: [{ name: "one", before: "", after: "" }],
  });
  // neurons 0..5 of two layers: a keeps 0 1 2 4, b keeps 1 4 5
  const a = side("car", [1, 1, 1, 0, 1, 0], [0.9, 0.2, 0.3, 1, 0.4, 1]);
  const b = side("<i>bus</i>", [0, 1, 0, 0, 1, 1], [1, 0.1, 1, 1, 0.7, 0.2]);
  const own = Object.fromEntries(
    [
      ["a", a],
      ["b", b],
    ].flatMap(([name, traits]) =>
      Object.entries(traits as object).map(([key, value]) => [`${name as string}_${key}`, value]),
    ),
  );
  model = new FakeModel({
    ...own,
    shape: [2, 3],
    rows: [
      [3, -1],
      [4, -1],
    ],
    part: "shared",
    selected: -1,
    words: [],
    read_only: false,
    status: { state: "ready" },
    setup_code: "study_a = 1",
    ablation: { active: [], can_undo: false, can_redo: false },
  });
  frames = new Frames();
  host = document.createElement("div");
  document.body.append(host);
  session = new Session(model, host, frames.schedule);
  pair = new Pair(session, model, frames.schedule);
});

describe("sides", () => {
  it("each side's traits go by their own names, the shared ones by theirs", () => {
    const b = sideModel(model, "b");
    let calls = 0;
    b.on("change:threshold_d", () => calls++);
    b.set("threshold_d", 0.7);
    expect(model.state["b_threshold_d"]).toBeCloseTo(0.7);
    expect(model.state["a_threshold_d"]).toBe(0.5);
    expect(calls).toBe(1);
    expect(b.get("rows")).toBe(model.state["rows"]);
  });
});

describe("parts", () => {
  it("are the algebra of two sets, best first", () => {
    expect([...pair.ids("a")]).toEqual([0, 2]);
    expect([...pair.ids("shared")]).toEqual([4, 1]);
    expect([...pair.ids("b")]).toEqual([5]);
    expect(pair.counts().count).toEqual({ a: 2, shared: 2, b: 1 });
    expect([...pair.counts().perRow.shared]).toEqual([1, 1]);
  });
  it("count and list as a plain loop does, for any thresholds and any column", () => {
    const next = random(4);
    const [rows, width] = [4, 50];
    const make = (): number[] =>
      Array.from({ length: rows * width }, () => Math.round(next() * 20) / 20);
    const scores = {
      a_difference: make(),
      a_gradcam: make(),
      b_difference: make(),
      b_gradcam: make(),
    };
    model.set("shape", [rows, width]);
    for (const [name, values] of Object.entries(scores)) model.set(name, floats(values));
    for (let k = 0; k < 30; k++) {
      const cut = [next(), next(), next(), next()].map(Math.fround);
      ["a_threshold_d", "a_threshold_g", "b_threshold_d", "b_threshold_g"].forEach((name, i) =>
        model.set(name, cut[i]),
      );
      const inside = (x: "a" | "b", id: number, at: number): boolean =>
        Math.fround(nth(scores[`${x}_difference`], id)) > nth(cut, at) &&
        Math.fround(nth(scores[`${x}_gradcam`], id)) > nth(cut, at + 1);
      const wanted = { a: [] as number[], shared: [] as number[], b: [] as number[] };
      for (let id = 0; id < rows * width; id++) {
        const [x, y] = [inside("a", id, 0), inside("b", id, 2)];
        if (x || y) wanted[x && y ? "shared" : x ? "a" : "b"].push(id);
      }
      for (const part of ["a", "shared", "b"] as const) {
        expect(pair.counts().count[part]).toBe(wanted[part].length);
        for (const by of ["position", "a_gradcam", "b_difference"] as const) {
          const up = [...pair.list(part, by, true, Infinity)];
          expect([...up].sort((p, q) => p - q)).toEqual(wanted[part]);
          const values = up.map((id) => (by === "position" ? id : nth(scores[by], id)));
          expect(values).toEqual([...values].sort((p, q) => p - q));
          const down = [...pair.list(part, by, false, Infinity)];
          expect([...down].sort((p, q) => p - q)).toEqual(wanted[part]);
          const falling = down.map((id) => (by === "position" ? id : nth(scores[by], id)));
          expect(falling).toEqual([...values].reverse());
        }
      }
    }
  });
  it("a drag repaints and sends nothing until it is committed", () => {
    mountPairParts(pair, host);
    const counts = (): string[] =>
      [...host.querySelectorAll(".choose b")].map((b) => b.textContent ?? "");
    expect(counts()).toEqual(["2", "2", "1"]);
    pair.a.store.preview({ threshold_g: 0.35 });
    frames.run();
    expect(counts()).toEqual(["1", "1", "2"]);
    expect(model.sent).toEqual([]);
    expect(model.saves).toBe(0);
    pair.a.store.commit();
    expect(model.state["a_threshold_g"]).toBe(0.35);
  });
  it("one click ablates the part that the button stands for, as it is now", () => {
    mountPairParts(pair, host);
    nth(host.querySelectorAll<HTMLButtonElement>(".parts > button:nth-child(2n)"), 1).click();
    const asked = model.sent.find((m) => m.content["name"] === "ablate")!;
    expect(asked.content["args"]).toEqual({ part: "shared" });
    expect([...asInt32(asked.buffers[0])]).toEqual([4, 1]);
    model.set("read_only", true);
    frames.run();
    expect(
      [...host.querySelectorAll<HTMLButtonElement>(".parts > button:nth-child(2n)")].every(
        (b) => b.disabled,
      ),
    ).toBe(true);
    expect([...host.querySelectorAll<HTMLButtonElement>(".choose")].some((b) => b.disabled)).toBe(
      false,
    );
  });
  it("writes Python and CSV of the same sets", () => {
    model.set("b_mode", "quantile");
    expect(pair.python()).toBe(
      "study_a = 1\na = study_a.neurons(threshold_d=0.5, threshold_g=0.05)\n" +
        "b = study_b.neurons(quantile_d=0.5, quantile_g=0.5)\nown_a, shared, own_b = a - b, a & b, b - a\n",
    );
    model.set("b_mode", "absolute");
    model.set("a_activation", floats([2, 0, 0, 0, 0, 0]));
    expect(pair.csv().split("\n").slice(0, 2)).toEqual([
      "part,layer,index,difference_a,gradcam_a,activation_a,difference_b,gradcam_b,activation_b",
      `a,L3,0,1,${Math.fround(0.9)},2,0,1,`,
    ]);
  });
});

describe("table and captions", () => {
  it("shows the chosen part; arrows choose a neuron, Escape the whole part", () => {
    mountPairTable(pair, host);
    const rows = (): string[] =>
      [...host.querySelectorAll<HTMLElement>(".trow:not([hidden])")].map(
        (row) => row.firstElementChild?.textContent ?? "",
      );
    expect(rows()).toEqual(["L4·1", "L3·1"]);
    const scroll = host.querySelector(".table")!;
    scroll.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
    expect(model.state["selected"]).toBe(4);
    scroll.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    expect(model.state["selected"]).toBe(-1);
    model.set("part", "b");
    frames.run();
    expect(rows()).toEqual(["L4·2"]);
    expect(host.querySelector('[aria-sort="descending"]')?.textContent).toContain("G ");
  });
  it("says the words of the side on which a neuron acts, for each concept", async () => {
    model.set("a_activation", floats([2, 3, -1, 0, -7.4, 0]));
    model.set("b_activation", floats([-2, 4, 1, 0, 47.8, 5]));
    mountPairTable(pair, host);
    const asked = (side: string): number =>
      model.sent.findIndex((m) => (m.content["args"] as { side?: string }).side === side);
    await new Promise((done) => setTimeout(done, 260));
    for (const [side, lists] of [
      ["a", [["tail"], ["wheel"]]],
      ["b", [["tram"], ["wheel"]]],
    ] as const) {
      const { content } = model.sent[asked(side)]!;
      expect(content["args"]).toMatchObject({ ids: [4, 1] });
      model.emit(
        "msg:custom",
        { kind: "reply", id: content["id"], ok: true, result: { words: lists } },
        [],
      );
    }
    await Promise.resolve();
    await Promise.resolve();
    frames.run();
    frames.run();
    const cells = [...host.querySelectorAll<HTMLElement>(".trow:not([hidden]) .words")];
    const said = cells.map((cell) =>
      [...cell.querySelectorAll(".side")].map((side) => side.textContent?.trim()),
    );
    expect(said).toEqual([
      ["−7.40 tail", "+47.8 tram"], // two sides: each with its words
      ["+3.00 +4.00 wheel"], // one side
    ]);
    model.set("part", "a");
    frames.run();
    const own = host.querySelector(".trow:not([hidden]) .words")!;
    expect(own.querySelectorAll(".side")).toHaveLength(1);
    expect(own.textContent).toContain("+2.00");
  });
  it("words with tags are text, and what changed is marked", () => {
    mountPairCaptions(pair, "b", host);
    model.set("b_caption_after", "a red <b>car</b> here");
    model.set("b_caption_random", "a red <i>bus</i> here");
    frames.run();
    expect(host.querySelector("i, b")).toBeNull();
    expect(host.querySelector("ins")?.textContent).toBe("<b>car</b>");
    expect(host.querySelector("del")?.textContent).toBe("<i>bus</i>");
    expect(host.textContent).toContain("(unchanged)");
  });
});

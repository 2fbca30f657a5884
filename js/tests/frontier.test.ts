import { beforeEach, describe, expect, it } from "vitest";
import { asPython } from "../src/core/python";
import { Session } from "../src/core/session";
import { apart, edge, frontierView } from "../src/parts/frontier";
import { mountNeuronTable } from "../src/parts/neuron_table";
import { FakeModel, floats, Frames, sixNeurons } from "./fake";

const POINT = { identical: 1, substitution: 0.5, random: 0, retention: 0.9 };

let model: FakeModel;
let frames: Frames;
let session: Session;
let host: HTMLElement;

beforeEach(() => {
  model = new FakeModel({
    ...sixNeurons(),
    gradient_sum: floats([1, 2, 4, 8, 16, 32]),
    threshold_g: 0.35,
    picked: null,
    marks: [],
    frontier: {
      points: [
        { ...POINT, method: "two_stage", count: 2, suppression: 0.2, ids: [1, 2] },
        { ...POINT, method: "learned_mask", count: 3, suppression: 0.9, ids: [0, 3, 5] },
      ],
      scenes: 8,
      held_out: false,
    },
  });
  frames = new Frames();
  host = document.createElement("div");
  document.body.append(host);
  session = new Session(model, host, frames.schedule);
});

const mount = (): { el: HTMLElement; mark: (name: string) => HTMLButtonElement } => {
  const { el } = frontierView(session);
  host.append(el);
  const mark = (name: string): HTMLButtonElement =>
    [...el.querySelectorAll<HTMLButtonElement>(".mark")].find((one) =>
      one.getAttribute("aria-label")?.startsWith(name),
    )!;
  return { el, mark };
};

describe("a picked set", () => {
  it("is kept until a threshold moves, and is there again when it moves back", () => {
    expect([...session.survivors()]).toEqual([1, 2]);
    session.pick([5, 0, 3], "mine");
    expect([...session.survivors()]).toEqual([0, 3, 5]);
    expect(session.kept()).toMatchObject({ count: 3, checked: 3 });
    expect([...session.kept().perRow]).toEqual([1, 2]);
    expect([0, 1, 2, 3, 4, 5].filter(session.predicate())).toEqual([0, 3, 5]);
    expect(session.predicted()).toBe(-41);
    session.store.commit({ threshold_d: 2.5 });
    expect([...session.survivors()]).toEqual([2]);
    session.store.commit({ threshold_d: 1.5 });
    expect([...session.survivors()]).toEqual([0, 3, 5]);
  });

  it("heeds rows unchecked and layers left out, in the table and in the code", () => {
    session.pick([0, 3, 5], "mine");
    mountNeuronTable(session, host, false);
    frames.run();
    const names = [...host.querySelectorAll(".trow:not([hidden]) > :nth-child(2)")];
    expect(names.map((one) => one.textContent).sort()).toEqual(["L4·0", "L5·0", "L5·2"]);
    session.store.commit({ unchecked: [3], rows_off: [0] });
    expect([...session.survivors()]).toEqual([5]);
    expect(asPython(session)).toContain("neurons = mmkn.NeuronSet([5], [2])\n");
    session.store.commit({ threshold_g: 0.05 });
    expect(asPython(session)).toContain("neurons = study.neurons(threshold_d=1.5");
  });

  it("is one step of the history", () => {
    session.history.start();
    frames.run();
    session.pick([0], "mine");
    frames.run();
    expect(session.history.next("undo")?.what).toBe("a picked set");
    session.history.go("undo");
    expect([...session.survivors()]).toEqual([1, 2]);
    session.history.go("redo");
    expect([...session.survivors()]).toEqual([0]);
  });
});

describe("the frontier", () => {
  it("takes a set with a click, and says which is taken", () => {
    const { mark } = mount();
    frames.run();
    mark("learned mask").click();
    expect([...session.survivors()]).toEqual([0, 3, 5]);
    expect(model.state["picked"]).toMatchObject({ label: "learned mask, 3", threshold_d: 1.5 });
    frames.run();
    expect(mark("learned mask").getAttribute("aria-pressed")).toBe("true");
    expect(mark("two stages").getAttribute("aria-pressed")).toBe("false");
  });

  it("says suppression, random, retention, substitution and unchanged of each", () => {
    const { el, mark } = mount();
    frames.run();
    expect(mark("two stages").getAttribute("aria-label")).toBe(
      "two stages, 2 neurons: suppression 0.20 (random neurons 0.00), retention 0.90, substitution 0.50, unchanged 1.00",
    );
    expect(el.querySelector(".told")?.textContent).toContain("8 scenes that chose the neurons");
    expect(mark("two stages").querySelector<SVGPathElement>("path")!.style.fillOpacity).toBe("0.5");
  });

  it("shows the pairs of thresholds that were searched, and takes them", () => {
    model.set("marks", [
      {
        threshold_d: 2.5,
        threshold_g: 0.15,
        count: 3,
        suppression: 0.7,
        retention: 1,
        substitution: 0.1,
        random: null,
      },
    ]);
    const { mark } = mount();
    frames.run();
    session.pick([0], "mine");
    mark("pairs of thresholds").click();
    expect([...session.survivors()]).toEqual([2, 3, 4]);
    frames.run();
    expect(mark("pairs of thresholds").getAttribute("aria-pressed")).toBe("true");
  });

  it("asks the kernel where nothing was measured", () => {
    model.set("frontier", null);
    const { el } = mount();
    frames.run();
    el.querySelector<HTMLButtonElement>(".none .btn")!.click();
    expect(model.sent.at(-1)?.content["name"]).toBe("frontier");
  });
});

describe("the outline", () => {
  it("goes through what none beats in both", () => {
    const gone = [0.2, 0.9, 0.9, 1];
    const kept = [1, 0.8, 0.9, 0.4];
    expect(edge(gone.map((suppression, k) => ({ suppression, retention: kept[k]! })))).toEqual([
      0, 2, 3,
    ]);
  });

  it("marks on one spot stand apart, others where they are", () => {
    const moved = apart([[1, 1], [1, 1], [1, 1], [0.2, 0.5]]); // prettier-ignore
    expect(moved[0]).toEqual([0, 0]);
    expect(moved[3]).toEqual([0, 0]);
    expect(Math.hypot(...moved[1]!)).toBeGreaterThan(8);
  });
});

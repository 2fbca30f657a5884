import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { historyKeys } from "../src/core/history";
import { Session } from "../src/core/session";
import { mountMaskPainter } from "../src/parts/mask_painter";
import { FakeModel, floats, Frames } from "./fake";

let model: FakeModel;
let frames: Frames;
let session: Session;
let asked: string[];
let answer: (() => void)[];

const steps = (back: number, forward: number, last: number, label = ""): void => {
  const active = label ? [{ label, count: 1, mode: "ablation", own: true }] : [];
  model.set("ablation", { active, steps: [back, forward, last] });
  frames.run();
};
const cut = (value: number): void => {
  session.store.commit({ threshold_d: value });
  frames.run();
  vi.advanceTimersByTime(1000);
};
const go = (way: "undo" | "redo"): void => {
  session.history.go(way);
  frames.run();
};

beforeEach(() => {
  vi.useFakeTimers();
  document.body.textContent = "";
  model = new FakeModel({
    difference: floats([0, 1]),
    threshold_d: 0,
    mode: "absolute",
    unchecked: [],
    read_only: false,
    scene: 0,
    mask: new DataView(new ArrayBuffer(4)),
    mask_shape: [2, 2],
    objects: [{ name: "ball", area: 0.25 }],
    object_masks: [new DataView(Uint8Array.of(255, 0, 0, 0).buffer)],
    ablation: { active: [], steps: [0, 0, 0] },
  });
  frames = new Frames();
  session = new Session(model, document.body, frames.schedule);
  asked = [];
  answer = [];
  session.history.withModel((way) => {
    asked.push(way);
    return new Promise((resolve) => answer.push(() => resolve(undefined)));
  });
  session.history.start();
});

afterEach(() => {
  session.dispose();
  vi.useRealTimers();
});

describe("one history", () => {
  it("takes back what was changed in this very frame", () => {
    session.store.commit({ unchecked: [3] });
    session.history.go("undo");
    expect(model.get("unchecked")).toEqual([]);
    session.history.go("redo");
    expect(model.get("unchecked")).toEqual([3]);
    model.set("ablation", { active: [], steps: [1, 0, 7] });
    session.history.go("undo"); // the model's step came last
    expect(asked).toEqual(["undo"]);
  });

  it("takes thresholds and rows back in the order in which they were changed", () => {
    cut(1);
    session.store.commit({ unchecked: [3] });
    frames.run();
    cut(2);
    go("undo");
    expect([model.get("threshold_d"), model.get("unchecked")]).toEqual([1, [3]]);
    go("undo");
    expect(model.get("unchecked")).toEqual([]);
    go("undo");
    expect(model.get("threshold_d")).toBe(0);
    expect(session.history.next("undo")).toBeUndefined();
    for (let k = 0; k < 3; k++) go("redo");
    expect([model.get("threshold_d"), model.get("unchecked")]).toEqual([2, [3]]);
  });
  it("a drag is one step, and so is a key that is held; a pause begins another", () => {
    for (let k = 1; k < 5; k++) {
      session.store.preview({ threshold_d: k });
      frames.run();
    }
    session.store.commit();
    frames.run();
    vi.advanceTimersByTime(1000);
    for (let k = 5; k < 9; k++) {
      session.store.commit({ threshold_d: k });
      frames.run();
      vi.advanceTimersByTime(50);
    }
    go("undo");
    expect(model.get("threshold_d")).toBe(4);
    go("undo");
    expect(model.get("threshold_d")).toBe(0);
  });
  it("what Python changed can be taken back as well", () => {
    model.set("threshold_d", 7);
    frames.run();
    go("undo");
    expect(model.get("threshold_d")).toBe(0);
  });
  it("an ablation lies between the thresholds that were moved before and after it", () => {
    cut(1);
    steps(1, 0, 11, "2 neurons ablated");
    cut(2);
    go("undo");
    expect([model.get("threshold_d"), asked]).toEqual([1, []]);
    expect(session.history.next("undo")?.what).toBe("2 neurons ablated");
    go("undo");
    expect(asked).toEqual(["undo"]);
    expect(model.get("threshold_d")).toBe(1);
    steps(0, 1, 12);
    go("undo");
    expect(model.get("threshold_d")).toBe(0);
    go("redo");
    go("redo");
    expect(asked).toEqual(["undo", "redo"]);
    steps(1, 0, 13, "2 neurons ablated");
    go("redo");
    expect(model.get("threshold_d")).toBe(2);
  });
  it("keys that come while the kernel works wait, and none is lost", async () => {
    steps(1, 0, 11, "first");
    steps(2, 0, 12, "second");
    cut(1);
    for (let k = 0; k < 4; k++) session.history.go("undo");
    expect(asked).toEqual(["undo"]);
    steps(1, 1, 13, "first"); // before its caption is written
    expect(asked).toEqual(["undo", "undo"]);
    answer[0]?.(); // too late to count
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.length).toBe(2);
    model.set("ablation", { active: [], steps: [0, 2, 14] });
    answer[1]?.(); // before the next frame
    await vi.advanceTimersByTimeAsync(1);
    expect([asked.length, model.get("threshold_d")]).toEqual([2, 0]);
    expect(session.history.next("undo")).toBeUndefined();
  });
  it("a step that another view takes leaves its place here", () => {
    steps(1, 0, 11, "theirs");
    cut(1);
    steps(0, 1, 12);
    go("undo");
    expect(model.get("threshold_d")).toBe(0);
    expect([session.history.next("undo"), asked]).toEqual([undefined, []]);
    go("redo");
    go("redo");
    expect(asked).toEqual(["redo"]);
  });
  it("what was on the stack before comes after everything of the page", () => {
    const other = new Session(new FakeModel({ ...model.state }), document.body, frames.schedule);
    (other.store.model as FakeModel).set("ablation", { active: [], steps: [3, 0, 9] });
    other.history.withModel(() => Promise.resolve());
    other.history.start();
    other.store.commit({ threshold_d: 5 });
    frames.run();
    expect(other.history.next("undo")?.kind).toBe("traits");
    other.history.go("undo");
    expect(other.history.next("undo")?.kind).toBe("model");
    other.dispose();
  });
  it("is bounded, also when the stack is full", () => {
    for (let k = 1; k <= 130; k++) cut(k);
    for (let k = 0; k < 200; k++) go("undo");
    expect(model.get("threshold_d")).toBe(30);
    steps(200, 0, 500, "a");
    cut(1000);
    steps(200, 0, 501, "b");
    expect(session.history.next("undo")?.what).toBe("b");
  });
  it("new scores forget the thresholds of the old ones", () => {
    cut(1);
    model.set("difference", floats([3, 4]));
    model.set("threshold_d", 3.5);
    frames.run();
    expect(session.history.next("undo")).toBeUndefined();
  });
  it("without a kernel the model's steps stop it, and what is beyond stays", () => {
    steps(1, 0, 11, "x");
    cut(1);
    session.setGone("no kernel");
    go("undo");
    go("undo");
    expect([model.get("threshold_d"), asked]).toEqual([0, []]);
    expect(session.live.textContent).toBe("no kernel");
  });
});

describe("the mask", () => {
  it("is a step too; its own button takes back the mask alone", () => {
    mountMaskPainter(session, document.body);
    const press = (name: string): void => {
      [...document.querySelectorAll("button")].find((b) => b.textContent === name)!.click();
      frames.run();
    };
    const mask = (): number[] => {
      press("inpaint");
      return [...new Uint8Array(model.sent.at(-1)!.buffers[0]!)];
    };
    const [ball, none] = [
      [255, 0, 0, 0],
      [0, 0, 0, 0],
    ];
    press("ball");
    expect(mask()).toEqual(ball);
    cut(1);
    press("undo");
    expect(mask()).toEqual(none);
    expect(model.get("threshold_d")).toBe(1);
    go("redo");
    expect(mask()).toEqual(ball);
    model.set("mask", new DataView(Uint8Array.of(255, 0, 0, 0).buffer)); // inpainted
    frames.run();
    go("undo"); // the mask: it was done again last
    expect(mask()).toEqual(none);
    expect(model.get("threshold_d")).toBe(1);
    press("ball");
    model.set("scene", 1);
    frames.run();
    expect(session.history.next("undo")?.kind).toBe("traits");
  });
});

describe("keys", () => {
  const key = (el: HTMLElement, init: KeyboardEventInit): boolean =>
    el.dispatchEvent(
      new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ctrlKey: true, ...init }),
    );
  it("the same everywhere; a field keeps them while it is typed in", () => {
    historyKeys(document.body, session.history);
    const slider = document.body.appendChild(document.createElement("input"));
    slider.type = "range";
    const box = document.body.appendChild(document.createElement("input"));
    box.type = "number";
    cut(1);
    expect(key(slider, { key: "z", code: "KeyZ" })).toBe(false);
    expect(model.get("threshold_d")).toBe(0);
    expect(key(slider, { key: "Z", code: "KeyZ", shiftKey: true })).toBe(false);
    expect(model.get("threshold_d")).toBe(1);
    expect(key(box, { key: "я", code: "KeyZ" })).toBe(false);
    expect(model.get("threshold_d")).toBe(0);
    expect(key(box, { key: "y", code: "KeyY" })).toBe(false);
    expect(model.get("threshold_d")).toBe(1);
    box.dispatchEvent(new Event("focusin", { bubbles: true }));
    box.value = "5";
    box.dispatchEvent(new Event("input", { bubbles: true }));
    key(box, { key: "z", code: "KeyZ" });
    expect([box.value, model.get("threshold_d")]).toEqual(["", 1]);
    key(box, { key: "y", code: "KeyY" });
    expect([box.value, model.get("threshold_d")]).toEqual(["5", 1]);
    key(box, { key: "z", code: "KeyZ" });
    key(box, { key: "z", code: "KeyZ" });
    expect([box.value, model.get("threshold_d")]).toEqual(["", 0]);
    expect(key(box, { key: "z", code: "KeyZ", altKey: true })).toBe(true);
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { nth } from "../src/core/arrays";
import { carry, takeCargo, type Cargo } from "../src/core/carry";
import { watchKernel, type KernelState } from "../src/core/kernel_watch";
import { Session } from "../src/core/session";
import { mountAblationPanel } from "../src/parts/ablation_panel";
import { mountCaptionDiff } from "../src/parts/caption_diff";
import { heatSource } from "../src/parts/heat_source";
import { neuronPage } from "../src/parts/neuron_page";
import { mountOwnPicture } from "../src/parts/own_picture";
import { mountTopBar } from "../src/parts/top_bar";
import { FakeModel, floats, Frames } from "./fake";

let model: FakeModel;
let frames: Frames;
let session: Session;
let host: HTMLElement;

beforeEach(() => {
  document.body.textContent = "";
  model = new FakeModel({
    difference: floats([0, 1, 2, 3]),
    gradcam: floats([0, 0.1, 0.2, 0.3]),
    gradient_sum: floats([0, 1, 1, 1]),
    shape: [2, 2],
    rows: [
      [4, -1],
      [5, -1],
    ],
    threshold_d: 0.5,
    threshold_g: 0,
    mode: "absolute",
    unchecked: [],
    rows_off: [],
    selected: 3,
    scene: 0,
    status: { state: "ready" },
    read_only: false,
    overlay: "kept",
    signed: false,
    maps: new DataView(new ArrayBuffer(16)),
    map_ids: new DataView(new Int32Array([0, 1, 2, 3]).buffer),
    map_scale: floats([1, 1, 1, 1]),
    map_offset: floats([0, 0, 0, 0]),
    map_sign: new DataView(new ArrayBuffer(4)),
    inpainted: new DataView(new ArrayBuffer(3)),
    grid: { rows: 2, cols: 2, extent: [0, 0, 1, 1], approximate: false, reason: "" },
    labels: { score: "log-probability", difference_map: "activation", gradcam_map: "nats" },
    concept: "car",
    concept_forms: ["car"],
    caption_before: "a red car",
    caption_after: "",
    references: [],
    transplants: true,
    transplanted: null,
    objects: [{ name: "ball", area: 0.1 }],
    object_masks: [new DataView(new ArrayBuffer(4))],
    mask_shape: [2, 2],
    words: [],
    stale: [],
    uploads: true,
    ablation: {
      active: [],
      can_undo: false,
      can_redo: false,
      predicted: null,
      predicted_here: null,
      measured: null,
      unit: "",
      why: "",
    },
    ablate_mode: "zero",
    ablate_scale: 0,
    thumbnails: [],
  });
  frames = new Frames();
  host = document.createElement("div");
  document.body.append(host);
  session = new Session(model, host, frames.schedule);
});

afterEach(() => {
  session.dispose();
  vi.useRealTimers();
});

const asked = (name: string): Record<string, unknown>[] =>
  model.sent
    .filter((m) => m.content["name"] === name)
    .map((m) => m.content["args"] as Record<string, unknown>);

describe("carrying a part of the picture", () => {
  const press = (type: string, x: number, y: number): PointerEvent =>
    new PointerEvent(type, { clientX: x, clientY: y, pointerId: 1, bubbles: true });
  const cargo: Cargo = { object: "ball", cells: [], label: "ball" };
  let from: HTMLElement;
  let word: HTMLElement;
  let taken: Cargo[];
  let clicks: number;

  beforeEach(() => {
    taken = [];
    clicks = 0;
    from = host.appendChild(document.createElement("canvas"));
    word = host.appendChild(document.createElement("button"));
    takeCargo(word, (given) => taken.push(given));
    document.elementFromPoint = (x: number) => (x > 100 ? word : from);
    carry(
      host,
      from,
      press("pointerdown", 10, 10),
      cargo,
      () => document.createElement("i"),
      () => clicks++,
    );
  });

  it("a word takes what is let go on it", () => {
    from.dispatchEvent(press("pointermove", 50, 10));
    expect(host.querySelector(".ghost")?.textContent).toBe("ball");
    from.dispatchEvent(press("pointermove", 150, 10));
    expect(word.classList.contains("drop")).toBe(true);
    from.dispatchEvent(press("pointerup", 150, 10));
    expect(taken).toEqual([cargo]);
    expect(host.querySelector(".ghost")).toBeNull();
    expect(word.classList.contains("drop")).toBe(false);
  });
  it("let go elsewhere it goes back; where it was pressed it is a click", () => {
    from.dispatchEvent(press("pointermove", 60, 60));
    from.dispatchEvent(press("pointerup", 60, 60));
    expect([taken, clicks]).toEqual([[], 0]);
    carry(
      host,
      from,
      press("pointerdown", 10, 10),
      cargo,
      () => document.createElement("i"),
      () => clicks++,
    );
    from.dispatchEvent(press("pointerup", 11, 10));
    expect([taken, clicks]).toEqual([[], 1]);
  });
  it("Escape puts it back", () => {
    from.dispatchEvent(press("pointermove", 150, 10));
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    from.dispatchEvent(press("pointerup", 150, 10));
    expect(taken).toEqual([]);
    expect(host.querySelector(".ghost")).toBeNull();
    expect(word.classList.contains("drop")).toBe(false);
  });
});

describe("transplant by keyboard and by drop", () => {
  it("a drop on the third word asks for it", () => {
    mountCaptionDiff(session, host, { onword: () => undefined });
    const third = nth(host.querySelectorAll<HTMLElement>("dd .word"), 2);
    third.dispatchEvent(
      new CustomEvent("mmkn-drop", { detail: { object: "ball", cells: [], label: "ball" } }),
    );
    expect(asked("transplant")).toEqual([{ index: 2, object: "ball", cells: [], scene: 0 }]);
  });
  it("choose part and word, press the button", () => {
    mountCaptionDiff(session, host);
    const selects = host.querySelectorAll<HTMLSelectElement>(".transplant select");
    const [part, word] = [nth(selects, 0), nth(selects, 1)];
    expect(word.value).toBe("2"); // the concept
    expect(part.value).toBe("ball");
    const button = [...host.querySelectorAll<HTMLButtonElement>(".transplant button")].find(
      (b) => b.textContent === "transplant",
    )!;
    session.choosePatches(new Set([1, 3]));
    frames.run();
    part.value = nth(part.options, 1).value;
    part.dispatchEvent(new Event("change"));
    word.value = "1";
    button.click();
    expect(asked("transplant")).toEqual([{ index: 1, object: "", cells: [1, 3], scene: 0 }]);
  });
  it("says what became of the word, as text", () => {
    mountCaptionDiff(session, host);
    model.set("transplanted", {
      object: "<i>ball",
      word: "car",
      index: 2,
      said: "ball.",
      success: true,
      layers: [4, 5],
    });
    frames.run();
    expect(host.textContent).toContain(
      "<i>ball put where “car” is predicted (layers 4–5, all neurons): the model writes “ball”",
    );
    expect(host.querySelector("i")).toBeNull();
  });
  it("without a model behind the caption there is no such row", () => {
    model.set("transplants", false);
    mountCaptionDiff(session, host);
    expect(host.querySelector<HTMLElement>(".transplant")!.hidden).toBe(true);
    expect(host.querySelector("[data-takes]")).toBeNull();
  });
});

describe("both stages over the patches", () => {
  it("asks once for a set, when the hand rests, and again when it changed", async () => {
    vi.useFakeTimers();
    const source = heatSource(session, true);
    model.set("overlay", "gradcam");
    frames.run();
    await vi.advanceTimersByTimeAsync(300);
    expect(asked("patch_scores").length).toBe(1);
    expect(source.why()).toBe("computing …");
    model.set("difference_map", floats([1, 2, 3, 4]));
    model.set("gradcam_map", floats([0.1, -0.2, 0, 0]));
    model.reply("patch_scores", { count: 3 });
    await vi.advanceTimersByTimeAsync(600);
    frames.run();
    await vi.advanceTimersByTimeAsync(600);
    expect(asked("patch_scores").length).toBe(1);
    expect(source.heat()).toMatchObject({
      what: "activation × gradient, sum of 3 kept neurons",
      unit: "nats",
    });
    model.set("threshold_d", 1.5);
    frames.run();
    expect(source.heat()?.what).toContain("updating");
    await vi.advanceTimersByTimeAsync(300);
    expect(asked("patch_scores").length).toBe(2);
  });
  it("asks nothing without a pair, and says what to do", async () => {
    vi.useFakeTimers();
    model.set("inpainted", new DataView(new ArrayBuffer(0)));
    const source = heatSource(session, true);
    model.set("overlay", "difference");
    frames.run();
    await vi.advanceTimersByTimeAsync(300);
    expect(asked("patch_scores")).toEqual([]);
    expect(source.why()).toContain("paint a mask");
  });
});

describe("what is measured", () => {
  it("predicted and measured stand side by side with their unit", () => {
    mountAblationPanel(session, host);
    expect(host.querySelector(".effect")!.textContent).toBe(
      "log-probability of “car”: predicted −3.00 nats",
    );
    model.set("ablation", {
      active: [{ label: "x", count: 3, mode: "ablation", own: true }],
      can_undo: true,
      can_redo: false,
      predicted: -2,
      predicted_here: -4.1,
      measured: -3.7,
      unit: "nats",
      why: "",
    });
    frames.run();
    expect(host.querySelector(".effect")!.textContent).toBe(
      "log-probability of “car”, this picture: predicted −4.10 · measured −3.70 nats · first order, all scenes −2.00",
    );
  });
  it("the neuron's page says what its shares are", async () => {
    host.append(neuronPage(session));
    [...host.querySelectorAll("button")].find((b) => b.textContent === "where else?")!.click();
    model.reply("neuron", {
      scenes: [],
      captions: 36,
      neurons: 4,
      concepts: [
        { name: "bus", contribution: 2, activation: 1, rank: 1, captions: 4 },
        { name: "car", contribution: -1, activation: 1, rank: 4, captions: 1 },
      ],
    });
    await Promise.resolve();
    await Promise.resolve();
    const text = host.textContent ?? "";
    expect(text).toContain("what it adds to a word's logit");
    expect(text).toContain("bus+2.00#14 captions");
    expect(host.querySelector(".own")?.textContent).toBe("car");
  });
  it("a mask painted since is marked beside compute", () => {
    mountTopBar(session, host);
    model.set("stale", [2]);
    frames.run();
    expect(host.querySelector(".chip")!.textContent).toBe(
      "1 mask painted since: scores are of the old one",
    );
    expect(
      [...host.querySelectorAll("button")].some((b) => b.textContent === "compute again"),
    ).toBe(true);
  });
});

describe("a picture of one's own", () => {
  const choose = async (size: number): Promise<void> => {
    const stage = host.appendChild(document.createElement("div"));
    host.append(mountOwnPicture(session, stage));
    const file = { name: "x.png", size, arrayBuffer: () => Promise.resolve(new ArrayBuffer(3)) };
    const input = host.querySelector<HTMLInputElement>("input")!;
    Object.defineProperty(input, "files", { value: [file] });
    input.dispatchEvent(new Event("change"));
    await Promise.resolve();
  };
  it("travels as bytes with its name", async () => {
    await choose(3);
    expect(asked("upload")).toEqual([{ name: "x.png" }]);
    expect(model.sent.at(-1)?.buffers[0]?.byteLength).toBe(3);
  });
  it("is refused in words when it is too large to travel", async () => {
    const said: string[] = [];
    session.onfail((message) => said.push(message));
    await choose(9 * 2 ** 20);
    expect(asked("upload")).toEqual([]);
    expect(said[0]).toContain("9.0 MB; at most 8 MB");
  });
});

describe("a kernel that is gone", () => {
  const states: KernelState[] = [];
  beforeEach(() => {
    vi.useFakeTimers();
    states.length = 0;
    watchKernel(session, (state) => states.push(state));
  });
  it("is there when it answers, and nothing is blocked", async () => {
    model.reply("hello");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(states).toEqual([]);
    expect(session.blocked()).toBeNull();
  });
  it("silent, it makes the view read-only until it answers", async () => {
    await vi.advanceTimersByTimeAsync(6100);
    expect(states).toEqual(["silent"]);
    expect(session.blocked()).toContain("does not answer");
    expect(await session.ask("compute", { concept: "x" })).toBeUndefined();
    await vi.advanceTimersByTimeAsync(5100);
    model.reply("hello");
    await vi.advanceTimersByTimeAsync(10);
    expect(states).toEqual(["silent", "there"]);
    expect(session.blocked()).toBeNull();
  });
  it("a cut line is a restart at once", async () => {
    model.reply("hello");
    await vi.advanceTimersByTimeAsync(10);
    model.emit("comm_live_update");
    await vi.advanceTimersByTimeAsync(1600);
    expect(states).toEqual(["restarted"]);
    expect(session.blocked()).toContain("run the cell again");
  });
  it("an unanswered request makes it ask; work that shows its progress does not count as silence", async () => {
    model.reply("hello");
    await vi.advanceTimersByTimeAsync(10);
    model.set("status", { state: "working" });
    void session.ask("compute", { concept: "x" });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(states).toEqual([]);
    model.set("status", { state: "ready" });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(states).toEqual(["silent"]);
  });
});

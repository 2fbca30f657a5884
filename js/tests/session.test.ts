import { beforeEach, describe, expect, it, vi } from "vitest";
import { asInt32 } from "../src/core/binary";
import { asPython } from "../src/core/python";
import { Session } from "../src/core/session";
import { Store } from "../src/core/store";
import { neuronsCsv } from "../src/core/table_csv";
import { mountAblationPanel } from "../src/parts/ablation_panel";
import { mountCaptionDiff } from "../src/parts/caption_diff";
import { mountNeuronTable } from "../src/parts/neuron_table";
import { FakeModel, floats, Frames, sixNeurons } from "./fake";

let model: FakeModel;
let frames: Frames;
let session: Session;
let host: HTMLElement;

beforeEach(() => {
  model = new FakeModel({
    ...sixNeurons(),
    gradient_sum: floats([1, 1, 1, 2, 2, 2]),
    threshold_g: 0.15,
    ablation: { active: [], can_undo: false, can_redo: false, predicted: null, measured: null },
    caption_before: "a red car",
    caption_after: "",
    references: [],
    effect: null,
  });
  frames = new Frames();
  host = document.createElement("div");
  document.body.append(host);
  session = new Session(model, host, frames.schedule);
});

describe("store", () => {
  it("a thousand previews: one frame, no message; the commit sends the last", () => {
    const store = new Store<{ x: number }>(new FakeModel({ x: 0 }), frames.schedule);
    let runs = 0;
    store.watch(["x"], () => runs++);
    runs = 0;
    for (let k = 1; k <= 1000; k++) store.preview({ x: k });
    expect(frames.run()).toBe(1);
    expect(runs).toBe(1);
    expect((store.model as FakeModel).saves).toBe(0);
    store.commit();
    expect(store.model.get("x")).toBe(1000);
    expect((store.model as FakeModel).saves).toBe(1);
  });
  it("a value from the kernel replaces a preview", () => {
    session.store.preview({ threshold_d: 9 });
    model.set("threshold_d", 2.5);
    expect(session.store.get("threshold_d")).toBe(2.5);
  });
  it("what fails in one part is said, and the others are drawn", () => {
    const quiet = vi.spyOn(console, "error").mockImplementation(() => undefined);
    let drawn = 0;
    session.store.watch(["threshold_d"], () => {
      if (drawn) throw new TypeError("no canvas");
    });
    session.store.watch(["threshold_d"], () => drawn++);
    model.set("threshold_d", 2);
    frames.run();
    expect(drawn).toBe(2);
    expect(session.faults.homeless()?.[1].message).toBe(
      "The page could not draw this: TypeError: no canvas.",
    );
    quiet.mockRestore();
  });
  it("stops listening when disposed", () => {
    session.dispose();
    expect(model.count("change:threshold_d")).toBe(0);
    expect(model.count("msg:custom")).toBe(0);
  });
});

describe("derived", () => {
  it("survivors, unchecked ones and layers off", () => {
    expect([...session.survivors()]).toEqual([1, 2, 3, 4]);
    model.set("unchecked", [2]);
    model.set("rows_off", [1]);
    expect([...session.survivors()]).toEqual([1]);
    expect(session.kept()).toMatchObject({ count: 2, checked: 1 });
  });
  it("predicts minus the summed gradients, scaled when scaling", () => {
    expect(session.predicted()).toBe(-6);
    model.set("unchecked", [3]);
    expect(session.predicted()).toBe(-4);
    model.set("ablate_mode", "scale");
    model.set("ablate_scale", 0.5);
    expect(session.predicted()).toBe(-2);
    model.set("ablate_mode", "mean");
    expect(session.predicted()).toBeNull();
  });
  it("a drag orders no neurons again", () => {
    expect(session.predicted()).toBe(-6);
    const evidence = session.choosing();
    const sorted = vi.spyOn(evidence, "order");
    for (const threshold_g of [0.25, 0.35, 0.15]) session.store.preview({ threshold_g });
    expect(session.predicted()).toBe(-6);
    expect(session.choosing()).toBe(evidence);
    expect(sorted).not.toHaveBeenCalled();
    model.set("gradient_sum", floats([2, 2, 2, 4, 4, 4]));
    expect(session.predicted()).toBe(-12);
  });
  it("predicts with the gradients of the neurons that new scores keep", () => {
    expect(session.predicted()).toBe(-6);
    model.set("gradcam", floats([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])); // keeps 1 to 5
    expect(session.predicted()).toBe(-8);
    model.set("gradient_sum", floats([1, 1, 1, 2, 2, 9]));
    expect(session.predicted()).toBe(-15);
    model.set("difference", floats([9, 9, 9, 9, 9, 0]));
    expect(session.predicted()).toBe(-6);
  });
  it("writes Python that names the same choice", () => {
    model.set("unchecked", [2, 0]);
    model.set("rows_off", [1]);
    const code = asPython(session);
    expect(code).toContain("study.neurons(threshold_d=1.5, threshold_g=0.15, exclude=[(4, 2)])");
    expect(code).toContain("n.layer not in {5}");
    model.set("mode", "quantile");
    expect(asPython(session)).toContain("quantile_d=0.5, quantile_g=0.0");
  });
  it("CSV cells cannot run as formulas", () => {
    session.addWords([1], [["=cmd()", 'a"b']]);
    expect(neuronsCsv(session)).toContain(`"'=cmd() a""b"`);
    for (const start of ["+", "-", "@"]) {
      session.addWords([1], [[`${start}cmd()`]]);
      expect(neuronsCsv(session)).toContain(`"'${start}cmd()"`);
    }
  });
});

describe("requests", () => {
  it("drops the reply of a superseded request", async () => {
    const first = session.ask("words", { ids: [1] });
    const second = session.ask("words", { ids: [2] });
    model.reply("words", { words: [["old"]] }, [], 0);
    model.reply("words", { words: [["new"]] });
    expect(await first).toBeUndefined();
    expect((await second)?.result["words"]).toEqual([["new"]]);
  });
  it("shows the kernel's words when it fails", async () => {
    const asked = session.ask("compute", { concept: "cra" });
    const id = model.sent.at(-1)!.content["id"];
    model.emit(
      "msg:custom",
      { kind: "reply", id, ok: false, error: "no such word", remedy: "try car" },
      [],
    );
    expect(await asked).toBeUndefined();
    expect(session.faults.of(["compute"])?.[1]).toEqual({
      message: "no such word",
      remedy: "try car",
    });
  });
  it("ignores what was asked by another view", () => {
    void session.ask("words", { ids: [1] });
    model.emit("msg:custom", { kind: "reply", id: "other-1", ok: true, result: {} }, []);
    expect(session.requests.waiting("words")).toBe(true);
  });
  it("asks nothing in a saved view", async () => {
    model.set("read_only", true);
    expect(await session.ask("words")).toBeUndefined();
    expect(model.sent).toEqual([]);
  });
});

describe("parts", () => {
  it("ablate sends exactly the checked survivors, after their thresholds", () => {
    model.set("unchecked", [3]);
    mountAblationPanel(session, host);
    session.store.preview({ threshold_d: 2.5 });
    frames.run();
    const button = host.querySelector<HTMLButtonElement>("button.primary")!;
    expect(button.textContent).toBe("Ablate 2 neurons");
    button.click();
    expect(model.get("threshold_d")).toBe(2.5);
    expect(model.saves).toBe(1);
    const asked = model.sent.at(-1)!;
    expect(asked.content["name"]).toBe("ablate");
    expect([...asInt32(asked.buffers[0])]).toEqual([2, 4]);
  });
  it("words with tags are text", () => {
    session.addWords([1, 2, 3, 4], [["<img src=x onerror=alert(1)>"], ["b"], ["c"], ["d"]]);
    mountNeuronTable(session, host);
    frames.run();
    expect(host.querySelector("img")).toBeNull();
    expect(host.textContent).toContain("<img src=x");
    model.set("caption_before", "a <b>car</b>");
    mountCaptionDiff(session, host);
    expect(host.querySelector("dd b")).toBeNull();
  });
  it("the table says the sign of a neuron's activation at the word, where it is known", () => {
    mountNeuronTable(session, host);
    frames.run();
    expect(host.querySelector(".table")?.classList.contains("unsigned")).toBe(true);
    model.set("activation", floats([0, -7.4, 47.8, NaN, 1, 1]));
    model.set("difference", floats([1, 2, 3, 4, 5, 6]));
    frames.run();
    frames.run();
    expect(host.querySelector(".table")?.classList.contains("unsigned")).toBe(false);
    const rows = [...host.querySelectorAll(".trow:not([hidden])")].map((row) => [
      row.children[1]?.textContent,
      row.querySelector(".acts")?.textContent,
    ]);
    expect(rows.slice(0, 3)).toEqual([
      ["L4·1", "−7.40"],
      ["L4·2", "+47.8"],
      ["L5·0", ""],
    ]);
  });
  it("the table says which other words a neuron serves, until there are new scores", async () => {
    model.state["thumbnails"] = [];
    mountNeuronTable(session, host);
    frames.run();
    const ask = [...host.querySelectorAll("button")].find((b) => b.textContent === "also serve?")!;
    ask.click();
    expect(model.sent.at(-1)?.content).toMatchObject({
      name: "serves",
      args: { ids: [1, 2, 3, 4] },
    });
    model.reply("serves", { serves: [["bus", "tree"], [], [], ["tree"]] });
    await new Promise((done) => setTimeout(done, 0));
    frames.run();
    const tags = [...host.querySelectorAll(".trow:not([hidden]) .also")];
    expect(tags.map((tag) => tag.textContent)).toEqual(["bus +1", "tree"]);
    expect(tags[0]?.getAttribute("title")).toBe("also serves bus, tree");
    expect(ask.textContent).toBe("2/4 shared");
    model.set("difference", floats([1, 2, 3, 4, 5, 6]));
    frames.run();
    expect(ask.textContent).toBe("also serve?");
  });
  it("the table chooses by keyboard and unchecks by space", () => {
    mountNeuronTable(session, host);
    frames.run();
    const scroll = host.querySelector<HTMLElement>(".table")!;
    const press = (key: string): boolean =>
      scroll.dispatchEvent(new KeyboardEvent("keydown", { key }));
    press("ArrowDown");
    press("ArrowDown");
    expect(model.get("selected")).toBe(2);
    press(" ");
    expect(model.get("unchecked")).toEqual([2]);
    press(" ");
    expect(model.get("unchecked")).toEqual([]);
  });
  it("captions mark the concept and the change", () => {
    const clicked: string[] = [];
    mountCaptionDiff(session, host, { onword: (word) => clicked.push(word) });
    model.set("caption_after", "a red bus");
    frames.run();
    expect(host.querySelector("del")?.textContent).toBe("car");
    expect(host.querySelector("ins")?.textContent).toBe("bus");
    host.querySelector<HTMLElement>("dd .word")!.click();
    expect(clicked).toEqual(["a"]);
  });
});

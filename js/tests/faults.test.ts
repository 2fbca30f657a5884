import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Axis } from "../src/core/axis";
import { faultLine } from "../src/core/faults";
import { widget } from "../src/core/frame";
import { Session } from "../src/core/session";
import { mountAblationPanel } from "../src/parts/ablation_panel";
import { proposeButton } from "../src/parts/foot_tools";
import { thresholdSliders } from "../src/parts/threshold_sliders";
import { FakeModel, floats, Frames } from "./fake";

const READY = { state: "ready", action: "", message: "", remedy: "" };
let model: FakeModel;
let frames: Frames;
let session: Session;
let host: HTMLElement;

beforeEach(() => {
  document.body.textContent = "";
  model = new FakeModel({
    status: READY,
    read_only: false,
    shape: [1, 2],
    difference: floats([1, 2]),
    gradcam: floats([3, 4]),
    threshold_d: 0,
    threshold_g: 0,
    mode: "absolute",
    concept: "car",
    scene: 0,
    ablate_mode: "zero",
    ablation: { active: [], can_undo: false, can_redo: false },
    facts: { scenes: 0 },
  });
  frames = new Frames();
  host = document.body.appendChild(document.createElement("div"));
  session = new Session(model, host, frames.schedule);
});
afterEach(() => session.dispose());

const refuse = async (name: string, error: string, more: object = {}): Promise<void> => {
  const asked = session.ask(name as "compute");
  const id = model.sent.at(-1)!.content["id"];
  model.emit("msg:custom", { kind: "reply", id, ok: false, error, remedy: "", ...more }, []);
  await asked;
  frames.run();
};
const agree = async (name: string): Promise<void> => {
  const asked = session.ask(name as "compute");
  model.reply(name);
  await asked;
  frames.run();
};

describe("an error", () => {
  let line: HTMLElement;
  beforeEach(() => {
    line = host.appendChild(faultLine(session, "compute"));
  });
  it("stands where it was started, and goes when that succeeds", async () => {
    await refuse("compute", "no scene shows a zebra");
    expect(line.hidden).toBe(false);
    expect(line.querySelector("[role=alert]")?.textContent).toContain("no scene shows a zebra");
    expect(session.faults.homeless()).toBeUndefined();
    await agree("tokens");
    expect(line.textContent).toContain("zebra"); // what the page asks by itself changes nothing
    await agree("compute");
    expect(line.hidden).toBe(true);
    expect(line.textContent).toBe("");
  });
  it("goes when the same is tried again, before it is known how that ends", async () => {
    await refuse("compute", "no scene shows a zebra");
    void session.ask("compute");
    frames.run();
    expect(line.hidden).toBe(true);
  });
  it("goes when another concept came by another way", async () => {
    await refuse("compute", "no scene shows a zebra");
    model.set("concept", "dog");
    frames.run();
    frames.run();
    expect(line.hidden).toBe(true);
  });
  it("goes when one has gone on and done something else; one that came meanwhile stays", async () => {
    await refuse("compute", "no scene shows a zebra");
    await refuse("upload", "this is none");
    expect(line.hidden).toBe(false); // that did not succeed
    const ablated = session.ask("ablate");
    await refuse("inpaint", "nothing is painted");
    model.reply("ablate");
    await ablated;
    frames.run();
    expect(line.hidden).toBe(true);
    expect(session.faults.of(["upload"])).toBeUndefined();
    expect(session.faults.of(["inpaint"])).toBeDefined();
  });
  it("of a scene goes with the scene", async () => {
    await refuse("inpaint", "nothing is painted");
    expect(session.faults.of(["inpaint"])).toBeDefined();
    model.set("scene", 1);
    frames.run();
    expect(session.faults.of(["inpaint"])).toBeUndefined();
  });
  it("is dismissed alone", async () => {
    await refuse("upload", "this is none");
    await refuse("compute", "no scene shows a zebra");
    line.querySelector("button")!.click();
    frames.run();
    expect(line.hidden).toBe(true);
    expect(session.faults.homeless()?.[1].message).toBe("this is none");
  });
  it("of one change of neurons goes with the next, whichever it is", async () => {
    const act = host.appendChild(faultLine(session, "change"));
    await refuse("ablate", "no activations");
    expect(act.textContent).toContain("no activations");
    await agree("undo");
    expect(act.hidden).toBe(true);
  });
  it("is none when it was cancelled", async () => {
    await refuse("compute", "cancelled", { cancelled: true });
    expect(line.hidden).toBe(true);
  });
});

describe("what the kernel failed at by itself", () => {
  const said = { state: "error", action: "scene", message: "no picture", remedy: "" };
  it("is said until it has done it, through other work", () => {
    model.set("status", said);
    frames.run();
    frames.run();
    expect(session.faults.homeless()).toEqual(["scene", { message: "no picture", remedy: "" }]);
    model.set("status", { ...READY, state: "working" });
    frames.run();
    expect(session.faults.homeless()?.[0]).toBe("scene");
    model.set("status", READY);
    frames.run();
    expect(session.faults.homeless()).toBeUndefined();
  });
  it("stands on top of the widget where no part shows it", () => {
    const el = document.createElement("div");
    const stop = widget("ThresholdPlane", () => undefined, "plane").render({
      model: new FakeModel({ status: said, read_only: true }),
      el,
    });
    expect(el.querySelector(".alert")?.textContent).toContain("Not done.no picture");
    stop();
  });
});

it("without scores it says that they come first, not that a threshold is too high", () => {
  model.set("threshold_d", 9);
  mountAblationPanel(session, host);
  expect(host.querySelector("button.primary")?.getAttribute("title")).toContain("paint first");
  model.set("stale", [0]);
  frames.run();
  expect(host.querySelector("button.primary")?.getAttribute("title")).toContain("compute first");
  model.set("facts", { scenes: 2 });
  model.set("threshold_d", 10);
  frames.run();
  expect(host.querySelector("button.primary")?.getAttribute("title")).toContain(
    "lower a threshold",
  );
});

it("a threshold that is no number is said to be none, and stays what it was", () => {
  const axis = {
    position: (v: number): number => v,
    value: (p: number): number => p,
  } as unknown as Axis;
  host.append(thresholdSliders(session, () => ({ d: axis, g: axis })));
  frames.run();
  const box = host.querySelector<HTMLInputElement>("input[type=number]")!;
  const said = (): string => host.querySelector(".refused")?.textContent ?? "";
  const was = box.value;
  box.value = ""; // what a browser gives of "abc"
  box.dispatchEvent(new Event("input"));
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  frames.run();
  expect([said(), box.value]).toEqual(["no number", was]);
  expect(session.live.textContent).toContain("stays as it was");
  box.value = "0.25";
  box.dispatchEvent(new Event("input"));
  box.dispatchEvent(new Event("change"));
  frames.run();
  expect([said(), session.thresholds()[0]]).toEqual(["", 0.25]);
});

it("without scores no thresholds are proposed", () => {
  const [, propose] = proposeButton(session) as [HTMLElement, HTMLButtonElement];
  expect([propose.disabled, propose.title]).toEqual([true, "no scores yet: paint first"]);
  model.set("facts", { scenes: 2 });
  frames.run();
  expect(propose.disabled).toBe(false);
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { part, widget } from "../src/core/frame";
import { FakeModel, floats } from "./fake";

const state = (): Record<string, unknown> => ({
  status: { state: "ready", message: "" },
  read_only: false,
  shape: [1, 2],
  difference: floats([1, 2]),
  gradcam: floats([3, 4]),
  a_maps: floats([5]),
  threshold_d: 0,
});
let el: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  el = document.createElement("div");
  document.body.append(el);
});
afterEach(() => {
  vi.useRealTimers();
  el.remove();
});

const asked = (model: FakeModel): unknown[] => model.sent.map((m) => m.content["name"]);
const notice = (): HTMLElement => el.querySelector(".alert")!;

describe("the frame", () => {
  it("a saved view without a line to a kernel says so at once and asks nothing", () => {
    const model = new FakeModel({ ...state(), layout: { comm_live: false } });
    let blocked: string | null = null;
    widget(
      "ThresholdPlane",
      (session) => session.store.watch(["read_only"], () => (blocked = session.blocked())),
      "plane",
    ).render({ model, el });
    vi.runOnlyPendingTimers();
    expect(asked(model)).toEqual([]);
    expect(notice().hidden).toBe(false);
    expect(notice().textContent).toContain("The last saved state, without a kernel");
    expect(blocked).toContain("run the cell again");
  });
  it("brings its style along as text: every part's, and the high-contrast rules last", () => {
    widget("ThresholdPlane", () => undefined, "plane").render({
      model: new FakeModel(state()),
      el,
    });
    const style = el.querySelector(".mmkn > style:first-child")!.textContent!;
    expect(style).toMatch(/^\.mmkn\{color-scheme:light dark;/);
    for (const rule of [".plane{", ".thead,.trow{", ".explorer{", "@container (min-width: 560px){"])
      expect(style).toContain(rule);
    expect(style).not.toContain("@import");
    expect(style.lastIndexOf(".mmkn{")).toBe(style.indexOf(".mmkn{@media(forced-colors:active){"));
  });
  it("with a kernel it asks whether it is there", () => {
    const model = new FakeModel({ ...state(), layout: { comm_live: true } });
    widget("ThresholdPlane", () => undefined, "plane").render({ model, el });
    expect(asked(model)).toEqual(["hello"]);
    expect(notice().hidden).toBe(true);
  });
  it("keeps arrow keys from the notebook, and leaves it the others", () => {
    const model = new FakeModel(state());
    widget(
      "ThresholdPlane",
      part((_, host) => host.append(document.createElement("input"))),
      "plane",
    ).render({ model, el });
    const heard: string[] = [];
    el.addEventListener("keydown", (event) => heard.push(event.key));
    for (const key of ["ArrowRight", "PageDown", "Home", "s", "Escape"])
      el.querySelector("input")!.dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true }),
      );
    expect(heard).toEqual(["s", "Escape"]);
  });
  it("what cannot be drawn is said where it would be", () => {
    const quiet = vi.spyOn(console, "error").mockImplementation(() => undefined);
    widget(
      "ThresholdPlane",
      () => {
        throw new Error("no canvas");
      },
      "plane",
    ).render({ model: new FakeModel(state()), el });
    expect(notice().textContent).toContain("could not draw this: Error: no canvas");
    quiet.mockRestore();
  });
  it("a closed widget lets go of its arrays; one that is only taken off the page keeps them", () => {
    const model = new FakeModel(state());
    const stop = widget("ThresholdPlane", () => undefined, "plane").render({ model, el });
    stop();
    expect((model.get("difference") as DataView).byteLength).toBe(8);
    const again = widget("ThresholdPlane", () => undefined, "plane").render({ model, el });
    model.set("status", { state: "closed", message: "" });
    again();
    for (const name of ["difference", "gradcam", "a_maps"])
      expect((model.get(name) as DataView).byteLength).toBe(0);
    expect(model.saves).toBe(0);
    expect(el.querySelector(".mmkn")).toBeNull();
    expect(model.count("change:status")).toBe(0);
  });
});

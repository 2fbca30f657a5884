import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { left } from "../src/core/format";
import { Session } from "../src/core/session";
import { mountWork, workLine } from "../src/core/work";
import { FakeModel, Frames } from "./fake";

const status = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
  state: "working",
  stage: "measuring",
  done: 3,
  total: 12,
  seconds_left: 4.4,
  message: "",
  remedy: "",
  ...change,
});
const READY = status({ state: "ready", stage: "", done: 0, total: 0, seconds_left: null });
let model: FakeModel;
let frames: Frames;
let session: Session;
let measure: HTMLElement;
let title: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  model = new FakeModel({ status: READY, read_only: false });
  frames = new Frames();
  session = new Session(model, document.createElement("div"), frames.schedule);
  measure = mountWork(session, ["evaluate"]);
  title = mountWork(session);
});
afterEach(() => vi.useRealTimers());

/** Past what is done at once, and every frame that it asks for. */
const later = (): void => {
  while (frames.run());
  vi.advanceTimersByTime(200);
  while (frames.run());
};

describe("how long still", () => {
  it("whole seconds, minutes, and nothing when it is not known", () => {
    expect(left(4.4)).toBe("4 s left");
    expect(left(0.6)).toBe("1 s left");
    expect(left(200)).toBe("3 min left");
    for (const unknown of [null, undefined, 0, 0.04, 0.49, NaN]) expect(left(unknown)).toBe("");
  });
  it("is in the line only when there is something to say", () => {
    expect(workLine(status() as never)).toBe("measuring 3/12 · 4 s left");
    expect(workLine(status({ seconds_left: 0 }) as never)).toBe("measuring 3/12");
    expect(workLine(status({ total: 0, seconds_left: null }) as never)).toBe("measuring …");
  });
});

describe("long work", () => {
  it("is shown beside what started it, with cancel, and not in the title", () => {
    void session.ask("evaluate");
    model.set("status", status());
    frames.run();
    expect(measure.hidden).toBe(true); // what is done at once does not flicker
    later();
    expect(measure.hidden).toBe(false);
    expect(title.hidden).toBe(true);
    expect(measure.textContent).toContain("measuring 3/12 · 4 s left");
    expect(measure.querySelector<HTMLElement>(".bar i")!.style.width).toBe("25%");
    measure.querySelector("button")!.click();
    expect(model.sent.at(-1)!.content["name"]).toBe("cancel");
  });
  it("its reply comes a moment before it is over: it stays where it is till then", () => {
    void session.ask("evaluate");
    model.set("status", status());
    later();
    model.reply("evaluate");
    model.set("status", status({ done: 12 }));
    later();
    expect(measure.hidden).toBe(false);
    model.set("status", READY);
    later();
    expect([measure.hidden, title.hidden]).toEqual([true, true]);
    model.set("status", status({ stage: "from Python" }));
    later();
    expect([measure.hidden, title.hidden]).toEqual([true, false]);
  });
  it("is shown in the title when its place is scrolled away, or nobody here asked for it", () => {
    void session.ask("evaluate");
    model.set("status", status());
    later();
    session.places[0]!.seen = false;
    session.store.touch("work");
    later();
    expect(title.hidden).toBe(false);
    expect(title.textContent).toContain("measuring 3/12");
    session.places[0]!.seen = true;
    session.store.touch("work");
    later();
    expect(title.hidden).toBe(true);
  });
  it("of several requests the oldest is the one that runs", () => {
    const propose = mountWork(session, ["propose"]);
    void session.ask("words", { ids: [1] });
    void session.ask("propose");
    void session.ask("evaluate");
    model.set("status", status());
    later();
    expect([propose.hidden, measure.hidden]).toEqual([false, true]);
  });
});

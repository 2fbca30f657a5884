// A model without a kernel: traits in a map, sent messages in a list, frames run by hand.

import type { Listener, WidgetModel } from "../src/core/model";

export class FakeModel implements WidgetModel {
  readonly sent: { content: Record<string, unknown>; buffers: ArrayBuffer[] }[] = [];
  saves = 0;
  private readonly listeners = new Map<string, Set<Listener>>();

  constructor(readonly state: Record<string, unknown> = {}) {}

  get(name: string): unknown {
    return this.state[name];
  }

  set(name: string, value: unknown): void {
    if (this.state[name] === value) return;
    this.state[name] = value;
    this.emit(`change:${name}`);
  }

  save_changes(): void {
    this.saves++;
  }

  on(event: string, listener: Listener): void {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event)!.add(listener);
  }

  off(event: string, listener: Listener): void {
    this.listeners.get(event)?.delete(listener);
  }

  send(content: unknown, _callbacks?: unknown, buffers: ArrayBuffer[] = []): void {
    this.sent.push({ content: content as Record<string, unknown>, buffers });
  }

  emit(event: string, ...args: unknown[]): void {
    for (const listener of this.listeners.get(event) ?? []) listener(...args);
  }

  /** Answer the last request of a name. */
  reply(
    name: string,
    result: Record<string, unknown> = {},
    buffers: DataView[] = [],
    index = -1,
  ): void {
    const asked = this.sent.filter((m) => m.content["name"] === name);
    const id = asked.at(index)!.content["id"];
    this.emit("msg:custom", { kind: "reply", id, ok: true, result }, buffers);
  }

  count(event: string): number {
    return this.listeners.get(event)?.size ?? 0;
  }
}

export class Frames {
  private queue: (() => void)[] = [];
  readonly schedule = (run: () => void): void => {
    this.queue.push(run);
  };

  run(): number {
    const now = this.queue;
    this.queue = [];
    for (const job of now) job();
    return now.length;
  }
}

export function floats(values: number[]): DataView {
  return new DataView(Float32Array.from(values).buffer);
}

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What a page has of six neurons in two layers, 4 and 5. */
export function sixNeurons(): Record<string, unknown> {
  return {
    shape: [2, 3],
    rows: [
      [4, -1],
      [5, -1],
    ],
    difference: floats([1, 2, 3, 4, 5, 6]),
    gradcam: floats([0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
    mode: "absolute",
    threshold_d: 1.5,
    quantile_d: 0.5,
    quantile_g: 0,
    unchecked: [],
    rows_off: [],
    selected: -1,
    words: [],
    concept: "car",
    concept_forms: ["car"],
    ablate_mode: "zero",
    ablate_scale: 0,
    read_only: false,
    status: { state: "ready" },
  };
}

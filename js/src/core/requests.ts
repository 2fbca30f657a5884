// Requests to the kernel: each carries an id; a newer one of the same kind makes the older one's reply stale.

import type { WidgetModel } from "./model";
import { byteLength } from "./binary";

export interface Reply {
  result: Record<string, unknown>;
  buffers: DataView[];
}

interface Pending {
  name: string;
  resolve(reply: Reply): void;
  reject(error: Error): void;
  ontoken: ((text: string) => void) | undefined;
}

export class KernelError extends Error {
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

/** The reply came too late: a newer request of the same kind was made, or it was cancelled. */
export class Superseded extends Error {}

export class Requests {
  private readonly pending = new Map<string, Pending>();
  private readonly origin = Math.random().toString(36).slice(2, 10);
  private count = 0;
  private quiet: { after: number; run: () => void } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listener = (message: unknown, buffers: unknown): void => {
    this.receive(message as Record<string, unknown>, (buffers ?? []) as DataView[]);
  };

  constructor(private readonly model: WidgetModel) {
    model.on("msg:custom", this.listener as (...args: unknown[]) => void);
  }

  /** Ask the kernel. The promise fails with `KernelError` (the kernel's words) or `Superseded`. */
  send(
    name: string,
    args: Record<string, unknown> = {},
    buffers: ArrayBuffer[] = [],
    ontoken?: (text: string) => void,
  ): Promise<Reply> {
    this.drop(name);
    const id = `${this.origin}-${++this.count}`;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { name, resolve, reject, ontoken });
      if (name !== "hello") this.listen();
      this.model.send({ kind: "request", id, name, args }, undefined, buffers);
    });
  }

  /** Call when requests have waited so long without a word from the kernel. */
  onquiet(after: number, run: () => void): void {
    this.quiet = { after, run };
  }

  private listen(): void {
    const quiet = this.quiet;
    if (!quiet) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.pending.size) quiet.run();
    }, quiet.after);
  }

  private heard(): void {
    clearTimeout(this.timer);
  }

  /** Forget what was asked under this name; its late reply is dropped. */
  drop(name: string): void {
    for (const [id, entry] of this.pending) {
      if (entry.name !== name) continue;
      this.pending.delete(id);
      entry.reject(new Superseded(name));
    }
  }

  waiting(name: string): boolean {
    return [...this.pending.values()].some((entry) => entry.name === name);
  }

  /** The name of the request that has waited longest, of those that pass. */
  oldest(passes: (name: string) => boolean): string | undefined {
    return [...this.pending.values()].find((entry) => passes(entry.name))?.name;
  }

  dispose(): void {
    this.model.off("msg:custom", this.listener as (...args: unknown[]) => void);
    this.pending.clear();
    this.heard();
  }

  private receive(message: Record<string, unknown>, buffers: DataView[]): void {
    const entry = this.pending.get(String(message?.["id"]));
    this.heard();
    if (!entry) return;
    if (message["kind"] === "token") {
      entry.ontoken?.(String(message["text"]));
      return;
    }
    if (message["kind"] !== "reply") return;
    this.pending.delete(String(message["id"]));
    if (message["ok"]) {
      entry.resolve({
        result: (message["result"] ?? {}) as Record<string, unknown>,
        buffers: buffers.filter((b) => byteLength(b) >= 0),
      });
    } else {
      entry.reject(
        new KernelError(
          String(message["error"] ?? "the kernel gave no reason"),
          String(message["remedy"] ?? ""),
        ),
      );
    }
  }
}

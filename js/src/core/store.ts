// The widget's local copy of its traits. A drag previews locally; its end commits to the kernel.

import type { Listener, WidgetModel } from "./model";

type Watcher<S> = { names: ReadonlySet<keyof S>; run: () => void };

export type Schedule = (run: () => void) => void;

export const onFrame: Schedule = (run) => {
  requestAnimationFrame(run);
};

/**
 * Traits by name, watched in batches: whatever changed since the last animation frame runs every
 * watcher that asked for it once. Values come from the model, or from a local preview until the commit.
 */
export class Store<S extends object> {
  private readonly previews = new Map<keyof S, unknown>();
  private readonly versions = new Map<keyof S, number>();
  private readonly changed = new Set<keyof S>();
  private readonly watchers = new Set<Watcher<S>>();
  private readonly attached = new Map<keyof S, Listener>();
  private waiting = false;
  /** told what failed in a watcher; the others run on */
  onerror: (error: unknown) => void = console.error;
  /** forget what was derived */
  readonly forget = new Set<() => void>();

  constructor(
    readonly model: WidgetModel,
    private readonly schedule: Schedule = onFrame,
  ) {}

  /** Follow a trait of the model, from its first use on. */
  private follow(name: keyof S): void {
    if (this.attached.has(name)) return;
    const listener = (): void => {
      this.previews.delete(name);
      this.touch(name);
    };
    this.attached.set(name, listener);
    this.model.on(`change:${String(name)}`, listener);
  }

  get<K extends keyof S & string>(name: K): S[K] {
    return (this.previews.has(name) ? this.previews.get(name) : this.model.get(name)) as S[K];
  }

  /** Grows whenever the trait changes; the key of everything derived from it. */
  version(name: keyof S): number {
    this.follow(name);
    return this.versions.get(name) ?? 0;
  }

  /** Change what is on screen without telling the kernel. */
  preview(patch: Partial<S>): void {
    for (const [name, value] of Object.entries(patch)) {
      if (this.get(name as keyof S & string) === value) continue;
      this.follow(name as keyof S);
      this.previews.set(name as keyof S, value);
      this.touch(name as keyof S);
    }
  }

  /** Whether something is being dragged: changed here and not yet in the kernel. */
  get previewing(): boolean {
    return this.previews.size > 0;
  }

  /** Change traits here and in the kernel, in one message. */
  commit(patch: Partial<S> = {}): void {
    this.preview(patch);
    let any = false;
    for (const [name, value] of [...this.previews]) {
      this.previews.delete(name);
      if (this.model.get(name as string) === value) continue;
      this.model.set(name as string, value);
      any = true;
    }
    if (any) this.model.save_changes();
  }

  /** Run now and after every change of the named traits, at most once a frame. */
  watch(names: readonly (keyof S & string)[], run: () => void): void {
    for (const name of names) this.follow(name);
    this.watchers.add({ names: new Set(names), run });
    run();
  }

  /** Mark a trait as changed, for what is derived from it. */
  touch(name: keyof S): void {
    this.versions.set(name, this.version(name) + 1);
    this.changed.add(name);
    if (this.waiting) return;
    this.waiting = true;
    this.schedule(() => this.flush());
  }

  /** Run what waits for the next frame. */
  flush(): void {
    this.waiting = false;
    const names = new Set(this.changed);
    this.changed.clear();
    for (const watcher of this.watchers) {
      if (![...names].some((name) => watcher.names.has(name))) continue;
      try {
        watcher.run();
      } catch (error) {
        this.onerror(error);
      }
    }
  }

  /** Stop listening to the model, and let go of what was derived: a host may keep the widget in one of its lists. */
  dispose(): void {
    for (const [name, listener] of this.attached)
      this.model.off(`change:${String(name)}`, listener);
    this.watchers.clear();
    for (const run of this.forget) run();
  }
}

/** A value derived from traits, computed again only when one of them changed. */
export function derive<S extends object, T>(
  store: Store<S>,
  names: readonly (keyof S)[],
  make: () => T,
): () => T {
  let key = -1;
  let value: T | undefined;
  store.forget.add(() => {
    [key, value] = [-1, undefined];
  });
  return () => {
    let now = 0;
    for (const name of names) now += store.version(name); // versions only grow: so does their sum
    if (now !== key) {
      value = make();
      key = now;
    }
    return value as T;
  };
}

/** While something is dragged, run at most every `ms` and once more when it rests; else at once. */
export function calmly(
  store: { readonly previewing: boolean },
  ms: number,
  run: () => void,
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = -Infinity;
  const now = (): void => {
    clearTimeout(timer);
    timer = undefined;
    last = performance.now();
    run();
  };
  return () => {
    if (!store.previewing || performance.now() - last >= ms) now();
    else timer ??= setTimeout(now, ms);
  };
}

// One history of the page: thresholds, rows and masks as they are changed, between the steps of the model's own stack.

import type { Session } from "./session";
import type { ActiveAblation } from "./traits";

export type Way = "undo" | "redo";

interface Step {
  /** "traits", "model", or a part's own, such as "mask" */
  readonly kind: string;
  /** in words, after "undo: " */
  readonly what: string;
  /** none: the model's stack takes the step */
  undo?(): void;
  redo?(): void;
}

interface TraitStep extends Step {
  readonly before: Record<string, unknown>;
  after: Record<string, unknown>;
  when: number;
}

/** Traits whose changes can be taken back, and what they are called; a pair has them for each side. */
const CALLED: Record<string, string> = {
  mode: "thresholds",
  threshold_d: "thresholds",
  threshold_g: "thresholds",
  quantile_d: "thresholds",
  quantile_g: "thresholds",
  unchecked: "checked neurons",
  rows_off: "layers",
  picked: "a picked set",
};
const SCORES = ["difference", "gradcam"];
/** Steps that can be taken back; what lies further back is forgotten. */
const MEMORY = 100;
/** Changes of the same traits within so many ms are one step: a key that is held, a slider in Python. */
const RUN = 700;

const sided = (names: readonly string[]): string[] =>
  ["", "a_", "b_"].flatMap((side) => names.map((name) => side + name));
const bare = (name: string): string => name.replace(/^[ab]_/, "");

/**
 * The page's history. Changes of traits are found by comparing what the kernel has been told, whoever
 * changed it. The model's steps stay on the model's stack: here is only where they lie between the others,
 * reckoned from how many steps the stack can go back and forward.
 */
export class History {
  private past: Step[] = [];
  private future: Step[] = [];
  private known: Record<string, unknown> = {};
  private stack: { back: number; forward: number; last: number } | undefined;
  private active: readonly ActiveAblation[] = [];
  /** the request that is under way, 0: none */
  private asked = 0;
  private asks = 0;
  private queue: Way[] = [];
  private model: ((way: Way) => Promise<unknown>) | undefined;
  private look: (() => void) | undefined;

  constructor(private readonly session: Session) {}

  /** Follow the traits that this widget has. */
  start(): void {
    const { store } = this.session;
    const here = (names: string[]): never[] =>
      names.filter((name) => store.model.get(name) !== undefined) as never[];
    const [cuts, scores] = [here(sided(Object.keys(CALLED))), here(sided(SCORES))];
    let evidence = -1;
    const see = (): void => {
      const now = scores.reduce((sum, name) => sum + store.version(name), 0);
      const values = Object.fromEntries(cuts.map((name) => [name, store.model.get(name)]));
      if (now !== evidence) {
        evidence = now; // thresholds of other scores mean nothing here
        this.drop("traits");
        this.known = values;
      } else this.record(values);
    };
    if (!cuts.length) return;
    store.watch([...cuts, ...scores], see);
    this.look = see;
  }

  /** Follow the model's stack as well; `ask` has it take a step. */
  withModel(ask: (way: Way) => Promise<unknown>): void {
    this.model = ask;
    this.session.store.watch(["ablation"], () => this.reckon());
  }

  /** Note what a part of the page did by itself. */
  push(step: Step): void {
    this.past.push(step);
    this.past.splice(0, this.past.length - MEMORY);
    this.future = [];
    this.touch();
  }

  /** Forget the steps of a kind. */
  drop(kind: string): void {
    const others = (steps: Step[]): Step[] => steps.filter((step) => step.kind !== kind);
    [this.past, this.future] = [others(this.past), others(this.future)];
    this.touch();
  }

  /** The step that would be taken; undefined where there is none, or only a kernel that is gone could. */
  next(way: Way, kind?: string): Step | undefined {
    const step = (way === "undo" ? this.past : this.future).findLast(
      (one) => !kind || one.kind === kind,
    );
    return step?.kind === "model" && this.session.blocked() ? undefined : step;
  }

  /** Take a step back or forward; of one kind only, where a part has a button of its own. */
  go(way: Way, kind?: string): void {
    this.look?.(); // what was changed just now: the next frame has not come yet
    if (this.model) this.reckon();
    if (this.asked) {
      if (!kind) this.queue.push(way); // when the kernel has answered
      return;
    }
    const step = this.next(way, kind);
    if (!step) {
      const rest = (way === "undo" ? this.past : this.future).length;
      this.session.announce(
        rest ? (this.session.blocked() ?? `nothing to ${way}`) : `nothing to ${way}`,
      );
      return;
    }
    if (step.kind === "model") return this.askModel(way);
    this.move(step, way);
    step[way]?.();
    this.said(step, way);
  }

  private askModel(way: Way): void {
    const mine = (this.asked = ++this.asks);
    void this.model?.(way).finally(() => this.answered(mine));
  }

  private answered(which: number): void {
    if (!which || which !== this.asked) return;
    this.asked = 0;
    this.reckon(); // not only in the next frame
    const next = this.queue.shift();
    if (next) this.go(next);
  }

  private move(step: Step, way: Way): void {
    const [from, to] = way === "undo" ? [this.past, this.future] : [this.future, this.past];
    from.splice(from.lastIndexOf(step), 1);
    to.push(step);
    this.touch();
  }

  private said(step: Step, way: Way): void {
    this.session.announce(`${way === "undo" ? "taken back" : "done again"}: ${step.what}`);
  }

  private record(values: Record<string, unknown>): void {
    const names = Object.keys(values).filter((name) => !same(values[name], this.known[name]));
    const was = this.known;
    this.known = values;
    if (!names.length) return;
    const pick = (from: Record<string, unknown>): Record<string, unknown> =>
      Object.fromEntries(names.map((name) => [name, from[name]]));
    const last = this.past.at(-1) as TraitStep | undefined;
    const now = performance.now();
    const goesOn =
      last?.kind === "traits" &&
      !this.future.length &&
      now - last.when < RUN &&
      same(Object.keys(last.after), names) &&
      names.every((name) => typeof values[name] === "number"); // two rows unchecked are two steps
    if (last && goesOn) {
      last.after = pick(values);
      last.when = now;
      return;
    }
    const step: TraitStep = {
      kind: "traits",
      what: [...new Set(names.map((name) => CALLED[bare(name)]))].join(", "),
      before: pick(was),
      after: pick(values),
      when: now,
      undo: () => this.put(step.before, step),
      redo: () => this.put(step.after, step),
    };
    this.push(step);
  }

  private put(values: Record<string, unknown>, step: TraitStep): void {
    step.when = -Infinity; // what comes now is another step
    this.known = { ...this.known, ...values };
    this.session.store.commit(values as never);
  }

  /** Put the model's steps where they belong, from what its stack says of itself. */
  private reckon(): void {
    const state = this.session.store.get("ablation");
    if (!state?.steps || this.session.store.get("read_only")) return;
    const [back, forward, last] = state.steps;
    const was = this.stack;
    const what = this.named(state.active);
    [this.stack, this.active] = [{ back, forward, last }, state.active];
    const made = (n: number, name = "a change of the model"): Step[] =>
      Array.from({ length: Math.max(0, Math.min(n, MEMORY)) }, () => ({
        kind: "model",
        what: name,
      }));
    if (!was) {
      this.past.unshift(...made(back)); // made before this page looked
      this.future.unshift(...made(forward));
    } else if (last === was.last) return;
    else if (forward > was.forward) this.travel("undo", forward - was.forward);
    else if (forward < was.forward && back - was.back === was.forward - forward)
      this.travel("redo", was.forward - forward);
    else if (back >= was.back && back) {
      this.past.push(...made(Math.max(back - was.back, 1), what)); // a full history does not grow
      this.future = [];
    }
    this.past = newest(this.past, back).slice(-MEMORY);
    this.future = newest(this.future, forward);
    this.touch();
    this.answered(this.asked); // the caption may still be written: the step is taken
  }

  /** Steps that the stack has taken, here or elsewhere. */
  private travel(way: Way, n: number): void {
    for (; n > 0; n--) {
      const step = (way === "undo" ? this.past : this.future).findLast(
        (one) => one.kind === "model",
      );
      if (!step) break;
      this.move(step, way);
      this.said(step, way);
    }
  }

  private named(active: readonly ActiveAblation[]): string {
    const before = new Set(this.active.map((one) => one.label));
    return active.find((one) => !before.has(one.label))?.label ?? "restored";
  }

  private touch(): void {
    this.session.store.touch("steps");
  }
}

/** All but the oldest steps of the model beyond so many. */
function newest(steps: readonly Step[], n: number): Step[] {
  let spare = steps.filter((step) => step.kind === "model").length - n;
  return steps.filter((step) => step.kind !== "model" || spare-- <= 0);
}

function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.join() === b.join();
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}

const TEXT = new Set(["text", "search", "number"]);

/**
 * Ctrl+Z, Ctrl+Shift+Z and Ctrl+Y anywhere in the widget. In a field that is being typed in they concern what was
 * typed since it got the focus: a browser's own undo would change whatever was typed in last, wherever that is.
 */
export function historyKeys(root: HTMLElement, history: History): void {
  let field: { el: HTMLInputElement; start: string; typed: string | null } | null = null;
  const begin = (event: Event): void => {
    const el = event.target;
    const text = el instanceof HTMLInputElement && TEXT.has(el.type);
    field = text ? { el, start: el.value, typed: null } : null;
  };
  root.addEventListener("focusin", begin);
  root.addEventListener("change", begin);
  root.addEventListener("input", (event) => {
    if (field?.el === event.target) field.typed = field.el.value;
  });
  const type = (way: Way): boolean => {
    if (!field || field.typed === null) return false;
    const { el, start, typed } = field;
    const wanted = way === "undo" ? start : typed;
    if (el.value === wanted) return false;
    el.value = wanted;
    el.dispatchEvent(new Event("input", { bubbles: true }));
    field.typed = typed;
    return true;
  };
  root.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = /^[a-z]$/i.test(event.key) ? event.key : event.code.slice(3, 4);
    const letter = key.toLowerCase();
    if (letter !== "z" && (letter !== "y" || event.shiftKey)) return;
    const way: Way = letter === "y" || event.shiftKey ? "redo" : "undo";
    event.preventDefault();
    event.stopPropagation();
    if (!type(way)) history.go(way);
  });
}

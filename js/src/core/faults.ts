// What was not done: each error belongs to the action that failed, stands where that was started, and goes when it succeeds.

import { button, fill, h } from "./dom";
import type { Session } from "./session";
import type { RequestName } from "./traits";

/** What failed: a request, a change of neurons (whichever of them), or what the kernel did by itself. */
export type Action = RequestName | "change" | (string & {});

export interface Fault {
  message: string;
  remedy: string;
}

const CHANGES: readonly string[] = ["ablate", "restore", "undo", "redo"];

/** What a person starts; the rest is asked by the page itself. */
const STARTED: readonly Action[] = [
  "compute",
  "change",
  "transplant",
  "upload",
  "inpaint",
  "evaluate",
  "propose",
  "frontier",
  "neuron",
  "caption_inpainted",
  "export_html",
  "write_pictures",
];

/** What a request is about: all that switch neurons off or on are one action. */
export function actionOf(name: string): Action {
  return CHANGES.includes(name) ? "change" : name;
}

export class Faults {
  private readonly known = new Map<Action, Fault>();
  private readonly claimed = new Set<Action>();

  constructor(private readonly changed: () => void) {}

  set(action: Action, message: string, remedy: string): void {
    this.known.delete(action);
    this.known.set(action, { message, remedy });
    this.changed();
  }

  clear(...actions: Action[]): void {
    let any = false;
    for (const action of actions) any = this.known.delete(action) || any;
    if (any) this.changed();
  }

  /** Call when an action is started, and what comes back when it is done: who has gone on is told no longer what was not done before. */
  start(action: Action): () => void {
    this.clear(action);
    const before = STARTED.includes(action) ? [...this.known] : [];
    return () => {
      const same = before.filter(([name, fault]) => this.known.get(name) === fault);
      this.clear(...same.map(([name]) => name).filter((name) => STARTED.includes(name)));
    };
  }

  /** The last that failed among these. */
  of(actions: readonly Action[]): [Action, Fault] | undefined {
    return [...this.known].filter(([action]) => actions.includes(action)).at(-1);
  }

  /** A part shows the errors of these actions: the line on top does not. */
  claim(actions: readonly Action[]): void {
    for (const action of actions) this.claimed.add(action);
  }

  /** The last one that no part shows. */
  homeless(): [Action, Fault] | undefined {
    return [...this.known].filter(([action]) => !this.claimed.has(action)).at(-1);
  }
}

/** The line of a part that says what of its own was not done; not there while all is well. */
export function faultLine(session: Session, ...actions: Action[]): HTMLElement {
  const { store, faults } = session;
  faults.claim(actions);
  const el = h("div", { class: "faults" });
  let shown: Fault | undefined;
  store.watch(["faults"], () => {
    const found = faults.of(actions);
    el.hidden = !found;
    if (found?.[1] === shown) return;
    shown = found?.[1];
    if (!found) return fill(el);
    const [action, { message, remedy }] = found;
    fill(
      el,
      h(
        "div",
        { class: "fault", role: "alert" },
        h("strong", {}, "Not done."),
        h("span", { class: "grow" }, [message, remedy].filter(Boolean).join(" ")),
        button("dismiss", () => faults.clear(action), { class: "btn quiet" }),
      ),
    );
  });
  return el;
}

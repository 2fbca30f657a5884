// Long work while it runs: what it does, how far it is, how long still, and the way to stop it; beside what started it.

import { button, h, setAttr, setText } from "./dom";
import { left } from "./format";
import type { Session } from "./session";
import type { RequestName, Status } from "./traits";

/** What is done at once does not flicker. */
const LATE = 150;

/** Where work of some kinds is shown. */
export interface WorkPlace {
  readonly names: readonly RequestName[];
  readonly el: HTMLElement;
  /** whether one sees it without scrolling */
  seen: boolean;
}

/** "scoring 5/12 · 3 s left"; how long still only when that is known. */
export function workLine(status: Status): string {
  const how = status.total ? ` ${status.done}/${status.total}` : " …";
  return [`${status.stage}${how}`, left(status.seconds_left)].filter(Boolean).join(" · ");
}

/**
 * Progress and cancel of the requests named, for their place beside the button; without names: of
 * whatever runs and is shown in no place that one sees. `follows`: the place is in a bar that comes along.
 */
export function mountWork(
  session: Session,
  names: readonly RequestName[] = [],
  options: { follows?: boolean } = {},
): HTMLElement {
  const { store, places } = session;
  const done = h("i");
  const bar = h("span", { class: "bar", role: "progressbar", "aria-label": "progress" }, done);
  const text = h("span", { class: "note" });
  const cancel = button("cancel", () => void session.ask("cancel"));
  const el = h("span", { class: "work", hidden: true }, bar, text, cancel);
  const rest = names.length === 0;
  if (!rest) {
    const place: WorkPlace = { names, el, seen: true };
    places.push(place);
    if (!options.follows) watchSight(session, place);
  }
  let late = 0;
  const show = (on: boolean): void => {
    if (el.hidden !== on) return;
    el.hidden = !on;
    store.touch("work");
  };
  session.off.signal.addEventListener("abort", () => clearTimeout(late));
  store.watch(["status", "work"], () => {
    const status = store.get("status");
    const name = session.working();
    const here = places.filter((place) => name !== null && place.names.includes(name));
    const mine =
      status?.state === "working" &&
      (rest ? !here.some((place) => place.seen) : here.some((place) => place.el === el));
    if (!mine || !status) {
      clearTimeout(late);
      late = 0;
      return show(false);
    }
    if (el.hidden && !late) {
      late = setTimeout(() => {
        late = 0;
        show(true);
      }, LATE) as unknown as number;
    }
    bar.hidden = !status.total;
    const share = status.total ? status.done / status.total : 0;
    done.style.width = `${share * 100}%`;
    setAttr(bar, "aria-valuenow", String(Math.round(share * 100)));
    setText(text, workLine(status));
  });
  return el;
}

/** Keep whether a place is on screen: what surrounds it is watched, as the place itself is hidden while nothing runs. */
function watchSight(session: Session, place: WorkPlace): void {
  if (typeof IntersectionObserver === "undefined") return;
  const observer = new IntersectionObserver((entries) => {
    const seen = entries.at(-1)?.isIntersecting ?? true;
    if (seen === place.seen) return;
    place.seen = seen;
    session.store.touch("work");
  });
  queueMicrotask(() => {
    if (place.el.parentElement) observer.observe(place.el.parentElement);
  });
  session.off.signal.addEventListener("abort", () => observer.disconnect());
}

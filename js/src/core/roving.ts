// Groups of many small things are one Tab stop: arrow keys, Home and End move inside.

import { h } from "./dom";

/**
 * Let arrow keys move among the items of a group, only one of which Tab reaches: the last one that had the focus.
 * Call what is returned when the items were made anew.
 */
export function roving(host: HTMLElement, items: () => readonly HTMLElement[]): () => void {
  let at = 0;
  const live = (): HTMLElement[] =>
    items().filter((item) => !item.hidden && !(item as HTMLButtonElement).disabled);
  const show = (): void => {
    const all = live();
    at = Math.min(at, Math.max(all.length - 1, 0));
    for (const item of items()) item.tabIndex = -1;
    const one = all[at];
    if (one) one.tabIndex = 0;
  };
  host.addEventListener("focusin", (event) => {
    const found = live().indexOf(event.target as HTMLElement);
    if (found < 0) return;
    at = found;
    show();
  });
  host.addEventListener("keydown", (event) => {
    const all = live();
    const here = all.indexOf(event.target as HTMLElement);
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all[(next + all.length) % all.length]?.focus();
  });
  show();
  return show;
}

let made = 0;
/** An id that no other widget of the page has. */
export function uniqueId(what: string): string {
  return `mmkn-${what}-${++made}-${Math.random().toString(36).slice(2, 8)}`;
}

/** How a thing is used with keys, for who hears the page. */
export function explains(el: HTMLElement, keys: string): HTMLElement {
  const said = h("span", { hidden: true, id: uniqueId("keys") }, keys); // told with the thing, not again after it
  el.setAttribute("aria-describedby", said.id);
  return said;
}

/** A first Tab stop that leads to the parts; it is seen while it has the focus. */
export function jumps(
  card: HTMLElement,
  to: readonly (readonly [string, () => HTMLElement | null | undefined])[],
): void {
  const buttons = to.map(([name, find]) =>
    h(
      "button",
      {
        type: "button",
        class: "btn",
        onclick: () => {
          const target = find();
          target?.scrollIntoView({ block: "nearest" });
          target?.focus();
        },
      },
      name,
    ),
  );
  const bar = h(
    "div",
    { class: "jumps", role: "toolbar", "aria-label": "go to" },
    h("span", { "aria-hidden": "true" }, "go to"),
    ...buttons,
  );
  roving(bar, () => buttons);
  card.prepend(bar);
}

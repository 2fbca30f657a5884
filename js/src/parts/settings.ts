// What is set once and rarely touched again, behind one button: colours, axes, the layout of the page.

import { h, segments } from "../core/dom";
import type { Session } from "../core/session";

export interface Settings {
  /** the button with what it opens */
  readonly el: HTMLElement;
  /** an element for the settings of one part, under its name; `expert`: not for those who see it for the first time */
  group(name: string, expert?: boolean): HTMLElement;
}

export function mountSettings(session: Session): Settings {
  const { store } = session;
  const panel = h("div", { class: "settings", role: "group", "aria-label": "settings" });
  const el = h(
    "details",
    { class: "menu down" },
    h("summary", { class: "btn", "aria-label": "settings" }, "settings ▾"),
    panel,
  );
  const shut = (): void => {
    el.open = false;
  };
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !el.open) return;
    event.stopPropagation();
    shut();
    el.querySelector("summary")?.focus();
  });
  // Open while one turns its knobs and looks at the picture; a press or the focus elsewhere shuts it.
  el.addEventListener("focusout", (event) => {
    const to = event.relatedTarget as Node | null;
    if (to && !el.contains(to)) shut();
  });
  document.addEventListener(
    "pointerdown",
    (event) => {
      if (!el.contains(event.composedPath()[0] as Node)) shut();
    },
    { capture: true, signal: session.off.signal },
  );
  const page = h("div", { class: "set" });
  const last = h("div", { class: "group" }, h("h3", {}, "page"), page);
  panel.append(last);
  const group = (name: string, expert = false): HTMLElement => {
    const host = h("div", { class: "set" });
    last.before(h("div", { class: expert ? "group expert" : "group" }, h("h3", {}, name), host));
    return host;
  };
  const preset = segments<"full" | "compact" | "teaching">(
    "how much is shown",
    [
      ["full", "full"],
      ["compact", "compact"],
      ["teaching", "teaching"],
    ],
    (value) => store.commit({ preset: value }),
  );
  page.append(preset.el);
  store.watch(["preset"], () =>
    preset.set((store.get("preset") || "full") as "full" | "compact" | "teaching"),
  );
  return { el, group };
}

// Carrying a part of the picture with the pointer onto a word; also from one widget to another on the page.

import { h } from "./dom";

/** A part of the shown picture: an object of the data set, or patches. */
export interface Cargo {
  object: string;
  cells: number[];
  label: string;
}

type Spot = HTMLElement;
const START = 5;

/** An element that takes what is carried onto it. */
export function takeCargo(el: Spot, take: (cargo: Cargo) => void): void {
  el.dataset["takes"] = "part";
  el.addEventListener("mmkn-over", () => el.classList.add("drop"));
  el.addEventListener("mmkn-out", () => el.classList.remove("drop"));
  el.addEventListener("mmkn-drop", (event) => {
    el.classList.remove("drop");
    take((event as CustomEvent<Cargo>).detail);
  });
}

/**
 * Follow the pointer from a press on: `click` when it is let go where it was pressed, else a ghost of the
 * cargo goes along and the word under it takes it. Escape puts it back.
 */
export function carry(
  root: HTMLElement,
  from: HTMLElement,
  event: PointerEvent,
  cargo: Cargo,
  ghost: () => HTMLElement,
  click: () => void,
): void {
  let image: HTMLElement | null = null;
  let over: Spot | null = null;
  const off = new AbortController();
  const spot = (x: number, y: number): Spot | null => {
    const at =
      (root.getRootNode() as Document | ShadowRoot).elementFromPoint(x, y) ??
      document.elementFromPoint(x, y);
    return at?.closest<HTMLElement>("[data-takes]") ?? null;
  };
  const enter = (next: Spot | null): void => {
    if (next === over) return;
    over?.dispatchEvent(new CustomEvent("mmkn-out"));
    next?.dispatchEvent(new CustomEvent("mmkn-over"));
    over = next;
  };
  const finish = (): void => {
    off.abort();
    image?.remove();
    root.classList.remove("carrying");
  };
  const move = (e: PointerEvent): void => {
    if (e.pointerId !== event.pointerId) return;
    if (!image && Math.hypot(e.clientX - event.clientX, e.clientY - event.clientY) < START) return;
    if (!image) {
      image = h(
        "div",
        { class: "ghost", "aria-hidden": "true" },
        ghost(),
        h("span", {}, cargo.label),
      );
      root.append(image);
      root.classList.add("carrying");
    }
    const { left, top } = root.getBoundingClientRect(); // the root is a size container: nothing in it is fixed to the window
    image.style.transform = `translate(${e.clientX - left + 10}px, ${e.clientY - top + 8}px)`;
    enter(spot(e.clientX, e.clientY));
  };
  const up = (e: PointerEvent): void => {
    if (e.pointerId !== event.pointerId) return;
    const [moved, target] = [image !== null, over];
    over = null;
    finish();
    if (!moved) click();
    else target?.dispatchEvent(new CustomEvent("mmkn-drop", { detail: cargo }));
  };
  const cancel = (): void => {
    enter(null);
    finish();
  };
  from.setPointerCapture?.(event.pointerId);
  from.addEventListener("pointermove", move, { signal: off.signal });
  from.addEventListener("pointerup", up, { signal: off.signal });
  from.addEventListener("pointercancel", cancel, { signal: off.signal });
  document.addEventListener(
    "keydown",
    (e) => {
      if (e.key === "Escape") cancel();
    },
    { signal: off.signal, capture: true },
  );
}

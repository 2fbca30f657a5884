// Building elements. Text becomes text nodes, never HTML.

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

/** Create an element. `class`, `style` (object), `on*` listeners and attributes; `false`/`null` attributes are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") {
      el.addEventListener(name.slice(2), value as EventListener);
    } else if (name === "style" && typeof value === "object") {
      for (const [key, item] of Object.entries(value as Record<string, string>))
        el.style.setProperty(key, item);
    } else if (name === "value") {
      (el as unknown as { value: string }).value = String(value);
    } else {
      el.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(el, children);
  return el;
}

function append(el: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replace all children. */
export function fill(el: Element, ...children: Child[]): void {
  el.textContent = "";
  append(el, children);
}

/** Set the text only when it differs, so that screen readers and layout are left alone; a single text node is written anew. */
export function setText(el: Element, value: string): void {
  const only = el.firstChild;
  if (only instanceof Text && !only.nextSibling) {
    if (only.data !== value) only.data = value;
  } else if (el.textContent !== value) el.textContent = value;
}

/** Set a line that may be cut short; the whole of it is its tooltip. */
export function setLine(el: HTMLElement, value: string): void {
  if (el.textContent === value) return;
  setText(el, value);
  el.title = value;
}

/** A text of fixed size that is written in every frame of a drag: nothing around it is laid out again. */
export function steady(el: HTMLElement): HTMLElement {
  el.classList.add("steady");
  return h("span", { class: "hold" }, el); // an item of a grid or flex box would take its container along
}

export function setAttr(el: Element, name: string, value: string | null): void {
  if (value === null) el.removeAttribute(name);
  else if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** A button of the house style. */
export function button(label: string, onclick: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "btn", onclick, ...props }, label);
}

export interface Segments<T extends string> {
  readonly el: HTMLElement;
  set(value: T): void;
  /** Offer a choice, or leave it out. */
  offer(value: T, on: boolean): void;
}

/** A row of exclusive choices: one tab stop, arrow keys move. */
export function segments<T extends string>(
  label: string,
  choices: readonly (readonly [T, string])[],
  onchange: (value: T) => void,
): Segments<T> {
  const buttons = choices.map(([value, name]) =>
    h(
      "button",
      {
        type: "button",
        role: "radio",
        "aria-checked": "false",
        tabindex: "-1",
        "data-value": value,
        onclick: () => onchange(value),
      },
      name,
    ),
  );
  const el = h("div", { class: "segments", role: "radiogroup", "aria-label": label }, ...buttons);
  el.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const live = buttons.filter((b) => !b.hidden);
    const at = live.indexOf(document.activeElement as HTMLButtonElement);
    const next = live[(at + step + live.length) % live.length];
    next?.focus();
    next?.click();
  });
  return {
    el,
    set(value) {
      for (const b of buttons) {
        const on = b.dataset["value"] === value;
        setAttr(b, "aria-checked", String(on));
        b.tabIndex = on ? 0 : -1;
      }
    },
    offer(value, on) {
      const b = buttons.find((item) => item.dataset["value"] === value);
      if (b) b.hidden = !on;
    },
  };
}

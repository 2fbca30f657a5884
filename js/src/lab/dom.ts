// Elements of the panel: text is text, never HTML.

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

export function button(label: string, title: string, act: () => void): HTMLButtonElement {
  const made = element("button", "mmkn-panel-button", label);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", act);
  return made;
}

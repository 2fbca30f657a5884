// Text to the clipboard, also where the page may not use the new interface.

import { h, setText } from "./dom";
import type { Session } from "./session";

/** Copy, and say so on the button that was pressed. */
export async function copyText(
  session: Session,
  pressed: HTMLElement,
  text: string,
): Promise<void> {
  const label = pressed.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { style: { position: "fixed", opacity: "0" } });
    area.value = text;
    session.root.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  setText(pressed, "copied");
  session.announce("copied as Python");
  setTimeout(() => setText(pressed, label === "copied" ? "copy as Python" : label), 1500);
}

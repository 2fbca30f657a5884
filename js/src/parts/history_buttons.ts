// Undo and redo of everything that was changed on the page and in the model, as the keys do it.

import type { Way } from "../core/history";
import { button, setAttr } from "../core/dom";
import type { Session } from "../core/session";

const KEYS: Record<Way, string> = { undo: "Ctrl+Z", redo: "Ctrl+Shift+Z" };

export function historyButtons(session: Session): [HTMLButtonElement, HTMLButtonElement] {
  const { history, store } = session;
  const made = (way: Way): HTMLButtonElement => button(way, () => history.go(way));
  const buttons: [HTMLButtonElement, HTMLButtonElement] = [made("undo"), made("redo")];
  store.watch(["steps", "read_only"], () => {
    const focused = buttons.find((one) => one.matches(":focus"));
    buttons.forEach((one, k) => {
      const way = k ? "redo" : "undo";
      const step = history.next(way);
      one.disabled = !step;
      setAttr(one, "title", step ? `${way}: ${step.what} (${KEYS[way]})` : `nothing to ${way}`);
    });
    if (focused?.disabled) buttons.find((one) => !one.disabled)?.focus(); // or the keys are lost with it
  });
  return buttons;
}

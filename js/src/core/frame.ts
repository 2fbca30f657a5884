// What every widget has around it: theme, errors, read-only notice, a live region, a check that the kernel is there.

import { button, fill, h, setText } from "./dom";
import { historyKeys } from "./history";
import { watchKernel, type KernelState } from "./kernel_watch";
import type { RenderProps } from "./model";
import { Session } from "./session";
import { applyTheme } from "./theme";
import type { WIDGETS } from "./traits";

export interface Module {
  render(props: RenderProps): () => void;
}

const ARRAYS = ["", "a_", "b_"].flatMap((side) =>
  ["difference", "gradcam", "gradient_sum", "activation", "maps", "picture", "inpainted"].map(
    (name) => side + name,
  ),
);
const EMPTY = new DataView(new ArrayBuffer(0));
const KEYS = /^(Arrow|Page|Home$|End$)/;

/** An anywidget module whose content `mount` builds into a card. */
export function widget(
  name: keyof typeof WIDGETS,
  mount: (session: Session, card: HTMLElement) => void,
  label: string,
): Module {
  return {
    render({ model, el, signal }) {
      const root = h("div", {
        class: "mmkn",
        "data-lm-suppress-shortcuts": "true",
        role: "region",
        "aria-label": label,
      });
      // A notebook takes arrow keys from sliders and lists further up, shortcuts suppressed or not.
      root.addEventListener("keydown", (event) => {
        if (KEYS.test(event.key)) event.stopPropagation();
      });
      const card = h("div", { class: "card" });
      const session = new Session(model, root);
      historyKeys(root, session.history);
      applyTheme(root, session.off.signal, () => session.store.touch("view"));
      const alert = notice(session);
      if (name === "Explorer") alert.classList.add("a-alert");
      card.append(alert);
      try {
        mount(session, card);
        session.history.start();
      } catch (error) {
        session.broken(error);
      }
      root.append(card, session.live);
      el.append(root);
      const sizes = new ResizeObserver(() => session.store.touch("view"));
      sizes.observe(root);
      const stop = (): void => {
        sizes.disconnect();
        session.dispose();
        root.remove();
        if (session.store.get("status")?.state !== "closed") return;
        for (const name of ARRAYS) if (model.get(name)) model.set(name, EMPTY); // JupyterLab keeps closed models in its lists
      };
      signal?.addEventListener("abort", stop, { once: true });
      return stop;
    },
  };
}

/** The line on top: an error that has no place of its own, or that this is a saved view. */
function notice(session: Session): HTMLElement {
  const title = h("strong");
  const words = h("span", { class: "grow" });
  const close = button("dismiss", () => session.faults.clear(shown), { class: "btn quiet" });
  const el = h("div", { class: "alert", role: "alert", hidden: true }, title, words, close);
  let shown = "";
  let kernel: KernelState = "there";

  const show = (info: boolean, head: string, body: string, closable: boolean): void => {
    el.hidden = false;
    el.classList.toggle("info", info);
    setText(title, head);
    fill(words, body);
    close.hidden = !closable;
  };
  const update = (): void => {
    const status = session.store.get("status");
    const [action, error] = session.faults.homeless() ?? [""];
    shown = action;
    if (error && kernel === "there")
      show(false, "Not done.", [error.message, error.remedy].filter(Boolean).join(" "), true);
    else if (session.store.get("read_only"))
      show(
        true,
        "",
        "Saved view, read-only: thresholds, overlays and tables work; the model is not here.",
        false,
      );
    else if (status?.state === "closed")
      show(true, "", "This widget was closed in the kernel.", false);
    else if (kernel === "saved")
      show(
        true,
        "Read-only.",
        "The last saved state, without a kernel: thresholds, overlays and tables work. For a live view run the notebook's cells.",
        false,
      );
    else if (kernel === "restarted")
      show(
        true,
        "Read-only.",
        "The kernel was restarted, so this is the last state: thresholds, overlays and tables still work. For a live view run the notebook's cells again, down to this one.",
        false,
      );
    else if (kernel === "silent")
      show(
        true,
        "Read-only for now.",
        "The kernel does not answer: it is busy, was restarted or is not connected. What you see is the last state. Wait for a running cell; after a restart run the cells again.",
        false,
      );
    else el.hidden = true;
  };
  session.store.watch(["status", "read_only", "faults"], update);

  if (!session.blocked()) {
    watchKernel(session, (state) => {
      kernel = state;
      update();
    });
  }
  return el;
}

/** A part on a card of its own. */
export function part(
  mount: (session: Session, host: HTMLElement) => unknown,
): (session: Session, card: HTMLElement) => void {
  return (session, card) => {
    const host = h("section", { class: "part" });
    card.append(host);
    mount(session, host);
  };
}

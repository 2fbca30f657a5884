// Copy as Python, export; and the button that proposes thresholds, with its work.

import { asUint8 } from "../core/binary";
import { copyText } from "../core/clipboard";
import { button, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { download } from "../core/pictures";
import { asPython, hasOwn, writePictures } from "../core/python";
import type { Session } from "../core/session";
import { mountWork } from "../core/work";
import { neuronsCsv } from "../core/table_csv";

/** The buttons, for the end of a line, and what is said below them. */
export function footTools(session: Session): { buttons: HTMLElement[]; said: HTMLElement[] } {
  const { store } = session;
  const where = h("div", { class: "note where", role: "status", hidden: true });
  /** The pictures of one's own are written before code speaks of them. */
  const withPictures = async (run: () => void): Promise<void> => {
    const said = await writePictures(session, hasOwn(session));
    where.hidden = !said;
    setText(where, said);
    run();
  };
  const copy: HTMLElement = button(
    "copy as Python",
    () => void withPictures(() => void copyText(session, copy, asPython(session))),
  );
  const name = (): string => (store.get("concept") || "neurons").replace(/[^\p{L}\p{N}_-]+/gu, "_");
  const item = (label: string, run: () => void): HTMLButtonElement =>
    h(
      "button",
      {
        type: "button",
        onclick: () => {
          menu.open = false;
          run();
        },
      },
      label,
    );
  const page = item(
    "page as HTML (offline)",
    () =>
      void session.ask("export_html").then((reply) => {
        if (reply?.buffers[0])
          download(
            `${name()}.html`,
            asUint8(reply.buffers[0]) as Uint8Array<ArrayBuffer>,
            "text/html",
          );
      }),
  );
  const menu = h(
    "details",
    { class: "menu down" },
    h("summary", { class: "btn", "aria-label": "export" }, "export ▾"),
    h(
      "div",
      {},
      item("neurons as CSV", () => download(`${name()}.csv`, neuronsCsv(session), "text/csv")),
      item(
        "thresholds as Python",
        () =>
          void withPictures(() =>
            download(`${name()}.py`, asPython(session, true), "text/x-python"),
          ),
      ),
      page,
    ),
  );
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget as Node | null)) menu.open = false;
  });
  store.watch(["read_only"], () => {
    page.hidden = session.blocked() !== null;
  });
  return {
    buttons: [copy, menu],
    said: [where, faultLine(session, "export_html", "write_pictures")],
  };
}

export function proposeButton(session: Session): HTMLElement[] {
  const propose = button("propose thresholds", () => void session.ask("propose"), {
    class: "btn yields",
  });
  session.store.watch(["read_only", "status", "facts"], () => {
    const blocked = session.blocked() ?? (session.unscored() ? session.nothing() : null);
    propose.disabled = blocked !== null || session.store.get("status")?.state === "working";
    setAttr(
      propose,
      "title",
      blocked ?? "try pairs of thresholds by ablation and mark the measured ones in the plane",
    );
  });
  return [mountWork(session, ["propose"]), propose];
}

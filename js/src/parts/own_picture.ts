// A picture of one's own: a button and a drop on the stage bring its bytes to the kernel.

import { button, h, setAttr } from "../core/dom";
import type { Session } from "../core/session";
import { mountWork } from "../core/work";

const MOST = 8 * 2 ** 20;

/** The button; a file dropped on the stage does the same. */
export function mountOwnPicture(
  session: Session,
  stage: HTMLElement,
  label = "own picture …",
): HTMLElement {
  const { store } = session;
  const input = h("input", {
    type: "file",
    accept: "image/*",
    hidden: true,
    tabindex: "-1",
    "aria-hidden": "true",
  });
  const open = button(label, () => input.click(), { class: "btn yields" });
  const el = h("span", { class: "own" }, mountWork(session, ["upload"]), open, input);
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.value = "";
    if (file) void bring(file);
  });
  const bring = async (file: File): Promise<void> => {
    if (file.size > MOST) {
      session.fail(
        `“${file.name}” has ${(file.size / 2 ** 20).toFixed(1)} MB; at most 8 MB travel to the kernel.`,
        "Save it smaller, or as a JPEG.",
      );
      return;
    }
    const data = await file.arrayBuffer();
    const reply = await session.ask("upload", { name: file.name }, [data]);
    if (reply) session.announce(`“${file.name}” is shown. ${String(reply.result["note"] ?? "")}`);
  };
  const files = (event: DragEvent): boolean =>
    Boolean(store.get("uploads")) &&
    session.blocked() === null &&
    [...(event.dataTransfer?.types ?? [])].includes("Files");
  stage.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    event.stopPropagation();
    stage.classList.add("drop");
  });
  stage.addEventListener("dragleave", () => stage.classList.remove("drop"));
  stage.addEventListener("drop", (event) => {
    stage.classList.remove("drop");
    if (!files(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const file = event.dataTransfer?.files[0];
    if (file) void bring(file);
  });
  store.watch(["uploads", "read_only", "status"], () => {
    el.hidden = !store.get("uploads");
    const blocked = session.blocked();
    open.disabled = blocked !== null;
    setAttr(
      open,
      "title",
      blocked ??
        "bring a picture of your own (or drop it on this one): PNG, JPEG, WebP, GIF, BMP or TIFF, at most 8 MB",
    );
  });
  return el;
}

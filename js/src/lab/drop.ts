// Files that are dragged from the file browser onto the panel.
import type { Drag } from "@lumino/dragdrop";

const FILES = "application/x-jupyter-icontents";
const OVER = "mmkn-panel-drop";

/** Take files that are dropped on an element. */
export function takeFiles(
  node: HTMLElement,
  wanted: (path: string) => boolean,
  take: (path: string) => void,
): void {
  const paths = (event: Drag.Event): string[] =>
    event.mimeData.hasData(FILES)
      ? (event.mimeData.getData(FILES) as string[]).filter((path) => wanted(path))
      : [];
  const on = (type: string, act: (event: Drag.Event) => void): void => {
    node.addEventListener(type, (event) => {
      if (type !== "lm-dragleave" && paths(event as Drag.Event).length === 0) return;
      event.preventDefault();
      event.stopPropagation();
      act(event as Drag.Event);
    });
  };
  on("lm-dragenter", () => node.classList.add(OVER));
  on("lm-dragleave", () => node.classList.remove(OVER));
  on("lm-dragover", (event) => {
    event.dropAction = event.proposedAction;
  });
  on("lm-drop", (event) => {
    node.classList.remove(OVER);
    event.dropAction = event.proposedAction;
    const [path] = paths(event);
    if (path !== undefined) take(path);
  });
}

// A notebook that was saved without its widgets' state: show the static picture and text beside the lost widget,
// where the widget manager says only that a model was not found.
import type { CodeCell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";

const VIEW = "application/vnd.jupyter.widget-view+json";
const OURS = "mmkn-static";
const LOST = /^Error displaying widget/;

/** Watch a notebook's outputs for views of ours that cannot be drawn, for as long as it is open. */
export function keepStaticViews(panel: NotebookPanel): void {
  const { node } = panel.content;
  let timer = 0;
  const later = (): void => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void replaceLost(panel), 100);
  };
  const observer = new MutationObserver((records) => {
    const outside = ({ target }: MutationRecord): boolean =>
      !(target instanceof Element ? target : target.parentElement)?.closest(".mmkn");
    if (records.some(outside)) later();
  });
  observer.observe(node, { childList: true, subtree: true });
  panel.disposed.connect(() => {
    clearTimeout(timer);
    observer.disconnect();
  });
  later();
}

async function replaceLost(panel: NotebookPanel): Promise<void> {
  for (const cell of panel.content.widgets) {
    if (cell.model.type !== "code") continue;
    const { outputArea } = cell as CodeCell;
    for (const [at, child] of outputArea.widgets.entries()) {
      const output = child.node.querySelector(".jp-OutputArea-output");
      const model = at < outputArea.model.length ? outputArea.model.get(at) : undefined;
      const html = model?.data["text/html"];
      if (!model || !output || !LOST.test(output.textContent ?? "")) continue;
      if (!(VIEW in model.data) || typeof html !== "string" || !html.includes(OURS)) continue;
      const shown = panel.content.rendermime.createRenderer("text/html");
      await shown.renderModel(model);
      if (LOST.test(output.textContent ?? "")) output.replaceChildren(shown.node);
    }
  }
}

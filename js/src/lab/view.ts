// A widget beside the notebook: the notebook's kernel and renderers, an output area of its own.
import { MainAreaWidget } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { OutputAreaModel, SimplifiedOutputArea } from "@jupyterlab/outputarea";

import { closeCode, viewCode } from "./code.js";
import { element } from "./dom.js";
import type { Preferences } from "./preferences.js";

let opened = 0;

/** Return a main area widget that shows what a Python expression of the notebook (and `mmkn`) makes. */
export function explorerView(
  notebook: NotebookPanel,
  expression: string,
  label: string,
  waiting: string,
  preferences: Preferences,
): MainAreaWidget<SimplifiedOutputArea> {
  const area = new SimplifiedOutputArea({
    model: new OutputAreaModel({ trusted: true }),
    rendermime: notebook.content.rendermime,
  });
  area.addClass("mmkn-view");
  const view = new MainAreaWidget({ content: area });
  const name = `_mmkn_view_${++opened}`;
  view.id = `mmkn-explorer-${opened}`;
  view.title.label = label;
  view.title.closable = true;
  const note = element("p", "mmkn-panel-note", waiting);
  area.node.prepend(note);
  const kernel = notebook.sessionContext.session?.kernel;
  SimplifiedOutputArea.execute(
    viewCode(name, expression, preferences),
    area,
    notebook.sessionContext,
  ).then(
    () => note.remove(),
    () => note.remove(), // the kernel was restarted meanwhile: what it held is gone
  );
  const close = (): void => view.dispose();
  notebook.disposed.connect(close);
  view.disposed.connect(() => {
    notebook.disposed.disconnect(close);
    if (!kernel || kernel.isDisposed) return;
    const options = { silent: true, store_history: false, stop_on_error: false };
    void kernel.requestExecute({ code: closeCode(name), ...options });
  });
  return view;
}

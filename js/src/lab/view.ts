// An Explorer beside the notebook: the notebook's kernel and renderers, an output area of its own.
import { MainAreaWidget } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { OutputAreaModel, SimplifiedOutputArea } from "@jupyterlab/outputarea";

let opened = 0;

/** Return a main area widget that shows the study held by a variable of the notebook. */
export function explorerView(
  notebook: NotebookPanel,
  variable: string,
): MainAreaWidget<SimplifiedOutputArea> {
  const area = new SimplifiedOutputArea({
    model: new OutputAreaModel({ trusted: true }),
    rendermime: notebook.content.rendermime,
  });
  area.addClass("mmkn-view");
  const view = new MainAreaWidget({ content: area });
  view.id = `mmkn-explorer-${++opened}`;
  view.title.label = `Explorer: ${variable}`;
  view.title.closable = true;
  // Named, so that closing the tab can close the Explorer and free what it holds.
  const name = `_mmkn_view_${opened}`;
  const show = `${name} = __import__("mmkn_widgets").Explorer(${variable})\n${name}`;
  void SimplifiedOutputArea.execute(show, area, notebook.sessionContext);
  const close = (): void => view.dispose();
  notebook.disposed.connect(close);
  view.disposed.connect(() => {
    notebook.disposed.disconnect(close);
    void notebook.sessionContext.session?.kernel?.requestExecute({
      code: `if "${name}" in globals(): globals().pop("${name}").close()`,
      silent: true,
      store_history: false,
    });
  });
  return view;
}

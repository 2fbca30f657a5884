import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { INotebookTracker } from "@jupyterlab/notebook";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "mmkn-widgets:plugin",
  description: "A side panel of the active notebook's neurons, and commands to start.",
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app: JupyterFrontEnd, _tracker: INotebookTracker) => {
    document.body.dataset.mmkn = "ready";
  },
};

export default plugin;

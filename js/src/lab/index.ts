// The JupyterLab extension: a side panel of the active notebook's neurons, and two ways to begin.
// Only the notebook tracker is required, so that it works in Notebook 7 as well.
import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker } from "@jupyterlab/notebook";
import { nullTranslator } from "@jupyterlab/translation";
import { LabIcon } from "@jupyterlab/ui-components";

import { DEFAULTS, explorerOf, studyCells } from "./code.js";
import { NeuronPanel } from "./panel.js";
import { openNotebook, quickstart } from "./start.js";
import { keepStaticViews } from "./static_view.js";
import { explorerView } from "./view.js";
import { Watches } from "./watch.js";

const CATEGORY = "Neurons";
const QUICKSTART = "mmkn:open-quickstart";
const EXPLORER = "mmkn:new-explorer-notebook";
const PANEL = "mmkn:show-panel";

const icon = new LabIcon({
  name: "mmkn-widgets:neurons",
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">' +
    '<g class="jp-icon3" fill="#616161"><circle cx="5" cy="6" r="2.6"/><circle cx="5" cy="18" r="2.6"/>' +
    '<circle cx="19" cy="12" r="3.6"/><path d="M6.6 5.2 19 11.2 18.4 12.8 6 6.8zM6 17.2l12.4-6 .6 1.6-12.4 6z"/>' +
    "</g></svg>",
});

function activate(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  labShell: ILabShell | null,
  palette: ICommandPalette | null,
  launcher: ILauncher | null,
  restorer: ILayoutRestorer | null,
): void {
  const { commands, serviceManager, shell } = app;

  const trans = nullTranslator.load("mmkn_widgets");
  const watches = new Watches(tracker);
  const panel = new NeuronPanel(
    watches,
    {
      open: (notebook, variable, what) => {
        const view = explorerView(
          notebook,
          explorerOf(variable, what),
          `Explorer: ${variable}`,
          trans.__("Waits for the kernel…"),
          DEFAULTS,
        );
        view.title.icon = icon;
        shell.add(view, "main", { mode: "split-right", ref: notebook.id });
        shell.activateById(view.id);
      },
      insert: () => undefined,
      ablate: () => undefined,
    },
    trans,
  );
  panel.title.icon = icon;
  panel.title.caption = "Neurons";
  shell.add(panel, "right", { rank: 900 });
  restorer?.add(panel, "mmkn-neurons");

  tracker.forEach(keepStaticViews);
  tracker.widgetAdded.connect((_, notebook) => keepStaticViews(notebook));

  commands.addCommand(PANEL, {
    label: "Show the neurons of this notebook",
    icon,
    execute: () => {
      // Notebook 7 opens its side areas by its own command; JupyterLab by activation.
      if (!labShell && commands.hasCommand("application:toggle-panel")) {
        void commands.execute("application:toggle-panel", { side: "right", id: panel.id });
      }
      shell.activateById(panel.id);
    },
  });
  commands.addCommand(QUICKSTART, {
    label: "Open mmkn quickstart",
    caption: "A notebook from a picture to the neurons that hold a concept",
    icon,
    execute: (args) => quickstart(commands, serviceManager.contents, String(args["cwd"] ?? "")),
  });
  commands.addCommand(EXPLORER, {
    label: "New neuron Explorer notebook",
    caption: "A notebook with a model, a study and its Explorer",
    icon,
    execute: (args) =>
      openNotebook(
        commands,
        serviceManager.contents,
        String(args["cwd"] ?? ""),
        "neurons.ipynb",
        studyCells(DEFAULTS),
      ),
  });
  for (const command of [QUICKSTART, EXPLORER, PANEL]) {
    palette?.addItem({ command, category: CATEGORY });
  }
  launcher?.add({ command: QUICKSTART, category: CATEGORY, rank: 1 });
  launcher?.add({ command: EXPLORER, category: CATEGORY, rank: 2 });
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: "mmkn-widgets:plugin",
  description: "A side panel of the active notebook's neurons, and commands to begin with.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ILabShell, ICommandPalette, ILauncher, ILayoutRestorer],
  activate,
};

export default plugin;

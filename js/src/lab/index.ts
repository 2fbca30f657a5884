// The JupyterLab extension: a side panel of the active notebook's neurons, a word in the status bar, commands, files.
// Only the notebook tracker is required, so that it works in Notebook 7 as well.
import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import { ICommandPalette, InputDialog } from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import { FileDialog, IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { LabIcon } from "@jupyterlab/ui-components";

import { Actions, isPicture } from "./actions.js";
import { takeFiles } from "./drop.js";
import { NeuronFileFactory } from "./neuron_view.js";
import { NeuronPanel } from "./panel.js";
import { preferencesOf } from "./preferences.js";
import { openTutorial } from "./start.js";
import { keepStaticViews } from "./static_view.js";
import { StatusItem } from "./status.js";
import { Watches } from "./watch.js";

const PLUGIN = "mmkn-widgets:plugin";
const FILE_TYPE = "mmkn-neurons";

const COMMAND = {
  panel: "mmkn:open-panel",
  restore: "mmkn:restore-all",
  ablate: "mmkn:ablate",
  python: "mmkn:copy-as-python",
  study: "mmkn:new-study",
  open: "mmkn:open-study",
  saved: "mmkn:open-saved-study",
  picture: "mmkn:find-in-picture",
  tutorials: "mmkn:tutorials",
} as const;

const icon = new LabIcon({
  name: "mmkn-widgets:neurons",
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">' +
    '<g class="jp-icon3 jp-icon-selectable" fill="#616161"><circle cx="5" cy="6" r="2.6"/><circle cx="5" cy="18" r="2.6"/>' +
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
  translator: ITranslator | null,
  registry: ISettingRegistry | null,
  statusBar: IStatusBar | null,
  fileBrowsers: IFileBrowserFactory | null,
  docManager: IDocumentManager | null,
): void {
  const { commands, serviceManager, shell, docRegistry } = app;
  const { contents } = serviceManager;
  const trans = (translator ?? nullTranslator).load("mmkn_widgets");
  const watches = new Watches(tracker);
  const actions = new Actions(
    app,
    watches,
    labShell !== null,
    preferencesOf(registry, PLUGIN),
    icon,
    trans,
  );

  // -- the panel and the status bar -----------------------------------------------------------

  const panel = new NeuronPanel(watches, actions, trans);
  panel.title.icon = icon;
  panel.title.caption = trans.__("Neurons");
  shell.add(panel, "right", { rank: 900 });
  restorer?.add(panel, "mmkn-neurons");
  takeFiles(panel.node, isPicture, (path) => void actions.findInPicture(path));

  const status = new StatusItem(watches, trans, () => void commands.execute(COMMAND.panel));
  statusBar?.registerStatusItem(PLUGIN, {
    item: status,
    align: "left",
    rank: 10,
    isActive: () => status.isActive,
    activeStateChanged: status.activeChanged,
  });

  tracker.forEach(keepStaticViews);
  tracker.widgetAdded.connect((_, notebook) => keepStaticViews(notebook));

  // -- files ----------------------------------------------------------------------------------

  docRegistry.addFileType({
    name: FILE_TYPE,
    displayName: trans.__("Neurons"),
    extensions: [".mmkn.json"],
    mimeTypes: ["application/json"],
    contentType: "file",
    fileFormat: "text",
    icon,
  });
  docRegistry.addWidgetFactory(
    new NeuronFileFactory(
      {
        name: "Neurons",
        label: trans.__("Neurons"),
        modelName: "text",
        fileTypes: [FILE_TYPE],
        defaultFor: [FILE_TYPE],
        readOnly: true,
      },
      (path, file) => void actions.openNeurons(path, file),
      icon,
      trans,
    ),
  );

  // -- commands -------------------------------------------------------------------------------

  /** What the menu was opened on: a path given, or what is selected in the file browser. */
  const selected = (args: { path?: unknown }): string | undefined =>
    typeof args.path === "string"
      ? args.path
      : fileBrowsers?.tracker.currentWidget?.selectedItems().next().value?.path;
  const folder = (args: { cwd?: unknown }): string =>
    typeof args.cwd === "string"
      ? args.cwd
      : (fileBrowsers?.tracker.currentWidget?.model.path ?? "");
  const hasChanges = (): boolean => actions.changed().length > 0;
  const canAblate = (): boolean => {
    const found = watches.current?.overview;
    return Boolean(found?.models.length && found.sets.length);
  };

  commands.addCommand(COMMAND.panel, {
    label: trans.__("Neurons of This Notebook"),
    caption: trans.__("Show the panel of models, studies and what is changed"),
    icon,
    execute: () => {
      // Notebook 7 opens its side areas by its own command; JupyterLab by activation.
      if (!labShell && commands.hasCommand("application:toggle-panel") && !panel.isVisible) {
        void commands.execute("application:toggle-panel", { side: "right", id: panel.id });
      }
      shell.activateById(panel.id);
    },
  });
  commands.addCommand(COMMAND.restore, {
    label: trans.__("Restore All Neurons"),
    caption: trans.__("Take back every change of this notebook's models"),
    isEnabled: hasChanges,
    execute: () => actions.restoreAll(),
  });
  commands.addCommand(COMMAND.ablate, {
    label: trans.__("Ablate Neurons…"),
    caption: trans.__("Switch a neuron set of this notebook off"),
    isEnabled: canAblate,
    execute: () => actions.ablate(watches.current?.notebook ?? null),
  });
  commands.addCommand(COMMAND.python, {
    label: trans.__("Copy Neuron Changes as Python"),
    caption: trans.__("Copy the code that makes what is changed in this notebook's models"),
    isEnabled: hasChanges,
    execute: () => actions.copyAsPython(),
  });
  watches.changed.connect(() => {
    for (const id of [COMMAND.restore, COMMAND.ablate, COMMAND.python]) {
      commands.notifyCommandChanged(id);
    }
  });

  commands.addCommand(COMMAND.study, {
    label: (args) => (args["cwd"] === undefined ? trans.__("New Study") : trans.__("New study")),
    caption: trans.__("A notebook with a model, a study and its Explorer"),
    icon,
    execute: (args) => actions.newStudy(folder(args)),
  });
  commands.addCommand(COMMAND.tutorials, {
    label: trans.__("Tutorials"),
    caption: trans.__("Copy a notebook that shows how it goes, and open it"),
    icon,
    execute: async (args) => {
      const { TUTORIALS } = await import("./notebooks.js");
      const titles = TUTORIALS.map((tutorial) => tutorial.title);
      const chosen =
        typeof args["tutorial"] === "string"
          ? TUTORIALS.findIndex((tutorial) => tutorial.name === args["tutorial"])
          : titles.indexOf(
              (
                await InputDialog.getItem({
                  title: trans.__("Tutorials"),
                  label: trans.__("It is copied; nothing of yours is overwritten."),
                  items: titles,
                  okLabel: trans.__("Open"),
                })
              ).value ?? "",
            );
      const tutorial = TUTORIALS[chosen];
      if (tutorial) await openTutorial(commands, contents, folder(args), tutorial);
    },
  });
  commands.addCommand(COMMAND.open, {
    label: (args) => (args["cwd"] === undefined ? trans.__("Open Study…") : trans.__("Open study")),
    caption: trans.__("Show a saved study in the Explorer"),
    icon,
    isEnabled: () => docManager !== null,
    execute: async (args) => {
      if (typeof args["path"] === "string") return actions.openSavedStudy(args["path"]);
      if (!docManager) return;
      const { value } = await FileDialog.getExistingDirectory({
        manager: docManager,
        title: trans.__("The folder of a saved study"),
        ...(translator ? { translator } : {}),
      });
      if (value?.[0]) await actions.openSavedStudy(value[0].path);
    },
  });
  commands.addCommand(COMMAND.saved, {
    label: trans.__("Open Study in Explorer"),
    caption: trans.__("The folder of a study that was saved"),
    icon,
    execute: async (args) => {
      const path = selected(args);
      if (path !== undefined) await actions.openSavedStudy(path);
    },
  });
  commands.addCommand(COMMAND.picture, {
    label: trans.__("Find Neurons in This Picture…"),
    caption: trans.__("Open an Explorer on it, in the kernel of the current notebook"),
    icon,
    execute: async (args) => {
      const { concept } = args;
      const path = selected(args);
      if (path === undefined) return;
      await actions.findInPicture(path, typeof concept === "string" ? concept : undefined);
    },
  });

  const category = trans.__("Neurons");
  for (const command of Object.values(COMMAND)) {
    if (command !== COMMAND.saved && command !== COMMAND.picture) {
      palette?.addItem({ command, category });
    }
  }
  [COMMAND.study, COMMAND.tutorials, COMMAND.open].forEach((command, rank) => {
    launcher?.add({ command, category, rank });
  });
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: "A side panel of the active notebook's neurons, commands, and views of its files.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [
    ILabShell,
    ICommandPalette,
    ILauncher,
    ILayoutRestorer,
    ITranslator,
    ISettingRegistry,
    IStatusBar,
    IFileBrowserFactory,
    IDocumentManager,
  ],
  activate,
};

export default plugin;

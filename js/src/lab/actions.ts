// What the commands, the panel and the file browser do: in the current notebook, or in a new one.
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Clipboard, InputDialog, showErrorMessage } from "@jupyterlab/apputils";
import { PathExt } from "@jupyterlab/coreutils";
import { NotebookActions, type NotebookPanel } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { LabIcon } from "@jupyterlab/ui-components";

import * as code from "./code.js";
import type { ModelEntry, Overview, Request } from "./kernel.js";
import type { NeuronFile } from "./neuron_set.js";
import type { PanelActions } from "./panel.js";
import type { Preferences } from "./preferences.js";
import { openNotebook } from "./start.js";
import { explorerView } from "./view.js";
import type { KernelWatch, Watches } from "./watch.js";

const IMAGE = /\.(png|jpe?g|webp|bmp|gif|tiff?)$/i;

export function isPicture(path: string): boolean {
  return IMAGE.test(path);
}

export class Actions implements PanelActions {
  private lastConcept = "";

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly watches: Watches,
    /** Whether the page holds several documents side by side. */
    private readonly hasTabs: boolean,
    private readonly preferences: () => Promise<Preferences>,
    private readonly icon: LabIcon,
    private readonly trans: TranslationBundle,
  ) {}

  // -- the panel's --------------------------------------------------------------------------

  open(notebook: NotebookPanel, variable: string, what: "study" | "store"): void {
    void this.show(notebook, code.explorerOf(variable, what), variable);
  }

  insert(notebook: NotebookPanel, text: string): void {
    const { content } = notebook;
    const active = content.activeCell;
    // An empty active cell takes it; so it does not stay above as a gap.
    if (active?.model.type !== "code" || active.model.sharedModel.getSource().trim() !== "") {
      NotebookActions.insertBelow(content);
    }
    content.activeCell?.model.sharedModel.setSource(text);
    this.app.shell.activateById(notebook.id);
  }

  async ablate(notebook: NotebookPanel | null, neurons?: string): Promise<void> {
    const { trans } = this;
    const watch = notebook && this.watches.of(notebook);
    const found = watch?.overview;
    if (!watch || !found) return;
    const { process } = watch;
    const title = trans.__("Switch neurons off");
    const sets = found.sets.map((set) => set.variable);
    const set = neurons ?? (await this.choose(title, trans.__("Which neurons?"), sets));
    if (set === null) return;
    const model = await this.chooseModel(title, found);
    if (!model) return;
    await this.act(watch, process, { do: "ablate", model: model.key, neurons: set });
  }

  // -- the commands' ------------------------------------------------------------------------

  /** Models of the current notebook in which something is active. */
  changed(): ModelEntry[] {
    const models = this.watches.current?.overview?.models ?? [];
    return models.filter((model) => model.changes.some((change) => change.on));
  }

  async restoreAll(): Promise<void> {
    const watch = this.watches.current;
    if (!watch) return;
    const { process } = watch;
    for (const model of this.changed()) {
      await this.act(watch, process, { do: "restore", model: model.key });
    }
  }

  async copyAsPython(): Promise<void> {
    const watch = this.watches.current;
    if (!watch) return;
    const { process } = watch;
    const parts: string[] = [];
    for (const model of this.changed()) {
      parts.push(await this.act(watch, process, { do: "python", model: model.key }));
    }
    const text = parts.join("\n");
    if (text) Clipboard.copyToSystem(text);
  }

  async newStudy(folder: string): Promise<void> {
    const cells = code.studyCells(await this.preferences());
    await this.newNotebook(folder, "neurons.ipynb", cells, false);
  }

  // -- files --------------------------------------------------------------------------------

  /** Look for neurons of a concept in a picture. */
  async findInPicture(path: string, given?: string): Promise<void> {
    const { trans } = this;
    const watch = await this.usable();
    if (watch === null) return;
    const title = trans.__("Find neurons in this picture");
    const concept =
      given ??
      (
        await InputDialog.getText({
          title,
          label: trans.__("The concept, as the model would name it:"),
          placeholder: trans.__("such as car"),
          text: this.lastConcept,
          okLabel: trans.__("Find"),
        })
      ).value;
    if (!concept?.trim()) return;
    this.lastConcept = concept.trim();
    if (watch === "new") {
      const name = PathExt.basename(path);
      const cells = code.pictureCells(name, this.lastConcept, await this.preferences());
      await this.newNotebook(PathExt.dirname(this.local(path)), "neurons.ipynb", cells, true);
      return;
    }
    const models = watch.overview?.models ?? [];
    const model = models.length ? await this.chooseModel(title, { models }) : null;
    if (models.length && !model) return;
    const there = this.relative(watch.notebook, path);
    await this.show(
      watch.notebook,
      code.explorerOfPicture(model?.variable ?? null, there, this.lastConcept),
      PathExt.basename(path),
    );
  }

  /** Open a folder that Study.save wrote, or the study.json inside it. */
  async openSavedStudy(given: string): Promise<void> {
    const { trans } = this;
    const path = PathExt.basename(given) === "study.json" ? PathExt.dirname(given) : given;
    if (!(await this.isStudy(path))) {
      await showErrorMessage(
        trans.__("No saved study"),
        trans.__("%1 has no study.json that Study.save wrote.", path || "/"),
      );
      return;
    }
    const watch = await this.usable();
    if (watch === null) return;
    if (watch === "new") {
      const folder = PathExt.dirname(this.local(path));
      const cells = code.savedStudyCells(PathExt.basename(path), await this.preferences());
      await this.newNotebook(folder, `${PathExt.basename(path)}.ipynb`, cells, true);
      return;
    }
    const there = this.relative(watch.notebook, path);
    await this.show(watch.notebook, code.explorerOfSaved(there), PathExt.basename(path));
  }

  /** Run the code that shows a file of neurons. */
  async openNeurons(path: string, file: NeuronFile): Promise<void> {
    const watch = await this.usable();
    if (watch === null) return;
    if (watch === "new") {
      const folder = PathExt.dirname(this.local(path));
      const text = code.neuronsCode(PathExt.basename(path), file, await this.preferences());
      const name = `${PathExt.basename(path).replace(/\.mmkn\.json$/, "")}.ipynb`;
      await this.newNotebook(folder, name, [text], true);
      return;
    }
    const { notebook } = watch;
    const there = this.relative(notebook, path);
    this.insert(notebook, code.neuronsCode(there, file, await this.preferences()));
    await NotebookActions.run(notebook.content, notebook.sessionContext);
  }

  // -- below --------------------------------------------------------------------------------

  private async isStudy(folder: string): Promise<boolean> {
    try {
      const file = await this.app.serviceManager.contents.get(`${folder}/study.json`, {
        type: "file",
        format: "text",
        content: true,
      });
      return /"format":\s*"mmkn-study"/.test(String(file.content));
    } catch {
      return false;
    }
  }

  /** The current notebook if its kernel can do our work, "new" if there is no notebook, null after saying why not. */
  private async usable(): Promise<KernelWatch | "new" | null> {
    const { trans } = this;
    const watch = this.watches.current;
    if (!watch) return "new";
    await watch.catchUp();
    const { known } = watch;
    const why =
      known.is === "no kernel"
        ? trans.__("The current notebook has no kernel.")
        : known.is === "dead"
          ? trans.__("The kernel of the current notebook is dead: restart it.")
          : known.is === "other language"
            ? trans.__("The current notebook has no Python kernel: %1.", known.language)
            : known.is === "absent"
              ? trans.__("mmkn_widgets is not installed in its kernel: run %1", code.PIP_INSTALL)
              : "";
    if (!why) return watch;
    await showErrorMessage(trans.__("This needs a kernel with mmkn_widgets"), why);
    return null;
  }

  private local(path: string): string {
    return this.app.serviceManager.contents.localPath(path);
  }

  /** A path as the notebook's kernel sees it, which begins in the notebook's folder. */
  private relative(notebook: NotebookPanel, path: string): string {
    const from = PathExt.dirname(this.local(notebook.context.path));
    return PathExt.relative(from, this.local(path)) || ".";
  }

  /** Beside the notebook; where the page has no room for that, as in Notebook 7, in a cell of it. */
  private async show(notebook: NotebookPanel, shown: code.Shown, label: string): Promise<void> {
    if (!this.hasTabs) {
      this.insert(notebook, shown.cell);
      void NotebookActions.run(notebook.content, notebook.sessionContext);
      return;
    }
    const { shell } = this.app;
    const preferences = await this.preferences();
    const view = explorerView(
      notebook,
      shown.expression,
      this.trans.__("Explorer: %1", label),
      this.trans.__("Waits for the kernel…"),
      preferences,
    );
    view.title.icon = this.icon;
    shell.add(view, "main", { mode: "split-right", ref: notebook.id });
    shell.activateById(view.id);
  }

  private async newNotebook(
    folder: string,
    name: string,
    cells: string[],
    run: boolean,
  ): Promise<void> {
    const { commands, serviceManager } = this.app;
    const opened = await openNotebook(commands, serviceManager.contents, folder, name, cells);
    if (!run || !opened) return; // Notebook 7 opens it in a page of its own
    const { content, context, sessionContext } = opened as NotebookPanel;
    await Promise.all([context.ready, sessionContext.ready]);
    await NotebookActions.runAll(content, sessionContext);
  }

  private async choose(title: string, label: string, items: string[]): Promise<string | null> {
    if (items.length <= 1) return items[0] ?? null;
    return (await InputDialog.getItem({ title, label, items })).value;
  }

  private async chooseModel(
    title: string,
    { models }: Pick<Overview, "models">,
  ): Promise<ModelEntry | null> {
    const named = models.map((model) => `${model.variable} (${model.name})`);
    const chosen = await this.choose(title, this.trans.__("In which model?"), named);
    return models[named.indexOf(chosen ?? "")] ?? null;
  }

  private async act(watch: KernelWatch, process: object | null, request: Request): Promise<string> {
    try {
      return await watch.act(request, process);
    } catch (error) {
      await showErrorMessage(this.trans.__("The kernel did not do it"), error as Error);
      return "";
    }
  }
}

// The side panel "Neurons": what the active notebook's kernel holds, and what is changed in it.
import type { NotebookPanel } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";

import { LOAD_MODEL, PIP_INSTALL } from "./code.js";
import { button, element } from "./dom.js";
import type { Change, ModelEntry, Request, SetEntry, StoreEntry, StudyEntry } from "./kernel.js";
import type { KernelWatch, Watches } from "./watch.js";

export interface PanelActions {
  /** Show what a variable of the notebook holds beside it. */
  open(notebook: NotebookPanel, variable: string, what: "study" | "store"): void;
  /** Put a line of code into the notebook, not run. */
  insert(notebook: NotebookPanel, code: string): void;
  /** Ask which model, and switch a set of neurons off in it. */
  ablate(notebook: NotebookPanel, neurons: string): void;
}

/** What was drawn is of this process; another may have taken its place since. */
interface Place {
  watch: KernelWatch;
  process: object | null;
}

export class NeuronPanel extends Widget {
  private readonly live = element("div", "mmkn-panel-body");
  private readonly said = element("div", "mmkn-panel-said");
  private drawn = "";
  /** The process that the drawn entries are of. */
  private process: object | null = null;

  constructor(
    private readonly watches: Watches,
    private readonly actions: PanelActions,
    private readonly trans: TranslationBundle,
  ) {
    super();
    this.id = "mmkn-neurons";
    this.addClass("mmkn-panel");
    this.said.setAttribute("role", "status");
    this.node.append(element("h2", "mmkn-panel-title", trans.__("Neurons")), this.said, this.live);
    watches.addLooker(() => this.isVisible);
    watches.changed.connect(this.draw, this);
    this.draw();
  }

  override dispose(): void {
    this.watches.changed.disconnect(this.draw, this);
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.draw();
    this.watches.current?.refresh();
  }

  /** Draw what is known of the current notebook's kernel, where that is not what is drawn. */
  private draw(): void {
    const watch = this.watches.current;
    const state = JSON.stringify([watch?.notebook.id, watch?.known, this.state(watch)]);
    if (state === this.drawn && this.process === (watch?.process ?? null)) return;
    this.drawn = state;
    this.process = watch?.process ?? null;
    const focused = this.live.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset["focus"]
      : undefined;
    this.said.textContent = this.state(watch);
    this.said.hidden = this.said.textContent === "";
    this.live.replaceChildren(...(watch ? this.describe(watch) : []));
    if (focused) {
      [...this.live.querySelectorAll<HTMLElement>("[data-focus]")]
        .find((one) => one.dataset["focus"] === focused)
        ?.focus();
    }
  }

  /** One line on the state of the kernel, empty where it waits for work. */
  private state(watch: KernelWatch | null): string {
    const { trans } = this;
    if (!watch) return trans.__("Open a notebook to see its models.");
    const known = watch.known;
    switch (known.is) {
      case "no kernel":
        return trans.__("This notebook has no kernel.");
      case "dead":
        return trans.__("The kernel is dead. Restart it; what it held is gone.");
      case "other language":
        return trans.__("%1 is no Python kernel: there are no neurons in it.", known.language);
      case "failed":
        return trans.__("The kernel could not answer: %1", known.why);
    }
    if (!watch.busy) return known.is === "unknown" ? trans.__("Asking the kernel…") : "";
    if (known.is === "unknown" && !watch.runs) {
      return trans.__("The kernel does not answer yet: it starts, or it is busy.");
    }
    if (known.is === "unused" || known.is === "absent") {
      return trans.__("The kernel is busy: a cell runs.");
    }
    if (watch.answersWhileBusy) {
      return trans.__("The kernel is busy: a cell runs. What is switched here acts at once.");
    }
    return known.is === "held"
      ? trans.__(
          "The kernel is busy: a cell runs. This is as it was before; a change waits for it.",
        )
      : trans.__(
          "The kernel is busy: a cell runs. What it holds is shown when the cell has ended.",
        );
  }

  private note(text: string): HTMLElement {
    return element("p", "mmkn-panel-note", text);
  }

  private code(notebook: NotebookPanel, code: string): HTMLElement[] {
    const { trans } = this;
    const insert = button(
      trans.__("Insert"),
      trans.__("Put this into the notebook, below the active cell"),
      () => this.actions.insert(notebook, code),
    );
    return [element("pre", "mmkn-panel-code", code), insert];
  }

  private describe(watch: KernelWatch): Node[] {
    const { trans } = this;
    const { notebook, known } = watch;
    if (known.is === "absent") {
      return [
        this.note(
          trans.__("mmkn_widgets is not installed where this kernel runs. Install it there:"),
        ),
        ...this.code(notebook, PIP_INSTALL),
        this.note(trans.__("Then restart the kernel.")),
      ];
    }
    const found = watch.overview;
    const at = { watch, process: this.process };
    const empty = found && Object.values(found).every((list: unknown[]) => list.length === 0);
    if (known.is === "unused" || empty) {
      return [
        this.note(trans.__("No model in this notebook yet. To begin:")),
        ...this.code(notebook, LOAD_MODEL),
      ];
    }
    if (!found) return [];
    return [
      ...this.section(trans.__("Models"), found.models, (entry) => this.model(at, entry)),
      ...this.section(trans.__("Studies"), found.studies, (entry) => this.study(notebook, entry)),
      ...this.section(trans.__("Neuron sets"), found.sets, (entry) =>
        this.set(notebook, entry, found.models.length > 0),
      ),
      ...this.section(trans.__("Stores"), found.stores, (entry) => this.store(notebook, entry)),
    ];
  }

  private section<T>(title: string, entries: T[], draw: (entry: T) => Node): Node[] {
    if (entries.length === 0) return [];
    return [element("h3", "mmkn-panel-section", title), ...entries.map(draw)];
  }

  private entry(variable: string, name: string, detail: string, ...more: Node[]): HTMLElement {
    const made = element(
      "section",
      "mmkn-panel-entry",
      element("div", "mmkn-panel-name", element("code", "", variable), name ? ` ${name}` : ""),
      element("div", "mmkn-panel-detail", detail),
      ...more,
    );
    made.dataset["variable"] = variable;
    return made;
  }

  private count(n: number, one: string, many: string): string {
    return this.trans._n(one, many, n).replace("%1", n.toLocaleString("en-US"));
  }

  private neurons(n: number): string {
    return this.count(n, "%1 neuron", "%1 neurons");
  }

  private model(at: Place, model: ModelEntry): HTMLElement {
    const { trans } = this;
    const detail =
      this.count(model.layers, "%1 layer", "%1 layers") +
      ` × ${this.neurons(model.neurons)} · ${model.device}`;
    const entry = this.entry(model.variable, model.name, detail);
    if (model.changes.length === 0) {
      entry.append(element("div", "mmkn-panel-detail", trans.__("unchanged")));
      return entry;
    }
    const active = model.changes.some((change) => change.on);
    const list = element("ul", "mmkn-panel-active");
    list.append(...model.changes.map((change) => this.change(at, entry, model, change)));
    const restore = button(
      trans.__("Restore all"),
      trans.__("Take back every change of this model"),
      () => this.act(at, entry, { do: "restore", model: model.key }),
    );
    restore.dataset["focus"] = `restore ${model.key}`;
    entry.append(list, restore);
    entry.classList.toggle("mmkn-panel-changed", active);
    return entry;
  }

  private change(at: Place, entry: HTMLElement, model: ModelEntry, change: Change): HTMLElement {
    const { trans } = this;
    const box = element("input", "mmkn-panel-switch");
    box.type = "checkbox";
    box.setAttribute("role", "switch");
    box.checked = box.defaultChecked = change.on;
    box.title = change.on ? trans.__("Take it back for now") : trans.__("Make it act again");
    box.dataset["focus"] = `switch ${change.key}`;
    box.addEventListener("change", () => {
      const request: Request = {
        do: "switch",
        model: model.key,
        change: change.key,
        on: box.checked,
      };
      this.act(at, entry, request);
    });
    const what = `${change.kind}: ${change.name} (${this.neurons(change.neurons)})`;
    return element("li", change.on ? "" : "mmkn-panel-off", element("label", "", box, ` ${what}`));
  }

  /** Have the process that the entry was drawn for do something, whatever is current by then. */
  private act({ watch, process }: Place, entry: HTMLElement, request: Request): void {
    const settle = (): void => {
      for (const box of entry.querySelectorAll("input")) box.checked = box.defaultChecked;
      entry.removeAttribute("aria-busy");
    };
    // Not disabled while it works: a disabled control loses the keyboard's focus.
    if (entry.hasAttribute("aria-busy")) return;
    entry.setAttribute("aria-busy", "true");
    entry.querySelectorAll("[role=alert]").forEach((said) => said.remove());
    watch.act(request, process).then(settle, (error: Error) => {
      settle();
      const said = this.note(error.message);
      said.setAttribute("role", "alert");
      entry.append(said);
    });
  }

  private study(notebook: NotebookPanel, study: StudyEntry): HTMLElement {
    const { trans } = this;
    const open = button(
      trans.__("Open Explorer"),
      trans.__("Show this study beside the notebook"),
      () => this.actions.open(notebook, study.variable, "study"),
    );
    open.dataset["focus"] = `open ${study.variable}`;
    const detail = `${study.model} · ${this.count(study.scenes, "%1 scene", "%1 scenes")}`;
    return this.entry(study.variable, study.concept, detail, open);
  }

  private set(notebook: NotebookPanel, set: SetEntry, canAblate: boolean): HTMLElement {
    const { trans } = this;
    const layers = Object.entries(set.layers).map(([layer, n]) => `L${layer}: ${n}`);
    const detail = [this.neurons(set.neurons), layers.join(", ")].filter(Boolean).join(" · ");
    const entry = this.entry(set.variable, "", detail);
    if (canAblate && set.neurons > 0) {
      const ablate = button(trans.__("Ablate…"), trans.__("Switch these neurons off"), () =>
        this.actions.ablate(notebook, set.variable),
      );
      ablate.dataset["focus"] = `ablate ${set.variable}`;
      entry.append(ablate);
    }
    return entry;
  }

  private store(notebook: NotebookPanel, store: StoreEntry): HTMLElement {
    const { trans } = this;
    const open = button(
      trans.__("Open Explorer"),
      trans.__("Show these activations beside the notebook"),
      () => this.actions.open(notebook, store.variable, "store"),
    );
    open.dataset["focus"] = `open ${store.variable}`;
    const sizes = Object.entries(store.sizes).map(([name, n]) => `${name} ${n}`);
    return this.entry(store.variable, store.model, sizes.join(" × "), open);
  }
}

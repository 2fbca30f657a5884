// The side panel "Neurons": what the active notebook's kernel holds, and what is changed in it.
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import type { ISessionContext } from "@jupyterlab/apputils";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";

import { KernelQuestions, type ModelEntry, type Overview, type StudyEntry } from "./kernel.js";

const SETTLE_MS = 250;

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function button(label: string, title: string, act: () => void): HTMLButtonElement {
  const made = element("button", "mmkn-panel-button", label);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", act);
  return made;
}

function count(n: number, noun: string): string {
  return `${n.toLocaleString("en-US")} ${noun}${n === 1 ? "" : "s"}`;
}

export class NeuronPanel extends Widget {
  private notebook: NotebookPanel | null = null;
  private questions: KernelQuestions | null = null;
  private readonly live = element("div", "mmkn-panel-body");
  private timer = 0;
  private turn = 0;

  constructor(
    private readonly tracker: INotebookTracker,
    private readonly openExplorer: (notebook: NotebookPanel, variable: string) => void,
  ) {
    super();
    this.id = "mmkn-neurons";
    this.addClass("mmkn-panel");
    this.live.setAttribute("aria-live", "polite");
    this.node.append(element("h2", "mmkn-panel-title", "Neurons"), this.live);
    tracker.currentChanged.connect(this.onNotebook, this);
    this.onNotebook();
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    this.tracker.currentChanged.disconnect(this.onNotebook, this);
    this.leave();
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.refreshSoon();
  }

  private leave(): void {
    const session = this.notebook?.sessionContext;
    session?.kernelChanged.disconnect(this.onKernel, this);
    session?.iopubMessage.disconnect(this.onMessage, this);
    session?.statusChanged.disconnect(this.onStatus, this);
  }

  private onNotebook(): void {
    this.leave();
    this.notebook = this.tracker.currentWidget;
    const session = this.notebook?.sessionContext;
    session?.kernelChanged.connect(this.onKernel, this);
    session?.iopubMessage.connect(this.onMessage, this);
    session?.statusChanged.connect(this.onStatus, this);
    this.onKernel();
  }

  private onKernel(): void {
    const kernel: Kernel.IKernelConnection | null | undefined =
      this.notebook?.sessionContext.session?.kernel;
    this.questions = kernel ? new KernelQuestions(kernel) : null;
    this.refreshSoon();
  }

  private onStatus(_: ISessionContext, status: Kernel.Status): void {
    if (["restarting", "autorestarting", "dead", "terminating"].includes(status)) {
      this.refreshSoon();
    }
  }

  private onMessage(_: ISessionContext, message: KernelMessage.IMessage): void {
    if (message.header.msg_type !== "status" || this.questions?.isOwn(message)) return;
    const { execution_state: state } = message.content as { execution_state: string };
    if (state === "idle") this.refreshSoon();
  }

  private refreshSoon(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.refresh(), SETTLE_MS);
  }

  private async refresh(): Promise<void> {
    if (this.isDisposed || !this.isVisible) return;
    const turn = ++this.turn;
    if (!this.notebook) return this.fill(this.note("Open a notebook to see its models."));
    if (!this.questions) return this.fill(this.note("This notebook has no kernel yet."));
    try {
      const found = await this.questions.overview();
      if (turn === this.turn) this.fill(...this.describe(found));
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      if (turn === this.turn) this.fill(this.note(`The kernel could not answer: ${said}`));
    }
  }

  private fill(...nodes: Node[]): void {
    this.live.replaceChildren(...nodes);
  }

  private note(text: string): HTMLElement {
    return element("p", "mmkn-panel-note", text);
  }

  private describe(found: Overview | null): Node[] {
    if (!found || found.models.length + found.studies.length === 0) {
      return [
        this.note("No model in this notebook yet. To begin:"),
        element("pre", "mmkn-panel-code", 'model = mmkn.load_model("pocket")'),
      ];
    }
    return [
      element("h3", "mmkn-panel-section", "Models"),
      ...found.models.map((model) => this.model(model)),
      ...(found.studies.length ? [element("h3", "mmkn-panel-section", "Studies")] : []),
      ...found.studies.map((study) => this.study(study)),
    ];
  }

  private model(model: ModelEntry): HTMLElement {
    const entry = element(
      "section",
      "mmkn-panel-entry",
      element("div", "mmkn-panel-name", element("code", "", model.variable), ` ${model.name}`),
      element(
        "div",
        "mmkn-panel-detail",
        `${count(model.layers, "layer")} × ${count(model.neurons, "neuron")} · ${model.device}`,
      ),
    );
    entry.dataset.variable = model.variable;
    if (model.active.length === 0) {
      entry.append(element("div", "mmkn-panel-detail", "unchanged"));
      return entry;
    }
    const list = element("ul", "mmkn-panel-active");
    for (const item of model.active) {
      list.append(
        element("li", "", `${item.kind}: ${item.name} (${count(item.neurons, "neuron")})`),
      );
    }
    const restore = button("Restore all", "Take back every change of this model", () => {
      restore.disabled = true;
      void this.questions
        ?.restoreAll(model.variable)
        .catch((error: Error) => entry.append(this.note(error.message)))
        .finally(() => this.refreshSoon());
    });
    entry.append(list, restore);
    entry.classList.add("mmkn-panel-changed");
    return entry;
  }

  private study(study: StudyEntry): HTMLElement {
    const entry = element(
      "section",
      "mmkn-panel-entry",
      element("div", "mmkn-panel-name", element("code", "", study.variable), ` ${study.concept}`),
      element("div", "mmkn-panel-detail", `${study.model} · ${count(study.scenes, "scene")}`),
      button("Open Explorer", "Show this study beside the notebook", () => {
        if (this.notebook) this.openExplorer(this.notebook, study.variable);
      }),
    );
    entry.dataset.variable = study.variable;
    return entry;
  }
}

// What is known of one notebook's kernel: one process, its state, and what it holds.
import type { ISessionContext } from "@jupyterlab/apputils";
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { type ISignal, Signal } from "@lumino/signaling";

import { isMain, isWork, KernelQuestions, type Overview, type Request } from "./kernel.js";

export type Known =
  | { is: "no kernel" }
  | { is: "dead" }
  | { is: "other language"; language: string }
  | { is: "unknown" }
  | { is: "absent" }
  | { is: "unused" }
  | { is: "failed"; why: string }
  | { is: "held"; overview: Overview };

const SETTLE_MS = 250;
const PATIENCE_MS = 700;
const GONE = ["dead", "terminating"];
const MENTION = "mmkn";

/** Follows the kernel of one notebook for as long as the notebook is open. */
export class KernelWatch {
  private state: Known = { is: "unknown" };
  private questions: KernelQuestions | null = null;
  private cell = false;
  private silent = false;
  private queued = false;
  private again = false;
  private interesting = false;
  private timer = 0;
  private readonly changes = new Signal<this, void>(this);

  constructor(
    readonly notebook: NotebookPanel,
    private readonly isWanted: (watch: KernelWatch) => boolean,
  ) {
    const { sessionContext } = notebook;
    sessionContext.kernelChanged.connect(this.onKernel, this);
    sessionContext.iopubMessage.connect(this.onMessage, this);
    sessionContext.statusChanged.connect(this.onStatus, this);
    notebook.disposed.connect(this.dispose, this);
    this.onKernel();
  }

  /** Something else is known now. */
  get changed(): ISignal<this, void> {
    return this.changes;
  }

  /** What is known of this notebook's kernel, and of no other. */
  get known(): Known {
    return this.state;
  }

  /** Whether a cell runs, or the kernel keeps silent as if one did. */
  get busy(): boolean {
    return this.cell || this.silent;
  }

  /** Whether it is known that a cell runs. */
  get runs(): boolean {
    return this.cell;
  }

  /** Whether the kernel does what it is asked beside the running cell. */
  get answersWhileBusy(): boolean {
    return this.questions?.canInterject ?? false;
  }

  /** The process that `known` is about; a restart makes another. */
  get process(): object | null {
    return this.questions;
  }

  /** What the kernel holds, if it said so. */
  get overview(): Overview | null {
    return this.state.is === "held" ? this.state.overview : null;
  }

  /** Whether the notebook speaks of the package; others are asked only where one looks. */
  get ofInterest(): boolean {
    return this.interesting;
  }

  /** Ask anew, soon, if somebody wants to know. */
  refresh(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      if (this.isWanted(this)) void this.look();
    }, SETTLE_MS);
  }

  /** Ask now, whoever looks; a kernel that does not answer within a moment is left to its work. */
  async catchUp(): Promise<void> {
    const moment = new Promise<void>((resolve) => void window.setTimeout(resolve, 2 * PATIENCE_MS));
    await Promise.race([this.look(), moment]);
  }

  /**
   * Have the process that was drawn do something; return the code that it gave, if it gave any.
   * Nothing is done when another process has taken its place.
   */
  async act(request: Request, process: object | null): Promise<string> {
    const { questions } = this;
    if (!questions || questions !== process) {
      throw new Error("the kernel was restarted or changed since this was drawn");
    }
    const answer = await questions.ask(request, this.busy);
    if (typeof answer === "string") throw new Error("mmkn_widgets is not in use in this kernel");
    if (questions === this.questions) this.become({ is: "held", overview: answer.overview });
    return answer.python ?? "";
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.questions?.dispose();
    this.questions = null;
    Signal.clearData(this);
  }

  private become(known: Known): void {
    this.state = known;
    this.changes.emit();
  }

  /** A new process: nothing that was known of the last one holds. */
  private onKernel(): void {
    this.questions?.dispose();
    this.questions = null;
    this.cell = this.silent = this.queued = this.again = false;
    const kernel: Kernel.IKernelConnection | null | undefined =
      this.notebook.sessionContext.session?.kernel;
    // JupyterLab lets go of a dead kernel a moment after it says that it is dead.
    if (!kernel) return this.become({ is: this.state.is === "dead" ? "dead" : "no kernel" });
    if (GONE.includes(kernel.status)) return this.become({ is: "dead" });
    this.silent = kernel.status === "busy";
    const asked = (this.questions = new KernelQuestions(kernel, () => this.refresh()));
    this.become({ is: "unknown" });
    void kernel.spec.then((spec) => {
      if (asked !== this.questions || !spec || spec.language.toLowerCase() === "python") return;
      asked.dispose();
      this.questions = null;
      this.become({ is: "other language", language: spec.display_name });
    });
    this.interesting ||= this.mentioned();
    this.refresh();
  }

  private mentioned(): boolean {
    const { model } = this.notebook.content;
    return [...(model?.cells ?? [])].some((cell) => cell.sharedModel.getSource().includes(MENTION));
  }

  private onStatus(_: ISessionContext, status: Kernel.Status): void {
    if (["restarting", "autorestarting", ...GONE].includes(status)) this.onKernel();
  }

  private onMessage(_: ISessionContext, message: KernelMessage.IMessage): void {
    const parent = message.parent_header as Partial<KernelMessage.IHeader>;
    if (this.questions?.isOwn(message)) return;
    if (message.header.msg_type === "execute_input") {
      this.interesting ||= (message.content as { code: string }).code.includes(MENTION);
    }
    if (message.header.msg_type !== "status" || !isWork(parent)) return;
    const { execution_state: state } = message.content as { execution_state: string };
    if (isMain(parent) && this.cell !== (state === "busy")) {
      this.cell = state === "busy";
      this.silent = false;
      this.changes.emit();
    }
    // A cell that came before our question does not make it wait: it is asked beside the cell.
    if (state === "idle" || this.queued) this.refresh();
  }

  private async look(): Promise<void> {
    const { questions } = this;
    if (!questions) return;
    const beside = this.busy && questions.canInterject;
    // In line one question is enough, and behind a running cell none: its end asks.
    if (!beside && this.queued) this.again = true;
    if (!beside && (this.cell || this.queued)) return;
    const late = beside ? 0 : window.setTimeout(() => this.fallSilent(questions), PATIENCE_MS);
    this.queued ||= !beside;
    let known: Known;
    try {
      const answer = await questions.ask({ do: "overview" }, beside);
      known = typeof answer === "string" ? { is: answer } : { is: "held", ...answer };
    } catch (error) {
      known = { is: "failed", why: error instanceof Error ? error.message : String(error) };
    }
    window.clearTimeout(late);
    if (questions !== this.questions) return;
    if (!beside) this.queued = this.silent = false;
    this.become(known);
    if (!beside && this.again) this.refresh();
    this.again &&= beside;
  }

  private fallSilent(questions: KernelQuestions): void {
    if (questions !== this.questions) return;
    this.silent = true;
    this.changes.emit();
  }
}

/** The kernels of all open notebooks, and which of them one looks at. */
export class Watches {
  private readonly all = new Map<NotebookPanel, KernelWatch>();
  private readonly changes = new Signal<this, void>(this);
  private lookers: (() => boolean)[] = [];
  private shown: KernelWatch | null = null;

  constructor(tracker: INotebookTracker) {
    tracker.forEach((notebook) => this.of(notebook));
    tracker.widgetAdded.connect((_, notebook) => void this.of(notebook));
    const turn = (): void => {
      this.shown = tracker.currentWidget && this.of(tracker.currentWidget);
      this.changes.emit();
      this.shown?.refresh();
    };
    tracker.currentChanged.connect(turn);
    turn();
  }

  /** A notebook's; it may be current before the tracker says that it was added. */
  of(notebook: NotebookPanel): KernelWatch {
    const known = this.all.get(notebook);
    if (known) return known;
    const watch = new KernelWatch(
      notebook,
      (it) => it === this.shown && (it.ofInterest || this.lookers.some((looks) => looks())),
    );
    this.all.set(notebook, watch);
    watch.changed.connect(() => {
      if (watch === this.shown) this.changes.emit();
    });
    notebook.disposed.connect(() => this.all.delete(notebook));
    return watch;
  }

  /** The current notebook's. */
  get current(): KernelWatch | null {
    return this.shown;
  }

  /** Another notebook is current, or something else is known of the current one. */
  get changed(): ISignal<this, void> {
    return this.changes;
  }

  /** Ask the kernel of the current notebook whenever `looks` says that somebody looks. */
  addLooker(looks: () => boolean): void {
    this.lookers.push(looks);
  }
}

// What the extension asks the kernel of a notebook, and how it reads the answer.
import type { Kernel, KernelMessage } from "@jupyterlab/services";

export interface Change {
  key: string;
  name: string;
  kind: string;
  neurons: number;
  /** Whether the neurons are off, and not turned up, moved or edited. */
  silenced: boolean;
  on: boolean;
}

export interface ModelEntry {
  key: string;
  variable: string;
  name: string;
  layers: number;
  neurons: number;
  device: string;
  touched: number;
  changes: Change[];
}

export interface StudyEntry {
  variable: string;
  concept: string;
  model: string;
  scenes: number;
}

export interface SetEntry {
  variable: string;
  neurons: number;
  layers: Record<string, number>;
}

export interface StoreEntry {
  variable: string;
  model: string;
  sizes: Record<string, number>;
}

export interface Overview {
  models: ModelEntry[];
  studies: StudyEntry[];
  sets: SetEntry[];
  stores: StoreEntry[];
}

export type Request =
  | { do: "overview" }
  | { do: "restore"; model: string }
  | { do: "switch"; model: string; change: string; on: boolean }
  | { do: "ablate"; model: string; neurons: string }
  | { do: "python"; model: string };

/** What a kernel says: what it holds, or that the package is not imported, or not installed. */
export type Answer = "unused" | "absent" | { overview: Overview; python?: string };

type Said = "unused" | "absent" | { overview: Overview; python?: string } | { error: string };

export const TARGET = "mmkn-panel";
const IN_USE = '__import__("sys").modules.get("mmkn_widgets")';
const PANEL = '__import__("mmkn_widgets.widgets.panel", fromlist=["panel"])';
const ABSENT = '__import__("importlib.util", fromlist=["util"]).find_spec("mmkn_widgets") is None';

/** A Python string literal on one line: JSON's escapes mean the same in Python, which knows more ends of lines. */
export function quoted(text: string): string {
  const escape = (end: string): string => `\\u${end.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\u0085\u2028\u2029]/g, escape);
}

/** The text inside a Python string's repr. */
export function unquoted(repr: string): string {
  const inside = repr.slice(1, -1);
  return inside.replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)/g, (whole, code: string) => {
    if (code[0] === "x" || (code[0] === "u" && code.length > 1)) {
      return String.fromCharCode(parseInt(code.slice(1), 16));
    }
    return { n: "\n", t: "\t", r: "\r" }[code] ?? (code.length === 1 ? code : whole);
  });
}

/** A Python expression that asks; where the package is not in use, it imports nothing. */
export function question(request: Request): string {
  const unused = `('"absent"' if ${ABSENT} else '"unused"')`;
  return `${PANEL}.answer_json(${quoted(JSON.stringify(request))}) if ${IN_USE} else ${unused}`;
}

/** A Python expression after which the kernel answers comms, also while a cell runs. */
export const LISTEN =
  `__import__("comm").get_comm_manager().register_target(${quoted(TARGET)}, ` +
  `lambda comm, message: ${PANEL}.on_comm(comm, message) if ${IN_USE} ` +
  'else comm.close({"answer": "unused"}))';

function read(said: Said | undefined): Answer {
  if (said === undefined) throw new Error("the kernel gave no answer");
  if (typeof said !== "string" && "error" in said) throw new Error(said.error);
  return said;
}

/** Whether a message is about what a person or a widget ran; the rest is the machinery's talk. */
export function isWork(parent: Partial<KernelMessage.IHeader>): boolean {
  return ["execute_request", "comm_msg", "comm_open"].includes(String(parent.msg_type));
}

/** Whether a message is about a cell on the kernel's main shell, which subshells do not occupy. */
export function isMain(parent: Partial<KernelMessage.IHeader>): boolean {
  const { subshell_id: subshell } = parent as { subshell_id?: string | null };
  return parent.msg_type === "execute_request" && (subshell ?? null) === null;
}

/** A comm as JupyterLab makes it: messages before its subshell runs go to the main shell. */
type StartedComm = Kernel.IComm & { readonly subshellStarted?: Promise<void> };

/** One kernel process, asked without leaving a trace in its history. */
export class KernelQuestions {
  private readonly asked = new Set<string>();
  private listening = false;
  private ear: Kernel.IComm | null = null;

  constructor(
    readonly kernel: Kernel.IKernelConnection,
    private readonly onChange: () => void,
  ) {}

  /** Whether a message is the echo of a question of ours. */
  isOwn(message: KernelMessage.IMessage): boolean {
    const parent = message.parent_header;
    return "msg_id" in parent && this.asked.has(parent.msg_id);
  }

  /** Whether the kernel answers while a cell runs. */
  get canInterject(): boolean {
    const { supportsSubshells, commsOverSubshells } = this.kernel as Kernel.IKernelConnection & {
      commsOverSubshells?: string;
    };
    return this.listening && supportsSubshells && commsOverSubshells !== "disabled";
  }

  /** Ask, beside the running cell if one runs and the kernel can. */
  async ask(request: Request, busy: boolean): Promise<Answer> {
    const said = await (busy && this.canInterject ? this.interject(request) : this.queue(request));
    const answer = read(said);
    if (typeof answer !== "string") void this.listen();
    return answer;
  }

  /** Hear no more of this kernel. */
  dispose(): void {
    if (this.ear && !this.ear.isDisposed && !this.kernel.isDisposed) this.ear.close();
    this.ear = null;
  }

  /** On the main shell, behind what runs there. */
  private async queue(request: Request): Promise<Said> {
    const future = this.kernel.requestExecute({
      code: "",
      silent: true,
      store_history: false,
      allow_stdin: false,
      user_expressions: { answer: question(request), listen: LISTEN },
    });
    const done = this.own(future.msg.header.msg_id);
    try {
      const { content } = await future.done;
      if (content.status !== "ok") {
        throw new Error("evalue" in content ? content.evalue : "the kernel was interrupted");
      }
      const said = content.user_expressions as Record<
        string,
        { status: string; evalue?: string; data?: Record<string, string> } | undefined
      >;
      this.listening = said["listen"]?.status === "ok";
      const repr = said["answer"]?.data?.["text/plain"];
      if (said["answer"]?.status !== "ok" || repr === undefined) {
        throw new Error(said["answer"]?.evalue ?? "the kernel gave no answer");
      }
      return JSON.parse(unquoted(repr)) as Said;
    } finally {
      done();
    }
  }

  /** On a subshell, by a comm that the kernel closes with its answer. */
  private async interject(request: Request): Promise<Said> {
    const comm: StartedComm = this.kernel.createComm(TARGET);
    await comm.subshellStarted;
    return new Promise<Said>((resolve, reject) => {
      comm.onClose = ({ content }) => {
        const { answer } = content.data as { answer?: Said };
        if (answer === undefined) reject(new Error("the kernel gave no answer"));
        else resolve(answer);
      };
      this.open(comm, { ...request });
    });
  }

  /** Keep a comm open by which the kernel says when something changed. */
  private async listen(): Promise<void> {
    if (this.ear || !this.listening) return;
    const ear: StartedComm = (this.ear = this.kernel.createComm(TARGET));
    ear.onMsg = () => this.onChange();
    ear.onClose = () => {
      if (this.ear === ear) this.ear = null;
    };
    if (this.canInterject) await ear.subshellStarted;
    if (this.ear === ear && !ear.isDisposed) this.open(ear, { do: "listen" });
  }

  private open(comm: Kernel.IComm, data: Record<string, string | boolean>): void {
    const future = comm.open(data);
    const done = this.own(future.msg.header.msg_id);
    future.done.then(done, done);
  }

  private own(id: string): () => void {
    this.asked.add(id);
    // The kernel's "idle" for this question may still be on its way when it is answered.
    return () => void setTimeout(() => this.asked.delete(id), 5000);
  }
}

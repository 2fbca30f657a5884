// What the side panel asks the kernel of a notebook, and how it reads the answer.
import type { Kernel, KernelMessage } from "@jupyterlab/services";

export interface Active {
  name: string;
  kind: string;
  neurons: number;
}

export interface ModelEntry {
  variable: string;
  name: string;
  layers: number;
  neurons: number;
  device: string;
  active: Active[];
}

export interface StudyEntry {
  variable: string;
  concept: string;
  model: string;
  scenes: number;
}

export interface Overview {
  models: ModelEntry[];
  studies: StudyEntry[];
}

const PANEL = '__import__("mmkn_widgets.widgets.panel", fromlist=["panel"])';
// Asked in a notebook that does not use the package, the question imports nothing.
const ASK = `${PANEL}.overview_json() if "mmkn_widgets" in __import__("sys").modules else "null"`;

/** A Python string literal: JSON's escapes mean the same in Python. */
export function quoted(text: string): string {
  return JSON.stringify(text);
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

/** One notebook's kernel, asked without leaving a trace in its history. */
export class KernelQuestions {
  private readonly asked = new Set<string>();

  constructor(private readonly kernel: Kernel.IKernelConnection) {}

  /** Whether a message is the echo of a question of ours. */
  isOwn(message: KernelMessage.IMessage): boolean {
    const parent = message.parent_header;
    return "msg_id" in parent && this.asked.has(parent.msg_id);
  }

  /** The models and studies in the notebook; null when the package is not in use there. */
  async overview(): Promise<Overview | null> {
    const reply = await this.ask("", { overview: ASK });
    const answer = reply.user_expressions["overview"] as
      { status: string; evalue?: string; data?: Record<string, string> } | undefined;
    const repr = answer?.data?.["text/plain"];
    if (answer?.status !== "ok" || repr === undefined) {
      throw new Error(answer?.evalue ?? "the kernel gave no answer");
    }
    return JSON.parse(unquoted(repr)) as Overview | null;
  }

  /** Take back every intervention of the model that a variable holds. */
  async restoreAll(variable: string): Promise<void> {
    await this.ask(`${PANEL}.restore_all(${quoted(variable)})`, {});
  }

  private async ask(
    code: string,
    expressions: Record<string, string>,
  ): Promise<KernelMessage.IExecuteReply> {
    const future = this.kernel.requestExecute({
      code,
      silent: true,
      store_history: false,
      allow_stdin: false,
      user_expressions: expressions,
    });
    const id = future.msg.header.msg_id;
    this.asked.add(id);
    try {
      const { content } = await future.done;
      if (content.status !== "ok") {
        throw new Error("evalue" in content ? content.evalue : "the kernel was interrupted");
      }
      return content;
    } finally {
      // The kernel's "idle" for this question may still be on its way.
      setTimeout(() => this.asked.delete(id), 5000);
    }
  }
}

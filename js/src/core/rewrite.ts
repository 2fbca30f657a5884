// Requests that write the caption anew: only the last one counts, and its text streams in.

import type { Session } from "./session";
import type { RequestName } from "./traits";

const NAMES = [
  "ablate",
  "restore",
  "undo",
  "redo",
  "transplant",
] as const satisfies readonly RequestName[];
export type Rewriting = (typeof NAMES)[number];
export type Rewrite = (
  name: Rewriting,
  args?: Record<string, unknown>,
  buffers?: ArrayBuffer[],
) => Promise<unknown>;

/** `onstream` gets the text so far, and null when nothing is being written any more. */
export function rewriter(session: Session, onstream?: (text: string | null) => void): Rewrite {
  return (name, args = {}, buffers = []) => {
    let text = "";
    for (const other of NAMES) session.requests.drop(other);
    onstream?.("");
    return session
      .ask(name, args, buffers, (piece) => {
        text += piece;
        onstream?.(text);
      })
      .finally(() => {
        if (!NAMES.some((other) => session.requests.waiting(other))) onstream?.(null);
      });
  };
}

// Whether the kernel behind a widget is there: asked at the start, when a request stays unanswered, and when the host says that the line is cut.

import type { Session } from "./session";

export type KernelState = "there" | "silent" | "restarted" | "saved";

const PATIENCE = 6000;
const AGAIN = 5000;

const WHY: Record<Exclude<KernelState, "there">, string> = {
  silent: "the kernel does not answer",
  restarted: "the kernel was restarted: run the cell again",
  saved: "no kernel stands behind a saved view: run the cell again",
};

/** `show` is called when the state changes; while it is not "there", nothing is asked of the kernel. */
export function watchKernel(session: Session, show: (state: KernelState) => void): void {
  const { model } = session.store;
  let state: KernelState = "there";
  let timer: ReturnType<typeof setTimeout> | undefined;
  let cut = false;

  const set = (next: KernelState): void => {
    if (next === state) return;
    state = next;
    session.setGone(next === "there" ? "" : WHY[next]);
    show(next);
    if (next !== "there") session.announce(WHY[next]);
  };
  const later = (run: () => void, after: number): void => {
    clearTimeout(timer);
    timer = setTimeout(run, after);
  };
  const ping = (): void => {
    if (session.store.get("read_only")) return;
    later(
      () => {
        const busy = session.store.get("status")?.state === "working" && !cut;
        if (!busy) set(cut ? "restarted" : "silent");
        if (!cut) later(ping, AGAIN); // a restarted kernel knows nothing of this widget
      },
      cut ? 1500 : PATIENCE,
    );
    session.requests.send("hello").then(
      () => {
        clearTimeout(timer);
        cut = false;
        set("there");
      },
      () => undefined,
    );
  };
  // A host with the standard widget manager says so when the kernel restarts; others leave requests unanswered.
  const lost = (): void => {
    cut = true;
    ping();
  };
  model.on("comm_live_update", lost);
  session.requests.onquiet(PATIENCE, () => {
    if (state === "there") ping();
  });
  session.off.signal.addEventListener("abort", () => {
    clearTimeout(timer);
    model.off("comm_live_update", lost);
  });
  // A notebook that was opened again shows its saved state: what came with it, such as the layout, has no line to a kernel.
  if ((model.get("layout") as { comm_live?: boolean } | undefined)?.comm_live === false)
    set("saved");
  else ping();
}

// The code that gives, without a widget, the neurons that are on screen, and does what acts on the model.

import { float32Literal, pythonFloat, pythonString } from "./format";
import type { Session } from "./session";

/** Python source; running it gives the same neurons. `prints`: and says what it found. */
export function asPython(session: Session, prints = false): string {
  const { store } = session;
  const width = session.evidence().width || 1;
  const place = (row: number): readonly [number, number] => store.get("rows")?.[row] ?? [row, -1];
  const at = (id: number): string => {
    const [layer, expert] = place(Math.floor(id / width));
    return expert < 0 ? `(${layer}, ${id % width})` : `(${layer}, ${expert}, ${id % width})`;
  };
  const cuts =
    store.get("mode") === "quantile"
      ? [
          `quantile_d=${pythonFloat(store.get("quantile_d"))}`,
          `quantile_g=${pythonFloat(store.get("quantile_g"))}`,
        ]
      : [
          `threshold_d=${float32Literal(store.get("threshold_d"))}`,
          `threshold_g=${float32Literal(store.get("threshold_g"))}`,
        ];
  const [td, tg] = session.thresholds();
  const off = session.rowsOff();
  const out = [...session.unchecked()].filter((id) =>
    session.evidence().passes(id, Math.fround(td), Math.fround(tg), off),
  );
  if (out.length) cuts.push(`exclude=[${out.map(at).join(", ")}]`);
  const lines = [
    store.get("setup_code") ||
      `study = mmkn.study(model, ${pythonString(store.get("concept") ?? "")}, scenes)`,
    `neurons = ${session.picked() ? explicit(session, place) : `study.neurons(${cuts.join(", ")})`}`,
  ];
  if (off.size && !session.picked()) {
    const experts = [...off].some((row) => place(row)[1] >= 0);
    const gone = [...off]
      .map((row) => (experts ? `(${place(row).join(", ")})` : String(place(row)[0])))
      .join(", ");
    lines.push(
      `neurons = neurons.filter(lambda n: ${experts ? "(n.layer, n.expert)" : "n.layer"} not in {${gone}})`,
    );
  }
  const acting = store.get("ablation")?.code;
  if (prints && store.get("found_code")) {
    lines.push(store.get("found_code"));
    if (acting) lines.push('print("after: ", end="")');
  }
  if (acting) lines.push(acting); // the kernel knows what acts: it may be of an earlier click
  return lines.join("\n") + "\n";
}

/** A picked set, neuron by neuron, best first. */
function explicit(session: Session, place: (row: number) => readonly [number, number]): string {
  const width = session.evidence().width || 1;
  const ids = [...session.survivors()];
  const rows = ids.map((id) => place(Math.floor(id / width)));
  const columns = [rows.map(([layer]) => layer), ids.map((id) => id % width)];
  if (rows.some(([, expert]) => expert >= 0)) columns.push(rows.map(([, expert]) => expert));
  return `mmkn.NeuronSet(${columns.map((column) => `[${column.join(", ")}]`).join(", ")})`;
}

/** Have the kernel write the pictures of one's own that the code reads; what was written, in words. */
export async function writePictures(session: Session, own: boolean): Promise<string> {
  if (!own || session.blocked()) return "";
  const reply = await session.ask("write_pictures");
  const files = (reply?.result["files"] ?? []) as string[];
  const n = files.length;
  return n
    ? `it reads ${n === 1 ? "a file" : `${n} files`} in ${String(reply?.result["folder"])}`
    : "";
}

/** Whether a picture of one's own is among the scenes. */
export function hasOwn(session: Session): boolean {
  return (session.store.get("scenes") ?? []).some((line) => line.own);
}

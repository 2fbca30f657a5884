// The kept neurons as CSV, quoted so that no cell runs as a formula.

import type { Session } from "./session";

function quote(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

export function neuronsCsv(session: Session): string {
  const { difference, gradcam, width } = session.evidence();
  const lines = ["row,layer,index,difference,gradcam,activation,words"];
  for (const id of session.survivors()) {
    const row = Math.floor(id / width);
    const layer = session.rowName(row);
    lines.push(
      [
        row,
        quote(layer),
        id % width,
        difference[id],
        gradcam[id],
        session.activation(id) ?? "",
        quote((session.words(id) ?? []).map((w) => w.trim()).join(" ")),
      ].join(","),
    );
  }
  return lines.join("\n") + "\n";
}

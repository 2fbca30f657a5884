// Puts the notebooks of notebooks/ into the JupyterLab extension, so that a wheel brings them along.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "..", "notebooks");
const target = join(here, "lib", "lab");

const text = ({ source }) => (Array.isArray(source) ? source.join("") : source);
const tutorials = readdirSync(source)
  .filter((name) => name.endsWith(".ipynb"))
  .map((name) => {
    const content = JSON.parse(readFileSync(join(source, name), "utf8"));
    // what they show is for those who only read; who opens one runs it
    for (const cell of content.cells) {
      if (cell.cell_type === "code") Object.assign(cell, { outputs: [], execution_count: null });
    }
    const title = /^#\s+(.+)$/m.exec(text(content.cells[0]))?.[1] ?? name;
    return { name, title, content };
  })
  .sort((a, b) => (a.name < b.name ? -1 : 1));
mkdirSync(target, { recursive: true });
writeFileSync(
  join(target, "notebooks.js"),
  `export const TUTORIALS = ${JSON.stringify(tutorials)};\n`,
);

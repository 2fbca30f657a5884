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
    const title = /^#\s+(.+)$/m.exec(text(content.cells[0]))?.[1] ?? name;
    return { name, title, content };
  })
  .sort((a, b) => (b.name === "quickstart.ipynb") - (a.name === "quickstart.ipynb"));
mkdirSync(target, { recursive: true });
writeFileSync(
  join(target, "notebooks.js"),
  `export const TUTORIALS = ${JSON.stringify(tutorials)};\n`,
);

// Puts notebooks/quickstart.ipynb into the JupyterLab extension, so that a wheel brings it along.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const source = readFileSync(join(here, "..", "notebooks", "quickstart.ipynb"), "utf8");
const target = join(here, "lib", "lab");
mkdirSync(target, { recursive: true });
writeFileSync(
  join(target, "quickstart.js"),
  `export const QUICKSTART = ${JSON.stringify(JSON.parse(source))};\n`,
);

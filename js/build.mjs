// Builds every module of src/widgets into one self-contained ES module in mmkn_widgets/static.
import { build, context } from "esbuild";
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { styles } from "./styles.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src", "widgets");
const target = join(here, "..", "mmkn_widgets", "static");
/** Every module is read with each widget of its kind: what is larger is worth a second thought. */
const LIMIT = 136 * 1024;

const options = {
  plugins: [styles],
  entryPoints: readdirSync(source)
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(source, name)),
  outdir: target,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};

if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  await build(options);
  let tooLarge = false;
  for (const name of readdirSync(target).filter((file) => file.endsWith(".js"))) {
    const { size } = statSync(join(target, name));
    console.log(`${name.padEnd(24)} ${(size / 1024).toFixed(1).padStart(6)} KB`);
    tooLarge ||= size > LIMIT;
  }
  if (tooLarge) {
    console.error("a widget module is larger than 136 KB");
    process.exit(1);
  }
}

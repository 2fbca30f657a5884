// Builds every module of src/widgets into one self-contained ES module in mmkn_widgets/static.
import { build, context } from "esbuild";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src", "widgets");
const target = join(here, "..", "mmkn_widgets", "static");
const LIMIT = 100 * 1024;

/** Style sheets are text to esbuild: nest the rules in their common ancestor and take the white space out of them here. */
const styles = {
  name: "styles",
  setup({ onLoad }) {
    const nested = (css) => `.mmkn {${css.replace(/\.mmkn (?=[^{}]*\{)/g, (_, at) => (css.startsWith("{", at + 6) ? "& " : "")).replace(/\.mmkn(?=[.[][^{}]*\{)/g, "&")}}`;
    const squeeze = (text) => "`" + nested(text.slice(1, -1)).replace(/\s*\n\s*/g, " ").replace(/ ?([{};,]) ?/g, "$1").replace(/: (?=[^;{}]*[;}])/g, ":").replace(/;}/g, "}") + "`";
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (!/^\.mmkn /m.test(text)) return undefined;
      return { loader: "ts", contents: text.replace(/`\n[^`]*`/g, squeeze) };
    });
  },
};

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
    console.error("a widget module is larger than 100 KB");
    process.exit(1);
  }
}

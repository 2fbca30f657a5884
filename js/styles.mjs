// A style sheet as text: what it imports is put in, and esbuild takes the white space out.
import { build } from "esbuild";
import { resolve } from "node:path";

/** The minified text of a style sheet, and the files it was made from. */
export async function styleText(path) {
  const { outputFiles, metafile } = await build({
    entryPoints: [path],
    bundle: true,
    minify: true,
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
    metafile: true,
    write: false,
  });
  return {
    text: outputFiles[0].text.trim(),
    files: Object.keys(metafile.inputs).map((file) => resolve(file)),
  };
}

/** For esbuild: `import CSS from "./part.css"` is a text. */
export const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { text, files } = await styleText(path);
      return { loader: "text", contents: text, watchFiles: files };
    });
  },
};

/** The same for Vite, whose own handling of style sheets a name that does not end in .css passes by. */
export const viteStyles = {
  name: "styles",
  enforce: "pre",
  resolveId(source, importer) {
    return source.endsWith(".css") ? `${resolve(importer, "..", source)}.text` : undefined;
  },
  async load(id) {
    if (!id.endsWith(".css.text")) return undefined;
    const { text } = await styleText(id.slice(0, -".text".length));
    return `export default ${JSON.stringify(text)}`;
  },
};

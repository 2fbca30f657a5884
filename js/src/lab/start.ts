// Notebooks to begin with: the quickstart, which travels inside the extension, and a short one.
import type { Contents } from "@jupyterlab/services";

import { QUICKSTART } from "./quickstart.js";

interface Commands {
  execute(id: string, args: Record<string, string>): Promise<unknown>;
}

type Store = Pick<Contents.IManager, "get" | "save">;

const KERNEL = { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } };

function join(folder: string, name: string): string {
  return folder ? `${folder}/${name}` : name;
}

async function exists(store: Store, path: string): Promise<boolean> {
  try {
    await store.get(path, { content: false });
    return true;
  } catch {
    return false;
  }
}

async function free(store: Store, folder: string, name: string): Promise<string> {
  const stem = name.replace(/\.ipynb$/, "");
  for (let number = 0; ; number++) {
    const path = join(folder, number ? `${stem}-${number}.ipynb` : name);
    if (!(await exists(store, path))) return path;
  }
}

async function saveAndOpen(
  commands: Commands,
  store: Store,
  path: string,
  content: unknown,
): Promise<void> {
  await store.save(path, { type: "notebook", format: "json", content });
  await commands.execute("docmanager:open", { path });
}

/** Write a notebook of code cells under a free name, and open it. */
export async function openNotebook(
  commands: Commands,
  store: Store,
  folder: string,
  name: string,
  cells: string[],
): Promise<void> {
  const content = {
    cells: cells.map((source) => ({
      cell_type: "code",
      execution_count: null,
      metadata: {},
      outputs: [],
      source,
    })),
    metadata: KERNEL,
    nbformat: 4,
    nbformat_minor: 4,
  };
  await saveAndOpen(commands, store, await free(store, folder, name), content);
}

/** Open the quickstart that is there, or write the one inside the extension first. */
export async function quickstart(commands: Commands, store: Store, folder: string): Promise<void> {
  for (const path of [join(folder, "quickstart.ipynb"), "notebooks/quickstart.ipynb"]) {
    if (await exists(store, path)) {
      await commands.execute("docmanager:open", { path });
      return;
    }
  }
  await saveAndOpen(commands, store, join(folder, "quickstart.ipynb"), QUICKSTART);
}

// Notebooks to begin with: tutorials, which travel inside the extension, and notebooks made of cells.
import type { Contents } from "@jupyterlab/services";

export interface Commands {
  execute(id: string, args: Record<string, string>): Promise<unknown>;
}

export type Store = Pick<Contents.IManager, "get" | "save">;

export interface Tutorial {
  name: string;
  title: string;
  content: { cells: { source: string | string[] }[] };
}

const KERNEL = { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } };

export function join(folder: string, name: string): string {
  return folder ? `${folder.replace(/\/$/, "")}/${name}` : name;
}

async function held(store: Store, path: string, content: boolean): Promise<Contents.IModel | null> {
  try {
    return await store.get(path, { content });
  } catch {
    return null;
  }
}

async function free(store: Store, folder: string, name: string): Promise<string> {
  const stem = name.replace(/\.ipynb$/, "");
  for (let number = 0; ; number++) {
    const path = join(folder, number ? `${stem}-${number}.ipynb` : name);
    if (!(await held(store, path, false))) return path;
  }
}

async function saveAndOpen(
  commands: Commands,
  store: Store,
  path: string,
  content: unknown,
): Promise<unknown> {
  await store.save(path, { type: "notebook", format: "json", content });
  return commands.execute("docmanager:open", { path });
}

/** Write a notebook of code cells under a free name, and open it; return what opening returns. */
export async function openNotebook(
  commands: Commands,
  store: Store,
  folder: string,
  name: string,
  cells: string[],
): Promise<unknown> {
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
  return saveAndOpen(commands, store, await free(store, folder, name), content);
}

function first(content: unknown): string {
  const cells = (content as Partial<Tutorial["content"]> | null)?.cells ?? [];
  const source = cells[0]?.source ?? "";
  return (Array.isArray(source) ? source.join("") : source).trim();
}

/** Open a tutorial: the copy that is in the folder, with what was done in it, or a new copy under a free name. */
export async function openTutorial(
  commands: Commands,
  store: Store,
  folder: string,
  { name, content }: Tutorial,
): Promise<void> {
  const path = join(folder, name);
  const there = await held(store, path, true);
  if (there && first(there.content) === first(content)) {
    await commands.execute("docmanager:open", { path });
  } else {
    await saveAndOpen(commands, store, await free(store, folder, name), content);
  }
}

import { describe, expect, it, vi } from "vitest";

import * as code from "../src/lab/code";
import {
  isMain,
  isWork,
  LISTEN,
  type Overview,
  question,
  quoted,
  unquoted,
} from "../src/lab/kernel";
import { readNeuronFile } from "../src/lab/neuron_set";
import { DEFAULTS, preferencesOf } from "../src/lab/preferences";
import { join, openNotebook, openTutorial, type Store } from "../src/lab/start";
import { summary } from "../src/lab/summary";

const NASTY = 'a "quoted" \\ path\n with\u2028 <b>é</b> 😀.png';
const trans = {
  _n: (one: string, many: string, n: number) => (n === 1 ? one : many),
} as Parameters<typeof summary>[1];

describe("what the kernel is asked", () => {
  it("quotes text so that Python reads the same text", () => {
    expect(JSON.parse(quoted(NASTY))).toBe(NASTY);
    expect(quoted(NASTY)).not.toContain("\n");
  });

  it("reads a Python string's repr", () => {
    expect(unquoted(String.raw`'a\'b\\c\nd\xe9\u2028'`)).toBe("a'b\\c\nd\xe9\u2028");
    expect(JSON.parse(unquoted(String.raw`'{"error": "it\'s \\"x\\""}'`))).toEqual({
      error: 'it\'s "x"',
    });
  });

  it("is one expression on one line, also with hostile names", () => {
    const asked = question({ do: "ablate", model: NASTY, neurons: NASTY });
    expect(asked).not.toContain("\n");
    const [, text] = /answer_json\((".*")\) if/.exec(asked) ?? [];
    expect(JSON.parse(JSON.parse(text ?? "") as string)).toMatchObject({ neurons: NASTY });
    expect(LISTEN).not.toContain("\n");
  });

  it("tells a cell on the main shell from what runs beside it", () => {
    expect(isMain({ msg_type: "execute_request" })).toBe(true);
    expect(isMain({ msg_type: "execute_request", subshell_id: null } as never)).toBe(true);
    expect(isMain({ msg_type: "execute_request", subshell_id: "x" } as never)).toBe(false);
    expect(isMain({ msg_type: "comm_msg" })).toBe(false);
    expect(isWork({ msg_type: "comm_msg" })).toBe(true);
    expect(isWork({ msg_type: "kernel_info_request" })).toBe(false);
    expect(isWork({})).toBe(false);
  });
});

describe("what is put into notebooks", () => {
  const teaching = { colormap: "viridis", preset: "teaching", method: "otsu" };

  it("carries its import line", () => {
    expect(code.LOAD_MODEL).toMatch(/^import mmkn_widgets as mmkn\n/);
    for (const cells of [
      code.studyCells(DEFAULTS),
      code.savedStudyCells("x", DEFAULTS),
      code.pictureCells("x", "car", DEFAULTS),
    ]) {
      expect(cells[0]).toMatch(/^import mmkn_widgets as mmkn\n/);
    }
  });

  it("says nothing of preferences that are the default", () => {
    expect(code.studyCells(DEFAULTS)).toHaveLength(3);
    expect(code.studyCells(DEFAULTS)[2]).toBe("mmkn.Explorer(study)");
  });

  it("waits for the settings, and reads them as they are now", async () => {
    const settings = { composite: { colormap: "viridis" } };
    let read = (): void => undefined;
    const load = (): Promise<never> =>
      new Promise((resolve) => {
        read = () => resolve(settings as never);
      });
    const preferences = preferencesOf({ load }, "x");
    const early = preferences();
    read();
    expect(await early).toEqual({ ...DEFAULTS, colormap: "viridis" });
    settings.composite = { colormap: "magma" };
    expect((await preferences()).colormap).toBe("magma");
  });

  it("says that the defaults hold where the settings cannot be read", async () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const load = (): Promise<never> => Promise.reject(new Error("no schema"));
    expect(await preferencesOf({ load }, "x")()).toEqual(DEFAULTS);
    expect(said).toHaveBeenCalledOnce();
    said.mockRestore();
    expect(await preferencesOf(null, "x")()).toEqual(DEFAULTS);
  });

  it("follows the settings", () => {
    expect(code.studyCells(teaching)[2]).toBe(
      'explorer = mmkn.Explorer(study, preset="teaching", ' +
        '**mmkn.attribution.automatic_thresholds(study.evidence, "otsu"))\n' +
        'explorer.colormap = "viridis"\nexplorer',
    );
    expect(code.viewCode("_v", "mmkn.Explorer(study)", teaching)).toContain(
      '_v.colormap = "viridis"',
    );
  });

  it("quotes paths and concepts", () => {
    const cells = code.pictureCells(NASTY, 'x"); boom(', DEFAULTS);
    expect(cells[1]).toBe(`mmkn.Explorer(model, ${quoted(NASTY)}, "x\\"); boom(")`);
    for (const { expression, cell } of [
      code.explorerOfSaved(NASTY),
      code.explorerOfPicture("m", NASTY, "car"),
      code.explorerOfPicture(null, NASTY, "car"),
    ]) {
      expect(expression).toContain(quoted(NASTY));
      expect(expression).not.toContain("\n");
      expect(cell).toMatch(/^import mmkn_widgets as mmkn\n/);
      expect(cell).toContain(quoted(NASTY));
    }
  });

  it("leaves one name in the kernel, and takes it back", () => {
    const lines = code.viewCode("_v", "mmkn.Explorer(study)", DEFAULTS).split("\n");
    expect(lines).toEqual([
      '_v = (lambda mmkn: mmkn.Explorer(study))(__import__("mmkn_widgets"))',
      "_v",
    ]);
    expect(code.closeCode("_v")).toBe('if "_v" in globals(): globals().pop("_v").close()');
  });
});

describe("a file of neurons", () => {
  const evidence = {
    arguments: {
      model: "pocket",
      concept: { word: "car", synonyms: [] },
      scenes: ["pocket:val/7", "pocket:val/13"],
    },
  };
  const made = {
    format: "mmkn-neuron-set",
    version: 1,
    neurons: [
      { layer: 5, index: 3, score: 0.5, sign: 1, words: ["car", "<b>bus</b>"] },
      { layer: 4, index: 1, score: 0.25 },
      { layer: 5, index: 9, score: 0.1, expert: 2 },
    ],
    provenance: {
      method: "two_stage",
      arguments: {
        evidence: JSON.stringify(evidence),
        threshold_d: 1.5,
        threshold_g: 0.25,
        quantile_d: null,
        top: 60,
      },
      versions: { mmkn_widgets: "0.1.0" },
    },
  };
  const read = (changes: object): ReturnType<typeof readNeuronFile> =>
    readNeuronFile(JSON.stringify({ ...made, ...changes }));

  it("says what was found, where and by what", () => {
    const file = read({});
    expect(file).toMatchObject({
      method: "two_stage",
      model: "pocket",
      concept: "car",
      dataset: "pocket:val",
      scenes: ["7", "13"],
      nScenes: 2,
      thresholds: [
        ["threshold_d", 1.5],
        ["threshold_g", 0.25],
        ["top", 60],
      ],
      layers: [
        [4, 1],
        [5, 2],
      ],
    });
    expect(file.neurons[0]?.words).toEqual(["car", "<b>bus</b>"]);
    expect(file.neurons[2]?.expert).toBe(2);
  });

  it("needs no provenance", () => {
    const file = read({ provenance: {} });
    expect(file).toMatchObject({ model: "", concept: "", dataset: "", nScenes: 0, method: "" });
    expect(code.neuronsCode("x", file, DEFAULTS)).toMatch(/neurons\.to_dataframe\(\)$/);
  });

  it("opens in the Explorer of its study where it names one", () => {
    const lines = code.neuronsCode(NASTY, read({}), DEFAULTS).split("\n");
    expect(lines).toContain(`neurons = mmkn.NeuronSet.load(${quoted(NASTY)})`);
    expect(lines).toContain('wanted = ["7","13"]');
    expect(lines.at(-1)).toBe("mmkn.Explorer(study, threshold_d=1.5, threshold_g=0.25)");
  });

  it("is a table where its scenes cannot be found again", () => {
    const own = { arguments: { ...evidence.arguments, scenes: ["mine", "pocket:val/7"] } };
    const arguments_ = { ...made.provenance.arguments, evidence: JSON.stringify(own) };
    const file = read({ provenance: { ...made.provenance, arguments: arguments_ } });
    expect(file).toMatchObject({ dataset: "", nScenes: 2 });
    expect(code.neuronsCode("x", file, DEFAULTS)).toMatch(
      /neurons\.with_words\(model\)\.to_dataframe\(\)$/,
    );
  });

  it.each([
    ["{", /no JSON/],
    ["[]", /format/],
    [JSON.stringify({ format: "mmkn-study", version: 1 }), /"mmkn-study"/],
    [JSON.stringify({ ...made, version: 2 }), /version 2/],
    [JSON.stringify({ ...made, neurons: 3 }), /lists no neurons/],
    [JSON.stringify({ ...made, neurons: [{ layer: -1, index: 0 }] }), /neuron 1/],
  ])("says what is wrong with %s", (content, why) => {
    expect(() => readNeuronFile(content)).toThrow(why);
  });
});

describe("the status bar", () => {
  const change = (n: number, on: boolean, silenced = true) => ({
    key: "k",
    name: "x",
    kind: "ablation",
    neurons: n,
    silenced,
    on,
  });
  const overview = (touched: number, ...changes: ReturnType<typeof change>[]): Overview =>
    ({ models: [{ touched, changes }], studies: [], sets: [], stores: [] }) as unknown as Overview;

  it("is silent where nothing acts", () => {
    expect(summary(null, trans)).toBe("");
    expect(summary(overview(0), trans)).toBe("");
    expect(summary(overview(0, change(3, false)), trans)).toBe("");
  });

  it("counts neurons once, and says off only where they are off", () => {
    expect(summary(overview(37, change(30, true), change(20, true)), trans)).toBe("37 neurons off");
    expect(summary(overview(1, change(1, true)), trans)).toBe("1 neuron off");
    expect(summary(overview(1234, change(1234, true, false)), trans)).toBe("1,234 neurons changed");
  });
});

describe("notebooks to begin with", () => {
  const drive = (files: Record<string, unknown>) => {
    const opened: string[] = [];
    const store = {
      get: (path: string) =>
        path in files
          ? Promise.resolve({ content: files[path] })
          : Promise.reject(new Error("404")),
      save: (path: string, { content }: { content: unknown }) => {
        files[path] = content;
        return Promise.resolve({});
      },
    } as unknown as Store;
    const commands = {
      execute: (_: string, { path }: Record<string, string>) => {
        opened.push(path ?? "");
        return Promise.resolve(path);
      },
    };
    return { files, opened, store, commands };
  };
  const tutorial = {
    name: "t.ipynb",
    title: "T",
    content: { cells: [{ source: ["# T\n", "x"] }] },
  };

  it("are copied once, opened again, and overwrite nothing", async () => {
    const { files, opened, store, commands } = drive({});
    await openTutorial(commands, store, "a", tutorial);
    files["a/t.ipynb"] = { cells: [{ source: "# T\nx" }, { source: "mine" }] };
    await openTutorial(commands, store, "a", tutorial);
    expect(opened).toEqual(["a/t.ipynb", "a/t.ipynb"]);
    expect(files["a/t.ipynb"]).toMatchObject({ cells: { length: 2 } });
  });

  it("leave another file of the name alone", async () => {
    const { files, opened, store, commands } = drive({ "t.ipynb": "mine", "t-1.ipynb": null });
    await openTutorial(commands, store, "", tutorial);
    expect(opened).toEqual(["t-2.ipynb"]);
    expect(files["t.ipynb"]).toBe("mine");
  });

  it("hold the cells that they are given", async () => {
    const { files, store, commands } = drive({ "n.ipynb": {} });
    await openNotebook(commands, store, "", "n.ipynb", ["a", "b"]);
    expect(files["n-1.ipynb"]).toMatchObject({ cells: [{ source: "a" }, { source: "b" }] });
    expect(join("a/", "b")).toBe("a/b");
  });
});

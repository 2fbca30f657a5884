// What a *.mmkn.json file says: neurons, and in its provenance how they were found.

export interface FileNeuron {
  layer: number;
  expert: number | null;
  index: number;
  score: number | null;
  words: string[];
}

export interface Found {
  method: string;
  model: string;
  concept: string;
  /** Where the scenes come from, such as `pocket:val`; empty where they come from several places or none. */
  dataset: string;
  /** The scenes' ids in that data set. */
  scenes: string[];
  /** How many scenes, wherever they come from. */
  nScenes: number;
  thresholds: [string, number][];
  versions: [string, string][];
}

export interface NeuronFile extends Found {
  neurons: FileNeuron[];
  /** How many neurons of each layer, from the first. */
  layers: [number, number][];
}

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function whole(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

/** The record inside a record: Python keeps that of the evidence as JSON text. */
function inner(value: unknown): Json {
  if (typeof value !== "string") return object(value);
  try {
    return object(JSON.parse(value));
  } catch {
    return {};
  }
}

function readNeuron(value: unknown, place: number): FileNeuron {
  const { layer, index, expert, score, words } = object(value);
  if (!whole(layer) || !whole(index)) {
    throw new Error(`neuron ${place + 1} has no layer and index`);
  }
  return {
    layer,
    index,
    expert: whole(expert) ? expert : null,
    score: typeof score === "number" ? score : null,
    words: Array.isArray(words) ? words.map(String) : [],
  };
}

function readScenes(value: unknown): Pick<Found, "dataset" | "scenes" | "nScenes"> {
  const named = Array.isArray(value) ? value.map(String) : [];
  const split = named.map((name) => {
    const at = name.indexOf("/");
    return at < 0 ? ["", name] : [name.slice(0, at), name.slice(at + 1)];
  });
  const places = new Set(split.map(([place]) => place));
  const [place = ""] = places;
  const known = places.size === 1 && /^(pocket|coco|folder):/.test(place);
  return {
    dataset: known ? place : "",
    scenes: known ? split.map(([, name]) => name ?? "") : [],
    nScenes: named.length,
  };
}

function readProvenance(provenance: Json): Found {
  const made = object(provenance["arguments"]);
  const evidence = object(inner(made["evidence"])["arguments"]);
  const from = { ...evidence, ...made };
  const concept = from["concept"];
  const thresholds = ["threshold_d", "threshold_g", "quantile_d", "quantile_g", "candidates", "top"]
    .map((name) => [name, made[name]] as const)
    .filter((pair): pair is [string, number] => typeof pair[1] === "number");
  return {
    method: text(provenance["method"]),
    model: text(from["model"]),
    concept: text(concept) || text(object(concept)["word"]),
    ...readScenes(from["scenes"]),
    thresholds,
    versions: Object.entries(object(provenance["versions"])).map(([name, is]) => [name, text(is)]),
  };
}

/** Read a file's text; an error says in words what is wrong with it. */
export function readNeuronFile(content: string): NeuronFile {
  let read: Json;
  try {
    read = object(JSON.parse(content));
  } catch (error) {
    throw new Error(`This is no JSON: ${(error as Error).message}`);
  }
  if (read["format"] !== "mmkn-neuron-set") {
    throw new Error(`Its format is ${JSON.stringify(read["format"])}, not "mmkn-neuron-set".`);
  }
  if (read["version"] !== 1) {
    throw new Error(
      `It is of version ${JSON.stringify(read["version"])}; version 1 is known here.`,
    );
  }
  if (!Array.isArray(read["neurons"])) throw new Error("It lists no neurons.");
  const neurons = read["neurons"].map(readNeuron);
  const counts = new Map<number, number>();
  for (const { layer } of neurons) counts.set(layer, (counts.get(layer) ?? 0) + 1);
  const layers = [...counts].sort((a, b) => a[0] - b[0]);
  return { neurons, layers, ...readProvenance(object(read["provenance"])) };
}

// One rendered widget: its traits, what is derived from them, requests to the kernel, words for screen readers.

import { nth, num } from "./arrays";
import { asFloat32, asInt32, asInt8, asUint8, byteLength } from "./binary";
import { Evidence, type Kept } from "./evidence";
import { actionOf, Faults } from "./faults";
import { plural } from "./format";
import type { Maps } from "./heat";
import type { WidgetModel } from "./model";
import { History } from "./history";
import { KernelError, Requests, Superseded, type Reply } from "./requests";
import { derive, Store, type Schedule } from "./store";
import { colors, type ColorName } from "./theme";
import type { ExplorerTraits, Grid, Picked, RequestName } from "./traits";
import type { WorkPlace } from "./work";

/** Traits and what only the page knows: its theme and size, what the hand does on the picture, the brush, what was typed, the order of the table, what failed, where work is shown, the history. */
export type Local = ExplorerTraits & {
  view: number;
  hand: number;
  brush: number;
  typed: number;
  order: number;
  faults: number;
  work: number;
  steps: number;
};

/** What decides which neurons pass. */
export const CUTS = [
  "mode",
  "threshold_d",
  "threshold_g",
  "quantile_d",
  "quantile_g",
  "difference",
  "gradcam",
  "shape",
  "picked",
] as const;
/** What a picked set remembers of the thresholds. */
const WHERE = ["mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g"] as const;
/** And which of them are kept. */
export const SETS = [...CUTS, "unchecked", "rows_off"] as const;

const NO_GRID: Grid = { rows: 0, cols: 0, extent: [0, 0, 1, 1], approximate: false, reason: "" };

export class Session {
  readonly store: Store<Local>;
  readonly requests: Requests;
  readonly history = new History(this);
  readonly live: HTMLElement;
  /** Inpaints what is painted and not yet inpainted, and says whether that went well; null if there is nothing. */
  finishMask: () => Promise<boolean> | null = () => null;
  readonly off = new AbortController();
  /** words of neurons beyond the prefetched ones, as the kernel sends them */
  private readonly extraWords = new Map<number, string[]>();
  /** the other concepts that neurons serve, as far as they were asked for */
  readonly serves = new Map<number, string[]>();
  private readonly sizes = new Map<Element, { width: number; height: number }>();
  private readonly resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const known = this.sizes.get(target);
      if (known?.width === target.clientWidth && known.height === target.clientHeight) continue;
      this.sizes.set(target, { width: target.clientWidth, height: target.clientHeight });
      this.store.touch("view");
    }
  });
  /** cells of the token grid that are chosen on the picture */
  patches: ReadonlySet<number> = new Set();
  patchVersion = 0;
  /** where long work is shown, beside what starts it */
  readonly places: WorkPlace[] = [];
  private begun: RequestName | null = null;
  /** why the kernel is gone, empty while it is there */
  private gone = "";
  readonly faults: Faults;

  readonly evidence: () => Evidence;
  /** the set that is kept instead of what the thresholds keep, while they do not move */
  readonly picked: () => Picked | null;
  /** the evidence of the neurons that may be kept: all, or those of the picked set */
  readonly choosing: () => Evidence;
  readonly unchecked: () => ReadonlySet<number>;
  readonly rowsOff: () => ReadonlySet<number>;
  readonly thresholds: () => readonly [number, number];
  readonly kept: () => Kept;
  readonly predicted: () => number | null;
  private readonly sums: () => Float32Array;
  private readonly activations: () => Float32Array;
  readonly maps: () => Maps;
  readonly wordIndex: () => Map<number, string[]>;
  /** the theme's colours, resolved for canvases */
  readonly colors: () => Record<ColorName, string>;

  constructor(
    model: WidgetModel,
    readonly root: HTMLElement,
    schedule?: Schedule,
  ) {
    this.store = new Store<Local>(model, schedule);
    this.requests = new Requests(model);
    this.live = document.createElement("div");
    this.live.className = "sr";
    this.live.setAttribute("role", "status");
    this.live.setAttribute("aria-live", "polite");
    const s = this.store;
    s.onerror = (error) => this.broken(error);
    this.faults = new Faults(() => s.touch("faults"));
    // What the kernel did by itself and failed at; it says so until it has done it.
    let kernel = "";
    s.watch(["status"], () => {
      const status = s.get("status");
      const failed = status?.state === "error" ? status : null;
      if (failed) this.faults.set(failed.action, failed.message, failed.remedy);
      if (kernel && failed?.action !== kernel && status?.state !== "working")
        this.faults.clear(kernel);
      kernel = failed?.action ?? (status?.state === "working" ? kernel : "");
    });
    // An error speaks of the scores or of the picture that were there.
    const old = (names: readonly (keyof Local & string)[], ...actions: string[]): void => {
      let first = true;
      s.watch(names, () => {
        if (!first) this.faults.clear(...actions);
        first = false;
      });
    };
    s.watch(["difference", "concept"], () => this.serves.clear());
    old(
      ["difference", "concept"],
      "compute",
      "change",
      "transplant",
      "evaluate",
      "propose",
      "frontier",
      "patch_scores",
    );
    old(
      ["scene"],
      "caption_inpainted",
      "change",
      "transplant",
      "inpaint",
      "patch_scores",
      "lens",
      "tokens",
    );

    this.colors = derive(s, ["view"], () => colors(root));
    this.evidence = derive(s, ["difference", "gradcam", "shape"], () => {
      const [rows, width] = s.get("shape") ?? [0, 0];
      return new Evidence(asFloat32(s.get("difference")), asFloat32(s.get("gradcam")), rows, width);
    });
    this.picked = derive(s, [...WHERE, "picked"], () => {
      const picked = s.get("picked") ?? null;
      return picked && WHERE.every((name) => picked[name] === s.get(name)) ? picked : null;
    });
    this.choosing = derive(s, CUTS, () => {
      const picked = this.picked();
      return picked ? this.evidence().only(picked.ids) : this.evidence();
    });
    this.unchecked = derive(s, ["unchecked"], () => new Set(s.get("unchecked") ?? []));
    this.rowsOff = derive(s, ["rows_off"], () => new Set(s.get("rows_off") ?? []));
    this.thresholds = derive(s, CUTS, () => {
      if (s.get("mode") !== "quantile")
        return [s.get("threshold_d") ?? 0, s.get("threshold_g") ?? 0] as const;
      const e = this.evidence();
      return [
        e.quantile("difference", s.get("quantile_d") ?? 0),
        e.quantile("gradcam", s.get("quantile_g") ?? 0),
      ] as const;
    });
    this.kept = derive(s, SETS, () => {
      const [td, tg] = this.limits();
      return this.choosing().count(td, tg, this.rowsOff(), this.unchecked());
    });
    this.predicted = derive(s, [...SETS, "gradient_sum", "ablate_mode", "ablate_scale"], () =>
      this.predictChange(),
    );
    this.sums = derive(s, ["gradient_sum"], () => asFloat32(s.get("gradient_sum")));
    this.activations = derive(s, ["activation"], () => asFloat32(s.get("activation")));
    this.maps = derive(
      s,
      ["map_ids", "maps", "map_scale", "map_offset", "map_sign", "grid"],
      () => {
        const ids = asInt32(s.get("map_ids"));
        const at = new Map<number, number>();
        ids.forEach((id, k) => at.set(id, k));
        const grid = this.grid();
        return {
          ids,
          at,
          grids: asUint8(s.get("maps")),
          scale: asFloat32(s.get("map_scale")),
          rows: grid.rows,
          offset: asFloat32(s.get("map_offset")),
          sign: asInt8(s.get("map_sign")),
          cols: grid.cols,
        };
      },
    );
    this.wordIndex = derive(s, ["map_ids", "words"], () => {
      const ids = asInt32(s.get("map_ids"));
      const words = s.get("words") ?? [];
      const known = new Map<number, string[]>();
      ids.forEach((id, k) => {
        const list = words[k];
        if (list) known.set(id, list);
      });
      return known;
    });
  }

  grid(): Grid {
    return this.store.get("grid") ?? NO_GRID;
  }

  /** What the kept are above in `choosing`: the thresholds, or nothing where a set is picked. */
  limits(): readonly [number, number] {
    return this.picked() ? [-Infinity, -Infinity] : this.thresholds();
  }

  /** Keep a set until the thresholds move. */
  pick(ids: readonly number[], label: string): void {
    const { store } = this;
    store.commit({
      picked: {
        ids: [...ids].sort((a, b) => a - b),
        label,
        mode: store.get("mode"),
        threshold_d: store.get("threshold_d"),
        threshold_g: store.get("threshold_g"),
        quantile_d: store.get("quantile_d"),
        quantile_g: store.get("quantile_g"),
      },
    });
    this.announce(`${label}: ${plural(this.kept().checked, "neuron")} kept`);
  }

  /** The thresholds as the float32 that the scores are compared with. */
  cuts(): [number, number] {
    const [d, g] = this.thresholds();
    return [Math.fround(d), Math.fround(g)];
  }

  /** A test whether a neuron is among the checked survivors, as the thresholds are now. */
  predicate(): (id: number) => boolean {
    const [td, tg] = this.limits().map(Math.fround) as [number, number];
    const [evidence, off, out] = [this.choosing(), this.rowsOff(), this.unchecked()];
    return (id) => evidence.passes(id, td, tg, off) && !out.has(id);
  }

  /** The checked survivors, best GradCAM first. */
  survivors(limit = Infinity): Int32Array {
    const [td, tg] = this.limits();
    const out = this.unchecked();
    return this.choosing()
      .list(td, tg, this.rowsOff(), "gradcam", false, limit)
      .filter((id) => !out.has(id));
  }

  /** What the two scores are called on sliders and in the table. */
  scoreName(key: "difference" | "gradcam"): string {
    const labels = this.store.get("labels");
    return key === "difference"
      ? (labels?.short_difference ?? "difference")
      : (labels?.short_gradcam ?? "GradCAM");
  }

  /** "L4", or "L4·E1" in a mixture of experts. */
  rowName(row: number): string {
    const [layer, expert] = this.store.get("rows")?.[row] ?? [row, -1];
    return expert < 0 ? `L${layer}` : `L${layer}·E${expert}`;
  }

  /** "L4·233", or "L4·E1·233" in a mixture of experts. */
  name(id: number): string {
    const width = this.evidence().width || 1;
    const row = Math.floor(id / width);
    return `${this.rowName(row)}·${id % width}`;
  }

  words(id: number): string[] | undefined {
    return this.wordIndex().get(id) ?? this.extraWords.get(id);
  }

  addWords(ids: Int32Array | readonly number[], words: readonly string[][]): void {
    words.forEach((list, k) => this.extraWords.set(nth(ids, k), list));
    this.store.touch("words");
  }

  /** Mean activation where the word is predicted; null where it is not known. Its sign is the side on which the neuron acts. */
  activation(id: number): number | null {
    const value = this.activations()[id];
    return value === undefined || Number.isNaN(value) ? null : value;
  }

  /** Whether nothing was computed yet. */
  unscored(): boolean {
    return this.store.get("facts")?.scenes === 0;
  }

  /** Why there is nothing to show or to change: no neuron passes, or there are no scores yet. */
  nothing(): string {
    if (this.store.get("facts")?.scenes !== 0) return "no neuron is kept: lower a threshold";
    return `no scores yet: ${this.store.get("stale")?.length ? "compute" : "paint"} first`;
  }

  /** Say something to screen readers. */
  announce(message: string): void {
    this.live.textContent = message;
  }

  /** Choose patches of the picture. */
  choosePatches(next: ReadonlySet<number>): void {
    if (!next.size && !this.patches.size) return;
    this.patches = next;
    this.patchVersion++;
    this.store.touch("hand");
  }

  /** Show inside the widget that something could not be done. */
  fail(action: string, message: string, remedy = ""): void {
    this.faults.set(actionOf(action), message, remedy);
  }

  /** Show that drawing failed: the rest of the widget is left as it is. */
  broken(error: unknown): void {
    console.error(error);
    this.fail(
      "page",
      `The page could not draw this: ${String(error)}.`,
      "Run the cell again; the trace is in the browser's console.",
    );
  }

  /** Note that the kernel of this widget is gone (why), or that it is there (empty). */
  setGone(why: string): void {
    if (this.gone === why) return;
    this.gone = why;
    this.store.touch("read_only");
  }

  /** Which request the kernel works on: the oldest of those asked here that have a place; null when it is not known. */
  working(): RequestName | null {
    if (this.store.get("status")?.state !== "working") return (this.begun = null);
    const known = (name: string): boolean =>
      this.places.some((place) => (place.names as readonly string[]).includes(name));
    const first = this.requests.oldest(known) as RequestName | undefined;
    return (this.begun = first ?? this.begun); // its reply comes a moment before the work is over
  }

  /** Why the kernel cannot be asked now, or null when it can. */
  blocked(): string | null {
    if (this.store.get("read_only")) return "needs a running kernel: this is a saved view";
    return this.gone || null;
  }

  /** Whether the kernel can look through scenes for a neuron. */
  looks(): boolean {
    return this.blocked() === null && this.store.get("thumbnails") !== undefined;
  }

  /** Ask the kernel; a failure is shown where it was asked, until the next try. Undefined when it failed or was superseded. */
  async ask(
    name: RequestName,
    args: Record<string, unknown> = {},
    buffers: ArrayBuffer[] = [],
    ontoken?: (text: string) => void,
  ): Promise<Reply | undefined> {
    if (this.blocked()) return undefined;
    const action = actionOf(name);
    const done = this.faults.start(action);
    try {
      const reply = await this.requests.send(name, args, buffers, ontoken);
      done();
      return reply;
    } catch (error) {
      if (error instanceof Superseded) return undefined;
      if (error instanceof KernelError) this.fail(action, error.message, error.remedy);
      else this.fail(action, String(error));
      return undefined;
    }
  }

  /** Run now, when one of the traits changes, and when the theme or the size of the page changes. */
  paint(names: readonly (keyof Local & string)[], run: () => void): void {
    this.store.watch([...names, "view"], run);
  }

  /** The inner size of an element, measured when it changes: reading it in a frame would force a layout. */
  size(el: Element): { width: number; height: number } {
    let known = this.sizes.get(el);
    if (!known || !known.width) {
      if (!known) this.resized.observe(el);
      known = { width: el.clientWidth, height: el.clientHeight };
      this.sizes.set(el, known);
    }
    return known;
  }

  hasMaps(): boolean {
    return byteLength(this.store.get("maps")) > 0 && this.grid().rows > 0;
  }

  dispose(): void {
    this.off.abort();
    this.resized.disconnect();
    this.store.dispose();
    this.requests.dispose();
  }

  private predictChange(): number | null {
    const sums = this.sums();
    const mode = this.store.get("ablate_mode");
    const evidence = this.choosing();
    if (!sums.length || sums.length < evidence.size || (mode !== "zero" && mode !== "scale"))
      return null;
    const [td, tg] = this.limits().map(Math.fround) as [number, number];
    const off = this.rowsOff();
    let sum = evidence.sum(evidence.inOrder(sums), td, tg, off);
    for (const id of this.unchecked()) if (evidence.passes(id, td, tg, off)) sum -= num(sums, id);
    return (mode === "scale" ? this.store.get("ablate_scale") - 1 : -1) * sum;
  }
}

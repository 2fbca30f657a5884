// Two concepts in one widget: a session for each side over the shared traits, and which neurons are whose.

import { int, num } from "./arrays";
import { float32Literal, pythonFloat } from "./format";
import type { Listener, WidgetModel } from "./model";
import { PARTS, SIDE, SIDES, type Part, type Side } from "./pair_traits";
import { CUTS, Session } from "./session";
import type { Schedule } from "./store";

/** The widget's model as one side sees it: its own traits without their prefix. */
export function sideModel(model: WidgetModel, side: Side): WidgetModel {
  const own = (name: string): string => (name in SIDE ? `${side}_${name}` : name);
  const event = (name: string): string =>
    name.startsWith("change:") ? `change:${own(name.slice(7))}` : name;
  return {
    get: (name) => model.get(own(name)),
    set: (name, value) => model.set(own(name), value),
    save_changes: () => model.save_changes(),
    on: (name, listener: Listener) => model.on(event(name), listener),
    off: (name, listener: Listener) => model.off(event(name), listener),
    send: (content, callbacks, buffers) => model.send(content, callbacks, buffers),
  };
}

/** What lies on one of the pictures. */
export interface PairHeat {
  map: Float32Array;
  what: string;
}

/** Bit 1: kept by the first concept; bit 2: by the second. */
const CODE: Record<Part, number> = { a: 1, shared: 3, b: 2 };

export interface Parted {
  /** `CODE` of every neuron's part, 0 of those in none */
  code: Uint8Array;
  count: Record<Part, number>;
  perRow: Record<Part, Int32Array>;
}

export type PairKey = `${Side}_difference` | `${Side}_gradcam` | "position";

export class Pair {
  readonly a: Session;
  readonly b: Session;
  /** the map on each picture, for a scale that both have */
  readonly heats: Partial<Record<Side, () => PairHeat | null>> = {};
  private known: { key: string; value: Parted } | undefined;
  private listed: { key: string; ids: Int32Array } | undefined;

  constructor(
    readonly session: Session,
    model: WidgetModel,
    schedule?: Schedule,
  ) {
    const make = (side: Side): Session => {
      const made = new Session(sideModel(model, side), session.root, schedule);
      made.announce = (message) => session.announce(message);
      made.blocked = () => session.blocked();
      made.fail = (action, message, remedy) => session.fail(action, message, remedy);
      made.store.watch(CUTS, () => {
        session.store.touch("part");
        session.store.flush(); // in the frame of the drag, not in the next
      });
      session.store.watch(["view"], () => made.store.touch("view"));
      session.off.signal.addEventListener("abort", () => made.dispose());
      return made;
    };
    this.a = make("a");
    this.b = make("b");
  }

  side(side: Side): Session {
    return side === "a" ? this.a : this.b;
  }

  /** Grows with everything that decides which neurons are whose. */
  key(): string {
    return SIDES.map((side) => CUTS.map((name) => this.side(side).store.version(name)).join()).join(
      "|",
    );
  }

  part(): Part {
    return this.session.store.get("part") as Part;
  }

  /** A test whether a neuron is in a part, as the thresholds are now. */
  inside(part: Part): (id: number) => boolean {
    const { code } = this.counts();
    const wanted = CODE[part];
    return (id) => code[id] === wanted;
  }

  counts(): Parted {
    const key = this.key();
    if (this.known?.key === key) return this.known.value;
    const [ea, eb] = [this.a.evidence(), this.b.evidence()];
    const [da, ga, db, gb] = [ea.difference, ea.gradcam, eb.difference, eb.gradcam];
    const [tda, tga] = this.a.cuts();
    const [tdb, tgb] = this.b.cuts();
    const { rows, width } = ea;
    const size = Math.min(ea.size, eb.size);
    const code =
      this.known?.value.code.length === size ? this.known.value.code : new Uint8Array(size);
    const perRow = {
      a: new Int32Array(rows),
      shared: new Int32Array(rows),
      b: new Int32Array(rows),
    };
    for (let row = 0, i = 0; row < rows; row++) {
      let [first, both, second] = [0, 0, 0];
      for (const end = Math.min(i + width, size); i < end; i++) {
        const x = +(num(ga, i) > tga) & +(num(da, i) > tda);
        const y = +(num(gb, i) > tgb) & +(num(db, i) > tdb);
        code[i] = x | (y << 1);
        both += x & y;
        first += x & ~y;
        second += y & ~x;
      }
      perRow.a[row] = first;
      perRow.shared[row] = both;
      perRow.b[row] = second;
    }
    const sum = (values: Int32Array): number => values.reduce((x, y) => x + y, 0);
    const value = {
      code,
      perRow,
      count: { a: sum(perRow.a), shared: sum(perRow.shared), b: sum(perRow.b) },
    };
    this.known = { key, value };
    return value;
  }

  /** Ids of a part, best GradCAM first (of "shared": by the first concept), as Python gives them. */
  ids(part: Part): Int32Array {
    return this.side(part === "b" ? "b" : "a")
      .survivors()
      .filter(this.inside(part));
  }

  /** Ids of a part in the order of a column; at least the first `upto`. */
  list(part: Part, by: PairKey, ascending: boolean, upto: number): Int32Array {
    const total = this.counts().count[part];
    const want = Math.min(upto, total);
    const key = `${part} ${by} ${ascending} ${this.key()}`;
    if (this.listed?.key === key && this.listed.ids.length >= want) return this.listed.ids;
    const { code } = this.counts();
    const wanted = CODE[part];
    const evidence = this.side(by.startsWith("b") ? "b" : "a").evidence();
    const order =
      by === "position" ? null : evidence.order(by.slice(2) as "difference" | "gradcam");
    const down = by === "position" ? !ascending : ascending;
    const ids = new Int32Array(want);
    let n = 0;
    for (let k = 0; k < evidence.size && n < want; k++) {
      const at = down ? evidence.size - 1 - k : k;
      const id = order ? int(order, at) : at;
      if (code[id] === wanted) ids[n++] = id;
    }
    this.listed = { key, ids };
    return ids;
  }

  /** For which concepts a neuron of a part acts. */
  actsFor(part: Part): readonly Side[] {
    return part === "shared" ? SIDES : [part];
  }

  /** What a neuron of a part writes, for each concept for which it acts: one line where the side is the same. */
  acts(
    id: number,
    part: Part,
  ): { sides: readonly Side[]; values: (number | null)[]; words: string[] | undefined }[] {
    const sides = this.actsFor(part);
    const values = sides.map((side) => this.side(side).activation(id));
    const [first = null, second = null] = values;
    const line = (k: number, whose: readonly Side[]): ReturnType<Pair["acts"]>[number] => ({
      sides: whose,
      values: whose.map((side) => values[sides.indexOf(side)] ?? null),
      words: this.side(sides[k] ?? "a").words(id),
    });
    const apart = (first ?? 0) < 0 !== (second ?? 0) < 0;
    return sides.length === 2 && apart ? sides.map((side, k) => line(k, [side])) : [line(0, sides)];
  }

  /** What a part is called; two studies of one word are told apart. */
  title(part: Part): string {
    const [a, b] = this.names();
    return part === "shared" ? "shared" : `own of ${part === "a" ? a : b}`;
  }

  names(): [string, string] {
    const [a, b] = [
      this.a.store.get("concept") || "first",
      this.b.store.get("concept") || "second",
    ];
    return a === b ? [`${a} (first)`, `${b} (second)`] : [a, b];
  }

  /** Python source; running it gives the same three sets. */
  python(): string {
    const cuts = (one: Session): string =>
      one.store.get("mode") === "quantile"
        ? `quantile_d=${pythonFloat(one.store.get("quantile_d"))}, quantile_g=${pythonFloat(one.store.get("quantile_g"))}`
        : `threshold_d=${float32Literal(one.store.get("threshold_d"))}, threshold_g=${float32Literal(one.store.get("threshold_g"))}`;
    return [
      this.session.store.get("setup_code"),
      `a = study_a.neurons(${cuts(this.a)})`,
      `b = study_b.neurons(${cuts(this.b)})`,
      "own_a, shared, own_b = a - b, a & b, b - a",
      "",
    ].join("\n");
  }

  csv(): string {
    const columns = SIDES.flatMap((side) => {
      const one = this.side(side);
      const { difference, gradcam } = one.evidence();
      return [
        [`difference_${side}`, (id: number) => difference[id]],
        [`gradcam_${side}`, (id: number) => gradcam[id]],
        [`activation_${side}`, (id: number) => one.activation(id) ?? ""],
      ] as const;
    });
    const width = this.a.evidence().width || 1;
    const lines = [["part", "layer", "index", ...columns.map(([name]) => name)].join(",")];
    for (const part of PARTS) {
      for (const id of this.ids(part)) {
        lines.push(
          [
            part,
            this.session.rowName(Math.floor(id / width)),
            id % width,
            ...columns.map(([, value]) => value(id)),
          ].join(","),
        );
      }
    }
    return lines.join("\n") + "\n";
  }
}

// What silencing costs against what it does: a mark for every measured set, of every method; a click takes the set.

import { button, clamp, fill, h, segments, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { plural } from "../core/format";
import { explains, roving } from "../core/roving";
import type { Session } from "../core/session";
import type { FrontierPoint } from "../core/traits";
import { mountWork } from "../core/work";

/** Of the methods in their order; the last is for pairs of thresholds that were searched. */
const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
  "M-4.6-4.6H4.6V4.6H-4.6Z",
  "M0-6L6 0L0 6L-6 0Z",
  "M0-5.8L5.6 4.4H-5.6Z",
  "M0 5.8L5.6-4.4H-5.6Z",
  "M-2-5.6H2V-2H5.6V2H2V5.6H-2V2H-5.6V-2H-2Z",
  "M0-6.4L1.6-2.1L6.1-2L2.6 .8L3.8 5.2L0 2.6L-3.8 5.2L-2.6 .8L-6.1-2L-1.6-2.1Z",
  "M-5.6-2.6L0-6L5.6-2.6V2.6L0 6L-5.6 2.6Z",
] as const;
const RING = SHAPES[0];
const TRIED = "pairs of thresholds";

/** What is drawn: a set, or a pair of thresholds that the search measured. */
interface Point extends FrontierPoint {
  cuts: { threshold_d: number; threshold_g: number } | null;
}

const NAMES: Record<string, string> = {
  two_stage: "two stages",
  gradcam: "GradCAM",
  contrastive_mean: "less other words\u2019 mean",
  contrastive_maximum: "less their maximum",
  contrastive_exclusive: "not in others\u2019 top",
};
export const methodName = (method: string): string => NAMES[method] ?? method.replace(/_/g, " ");

/** The points that no other beats in both, by falling retention. */
export function edge(points: readonly { suppression: number; retention: number }[]): number[] {
  const order = points
    .map((_, k) => k)
    .sort((a, b) => {
      const [p, q] = [points[a]!, points[b]!];
      return q.retention - p.retention || q.suppression - p.suppression;
    });
  let highest = -Infinity;
  return order.filter((k) => {
    const better = points[k]!.suppression > highest;
    if (better) highest = points[k]!.suppression;
    return better;
  });
}

/** How far marks on one spot stand from it, in pixels: around it, the smallest inside. */
export function apart(places: readonly (readonly [number, number])[]): [number, number][] {
  const here = new Map<string, number>();
  return places.map(([x, y]) => {
    const spot = `${Math.round(x * 40)} ${Math.round(y * 40)}`;
    const n = here.get(spot) ?? 0;
    here.set(spot, n + 1);
    if (!n) return [0, 0];
    const [turn, away] = [n * 2.39996, 9 * Math.sqrt(n + 0.2)]; // the golden angle
    return [away * Math.cos(turn), away * Math.sin(turn)];
  });
}

/** The two views of one part: the plane of scores, and the frontier. */
export function frontierView(session: Session): {
  title: HTMLElement;
  el: HTMLElement;
  follow: (host: HTMLElement) => void;
} {
  const { store } = session;
  let shown = false;
  const choice = segments<"scores" | "frontier">(
    "what the part shows",
    [
      ["scores", "thresholds"],
      ["frontier", "frontier"],
    ],
    (value) => {
      shown = value === "frontier";
      store.touch("view");
    },
  );
  const field = h("div", {
    class: "field",
    role: "toolbar",
    "aria-label": "sets by suppression and retention; a set is kept when it is pressed",
  });
  const keys = explains(field, "arrow keys go from set to set, enter keeps the set");
  const measure = button("compare methods", () => void session.ask("frontier"), { class: "btn" });
  const none = h(
    "div",
    { class: "none note" },
    h(
      "p",
      {},
      "Every method trades suppression of the word for retention of the rest. Neurons are chosen by seven methods in three numbers, silenced, and measured.",
    ),
    measure,
  );
  const told = h("div", { class: "note told", role: "status" });
  const legend = h("div", { class: "keys note" });
  const el = h(
    "div",
    { class: "front", hidden: true },
    h(
      "div",
      { class: "sheet" },
      h("span", { class: "up note" }, "suppression"),
      field,
      h("span", { class: "across note" }, "retention"),
      none,
    ),
    keys,
    told,
    h("div", { class: "row" }, legend, mountWork(session, ["frontier"])),
    faultLine(session, "frontier"),
  );

  let points: Point[] = [];
  let methods: string[] = [];
  const gather = (): void => {
    const measured = store.get("frontier")?.points ?? [];
    const tried = (store.get("marks") ?? []).map((mark) => ({
      ...mark,
      method: TRIED,
      identical: null,
      ids: [],
      cuts: { threshold_d: mark.threshold_d, threshold_g: mark.threshold_g },
    }));
    // small marks last: they lie on the large ones, and stand nearest to their place
    points = [...tried, ...measured.map((point) => ({ ...point, cuts: null }))].sort(
      (a, b) => a.count - b.count,
    );
    methods = [...new Set([...measured.map((p) => p.method), ...(tried.length ? [TRIED] : [])])];
  };
  const shape = (method: string): string =>
    method === TRIED ? RING : (SHAPES[methods.indexOf(method) % SHAPES.length] ?? RING);
  const svg = (method: string, substitution: number | null, size: number): SVGElement => {
    const ns = "http://www.w3.org/2000/svg";
    const out = document.createElementNS(ns, "svg");
    setAttr(out, "viewBox", "-8 -8 16 16");
    setAttr(out, "width", String(size));
    setAttr(out, "height", String(size));
    setAttr(out, "aria-hidden", "true");
    const path = document.createElementNS(ns, "path");
    setAttr(path, "d", shape(method));
    path.style.fillOpacity = String(substitution ?? 0);
    if (method === TRIED) setAttr(path, "class", "tried");
    out.append(path);
    return out;
  };
  const percent = (value: number | null): string =>
    value === null ? "not measured" : value.toFixed(2);
  const said = (point: Point): string =>
    `${methodName(point.method)}, ${plural(point.count, "neuron")}: suppression ${percent(point.suppression)} (random neurons ${percent(point.random)}), retention ${percent(point.retention)}, substitution ${percent(point.substitution)}` +
    (point.identical === null ? "" : `, unchanged ${percent(point.identical)}`);
  const taken = (point: Point): boolean => {
    if (point.cuts)
      return (
        !session.picked() &&
        store.get("mode") === "absolute" &&
        Math.fround(store.get("threshold_d")) === Math.fround(point.cuts.threshold_d) &&
        Math.fround(store.get("threshold_g")) === Math.fround(point.cuts.threshold_g)
      );
    const picked = session.picked();
    return picked?.label === label(point) && picked.ids.join() === point.ids.join();
  };
  const label = (point: Point): string => `${methodName(point.method)}, ${point.count}`;
  const take = (point: Point): void => {
    if (point.cuts) store.commit({ mode: "absolute", picked: null, ...point.cuts });
    else session.pick(point.ids, label(point));
  };

  let marks: { el: HTMLButtonElement; point: Point }[] = [];
  const rove = roving(field, () => marks.map((mark) => mark.el));
  const build = (): void => {
    gather();
    const low = Math.min(0.9, Math.floor(Math.min(1, ...points.map((p) => p.retention)) * 10) / 10);
    const across = (value: number): number => clamp((value - low) / (1 - low), 0, 1);
    const most = Math.max(1, ...points.map((p) => p.count));
    const places = points.map((p) => [across(p.retention), p.suppression] as const);
    const moved = apart(places);
    const put = (node: HTMLElement, x: number, y: number): void => {
      node.style.left = `${x * 100}%`;
      node.style.bottom = `${y * 100}%`;
    };
    const ticks: HTMLElement[] = [];
    for (const value of [0, 0.25, 0.5, 0.75, 1]) {
      const y = h("span", { class: "tick y" }, value.toFixed(2).replace(/^0(?=\.)/, ""));
      put(y, 0, value);
      const at = low + (1 - low) * value;
      const x = h("span", { class: "tick x" }, at.toFixed(2).replace(/^0(?=\.)/, ""));
      put(x, value, 0);
      ticks.push(y, x);
    }
    const line = edge(points).map((k) => places[k]!);
    const stairs = line.flatMap(([x, y], k) => [
      `${x * 100},${100 - (k ? line[k - 1]![1] : 0) * 100}`,
      `${x * 100},${100 - y * 100}`,
    ]);
    if (line.length) stairs.push(`0,${100 - line.at(-1)![1] * 100}`);
    const ns = "http://www.w3.org/2000/svg";
    const stair = document.createElementNS(ns, "svg");
    for (const [name, value] of [
      ["class", "stair"],
      ["viewBox", "0 0 100 100"],
      ["preserveAspectRatio", "none"],
      ["aria-hidden", "true"],
    ] as const)
      setAttr(stair, name, value);
    const way = document.createElementNS(ns, "polyline");
    setAttr(way, "points", stairs.join(" "));
    stair.append(way);
    marks = points.map((point, k) => {
      const size = 13 + 13 * Math.sqrt(point.count / most);
      const mark = h(
        "button",
        {
          type: "button",
          class: "mark",
          title: `${said(point)}; click to keep ${point.cuts ? "what these thresholds keep" : "this set"}`,
          "aria-label": said(point),
          onclick: () => take(point),
          onfocus: () => setText(told, said(point)),
          onpointerenter: () => setText(told, said(point)),
        },
        svg(point.method, point.substitution, size) as unknown as HTMLElement,
      );
      put(mark, ...places[k]!);
      const [right, up] = moved[k]!;
      mark.style.transform = `translate(calc(-50% + ${right}px), calc(50% - ${up}px))`;
      mark.style.zIndex = String(points.length - k);
      return { el: mark, point };
    });
    field.replaceChildren(...ticks, stair, ...marks.map((mark) => mark.el).reverse());
    rove();
    fill(
      legend,
      ...methods.map((method) =>
        h("span", {}, svg(method, 0, 14) as unknown as HTMLElement, methodName(method)),
      ),
      ...(points.length
        ? [
            h(
              "span",
              {},
              svg("", 1, 14) as unknown as HTMLElement,
              "filled: the captions name another object instead",
            ),
            h("span", {}, "larger: more neurons"),
            h("span", {}, h("i", { class: "stairs" }), "none is better in both"),
          ]
        : []),
    );
    const frontier = store.get("frontier");
    setText(
      told,
      frontier
        ? `${plural(frontier.points.length, "set")} on ${plural(frontier.scenes, "scene")}${frontier.held_out ? "" : " that chose the neurons"}; a click keeps a set`
        : points.length
          ? `${plural(points.length, "pair")} of thresholds tried`
          : "",
    );
  };
  const press = (): void => {
    for (const { el: mark, point } of marks) setAttr(mark, "aria-pressed", String(taken(point)));
  };
  store.watch(["frontier", "marks"], () => {
    build();
    press();
    none.hidden = Boolean(store.get("frontier"));
    none.classList.toggle("beside", points.length > 0);
  });
  store.watch(["picked", "mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g"], press);
  store.watch(["read_only", "status", "facts"], () => {
    const blocked = session.blocked();
    const why = session.unscored() ? session.nothing() : blocked;
    measure.disabled = why !== null || store.get("status")?.state === "working";
    setAttr(
      measure,
      "title",
      why ?? "choose by every method, silence, and measure: about half a minute on a small model",
    );
  });
  return {
    title: h("div", { class: "hold" }, h("h3", { class: "sr" }, "thresholds"), choice.el),
    el,
    follow: (host) =>
      store.watch(["view"], () => {
        choice.set(shown ? "frontier" : "scores");
        host.classList.toggle("fronts", shown);
        el.hidden = !shown;
      }),
  };
}

// The three parts: how many neurons, where in the layers, one click ablates; what each does to either concept.

import { button, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { integer, plural, short } from "../core/format";
import type { Pair } from "../core/pair";
import { PARTS, SIDES, type Part } from "../core/pair_traits";
import { rewriter } from "../core/rewrite";
import { roving } from "../core/roving";
import { historyButtons } from "./history_buttons";

export function mountPairParts(pair: Pair, host: HTMLElement): void {
  const { session } = pair;
  const { store } = session;
  const run = rewriter(session);
  const note = h("span", { class: "note" });
  const lines = PARTS.map((part) => {
    const count = h("b");
    const title = h("span");
    const choose = button("", () => store.commit({ part, selected: -1 }), {
      class: "btn choose",
      "aria-pressed": "false",
    });
    choose.append(h("i", { class: `key ${part}` }), title, h("span", { class: "grow" }), count);
    const ablate = button("ablate", () => {
      for (const side of SIDES) pair.side(side).store.commit();
      store.commit({ part, selected: -1 });
      void run("ablate", { part }, [pair.ids(part).slice().buffer as ArrayBuffer]);
    });
    return { part, count, title, choose, ablate };
  });
  session.history.withModel((way) => run(way));
  const [undo, redo] = historyButtons(session);
  const restore = button("restore all", () => void run("restore"));
  const active = h("div", { class: "row", role: "status", "aria-label": "active interventions" });
  const layers = h("div", {
    class: "pair-layers",
    role: "list",
    "aria-label": "neurons of each part per layer",
  });
  const parts = h(
    "div",
    { class: "parts", role: "toolbar", "aria-label": "parts: show one, or ablate it" },
    ...lines.flatMap((line) => [line.choose, line.ablate]),
  );
  const rove = roving(parts, () => lines.flatMap((line) => [line.choose, line.ablate]));
  const measure = button("measure", () => void session.ask("evaluate"));
  const effects = h("div");
  host.append(
    h("div", { class: "head" }, h("h3", {}, "own and shared"), note),
    parts,
    h("div", { class: "row" }, undo, redo, restore),
    faultLine(session, "change", "follow"),
    active,
    h("div", { class: "head" }, h("h3", {}, "layers")),
    layers,
    h(
      "div",
      { class: "head" },
      h("h3", {}, "what each part holds"),
      h("span", { class: "grow" }),
      measure,
    ),
    faultLine(session, "evaluate"),
    effects,
  );

  let built: { row: HTMLElement; bars: Record<Part, HTMLElement>; said: HTMLElement }[] = [];
  const paintLayers = (perRow: Record<Part, Int32Array>): void => {
    const rows = store.get("rows") ?? [];
    if (built.length !== rows.length) {
      built = rows.map((_, k) => {
        const bars = {
          a: h("i", { class: "a" }),
          shared: h("i", { class: "shared" }),
          b: h("i", { class: "b" }),
        };
        const said = h("span", { class: "num" });
        return {
          bars,
          said,
          row: h(
            "div",
            { role: "listitem" },
            h("span", { class: "note" }, session.rowName(k)),
            h("span", { class: "stack" }, ...Object.values(bars)),
            said,
          ),
        };
      });
      fill(layers, ...built.map((one) => one.row));
    }
    const sums = rows.map((_, k) => PARTS.reduce((sum, part) => sum + (perRow[part][k] ?? 0), 0));
    const most = Math.max(1, ...sums);
    built.forEach(({ bars, said, row }, k) => {
      for (const part of PARTS)
        bars[part].style.width = `${((perRow[part][k] ?? 0) / most) * 100}%`;
      const text = PARTS.map((part) => integer(perRow[part][k] ?? 0)).join(" · ");
      setText(said, sums[k] ? text : "0");
      setAttr(
        row,
        "title",
        PARTS.map((part) => `${pair.title(part)}: ${integer(perRow[part][k] ?? 0)}`).join("\n"),
      );
    });
  };

  store.watch(["part", "read_only", "status"], () => {
    const { count, perRow } = pair.counts();
    const blocked = session.blocked();
    const most = Math.max(1, ...PARTS.map((part) => count[part]));
    for (const line of lines) {
      const n = count[line.part];
      setText(line.title, pair.title(line.part));
      setText(line.count, integer(n));
      setAttr(line.choose, "aria-pressed", String(pair.part() === line.part));
      line.choose.style.setProperty("--share", `${(n / most) * 100}%`);
      setAttr(
        line.choose,
        "title",
        `show the ${plural(n, "neuron")}, ${pair.title(line.part)}, on both pictures and in the table`,
      );
      line.ablate.disabled = blocked !== null || n === 0;
      setAttr(line.ablate, "aria-label", `ablate ${plural(n, "neuron")}, ${pair.title(line.part)}`);
      setAttr(
        line.ablate,
        "title",
        blocked ??
          (n
            ? "zero these neurons for every view of this model; both captions are written again"
            : "no neuron: lower a threshold"),
      );
    }
    const union = count.a + count.shared + count.b;
    setText(
      note,
      union
        ? `${integer(union)} neurons, ${short((100 * count.shared) / union)}% shared`
        : "no neuron is kept",
    );
    paintLayers(perRow);
    rove();
    measure.disabled = blocked !== null || !union || store.get("status")?.state === "working";
    setAttr(
      measure,
      "title",
      blocked ??
        "ablate each part over the scenes of both studies, beside as many random neurons of the same layers",
    );
  });

  store.watch(["ablation", "read_only"], () => {
    const state = store.get("ablation");
    const blocked = session.blocked();
    restore.disabled = blocked !== null || !state?.active?.length;
    setAttr(restore, "title", blocked);
    fill(
      active,
      ...(state?.active ?? []).map((item) =>
        h(
          "span",
          {
            class: "chip",
            title: item.own
              ? "made here"
              : "made elsewhere; it shows here because the model is shared",
          },
          item.label,
        ),
      ),
    );
  });

  store.watch(["part_effects", "part"], () => {
    const found = store.get("part_effects") ?? [];
    const [a, b] = pair.names();
    if (!found.length)
      return fill(
        effects,
        h(
          "span",
          { class: "note" },
          "measure: how much of either concept is gone from the captions without each part",
        ),
      );
    const cell = (value: (typeof found)[number]["a"]): HTMLElement =>
      value === null
        ? h("td", { class: "num" }, "–")
        : h(
            "td",
            { class: "num" },
            h("b", {}, value.value.toFixed(2)),
            value.random === null
              ? null
              : h("span", { class: "note" }, ` random ${value.random.toFixed(2)}`),
          );
    const scenes = found.map((line) => line.a?.scenes ?? 0).find(Boolean) ?? 0;
    fill(
      effects,
      h(
        "table",
        { class: "effects" },
        h(
          "caption",
          { class: "note" },
          `suppression over ${plural(scenes, "scene")} each, the ones the neurons were chosen on`,
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "without"),
            h("th", { scope: "col" }, a),
            h("th", { scope: "col" }, b),
          ),
        ),
        h(
          "tbody",
          {},
          ...found.map((line) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `${pair.title(line.part)} (${integer(line.neurons)})`),
              cell(line.a),
              cell(line.b),
            ),
          ),
        ),
      ),
    );
  });
}

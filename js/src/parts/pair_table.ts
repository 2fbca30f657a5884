// The neurons of the chosen part with the scores and words of both concepts; ten thousand rows scroll as few.

import { int, nth, num } from "../core/arrays";
import { fill, h, setAttr, setText } from "../core/dom";
import { isForm } from "../core/diff";
import { change, integer, short } from "../core/format";
import type { Pair, PairKey } from "../core/pair";
import { SIDES } from "../core/pair_traits";
import { explains, roving, uniqueId } from "../core/roving";

/** heights of a row: of one line, and of two, one for each concept */
const [LOW, HIGH] = [28, 42];
const SPARE = 6;

function signed(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : change(value);
}

export function mountPairTable(pair: Pair, host: HTMLElement): void {
  const { session } = pair;
  const { store } = session;
  let by: PairKey = "a_gradcam";
  let ascending = false;
  let asking = 0;

  const note = h("span", { class: "note" });
  const head = (
    key: PairKey | "words",
    label: () => string,
    title: string,
  ): { el: HTMLElement; key: string; say: () => void } => {
    const text = h("span");
    const el = h(
      "span",
      {
        role: "columnheader",
        class: key.includes("_") ? "num" : null,
        title: key === "words" ? title : null,
      },
      key === "words"
        ? text
        : h("button", { type: "button", title, onclick: () => sort(key) }, text),
    );
    return { el, key, say: () => setText(text, label()) };
  };
  const name = (k: 0 | 1): string => pair.names()[k];
  const heads = [
    head("position", () => "neuron", "sort by layer and index"),
    head(
      "a_difference",
      () => `D ${name(0)}`,
      "sort by the activation difference of the first concept",
    ),
    head("a_gradcam", () => `G ${name(0)}`, "sort by the GradCAM score of the first concept"),
    head(
      "b_difference",
      () => `D ${name(1)}`,
      "sort by the activation difference of the second concept",
    ),
    head("b_gradcam", () => `G ${name(1)}`, "sort by the GradCAM score of the second concept"),
    head(
      "words",
      () => "writes",
      "the words of the side on which the neuron acts: before them its mean activation where the word is predicted. One that both share may act on two sides",
    ),
  ];
  const spacer = h("div");
  const scroll = h("div", { class: "scroll", role: "rowgroup", tabindex: "-1" }, spacer);
  const table = h(
    "div",
    {
      class: "table pair-table",
      role: "grid",
      tabindex: "0",
      "aria-label": "neurons of the chosen part",
    },
    h("div", { class: "thead", role: "row" }, ...heads.map((one) => one.el)),
    h("div", { class: "sheet" }, scroll),
  );
  roving(table, () => [...table.querySelectorAll<HTMLElement>(".thead button")]);
  const keys = explains(table, "up and down choose a neuron, Escape shows the whole part");
  host.append(h("div", { class: "head" }, h("h3", {}, "neurons"), note), table, keys);

  const sort = (key: PairKey): void => {
    ascending = by === key ? !ascending : key === "position";
    by = key;
    scroll.scrollTop = 0;
    store.touch("view");
  };
  const choose = (id: number): void => {
    store.commit({ selected: id });
    session.announce(
      id < 0
        ? pair.title(pair.part())
        : `${session.name(id)}: ${pair
            .acts(id, pair.part())
            .map(
              ({ sides, values, words }) =>
                `${sides.map((side, k) => `${name(side === "a" ? 0 : 1)} ${signed(values[k])}`).join(", ")}, writes ${(words ?? []).slice(0, 5).join(", ")}`,
            )
            .join("; ")}`,
    );
  };
  const height = (): number => (pair.part() === "shared" ? HIGH : LOW);
  const list = (upto = Infinity): Int32Array => pair.list(pair.part(), by, ascending, upto);
  const pool: { el: HTMLElement; cells: HTMLElement[]; id: number; shown: string }[] = [];
  const makeRow = (): (typeof pool)[number] => {
    const cells = heads.map((one) =>
      h("span", {
        role: "gridcell",
        class: one.key.includes("_") ? "num" : one.key === "words" ? "words" : null,
      }),
    );
    const row = {
      el: h("div", { class: "trow", role: "row", id: uniqueId("row"), tabindex: "-1" }, ...cells),
      cells,
      id: -1,
      shown: "",
    };
    row.el.addEventListener("click", () => choose(store.get("selected") === row.id ? -1 : row.id));
    spacer.append(row.el);
    pool.push(row);
    return row;
  };
  const paint = (): void => {
    const part = pair.part();
    const total = pair.counts().count[part];
    const ROW = height();
    table.classList.toggle("tall", ROW === HIGH);
    const whole = `${total * ROW}px`;
    if (spacer.style.height !== whole) spacer.style.height = whole;
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SPARE);
    const last = Math.min(
      total,
      Math.ceil((scroll.scrollTop + (session.size(scroll).height || 300)) / ROW) + SPARE,
    );
    const ids = list(last);
    let used = 0;
    for (let at = first; at < last; at++, used++) {
      const row = pool[used] ?? makeRow();
      const id = int(ids, at);
      row.id = id;
      if (row.el.hidden) row.el.hidden = false;
      const top = `${at * ROW}px`;
      if (row.el.style.top !== top) row.el.style.top = top;
      setAttr(row.el, "aria-selected", String(store.get("selected") === id));
      setAttr(row.el, "aria-rowindex", String(at + 2));
      const acts = pair.acts(id, part);
      const shown = `${id} ${part} ${store.version("rows")} ${acts.map(({ words }) => +!!words).join("")} ${SIDES.map((side) => pair.side(side).store.version("difference")).join()}`;
      if (row.shown === shown) continue;
      row.shown = shown;
      setText(nth(row.cells, 0), session.name(id));
      SIDES.forEach((side, k) => {
        const evidence = pair.side(side).evidence();
        setText(nth(row.cells, 1 + 2 * k), short(num(evidence.difference, id)));
        setText(nth(row.cells, 2 + 2 * k), short(num(evidence.gradcam, id)));
      });
      const forms = SIDES.flatMap((side) => pair.side(side).store.get("concept_forms") ?? []);
      fill(
        nth(row.cells, 5),
        ...acts.map(({ sides, values, words }) =>
          h(
            "span",
            { class: "side" },
            ...sides.flatMap((side, k) => [
              sides.length + acts.length > 2 ? h("i", { class: `key ${side}` }) : null,
              h("span", { class: "num acts" }, signed(values[k])),
              " ",
            ]),
            ...(words ?? ["…"]).flatMap((word) => [
              isForm(word, forms) ? h("b", {}, word.trim()) : word.trim(),
              " ",
            ]),
          ),
        ),
      );
    }
    for (const { el } of pool.slice(used)) if (!el.hidden) el.hidden = true;
    setAttr(table, "aria-rowcount", String(total + 1));
    const chosen = pool.find((row) => !row.el.hidden && row.id === store.get("selected"));
    setAttr(table, "aria-activedescendant", chosen?.el.id ?? null);
    setText(
      note,
      `${pair.title(part)} · ${integer(total)} · D activation difference, G GradCAM score`,
    );
    for (const one of heads) {
      one.say();
      setAttr(
        one.el,
        "aria-sort",
        one.key === by ? (ascending ? "ascending" : "descending") : null,
      );
    }
    clearTimeout(asking);
    asking = setTimeout(() => wantWords(ids.slice(first, last)), 200) as unknown as number;
  };
  const wantWords = (ids: Int32Array): void => {
    if (session.blocked() || pair.a.store.previewing || pair.b.store.previewing) return;
    for (const side of pair.actsFor(pair.part())) {
      const one = pair.side(side);
      const missing = [...ids].filter((id) => !one.words(id));
      if (!missing.length) continue;
      void one.ask("words", { ids: missing, side }).then((reply) => {
        if (reply) one.addWords(missing, (reply.result["words"] ?? []) as string[][]);
      });
    }
  };
  scroll.addEventListener("scroll", () => store.touch("view"));
  table.addEventListener("keydown", (event) => {
    if ((event.target as Element).closest(".thead")) return; // a head has keys of its own
    if (event.key === "Escape") return choose(-1);
    const ids = list();
    const at = ids.indexOf(store.get("selected") ?? -1);
    const ROW = height();
    const page = Math.max(1, Math.floor(scroll.clientHeight / ROW) - 1);
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -ids.length,
      End: ids.length,
    }[event.key];
    if (step === undefined || !ids.length) return;
    event.preventDefault();
    const next = Math.min(Math.max(at < 0 ? 0 : at + step, 0), ids.length - 1);
    const top = next * ROW;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    if (top + ROW > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = top + ROW - scroll.clientHeight;
    choose(int(ids, next));
  });
  session.off.signal.addEventListener("abort", () => clearTimeout(asking));
  let shown = "";
  for (const side of SIDES)
    pair.side(side).store.watch(["words", "activation"], () => store.touch("order"));
  session.paint(["part", "selected", "order", "map_ids", "rows", "shape"], () => {
    const part = pair.part();
    if (part !== shown) {
      if (by === "a_gradcam" && part === "b") by = "b_gradcam";
      else if (by === "b_gradcam" && part !== "b") by = "a_gradcam";
      shown = part;
      scroll.scrollTop = 0;
    }
    paint();
  });
}

// The survivors, one row each; only the rows in sight exist in the page.

import { int, num } from "../core/arrays";
import { byteLength } from "../core/binary";
import { button, fill, h, setAttr, setText, steady } from "../core/dom";
import { faultLine } from "../core/faults";
import { isForm } from "../core/diff";
import type { SortKey } from "../core/evidence";
import { change, integer, plural, short } from "../core/format";
import { CUTS, SETS, type Session } from "../core/session";
import { explains, roving, uniqueId } from "../core/roving";
import { calmly, derive } from "../core/store";
import { mountWork } from "../core/work";
import { neuronPage, WRITES } from "./neuron_page";

const ROW = 28;
const SPARE = 6;
/** neurons that are asked about at once */
const ASKED = 1000;
const HEADS: readonly (readonly [SortKey | null, string, string])[] = [
  [null, "", "checked"],
  ["position", "neuron", "sort by layer and index"],
  [
    "difference",
    "diff",
    "activation difference when the object is painted away; a click sorts by it",
  ],
  ["gradcam", "cam", "GradCAM score, activation × gradient; a click sorts by it"],
  [
    null,
    "at word",
    "its mean activation where the word is predicted: the sign says which end of its column it writes",
  ],
  [null, "writes", WRITES],
];

interface Row {
  el: HTMLElement;
  check: HTMLInputElement;
  name: HTMLElement;
  d: HTMLElement;
  g: HTMLElement;
  acts: HTMLElement;
  words: HTMLElement;
  id: number;
  at: number;
  shown: string;
}

/** `paged`: whether the chosen neuron's page lies beneath. */
export function mountNeuronTable(session: Session, host: HTMLElement, paged = true): void {
  const { store } = session;
  let key: SortKey = "gradcam";
  let ascending = false;
  let query = "";
  const local = uniqueId("row");
  let asking = 0;
  let scrolled = 0;

  const note = h("span", { class: "note" });
  const search = h("input", {
    type: "search",
    placeholder: "word or layer",
    "aria-label": "filter neurons by word or layer",
    size: 11,
  });
  const heads = HEADS.map(([sort, label, title]) => {
    const cell = h("span", {
      role: "columnheader",
      title: sort ? null : title,
      class:
        sort === "difference" || sort === "gradcam"
          ? "num"
          : label === "at word"
            ? "num acts"
            : null,
    });
    const own =
      sort === "difference" || sort === "gradcam"
        ? store.get("labels")?.[`short_${sort}`]
        : undefined;
    if (sort)
      cell.append(
        h(
          "button",
          {
            type: "button",
            title: own ? `sort by ${store.get("labels")?.[sort as "gradcam"] ?? own}` : title,
            onclick: () => order(sort),
          },
          own ?? label,
        ),
      );
    else cell.append(label || h("span", { class: "sr" }, "kept"));
    return cell;
  });
  const spacer = h("div");
  const scroll = h("div", { class: "scroll", role: "rowgroup", tabindex: "-1" }, spacer);
  const none = h("div", { class: "note none", hidden: true });
  const table = h(
    "div",
    { class: "table", role: "grid", tabindex: "0", "aria-label": "neurons that are kept" },
    h("div", { class: "thead", role: "row" }, ...heads),
    h("div", { class: "sheet" }, scroll, none),
  );
  roving(table, () => [...table.querySelectorAll<HTMLElement>(".thead button")]);
  const keys = explains(table, "up and down choose a neuron, space checks or unchecks it");
  const page = paged ? neuronPage(session) : null;
  const also = button("", () => void askServes(), {
    class: "btn yields",
    title: "other words the neuron is among the best 200 for",
  });
  host.append(
    h(
      "div",
      { class: "head" },
      h("h3", {}, "neurons"),
      steady(note),
      mountWork(session, ["serves"]),
      also,
      search,
    ),
    faultLine(session, "words", "serves"),
    table,
    keys,
  );
  if (page) host.append(page);

  const cuts = [...CUTS, "rows_off", "words", "map_ids", "order"] as const;
  const found = derive(store, cuts, () => ({ ids: new Int32Array(0) as Int32Array, whole: false }));
  /** The ids in order: at least the first `upto`, or all; a drag lists no more than it shows. */
  const list = (upto = Infinity): Int32Array => {
    const now = found();
    if (!now.whole && now.ids.length < upto) {
      const [td, tg] = session.limits();
      const room = query ? Infinity : upto;
      const ids = session.choosing().list(td, tg, session.rowsOff(), key, ascending, room);
      now.ids = query ? ids.filter((id) => matches(id)) : ids;
      now.whole = query !== "" || ids.length < room;
    }
    return now.ids;
  };
  const matches = (id: number): boolean => {
    const name = session.name(id).toLowerCase();
    if (/^l\d+/.test(query) || query.includes("·"))
      return (
        name === query ||
        name.startsWith(query + "·") ||
        (query.includes("·") && name.startsWith(query))
      );
    return (session.words(id) ?? []).some((word) => word.toLowerCase().trim().startsWith(query));
  };
  const order = (next: SortKey): void => {
    ascending = key === next ? !ascending : next === "position";
    key = next;
    scroll.scrollTop = 0;
    store.touch("order");
  };
  search.addEventListener("input", () => {
    query = search.value.trim().toLowerCase();
    scroll.scrollTop = 0;
    store.touch("order");
  });

  const pool: Row[] = [];
  const makeRow = (): Row => {
    const check = h("input", { type: "checkbox", tabindex: "-1" });
    const [name, d, g, acts, words] = [
      h("span", { role: "gridcell" }),
      h("span", { role: "gridcell", class: "num" }),
      h("span", { role: "gridcell", class: "num" }),
      h("span", { role: "gridcell", class: "num acts" }),
      h("span", { role: "gridcell", class: "words" }),
    ];
    const el = h(
      "div",
      { class: "trow", role: "row" },
      h("span", { role: "gridcell" }, check),
      name,
      d,
      g,
      acts,
      words,
    );
    const row: Row = { el, check, name, d, g, acts, words, id: -1, at: -1, shown: "" };
    check.addEventListener("change", () => toggle(row.id));
    el.addEventListener("click", (event) => {
      if (event.target !== check) choose(row.id);
    });
    spacer.append(el);
    pool.push(row);
    return row;
  };

  const toggle = (id: number): void => {
    const out = new Set(session.unchecked());
    if (!out.delete(id)) out.add(id);
    store.commit({ unchecked: [...out].sort((a, b) => a - b) });
    session.announce(
      `${session.name(id)} ${out.has(id) ? "unchecked" : "checked"}, ${plural(session.kept().checked, "neuron")} kept`,
    );
  };
  const choose = (id: number): void => {
    const patch: { selected: number; overlay?: string } = { selected: id };
    if (store.get("overlay") !== undefined) patch.overlay = "neuron";
    store.commit(patch);
    session.announce(`${session.name(id)}: ${(session.words(id) ?? []).slice(0, 5).join(", ")}`);
  };

  const paintRow = (row: Row, id: number, at: number): void => {
    if (row.at !== at) {
      row.at = at;
      row.el.id = `${local}-${at}`;
      setAttr(row.el, "aria-rowindex", String(at + 2));
      row.el.style.transform = `translateY(${at * ROW}px)`;
    }
    if (row.el.hidden) row.el.hidden = false;
    const off = session.unchecked().has(id);
    const chosen = store.get("selected") === id;
    const words = session.words(id);
    const others = session.serves.get(id);
    const shown = `${id} ${store.version("words")} ${store.version("concept_forms")} ${store.version("difference")} ${words ? 1 : 0}`;
    row.check.checked = !off;
    row.el.classList.toggle("unchecked", off);
    setAttr(row.el, "aria-selected", String(chosen));
    if (row.shown === shown) return;
    row.shown = shown;
    row.id = id;
    const e = session.evidence();
    setText(row.name, session.name(id));
    setText(row.d, short(num(e.difference, id)));
    setText(row.g, short(num(e.gradcam, id)));
    const acts = session.activation(id);
    setText(row.acts, acts === null ? "" : change(acts));
    setAttr(row.check, "aria-label", `keep ${session.name(id)}`);
    const forms = store.get("concept_forms") ?? [];
    fill(
      row.words,
      ...(others?.length
        ? [
            h(
              "b",
              { class: "also", title: `also serves ${others.join(", ")}` },
              `${others[0]}${others.length > 1 ? ` +${others.length - 1}` : ""}`,
            ),
            " ",
          ]
        : []),
      ...(words ?? ["…"]).flatMap((word) => [
        isForm(word, forms) ? h("b", {}, word.trim()) : word.trim(),
        " ",
      ]),
    );
  };

  const paint = (): void => {
    const kept = session.kept();
    const total = query ? list().length : kept.count;
    const height = `${total * ROW}px`;
    if (spacer.style.height !== height) spacer.style.height = height;
    const first = Math.max(0, Math.floor(scrolled / ROW) - SPARE);
    const last = Math.min(
      total,
      Math.ceil((scrolled + (session.size(scroll).height || 300)) / ROW) + SPARE,
    );
    const ids = list(last);
    // A neuron that stays in sight keeps its row: it moves, and is not written again.
    const inSight = ids.subarray(first, last);
    const wanted = new Set(inSight);
    const here = new Map(pool.filter((row) => wanted.has(row.id)).map((row) => [row.id, row]));
    const free = pool.filter((row) => !wanted.has(row.id));
    inSight.forEach((id, k) => paintRow(here.get(id) ?? free.pop() ?? makeRow(), id, first + k));
    for (const row of free) if (!row.el.hidden) row.el.hidden = true;
    setAttr(table, "aria-rowcount", String(total + 1));
    const chosen = pool.find((row) => !row.el.hidden && row.id === store.get("selected"));
    setAttr(table, "aria-activedescendant", chosen?.el.id ?? null);
    if (none.hidden !== total > 0) none.hidden = total > 0;
    if (!total) setText(none, query ? "no kept neuron matches" : session.nothing());
    const sorted = key === "position" ? "layer" : session.scoreName(key);
    const shown = query
      ? `${integer(total)} of ${integer(kept.count)} match`
      : `${integer(kept.checked)} kept`;
    setText(
      note,
      `${shown}${kept.count - kept.checked ? ` · ${integer(kept.count - kept.checked)} unchecked` : ""}`,
    );
    setAttr(note, "title", `sorted by ${sorted}`);
    heads.forEach((head, k) =>
      setAttr(
        head,
        "aria-sort",
        HEADS[k]?.[0] === key ? (ascending ? "ascending" : "descending") : null,
      ),
    );
    clearTimeout(asking);
    asking = setTimeout(() => wantWords(inSight), 150) as unknown as number;
  };

  const askServes = async (): Promise<void> => {
    const ids = [...list(ASKED).subarray(0, ASKED)];
    const reply = await session.ask("serves", { ids });
    if (!reply) return;
    const lists = reply.result["serves"] as string[][];
    ids.forEach((id, k) => session.serves.set(id, lists[k] ?? []));
    const shared = lists.filter((one) => one.length).length;
    setText(also, `${shared}/${ids.length} shared`);
    store.touch("words");
  };

  const wantWords = (ids: Int32Array): void => {
    if (store.previewing) {
      asking = setTimeout(() => wantWords(ids), 150) as unknown as number;
      return;
    }
    const missing = [...ids].filter((id) => !session.words(id));
    if (!missing.length || session.blocked()) return;
    void session.ask("words", { ids: missing }).then((reply) => {
      if (reply) session.addWords(missing, (reply.result["words"] ?? []) as string[][]);
    });
  };
  session.off.signal.addEventListener("abort", () => clearTimeout(asking));

  let frame = 0;
  scroll.addEventListener("scroll", () => {
    scrolled = scroll.scrollTop;
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      paint();
    });
  });
  table.addEventListener("keydown", (event) => {
    if ((event.target as Element).closest(".thead")) return; // a head has keys of its own
    const ids = list();
    const at = ids.indexOf(store.get("selected") ?? -1);
    const page = Math.max(1, Math.floor(scroll.clientHeight / ROW) - 1);
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -ids.length,
      End: ids.length,
    }[event.key];
    if (step !== undefined && ids.length) {
      event.preventDefault();
      const next = Math.min(Math.max(at < 0 ? 0 : at + step, 0), ids.length - 1);
      const top = next * ROW;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      if (top + ROW > scroll.scrollTop + scroll.clientHeight)
        scroll.scrollTop = top + ROW - scroll.clientHeight;
      choose(int(ids, next));
    } else if (event.key === " " && at >= 0) {
      event.preventDefault();
      toggle(int(ids, at));
    }
  });
  store.watch(["difference", "concept", "status", "read_only"], () => {
    also.hidden = !session.looks();
    if (!session.serves.size) setText(also, "also serve?");
  });
  store.watch(["activation"], () =>
    table.classList.toggle("unsigned", !byteLength(store.get("activation"))),
  );
  session.paint(
    [...SETS, "words", "map_ids", "selected", "concept_forms", "rows", "order", "facts", "stale"],
    calmly(store, 30, paint),
  );
}

// The concept, its tokens, the model, what leaves the page, what is set once; and long work that one does not see elsewhere.

import { button, clamp, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { integer, plural, seconds } from "../core/format";
import type { Session } from "../core/session";
import { mountWork } from "../core/work";

export interface TopBar {
  compute(concept: string): void;
}

let lists = 0;

/** `tools`: what stands at the end of the line. */
export function mountTopBar(session: Session, host: HTMLElement, ...tools: HTMLElement[]): TopBar {
  const { store } = session;
  const options = h("datalist", {
    id: `mmkn-concepts-${++lists}-${Math.random().toString(36).slice(2, 7)}`,
  });
  const input = h("input", {
    type: "text",
    list: options.id,
    size: 12,
    "aria-label": "concept",
    autocomplete: "off",
    spellcheck: "false",
  });
  const tokens = h("span", { class: "mono note yields" });
  const facts = h("span", { class: "note facts yields" });
  const run = button("compute", () => compute(input.value), { class: "btn yields" });
  const note = h("span", { class: "note", role: "status" });
  const stale = h("span", { class: "chip", role: "status" });
  const ask = h(
    "span",
    { class: "row ask" },
    h("label", {}, h("span", { class: "note" }, "concept"), input),
    mountWork(session, ["compute"], { follows: true }),
    run,
    tokens,
    note,
  );
  const elsewhere = mountWork(session);
  host.append(
    ask,
    options,
    stale,
    elsewhere,
    facts,
    h("span", { class: "row tools" }, ...tools),
    faultLine(session, "compute"),
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") compute(input.value);
  });

  const compute = (concept: string): void => {
    const word = concept.trim();
    if (!word || session.blocked()) return;
    const ask = async (): Promise<void> => {
      const reply = await session.ask("compute", { concept: word });
      if (reply) setText(note, String(reply.result["note"] ?? ""));
    };
    const painting = session.finishMask(); // who paints and presses compute means what is painted
    if (painting) void painting.then((done) => (done ? ask() : undefined));
    else void ask();
  };
  store.watch(["concepts"], () =>
    fill(options, ...(store.get("concepts") ?? []).map((name) => h("option", { value: name }))),
  );
  store.watch(["concept", "concept_forms", "concept_tokens"], () => {
    input.value = store.get("concept") ?? "";
    const pieces = store.get("concept_tokens") ?? [];
    setText(
      tokens,
      [
        (store.get("concept_forms") ?? []).join(" · "),
        pieces.length ? `→ ${plural(pieces.length, "token")}` : "",
      ]
        .filter(Boolean)
        .join("  "),
    );
    setAttr(
      tokens,
      "title",
      pieces.length ? `tokens: ${pieces.map((p) => `“${p}”`).join(" ")}` : null,
    );
  });
  store.watch(["facts"], () => {
    const f = store.get("facts");
    if (!f) return;
    setText(facts, `${f.model} · ${f.layers} × ${integer(f.neurons)} neurons · ${f.device}`);
    setAttr(
      facts,
      "title",
      `${plural(f.scenes, "scene")} scored${f.own ? `, ${f.own} of them your own` : ""}${f.seconds ? ` in ${seconds(f.seconds)}` : ""}`,
    );
  });
  store.watch(["stale", "facts", "concept"], () => {
    const scenes = store.get("stale") ?? [];
    const blank = session.unscored();
    const word = store.get("concept") || "object";
    const old = `${plural(scenes.length, "mask")} painted since: scores are of the old ${scenes.length === 1 ? "one" : "ones"}`;
    stale.hidden = !blank && scenes.length === 0;
    setText(
      stale,
      !blank
        ? scenes.length
          ? old
          : ""
        : scenes.length
          ? "painted: now compute"
          : `no scores yet: paint the ${word} below, then compute`,
    );
    run.classList.toggle("primary", scenes.length > 0);
    setText(run, scenes.length && !blank ? "compute again" : "compute");
  });
  let refused = false;
  store.watch(["faults"], () => {
    const now = session.faults.of(["compute"]) !== undefined;
    // Who has gone on has not asked for that word again.
    if (refused && !now && !session.requests.waiting("compute"))
      input.value = store.get("concept") ?? "";
    refused = now;
  });
  let said = "";
  store.watch(["status", "read_only"], () => {
    const status = store.get("status");
    run.disabled = input.disabled = session.blocked() !== null;
    setAttr(run, "title", session.blocked() ?? "find the neurons of this concept");
    if (status?.state !== "working") {
      if (said) session.announce("ready");
      said = "";
      return;
    }
    if (said !== status.stage) session.announce(status.stage);
    said = status.stage;
  });
  keepInSight(session, host, () => host.querySelector(".work:not([hidden])") !== null);
  return { compute };
}

/** While `wanted`, let a bar follow the scrolling: its host's boxes scroll or clip, so that `position: sticky` has no hold. */
function keepInSight(session: Session, bar: HTMLElement, wanted: () => boolean): void {
  let shift = 0;
  const place = (): void => {
    let next = 0;
    if (wanted()) {
      let top = 0;
      for (let el = session.root.parentElement; el; el = el.parentElement) {
        if (getComputedStyle(el).overflowY !== "visible")
          top = Math.max(top, el.getBoundingClientRect().top);
      }
      const own = bar.getBoundingClientRect();
      const end = session.root.getBoundingClientRect().bottom;
      const natural = own.top - shift;
      next = Math.round(clamp(top - natural, 0, Math.max(end - natural - own.height, 0)));
    }
    if (next === shift) return;
    shift = next;
    bar.style.transform = shift ? `translateY(${shift}px)` : "";
    bar.classList.toggle("follows", shift > 0);
  };
  document.addEventListener(
    "scroll",
    () => {
      if (shift || wanted()) place();
    },
    { capture: true, passive: true, signal: session.off.signal },
  );
  session.store.watch(["work", "status"], place);
}

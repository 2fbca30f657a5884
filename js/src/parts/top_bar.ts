// The concept, its tokens, the model, and long work with its progress.

import { button, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { integer, plural, seconds } from "../core/format";
import type { Session } from "../core/session";

export interface TopBar {
  compute(concept: string): void;
}

let lists = 0;

export function mountTopBar(session: Session, host: HTMLElement): TopBar {
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
  const tokens = h("span", { class: "mono note" });
  const facts = h("span", { class: "note" });
  const fill_ = h("i");
  const bar = h(
    "span",
    { class: "bar", role: "progressbar", "aria-label": "progress", style: { width: "120px" } },
    fill_,
  );
  const stage = h("span", { class: "note" });
  const note = h("span", { class: "note", role: "status" });
  const run = button("compute", () => compute(input.value));
  const stale = h("span", { class: "chip", role: "status" });
  const cancel = button("cancel", () => void session.ask("cancel"));
  host.append(
    h("label", {}, h("span", { class: "note" }, "concept"), input),
    options,
    tokens,
    note,
    h("span", { class: "grow" }),
    facts,
    stage,
    bar,
    stale,
    run,
    cancel,
    faultLine(session, "compute"),
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") compute(input.value);
  });

  const compute = (concept: string): void => {
    const word = concept.trim();
    if (!word || session.blocked()) return;
    void session.ask("compute", { concept: word }).then((reply) => {
      if (reply) setText(note, String(reply.result["note"] ?? ""));
    });
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
    if (f)
      setText(
        facts,
        `${f.model} · ${f.layers} × ${integer(f.neurons)} neurons · ${f.device} · ${plural(f.scenes, "scene")}${f.own ? `, ${f.own} of them your own` : ""}${f.seconds ? ` · ${seconds(f.seconds)}` : ""}`,
      );
  });
  store.watch(["stale", "facts", "concept"], () => {
    const scenes = store.get("stale") ?? [];
    const blank = store.get("facts")?.scenes === 0;
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
          : `no scores yet: paint the ${word} below, press inpaint, then compute`,
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
  let late = 0;
  const busy = (on: boolean): void => {
    bar.hidden = stage.hidden = cancel.hidden = !on;
    facts.hidden = run.hidden = on; // one line, whatever happens
  };
  busy(false);
  session.off.signal.addEventListener("abort", () => clearTimeout(late));
  store.watch(["status", "read_only"], () => {
    const status = store.get("status");
    const working = status?.state === "working";
    clearTimeout(late);
    if (!working) busy(false);
    else if (bar.hidden) late = setTimeout(busy, 150, true) as unknown as number; // what is done at once does not flicker
    run.disabled = input.disabled = session.blocked() !== null;
    setAttr(run, "title", session.blocked() ?? "find the neurons of this concept");
    if (!working || !status) {
      if (said) session.announce("ready");
      said = "";
      return;
    }
    const share = status.total ? status.done / status.total : 0;
    fill_.style.width = `${share * 100}%`;
    setAttr(bar, "aria-valuenow", String(Math.round(share * 100)));
    const left = status.seconds_left === null ? "" : ` · ${seconds(status.seconds_left)} left`;
    setText(
      stage,
      `${status.stage}${status.total ? ` ${status.done}/${status.total}` : " …"}${left}`,
    );
    if (said !== status.stage) session.announce(status.stage);
    said = status.stage;
  });
  return { compute };
}

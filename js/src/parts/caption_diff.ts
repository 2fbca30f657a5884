// The caption before and after, with what changed; a click on a word makes it the concept.

import { diffWords, isForm, words } from "../core/diff";
import { byteLength } from "../core/binary";
import { button, fill, h, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { takeCargo } from "../core/carry";
import { rewriter, type Rewrite } from "../core/rewrite";
import { roving } from "../core/roving";
import type { Session } from "../core/session";
import { mountWork } from "../core/work";
import { mountEffectRows } from "./effect_rows";
import { mountTransplantRow } from "./transplant_row";

export interface CaptionOptions {
  onword?: (word: string) => void;
  /** how the caption is written anew; by default this part asks and streams by itself */
  rewrite?: Rewrite;
  /** the kernel behind this widget can measure */
  measures?: boolean;
  /** where the keyboard's way to a transplant is; by default below the captions */
  transplants?: HTMLElement;
  /** the kernel can write the caption of the picture without the object */
  inpainted?: boolean;
}

/** Text that streams in while the model writes; null when it does not write. */
export interface CaptionPart {
  /** beneath the captions, where it is said what acts and how much it changes */
  readonly effects: HTMLElement;
  stream(text: string | null): void;
}

export function mountCaptionDiff(
  session: Session,
  host: HTMLElement,
  options: CaptionOptions = {},
): CaptionPart {
  const { store } = session;
  const before = h("dd");
  const line = h("span", {
    role: "toolbar",
    "aria-label": "words of the caption before; one that is pressed becomes the concept",
  });
  const rove = roving(line, () => [...line.querySelectorAll<HTMLElement>("button")]);
  const after = h("dd", { "aria-live": "polite" });
  const refs = h("dd", { class: "quiet" });
  const refsHead = h("dt", { title: "captions that the data set gives this picture" }, "refs");
  const note = h("span", {
    class: "note",
    title: "greedy: at every step the model's most likely token",
  });
  const without = h("dd", { class: "quiet" });
  const withoutHead = h(
    "dt",
    { title: "the caption of the picture with the object painted away, by the unchanged model" },
    "inpainted",
  );
  const effects = h("div", { class: "effects" });
  let streaming: string | null = null;
  let all = false;
  const outcome = h("div");
  const row = h("div");
  const said = h(
    "div",
    { class: "said" },
    h("div", { class: "head" }, h("h3", {}, "caption"), note),
    h(
      "dl",
      { class: "captions", style: { margin: "0" } },
      h("dt", {}, "before"),
      before,
      h("dt", {}, "after"),
      after,
      ...(options.inpainted ? [withoutHead, without] : []),
      refsHead,
      refs,
    ),
    outcome,
    options.transplants ? null : row,
    effects,
  );
  const figures = h("div", { class: "figures" });
  host.append(said, figures);
  options.transplants?.append(row);
  mountEffectRows(session, figures, options.measures ?? false);
  const part: CaptionPart = {
    effects,
    stream(text) {
      streaming = text;
      paint();
    },
  };

  const word = (text: string, index: number): Node => {
    const concept = isForm(text, store.get("concept_forms") ?? []);
    const name = concept ? "word concept" : "word";
    if (!options.onword) {
      const el = h("span", { class: name }, text);
      if (store.get("transplants"))
        takeCargo(el, (cargo) => transplants.put(index, cargo.object, cargo.cells));
      return el;
    }
    const el = h(
      "button",
      {
        type: "button",
        class: name,
        title: concept ? "the concept" : `make “${text}” the concept`,
      },
      text,
    );
    el.addEventListener("click", () => options.onword?.(text));
    if (store.get("transplants"))
      takeCargo(el, (cargo) => transplants.put(index, cargo.object, cargo.cells));
    return el;
  };
  const transplants = mountTransplantRow(
    session,
    row,
    outcome,
    options.rewrite ?? rewriter(session, (text) => part.stream(text)),
  );
  const spaced = (nodes: Node[]): (Node | string)[] => nodes.flatMap((node) => [node, " "]);

  const paint = (): void => {
    setText(
      note,
      options.onword && !session.blocked()
        ? "greedy · click a word to make it the concept"
        : "greedy",
    );
    const first = store.get("caption_before") ?? "";
    const second = store.get("caption_after") ?? "";
    if (!first) fill(before, h("span", { class: "note" }, "not written yet"));
    else if (!options.onword) fill(before, ...spaced(words(first).map(word)));
    else {
      fill(line, ...spaced(words(first).map(word)));
      if (before.firstChild !== line) fill(before, line);
      rove();
    }
    if (streaming !== null) fill(after, streaming, h("span", { class: "note" }, " …"));
    else if (!second)
      fill(
        after,
        h(
          "span",
          { class: "note" },
          store.get("read_only")
            ? "nothing was ablated when this was saved"
            : store.get("transplants")
              ? "ablate, or drag an object of the picture onto a word"
              : "ablate to see what changes",
        ),
      );
    else {
      const pieces = diffWords(first, second);
      const parts = pieces.map((piece) => {
        if (piece.kind === "gone")
          return h("del", { "aria-label": `removed: ${piece.text}` }, piece.text);
        if (piece.kind === "new")
          return h("ins", { "aria-label": `new: ${piece.text}` }, piece.text);
        return document.createTextNode(piece.text);
      });
      fill(after, ...spaced(parts));
      if (pieces.every((piece) => piece.kind === "same"))
        after.append(h("span", { class: "note" }, "(unchanged)"));
    }
    const references = store.get("references") ?? [];
    refsHead.hidden = refs.hidden = references.length === 0;
    if (all) fill(refs, ...references.map((line) => h("div", {}, line)));
    else fill(refs, references[0] ?? "");
    if (!all && references.length > 1) {
      refs.append(
        " ",
        h(
          "button",
          {
            type: "button",
            class: "link",
            onclick: () => {
              all = true;
              paint();
            },
          },
          `· ${references.length - 1} more`,
        ),
      );
    }
  };
  store.watch(
    [
      "caption_before",
      "caption_after",
      "references",
      "concept_forms",
      "concept",
      "transplants",
      "read_only",
    ],
    paint,
  );
  if (options.inpainted) mountInpainted(session, withoutHead, without);
  return part;
}

/** What the model writes of the picture without the object: on a button, as it costs a generation. */
function mountInpainted(session: Session, head: HTMLElement, host: HTMLElement): void {
  const { store } = session;
  const work = mountWork(session, ["caption_inpainted"]);
  const write = button(
    "write its caption",
    () => void session.ask("caption_inpainted", { scene: store.get("scene") ?? 0 }),
    { class: "link yields" },
  );
  const text = h("span");
  host.append(work, write, text, faultLine(session, "caption_inpainted"));
  store.watch(["caption_inpainted", "inpainted", "read_only"], () => {
    const written = store.get("caption_inpainted") ?? "";
    const painted = byteLength(store.get("inpainted")) > 0;
    head.hidden = host.hidden = !written && (!painted || session.blocked() !== null);
    write.hidden = written !== "";
    setText(text, written);
  });
}

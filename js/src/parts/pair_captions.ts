// One side's captions: before, after what is active, and with random neurons off instead.

import { diffWords, isForm, words } from "../core/diff";
import { fill, h } from "../core/dom";
import type { Pair } from "../core/pair";
import type { Side } from "../core/pair_traits";

export function mountPairCaptions(pair: Pair, which: Side, host: HTMLElement): void {
  const { store } = pair.side(which);
  const [before, after, random] = [h("dd"), h("dd", { "aria-live": "polite" }), h("dd")];
  const control = h(
    "dt",
    { title: "as many random neurons of the same layers off instead" },
    "random",
  );
  host.append(
    h(
      "dl",
      { class: "captions", style: { margin: "0" } },
      h("dt", {}, "before"),
      before,
      h("dt", {}, "after"),
      after,
      control,
      random,
    ),
  );
  const forms = (): string[] => store.get("concept_forms") ?? [];
  const word = (text: string): Node | string =>
    isForm(text, forms()) ? h("span", { class: "word concept" }, text) : text;

  const changed = (text: string): (Node | string)[] => {
    const pieces = diffWords(store.get("caption_before") ?? "", text);
    const made = pieces.flatMap((piece) => [
      piece.kind === "gone"
        ? h("del", { "aria-label": `removed: ${piece.text}` }, piece.text)
        : piece.kind === "new"
          ? h("ins", { "aria-label": `new: ${piece.text}` }, piece.text)
          : word(piece.text),
      " ",
    ]);
    return pieces.every((piece) => piece.kind === "same")
      ? [...made, h("span", { class: "note" }, "(unchanged)")]
      : made;
  };
  store.watch(
    ["caption_before", "caption_after", "caption_random", "concept_forms", "status"],
    () => {
      fill(
        before,
        ...words(store.get("caption_before") ?? "").flatMap((text) => [word(text), " "]),
      );
      const writing = store.get("status")?.stage === "writing the captions";
      const [now, drawn] = [store.get("caption_after"), store.get("caption_random")];
      const wait = h(
        "span",
        { class: "note" },
        writing ? "…" : "ablate a part to see what changes",
      );
      fill(after, ...(now ? changed(now) : [wait]));
      control.hidden = random.hidden = !drawn && !writing;
      fill(random, ...(drawn ? changed(drawn) : ["…"]));
    },
  );
}

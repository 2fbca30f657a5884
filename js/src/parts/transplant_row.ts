// The keyboard's way to a transplant: choose a part of the picture, choose a word, press the button.

import { words } from "../core/diff";
import { button, fill, h, setAttr, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { plural } from "../core/format";
import type { Rewrite } from "../core/rewrite";
import type { Session } from "../core/session";

const PATCHES = "\u0000patches";

export interface TransplantRow {
  put(index: number, object: string, cells: readonly number[]): void;
}

/** `outcome`: where it is said what became of the word. */
export function mountTransplantRow(
  session: Session,
  host: HTMLElement,
  outcome: HTMLElement,
  rewrite: Rewrite,
): TransplantRow {
  const { store } = session;
  const part = h("select", { "aria-label": "part of the picture to transplant" });
  const word = h("select", { "aria-label": "word whose place it takes" });
  const go = button("transplant", () => {
    const chosen = part.value === PATCHES ? "" : part.value;
    put(Number(word.value), chosen, chosen ? [] : [...session.patches]);
  });
  const drop = button("clear", () => session.choosePatches(new Set()), {
    class: "btn quiet",
    title: "choose no patch",
  });
  const said = h("div", { class: "note", role: "status" });
  const row = h(
    "div",
    { class: "row" },
    h("span", { class: "note" }, "put"),
    part,
    h("span", { class: "note" }, "in place of"),
    word,
    go,
    drop,
  );
  const el = h("div", { class: "transplant expert" }, row, faultLine(session, "transplant"));
  host.append(el);
  outcome.append(said);

  const put = (index: number, object: string, cells: readonly number[]): void => {
    if (session.blocked() || !(object || cells.length)) return;
    void rewrite("transplant", {
      index,
      object,
      cells: [...cells],
      scene: store.get("scene") ?? 0,
    });
  };

  let had = 0;
  const parts = (): void => {
    const was = part.value;
    const objects = (store.get("objects") ?? []).map(({ name }) =>
      h("option", { value: name }, name),
    );
    const n = session.patches.size;
    const patches = h("option", { value: PATCHES }, n ? plural(n, "patch") : "patches …");
    fill(part, ...objects, patches);
    const known = [...part.options].map((option) => option.value);
    part.value =
      n && (!had || !known.includes(was))
        ? PATCHES
        : known.includes(was) && (n || was !== PATCHES)
          ? was
          : (known[0] ?? "");
    had = n;
    drop.hidden = n === 0;
    ready();
  };
  const texts = (): void => {
    const was = word.value;
    const said = words(store.get("caption_before") ?? "");
    fill(word, ...said.map((text, k) => h("option", { value: k }, text.replace(/[.,;]+$/, ""))));
    const forms = new Set((store.get("concept_forms") ?? []).map((form) => form.toLowerCase()));
    const concept = said.findIndex((text) => forms.has(text.toLowerCase().replace(/[.,;]+$/, "")));
    word.value =
      was && Number(was) < said.length
        ? was
        : String(concept < 0 ? Math.max(said.length - 1, 0) : concept);
    ready();
  };
  const ready = (): void => {
    const blocked = session.blocked();
    const nothing = part.value === PATCHES && !session.patches.size;
    go.disabled = blocked !== null || nothing || !word.options.length;
    setAttr(
      go,
      "title",
      blocked ??
        (nothing
          ? "click patches of the picture first"
          : "put the mean activation of the part's patches where this word is predicted, and write the caption again"),
    );
  };
  part.addEventListener("change", ready);
  word.addEventListener("change", ready);
  let seen = -1;
  store.watch(["objects", "hand"], () => {
    if (seen === session.patchVersion && part.options.length) return;
    seen = session.patchVersion;
    parts();
  });
  store.watch(["objects", "mask_shape"], parts);
  store.watch(["scene"], () => {
    word.value = "";
    texts(); // the next scene may have the same caption
  });
  store.watch(["caption_before", "concept_forms"], texts);
  store.watch(["read_only", "status"], ready);
  store.watch(["transplants"], () => {
    el.hidden = !store.get("transplants");
  });
  store.watch(["transplanted"], () => {
    const done = store.get("transplanted");
    said.hidden = !done;
    if (!done) return setText(said, "");
    const layers = done.layers.length
      ? ` (layers ${done.layers[0]}–${done.layers.at(-1)}, all neurons)`
      : "";
    const bare = (text: string): string => text.replace(/[.,;]+$/, "");
    const what = done.success === false ? `not “${done.object}”: ` : "";
    setText(
      said,
      `${what}${done.object} put where “${bare(done.word)}” is predicted${layers}: the model writes “${bare(done.said)}”. This picture only; undo takes it back.`,
    );
  });
  return { put };
}

// The study's scenes as thumbnails: one tab stop, arrow keys move.

import { h, setAttr } from "../core/dom";
import { isForm, words } from "../core/diff";
import { pictureUrl } from "../core/pictures";
import type { Session } from "../core/session";

/** `own`: the tile that brings a picture of one's own. */
export function mountSceneStrip(session: Session, host: HTMLElement, own?: HTMLElement): void {
  const { store } = session;
  const list = h("div", {
    class: "tiles",
    role: "listbox",
    "aria-label": "scenes",
    "aria-orientation": "horizontal",
  });
  const key = h(
    "span",
    { class: "note dots", hidden: true },
    h("i", { class: "dot" }),
    "still named",
    h("i", { class: "dot gone" }),
    "gone",
  );
  host.append(h("div", { class: "strip" }, h("span", { class: "note" }, "scenes"), list, own, key));
  let items: HTMLButtonElement[] = [];
  let urls = new AbortController();
  session.off.signal.addEventListener("abort", () => urls.abort());

  const build = (): void => {
    urls.abort();
    urls = new AbortController();
    const pictures = store.get("thumbnails") ?? [];
    const scenes = store.get("scenes") ?? [];
    list.textContent = "";
    items = scenes.map((_, k) => {
      const item = h("button", {
        type: "button",
        role: "option",
        tabindex: "-1",
        onclick: () => choose(k),
      });
      if (pictures[k])
        item.append(
          h("img", { src: pictureUrl(pictures[k], urls.signal), alt: "", loading: "lazy" }),
        );
      list.append(item);
      return item;
    });
    host.hidden = scenes.length < 2 && !store.get("uploads");
  };
  const choose = (k: number): void => {
    if (k === store.get("scene")) return;
    store.commit({ scene: k });
    session.announce(items[k]?.getAttribute("aria-label") ?? "");
  };
  store.watch(["thumbnails", "uploads"], build);
  store.watch(["thumbnails", "scenes", "scene", "concept_forms"], () => {
    const scenes = store.get("scenes") ?? [];
    if (scenes.length !== items.length) build();
    const forms = store.get("concept_forms") ?? [];
    const named = (caption: string): boolean => words(caption).some((word) => isForm(word, forms));
    key.hidden = !scenes.some((scene) => scene.after !== "" && named(scene.before));
    scenes.forEach((scene, k) => {
      const item = items[k];
      if (!item) return;
      const chosen = k === store.get("scene");
      setAttr(item, "aria-selected", String(chosen));
      item.tabIndex = chosen ? 0 : -1;
      const gone = scene.after !== "" && named(scene.before) && !named(scene.after);
      const state =
        scene.after === ""
          ? ""
          : gone
            ? " · word gone"
            : named(scene.after)
              ? " · word still named"
              : "";
      setAttr(
        item,
        "aria-label",
        `scene ${k + 1}, ${scene.name}: ${scene.before || "no caption yet"}${state}`,
      );
      setAttr(
        item,
        "title",
        `${scene.name}\nbefore: ${scene.before || "–"}${scene.after ? `\nafter: ${scene.after}` : ""}`,
      );
      item.querySelector(".dot")?.remove();
      if (scene.after !== "" && named(scene.before))
        item.append(h("span", { class: gone ? "dot gone" : "dot" }));
    });
  });
  list.addEventListener("keydown", (event) => {
    const at = store.get("scene") ?? 0;
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[
      event.key
    ];
    if (next === undefined) return;
    const item = items[next];
    if (!item) return;
    event.preventDefault();
    choose(next);
    item.focus();
  });
}

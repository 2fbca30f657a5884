// What is known of the chosen neuron: its words, where it looks across the scenes, its share in other concepts.

import { button, fill, h } from "../core/dom";
import { short } from "../core/format";
import type { Session } from "../core/session";
import { pictureUrl } from "../core/pictures";

export function neuronPage(session: Session): HTMLElement {
  const { store } = session;
  const title = h("strong");
  const words = h("span", { class: "note" });
  const strip = h("div", { class: "strip", role: "group", "aria-label": "scenes that excite this neuron most" });
  const more = h("div", { class: "note" });
  const open = button("where else?", () => void load(), { class: "btn quiet", title: "the scenes that excite this neuron most" });
  const el = h("div", { class: "page", hidden: true }, h("div", { class: "row" }, title, words, h("span", { class: "grow" }), open), strip, more);
  let shown = -1;

  const load = async (): Promise<void> => {
    const id = shown;
    fill(more, "looking through the scenes …");
    const reply = await session.ask("neuron", { id });
    if (!reply) {
      if (shown === id) fill(more);
      return;
    }
    if (shown !== id) return;
    const scenes = (reply.result["scenes"] ?? []) as { scene: number; value: number; patch: [number, number] | null }[];
    const thumbnails = store.get("thumbnails") ?? [];
    fill(strip, ...scenes.map(({ scene, value, patch }) => {
      const label = `scene ${scene + 1}: ${short(value)}${patch ? ` at patch ${patch[0] + 1}, ${patch[1] + 1}` : ""}`;
      const item = h("button", { type: "button", title: label, "aria-label": label, onclick: () => store.commit({ scene }) });
      if (thumbnails[scene]) item.append(h("img", { src: pictureUrl(thumbnails[scene], session.off.signal), alt: "" }));
      return item;
    }));
    const shares = Object.entries((reply.result["concepts"] ?? {}) as Record<string, number>);
    fill(more, shares.length ? `also writes: ${shares.map(([name, share]) => `${name} ${short(share)}`).join(" · ")}` : "most excited on the left");
  };

  session.store.watch(["selected", "difference", "words", "map_ids"], () => {
    const id = store.get("selected") ?? -1;
    const e = session.evidence();
    el.hidden = id < 0 || id >= e.size;
    if (el.hidden) return;
    if (id !== shown) {
      fill(strip);
      fill(more);
      shown = id;
    }
    fill(title, session.name(id));
    fill(words, `difference ${short(e.difference[id])} · GradCAM ${short(e.gradcam[id])} · writes ${(session.words(id) ?? []).map((w) => w.trim()).join(", ") || "…"}`);
    open.hidden = session.blocked() !== null || store.get("thumbnails") === undefined;
  });
  return el;
}

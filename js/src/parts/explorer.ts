// All parts together, in a layout that follows the width of its column.

import { h, setAttr } from "../core/dom";
import { words } from "../core/diff";
import { jumps } from "../core/roving";
import { rewriter } from "../core/rewrite";
import type { Session } from "../core/session";
import { mountAblationPanel } from "./ablation_panel";
import { mountCaptionDiff } from "./caption_diff";
import { footTools, proposeButton } from "./foot_tools";
import { frontierView } from "./frontier";
import { mountLayerBars } from "./layer_bars";
import { mountMaskPainter } from "./mask_painter";
import { neuronPage } from "./neuron_page";
import { mountNeuronTable } from "./neuron_table";
import { mountOwnPicture } from "./own_picture";
import { mountPatchHeatmap } from "./patch_heatmap";
import { mountSceneStrip } from "./scene_strip";
import { mountSettings } from "./settings";
import { mountThresholdPlane } from "./threshold_plane";
import { mountTokenStrip } from "./token_strip";
import { mountTopBar } from "./top_bar";

/** What each part shows, for those who see it for the first time (preset "teaching"). */
const LESSONS: Record<string, string> = {
  picture:
    "Bright: where the kept neurons are active. “neuron” shows one alone, “difference” what changes when the object goes.",
  without:
    "The same picture with the object painted away. What differs inside the model between the two comes from the object, and from the smear that painting leaves.",
  caption: "What the model writes. Ablate the kept neurons and read what it writes without them.",
  plane:
    "Each square: one neuron or more. Right: the activation changes more when the object goes (stage 1). Up: the neuron pushes more towards the word (stage 2). The tinted corner is kept.",
  layers: "Where in the model the kept neurons sit.",
  table: "The kept neurons and the words each of them writes. Click one to see where it looks.",
};

export function mountExplorer(session: Session, card: HTMLElement): void {
  const { store } = session;
  card.classList.add("explorer");
  const area = (name: string): HTMLElement => {
    const el = h("section", { class: `part a-${name}` });
    card.append(el);
    return el;
  };
  const teach = (el: HTMLElement, name: string): void => {
    el.firstElementChild?.after(h("p", { class: "lesson" }, LESSONS[name]));
  };
  // The desk, in the order of the work: what is looked for, where it shows, how much is kept, what it does, what becomes of it.
  const settings = mountSettings(session);
  const bar = area("top");
  const tools = footTools(session);
  const top = mountTopBar(session, bar, ...tools.buttons, settings.el);
  bar.append(...tools.said);
  const scenes = area("scenes");
  const picture = area("picture");
  const stage = mountPatchHeatmap(session, picture, {
    asks: true,
    ownElsewhere: true,
    settings: settings.group("heatmap"),
  });
  teach(picture, "picture");
  mountSceneStrip(session, scenes, mountOwnPicture(session, stage, "+ picture"));
  const plane = area("plane");
  const front = frontierView(session);
  mountThresholdPlane(session, plane, {
    title: front.title,
    beside: proposeButton(session),
    settings: settings.group("thresholds", true),
    fills: true,
  });
  plane.querySelector(".plane")?.after(front.el);
  front.follow(plane);
  teach(plane, "plane");
  const act = area("act");
  const captionArea = area("caption");
  // Details, further down.
  const without = area("without");
  mountMaskPainter(session, without, {
    title: () => {
      const word = store.get("concept") || "object";
      return session.unscored() && !store.get("stale")?.length
        ? `paint the ${word}`
        : `without the ${word}`;
    },
    compute: () => top.compute(store.get("concept") ?? ""),
  });
  teach(without, "without");
  const bare = (word: string): string =>
    words(word.toLowerCase().replace(/[^\p{L}\p{N}\s-]/gu, ""))[0] ?? "";
  const rewrite = rewriter(session, (text) => caption.stream(text));
  const caption = mountCaptionDiff(session, captionArea, {
    onword: (word) => top.compute(bare(word)),
    rewrite,
    measures: true,
    inpainted: true,
    transplants: without,
  });
  if (captionArea.firstElementChild instanceof HTMLElement)
    teach(captionArea.firstElementChild, "caption");
  mountAblationPanel(session, act, { rewrite, effects: caption.effects });
  const layers = area("layers");
  mountLayerBars(session, layers);
  teach(layers, "layers");
  const table = area("table");
  mountNeuronTable(session, table, false);
  teach(table, "table");
  const tokens = h("div", { class: "page extra" });
  mountTokenStrip(session, tokens);
  area("neuron").append(neuronPage(session, tokens));
  const inside = (part: HTMLElement, what: string) => (): HTMLElement | null =>
    part.querySelector<HTMLElement>(what);
  jumps(card, [
    ["neurons", inside(table, ".table")],
    ["thresholds", inside(plane, ".corner")],
    ["ablate", inside(act, ".btn.primary")],
    ["captions", inside(captionArea, ".captions button[tabindex='0']")],
    ["picture", inside(picture, "canvas")],
    ["mask", inside(without, "canvas")],
    ["layers", inside(layers, "button[tabindex='0']")],
    ["tokens", () => tokens.querySelector<HTMLElement>(".tokens")],
  ]);
  store.watch(["preset"], () => setAttr(card, "data-preset", store.get("preset") || "full"));
  // Who has to paint first finds the brush on the large picture, and the rest when there are scores.
  store.watch(["facts"], () => setAttr(card, "data-unscored", session.unscored() ? "" : null));

  // The chosen neuron along the tokens: one small request when the choice rests.
  let timer = 0;
  store.watch(["selected", "scene", "difference"], () => {
    clearTimeout(timer);
    const id = store.get("selected") ?? -1;
    if (id < 0 || session.blocked()) return;
    timer = setTimeout(
      () => void session.ask("tokens", { id, scene: store.get("scene") ?? 0 }),
      200,
    ) as unknown as number;
  });
  session.off.signal.addEventListener("abort", () => clearTimeout(timer));
}

// All parts together, in a layout that follows the width of its column.

import { h, setAttr } from "../core/dom";
import { words } from "../core/diff";
import { rewriter } from "../core/rewrite";
import type { Session } from "../core/session";
import { mountAblationPanel } from "./ablation_panel";
import { mountCaptionDiff } from "./caption_diff";
import { mountFootTools } from "./foot_tools";
import { mountLayerBars } from "./layer_bars";
import { mountMaskPainter } from "./mask_painter";
import { mountNeuronTable } from "./neuron_table";
import { mountPatchHeatmap } from "./patch_heatmap";
import { mountSceneStrip } from "./scene_strip";
import { mountThresholdPlane } from "./threshold_plane";
import { mountTokenStrip } from "./token_strip";
import { mountTopBar } from "./top_bar";

export function mountExplorer(session: Session, card: HTMLElement): void {
  const { store } = session;
  card.classList.add("explorer");
  const area = (name: string): HTMLElement => {
    const el = h("section", { class: `part a-${name}` });
    card.append(el);
    return el;
  };
  const top = mountTopBar(session, area("top"));
  mountSceneStrip(session, area("scenes"));
  mountPatchHeatmap(session, area("picture"), { asks: true });
  mountMaskPainter(session, area("without"), { title: () => `without the ${store.get("concept") || "object"}` });
  const captionArea = area("caption");
  const bare = (word: string): string => words(word.toLowerCase().replace(/[^\p{L}\p{N}\s-]/gu, ""))[0] ?? "";
  const rewrite = rewriter(session, (text) => caption.stream(text));
  const caption = mountCaptionDiff(session, captionArea, { onword: (word) => top.compute(bare(word)), rewrite });
  const tokens = h("div", { class: "extra", style: { "margin-top": "auto", "padding-top": "8px", display: "grid", gap: "6px" } });
  captionArea.append(tokens);
  mountTokenStrip(session, tokens);
  mountThresholdPlane(session, area("plane"));
  mountLayerBars(session, area("layers"));
  mountNeuronTable(session, area("table"));
  const foot = area("foot");
  mountAblationPanel(session, foot, { rewrite });
  mountFootTools(session, foot);
  store.watch(["preset"], () => setAttr(card, "data-preset", store.get("preset") || "full"));

  // The chosen neuron along the tokens: one small request when the choice rests.
  let timer = 0;
  store.watch(["selected", "scene"], () => {
    clearTimeout(timer);
    const id = store.get("selected") ?? -1;
    if (id < 0 || session.blocked()) return;
    timer = setTimeout(() => void session.ask("tokens", { id, scene: store.get("scene") ?? 0 }), 200) as unknown as number;
  });
  session.off.signal.addEventListener("abort", () => clearTimeout(timer));
}

// A captured store: pictures, maps, the plane of two activations, layers, table, tokens. No concept, no model.

import { h, setText, button } from "../core/dom";
import { integer, plural } from "../core/format";
import { download } from "../core/pictures";
import { jumps } from "../core/roving";
import type { Session } from "../core/session";
import { neuronsCsv } from "../core/table_csv";
import { mountLayerBars } from "./layer_bars";
import { mountNeuronTable } from "./neuron_table";
import { mountPatchHeatmap } from "./patch_heatmap";
import { mountSceneStrip } from "./scene_strip";
import { mountThresholdPlane } from "./threshold_plane";
import { mountTokenStrip } from "./token_strip";
import STYLE from "./store_explorer.css";

export function mountStoreExplorer(session: Session, card: HTMLElement): void {
  const { store } = session;
  card.classList.add("of-store");
  card.append(h("style", {}, STYLE));
  const area = (name: string): HTMLElement => {
    const el = h("section", { class: `part ${name}` });
    card.append(el);
    return el;
  };
  const facts = h("span", { class: "note grow" });
  const csv = button("neurons as CSV", () =>
    download("neurons.csv", neuronsCsv(session), "text/csv"),
  );
  area("bar-line").append(h("strong", {}, "stored activations"), facts, csv);
  store.watch(["facts"], () => {
    const f = store.get("facts");
    if (f)
      setText(
        facts,
        `${f.model} · ${f.layers} × ${integer(f.neurons)} neurons · ${plural(f.scenes, "picture")}`,
      );
  });
  const scenes = area("w-scenes");
  mountSceneStrip(session, scenes);
  const label = scenes.querySelector(".note");
  if (label) setText(label, "pictures"); // nothing is looked for: no dots to explain
  mountPatchHeatmap(session, area("w-picture"));
  mountThresholdPlane(session, area("w-plane"));
  mountLayerBars(session, area("w-layers"));
  mountNeuronTable(session, area("w-table"));
  mountTokenStrip(session, area("w-tokens"));

  const to = (what: string) => (): HTMLElement | null => card.querySelector<HTMLElement>(what);
  jumps(card, [
    ["neurons", to(".table")],
    ["thresholds", to(".corner")],
    ["picture", to(".w-picture canvas")],
    ["layers", to(".layers button[tabindex='0']")],
    ["tokens", to(".tokens")],
  ]);
  let timer = 0;
  let first = true;
  store.watch(["selected", "scene"], () => {
    clearTimeout(timer);
    const id = store.get("selected") ?? -1;
    if (first) {
      first = false;
      return;
    }
    if (id < 0 || session.blocked()) return;
    timer = setTimeout(
      () => void session.ask("tokens", { id, scene: store.get("scene") ?? 0 }),
      200,
    ) as unknown as number;
  });
  session.off.signal.addEventListener("abort", () => clearTimeout(timer));
}
